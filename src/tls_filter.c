/*
** tls_filter.c: one TLS connection as a filter of a stream.
**
** OpenSSL works on two buffers of memory: the stream puts what came from the peer into one and
** takes what is to be sent from the other.
**
**     HANDSHAKE --complete--> OPEN        a failure in either: FAILED
**         any state --release--> RELEASED
**
** The peer's notice of the end and our own are OpenSSL's to remember. NB: OpenSSL has one queue of
** errors for a thread; it is emptied before each call, or an old error would be taken for a new.
*/
#include "tls_filter.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "stream_filter.h"
#include "tls_error.h"

typedef enum { HANDSHAKE, OPEN, FAILED, RELEASED } tls_state;

typedef struct tls_filter {
  agenda_filter filter;
  tls_state state;
  SSL *ssl;               /* NULL when it is released */
  BIO *received, *unsent; /* owned by ssl */
  char reason[TLS_REASON_SIZE];
} tls_filter;

/* The user value that keeps the context. */
enum { SLOT_CONTEXT = 1 };

/* A buffer that grew beyond this is given back when it is empty. */
enum { KEPT_BUFFER = 4096 };

/* ----- state --------------------------------------------------------------------------- */

static tls_filter *self_of(agenda_filter *filter)
{
  return (tls_filter *)filter;
}

/* What a call of OpenSSL that did not succeed comes to. */
static int outcome(tls_filter *self, int result)
{
  switch (SSL_get_error(self->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return AGENDA_FILTER_WANT;
    case SSL_ERROR_ZERO_RETURN:
      return AGENDA_FILTER_END;
    default:
      if (ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE) {
        ERR_clear_error();
        return AGENDA_FILTER_MEMORY;
      }
      if (ERR_peek_error() == 0) /* before OpenSSL 3 this was no error of its own */
        strcpy(self->reason, "unexpected eof while reading");
      else
        agenda_tls_reason(self->reason, self->ssl);
      self->state = FAILED;
      return AGENDA_FILTER_FAILED;
  }
}

/* An idle connection holds no large buffers. */
static void shrink(BIO *bio)
{
  BUF_MEM *memory = NULL;
  BIO_get_mem_ptr(bio, &memory);
  if (memory == NULL || memory->max <= KEPT_BUFFER || BIO_ctrl_pending(bio) != 0)
    return;
  BUF_MEM *small = BUF_MEM_new();
  if (small != NULL)
    BIO_set_mem_buf(bio, small, BIO_CLOSE);
}

/* ----- what the stream calls ----------------------------------------------------------- */

static int on_handshake(agenda_filter *filter)
{
  tls_filter *self = self_of(filter);
  if (self->state != HANDSHAKE)
    return self->state == OPEN ? 0 : AGENDA_FILTER_FAILED;
  ERR_clear_error();
  int result = SSL_do_handshake(self->ssl);
  if (result != 1)
    return outcome(self, result);
  self->state = OPEN;
  return 0;
}

static int on_feed(agenda_filter *filter, const char *data, size_t size)
{
  tls_filter *self = self_of(filter);
  if (self->ssl == NULL)
    return 0;
  ERR_clear_error();
  while (size > 0) {
    int part = size > INT_MAX ? INT_MAX : (int)size;
    int taken = BIO_write(self->received, data, part);
    if (taken <= 0)
      return AGENDA_FILTER_MEMORY;
    data += taken;
    size -= (size_t)taken;
  }
  return 0;
}

static void on_feed_end(agenda_filter *filter)
{
  tls_filter *self = self_of(filter);
  if (self->ssl != NULL)
    BIO_set_mem_eof_return(self->received, 0); /* empty is the end now, not "try again" */
}

static ssize_t on_read(agenda_filter *filter, char *buffer, size_t size)
{
  tls_filter *self = self_of(filter);
  if (self->state != OPEN)
    return AGENDA_FILTER_FAILED;
  ERR_clear_error();
  int result = SSL_read(self->ssl, buffer, size > INT_MAX ? INT_MAX : (int)size);
  if (result > 0)
    return result;
  shrink(self->received);
  return outcome(self, result);
}

static ssize_t on_write(agenda_filter *filter, const char *data, size_t size)
{
  tls_filter *self = self_of(filter);
  if (self->state != OPEN)
    return AGENDA_FILTER_FAILED;
  ERR_clear_error();
  int result = SSL_write(self->ssl, data, size > INT_MAX ? INT_MAX : (int)size);
  return result > 0 ? result : outcome(self, result);
}

static void on_write_end(agenda_filter *filter)
{
  tls_filter *self = self_of(filter);
  if (self->state != OPEN)
    return;
  ERR_clear_error();
  SSL_shutdown(self->ssl); /* ours only; the peer's is what `read` waits for */
  ERR_clear_error();
}

static size_t on_take(agenda_filter *filter, char *buffer, size_t size)
{
  tls_filter *self = self_of(filter);
  if (self->ssl == NULL)
    return 0;
  int taken = BIO_read(self->unsent, buffer, size > INT_MAX ? INT_MAX : (int)size);
  if (taken > 0)
    return (size_t)taken;
  shrink(self->unsent);
  return 0;
}

static const char *on_reason(agenda_filter *filter)
{
  tls_filter *self = self_of(filter);
  if (self->reason[0] == '\0')
    return self->state == RELEASED ? "the connection is closed" : "the handshake is not complete";
  return self->reason;
}

static void on_release(agenda_filter *filter)
{
  tls_filter *self = self_of(filter);
  SSL_free(self->ssl);
  self->ssl = NULL;
  self->received = self->unsent = NULL;
  self->state = RELEASED;
}

static const agenda_filter_class tls_class = {
  .version = AGENDA_FILTER_VERSION,
  .handshake = on_handshake,
  .feed = on_feed,
  .feed_end = on_feed_end,
  .read = on_read,
  .write = on_write,
  .write_end = on_write_end,
  .take = on_take,
  .reason = on_reason,
  .release = on_release,
};

/* ----- new ----------------------------------------------------------------------------- */

static int raise_value(lua_State *L, const char *message)
{
  lua_pushstring(L, message);
  return agenda_tls_raise(L, "ValueError", NULL);
}

static bool is_address(const char *name)
{
  unsigned char bytes[sizeof(struct in6_addr)];
  return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* Whom the peer has to be, and who it is told that we want (RFC 6066: names, no addresses). */
static bool set_server_name(SSL *ssl, const char *name)
{
  X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
  if (is_address(name))
    return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
  char host[256];
  size_t size = strlen(name);
  if (size > 1 && name[size - 1] == '.') /* the dot of an absolute name is not in certificates */
    size--;
  if (size == 0 || size >= sizeof host)
    return false;
  memcpy(host, name, size);
  host[size] = '\0';
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set_tlsext_host_name(ssl, host) == 1 && X509_VERIFY_PARAM_set1_host(param, host, size);
}

static void set_up_client(lua_State *L, const agenda_tls_context *context, SSL *ssl,
                          const char *server_name)
{
  if (server_name == NULL && context->verify_server)
    raise_value(L, "server_name is needed to verify the server");
  SSL_set_connect_state(ssl);
  SSL_set_verify(ssl, context->verify_server ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
  if (server_name != NULL && !set_server_name(ssl, server_name)) {
    ERR_clear_error();
    lua_pushfstring(L, "server_name \"%s\" is not a host name", server_name);
    agenda_tls_raise(L, "ValueError", NULL);
  }
}

static void set_up_server(lua_State *L, const agenda_tls_context *context, SSL *ssl,
                          const char *server_name)
{
  if (!context->has_cert)
    raise_value(L, "a TLS server needs a context with 'cert'");
  if (server_name != NULL)
    raise_value(L, "server_name is for clients");
  SSL_set_accept_state(ssl);
  SSL_set_verify(ssl,
                 context->verify_client ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                        : SSL_VERIFY_NONE,
                 NULL);
}

int agenda_tls_filter_new(lua_State *L, bool server_side, const char *server_name)
{
  agenda_tls_context *context = luaL_checkudata(L, 1, AGENDA_TLS_CONTEXT);
  tls_filter *self = lua_newuserdatauv(L, sizeof *self, 1);
  memset(self, 0, sizeof *self);
  self->filter.class = &tls_class;
  self->state = RELEASED;
  luaL_setmetatable(L, AGENDA_TLS_FILTER);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, SLOT_CONTEXT);
  if (server_side ? context->verify_client : context->verify_server)
    agenda_tls_context_trust(context);
  ERR_clear_error();
  self->ssl = context->ctx == NULL ? NULL : SSL_new(context->ctx);
  self->received = BIO_new(BIO_s_mem());
  self->unsent = BIO_new(BIO_s_mem());
  if (self->ssl == NULL || self->received == NULL || self->unsent == NULL) {
    BIO_free(self->received);
    BIO_free(self->unsent);
    return luaL_error(L, "not enough memory");
  }
  SSL_set_bio(self->ssl, self->received, self->unsent);
  if (server_side)
    set_up_server(L, context, self->ssl, server_name);
  else
    set_up_client(L, context, self->ssl, server_name);
  self->state = HANDSHAKE;
  return 1;
}

/* ----- what Lua sees ------------------------------------------------------------------- */

static tls_filter *check(lua_State *L)
{
  return luaL_checkudata(L, 1, AGENDA_TLS_FILTER);
}

/* What was agreed: a table, or nil before the handshake. */
static int l_info(lua_State *L)
{
  tls_filter *self = check(L);
  if (self->state != OPEN && (self->ssl == NULL || !SSL_is_init_finished(self->ssl))) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 3);
  lua_pushstring(L, SSL_get_version(self->ssl));
  lua_setfield(L, -2, "version");
  lua_pushstring(L, SSL_get_cipher_name(self->ssl));
  lua_setfield(L, -2, "cipher");
  const unsigned char *alpn;
  unsigned size;
  SSL_get0_alpn_selected(self->ssl, &alpn, &size);
  if (size > 0) {
    lua_pushlstring(L, (const char *)alpn, size);
    lua_setfield(L, -2, "alpn");
  }
  return 1;
}

/* For the specs: a count or 0 as it is, and else a name. */
static int push_result(lua_State *L, tls_filter *self, ssize_t result)
{
  static const char *const names[] = {NULL, "want", "end", NULL, "memory"};
  if (result >= 0)
    lua_pushinteger(L, (lua_Integer)result);
  else if (result != AGENDA_FILTER_FAILED)
    lua_pushstring(L, names[-result]);
  else
    lua_pushfstring(L, "failed: %s", on_reason(&self->filter));
  return 1;
}

/* Goes on with the handshake: 0, "want" or "failed: why". */
static int l_handshake(lua_State *L)
{
  tls_filter *self = check(L);
  return push_result(L, self, on_handshake(&self->filter));
}

/* Takes a string that came from the peer, or nil for its end. */
static int l_feed(lua_State *L)
{
  tls_filter *self = check(L);
  size_t size;
  if (lua_isnoneornil(L, 2)) {
    on_feed_end(&self->filter);
    return 0;
  }
  const char *data = luaL_checklstring(L, 2, &size);
  return push_result(L, self, on_feed(&self->filter, data, size));
}

/* Gives all that is to be sent to the peer: a string, perhaps empty. */
static int l_take(lua_State *L)
{
  tls_filter *self = check(L);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  size_t size;
  do {
    size = on_take(&self->filter, luaL_prepbuffer(&buffer), LUAL_BUFFERSIZE);
    luaL_addsize(&buffer, size);
  } while (size > 0);
  luaL_pushresult(&buffer);
  return 1;
}

/* Gives data of the peer: a string, or nil and "want", "end" or "failed: why". */
static int l_read(lua_State *L)
{
  tls_filter *self = check(L);
  char buffer[LUAL_BUFFERSIZE];
  ssize_t size = on_read(&self->filter, buffer, sizeof buffer);
  if (size > 0) {
    lua_pushlstring(L, buffer, (size_t)size);
    return 1;
  }
  lua_pushnil(L);
  return 1 + push_result(L, self, size);
}

/* Takes a string for the peer: how much of it, or "want" or "failed: why". */
static int l_write(lua_State *L)
{
  tls_filter *self = check(L);
  size_t size;
  const char *data = luaL_checklstring(L, 2, &size);
  return push_result(L, self, on_write(&self->filter, data, size));
}

/* No more will be written. */
static int l_write_end(lua_State *L)
{
  on_write_end(&check(L)->filter);
  return 0;
}

/* Lets go of all that it holds. */
static int l_release(lua_State *L)
{
  on_release(&check(L)->filter);
  return 0;
}

/* The filter is garbage, but perhaps in use: see stream_filter.h. */
static int l_gc(lua_State *L)
{
  tls_filter *self = lua_touserdata(L, 1);
  if (!self->filter.held)
    on_release(&self->filter);
  return 0;
}

/* "<tls_filter at 0x...>" */
static int l_tostring(lua_State *L)
{
  lua_pushfstring(L, "<tls_filter at %p>", lua_touserdata(L, 1));
  return 1;
}

void agenda_tls_filter_register(lua_State *L)
{
  static const luaL_Reg metamethods[] = {
    {"__gc", l_gc},
    {"__tostring", l_tostring},
    {NULL, NULL},
  };
  /* All but `info` are for the specs, which pump two filters against each other. */
  static const luaL_Reg verbs[] = {
    {"info", l_info},           {"handshake", l_handshake}, {"feed", l_feed},
    {"take", l_take},           {"read", l_read},           {"write", l_write},
    {"write_end", l_write_end}, {"release", l_release},     {NULL, NULL},
  };
  luaL_newmetatable(L, AGENDA_TLS_FILTER);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, verbs);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
