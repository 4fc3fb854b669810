/*
** tls_context.c: certificates, trust and versions, for any number of connections.
**
** One context serves clients and servers; what differs is set for each connection. Options are
** looked at in full before files are read.
*/
#include "tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tls_error.h"

/* ----- options ------------------------------------------------------------------------- */

typedef struct context_option {
  const char *name;
  int type; /* of Lua */
} context_option;

static const context_option options[] = {
  {"cert", LUA_TSTRING},    {"key", LUA_TSTRING}, {"ca", LUA_TSTRING},
  {"verify", LUA_TBOOLEAN}, {"alpn", LUA_TTABLE}, {"min_version", LUA_TSTRING},
  {NULL, LUA_TNIL},
};

/* The key and the value of an option are on the top. */
static void check_option(lua_State *L)
{
  const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
  const context_option *found = options;
  while (found->name != NULL && (name == NULL || strcmp(found->name, name) != 0))
    found++;
  if (found->name == NULL) {
    luaL_tolstring(L, -2, NULL);
    luaL_argerror(L, 1, lua_pushfstring(L, "unknown option '%s'", lua_tostring(L, -1)));
  }
  if (lua_type(L, -1) != found->type)
    luaL_argerror(L, 1, lua_pushfstring(L, "option '%s': %s expected, got %s", name,
                                        lua_typename(L, found->type), luaL_typename(L, -1)));
  if (found->type == LUA_TSTRING && strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1)) {
    lua_pushfstring(L, "context: option '%s' has a zero byte", name);
    agenda_tls_raise(L, "ValueError", NULL);
  }
}

/* Pushes the option and gives its text, or NULL. [-0, +1] */
static const char *text_option(lua_State *L, const char *name)
{
  lua_getfield(L, 1, name);
  return lua_tostring(L, -1);
}

static int version_option(lua_State *L)
{
  const char *name = text_option(L, "min_version");
  if (name == NULL || strcmp(name, "TLSv1.2") == 0)
    return TLS1_2_VERSION;
  if (strcmp(name, "TLSv1.3") == 0)
    return TLS1_3_VERSION;
  lua_pushfstring(L, "context: option 'min_version' must be \"TLSv1.2\" or \"TLSv1.3\", not \"%s\"",
                  name);
  return agenda_tls_raise(L, "ValueError", NULL);
}

/* Item `i` of the list at `list`, checked. [-0, +1] */
static const char *protocol_at(lua_State *L, int list, lua_Integer i, size_t *size)
{
  if (lua_geti(L, list, i) != LUA_TSTRING)
    luaL_argerror(L, 1, lua_pushfstring(L, "option 'alpn': string expected at index %I, got %s",
                                        (LUAI_UACINT)i, luaL_typename(L, -1)));
  const char *name = lua_tolstring(L, -1, size);
  if (*size < 1 || *size > 255) {
    lua_pushfstring(L, "context: option 'alpn': item %I has %I bytes, 1 to 255 are allowed",
                    (LUAI_UACINT)i, (LUAI_UACINT)*size);
    agenda_tls_raise(L, "ValueError", NULL);
  }
  return name;
}

/* The list of protocols in the form of the wire: each after a byte with its length. */
static void read_alpn(lua_State *L, agenda_tls_context *self)
{
  size_t size, total = 0;
  lua_getfield(L, 1, "alpn");
  int list = lua_gettop(L);
  lua_Integer count = lua_isnil(L, list) ? 0 : luaL_len(L, list);
  for (lua_Integer i = 1; i <= count; i++) {
    protocol_at(L, list, i, &size);
    total += size + 1;
    lua_pop(L, 1);
  }
  if (total > UINT16_MAX) {
    lua_pushfstring(L, "context: option 'alpn' is too long");
    agenda_tls_raise(L, "ValueError", NULL);
  }
  if (total == 0)
    return;
  unsigned char *wire = self->alpn = malloc(total);
  if (wire == NULL)
    luaL_error(L, "not enough memory");
  for (lua_Integer i = 1; i <= count; i++) {
    const char *name = protocol_at(L, list, i, &size);
    if (size >= total - self->alpn_size) /* NB: the list may change in a metamethod */
      luaL_error(L, "context: option 'alpn' changed while it was read");
    wire[self->alpn_size++] = (unsigned char)size;
    memcpy(wire + self->alpn_size, name, size);
    self->alpn_size += (unsigned)size;
    lua_pop(L, 1);
  }
}

/* ----- files --------------------------------------------------------------------------- */

static int raise_file(lua_State *L, const char *option, const char *path, const char *what)
{
  char reason[TLS_REASON_SIZE];
  agenda_tls_reason(reason, NULL);
  lua_pushfstring(L, "context: option '%s': %s: %s (%s)", option, path, what, reason);
  return agenda_tls_raise(L, "TLSError", reason);
}

/* Raises OSError if the file cannot be read: OpenSSL does not tell that from what is in it. */
static void check_file(lua_State *L, const char *option, const char *path)
{
  FILE *file = fopen(path, "re");
  if (file == NULL)
    agenda_tls_raise_os(L, errno, "open", option, path);
  struct stat status;
  int failed = fstat(fileno(file), &status) != 0 ? errno : 0;
  if (failed == 0 && S_ISDIR(status.st_mode))
    failed = EISDIR;
  fclose(file);
  if (failed != 0)
    agenda_tls_raise_os(L, failed, "read", option, path);
  ERR_clear_error();
}

/* Nobody is asked for a password on a terminal. */
static int no_password(char *buffer, int size, int writing, void *asked)
{
  (void)buffer;
  (void)size;
  (void)writing;
  *(bool *)asked = true;
  return -1;
}

static EVP_PKEY *read_key(lua_State *L, const char *option, const char *path)
{
  check_file(L, option, path);
  bool encrypted = false;
  BIO *file = BIO_new_file(path, "re");
  EVP_PKEY *key =
    file == NULL ? NULL : PEM_read_bio_PrivateKey(file, NULL, no_password, &encrypted);
  BIO_free(file);
  if (key == NULL)
    raise_file(L, option, path,
               encrypted ? "the private key is encrypted" : "no private key in PEM");
  return key;
}

static void load_cert(lua_State *L, agenda_tls_context *self)
{
  const char *cert = text_option(L, "cert");
  const char *key = text_option(L, "key");
  if (cert == NULL && key != NULL) {
    lua_pushliteral(L, "context: option 'key' without 'cert'");
    agenda_tls_raise(L, "ValueError", NULL);
  }
  if (cert == NULL)
    return;
  check_file(L, "cert", cert);
  if (SSL_CTX_use_certificate_chain_file(self->ctx, cert) != 1)
    raise_file(L, "cert", cert, "no certificate in PEM");
  const char *option = key == NULL ? "cert" : "key";
  const char *path = key == NULL ? cert : key;
  EVP_PKEY *private = read_key(L, option, path);
  bool fits = X509_check_private_key(SSL_CTX_get0_certificate(self->ctx), private) == 1 &&
              SSL_CTX_use_PrivateKey(self->ctx, private) == 1;
  EVP_PKEY_free(private);
  if (!fits)
    raise_file(L, option, path, "the private key is not that of the certificate");
  self->has_cert = true;
}

static void load_ca(lua_State *L, agenda_tls_context *self)
{
  const char *ca = text_option(L, "ca");
  if (ca == NULL)
    return;
  check_file(L, "ca", ca);
  if (SSL_CTX_load_verify_locations(self->ctx, ca, NULL) != 1)
    raise_file(L, "ca", ca, "no certificate in PEM");
  /* What the user trusts is trusted by itself, be it a root or not. */
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(self->ctx), X509_V_FLAG_PARTIAL_CHAIN);
  /* For clients that choose among certificates by who is asked for. */
  SSL_CTX_set_client_CA_list(self->ctx, SSL_load_client_CA_file(ca));
  ERR_clear_error();
  self->has_trust = true;
}

void agenda_tls_context_trust(agenda_tls_context *self)
{
  if (self->has_trust)
    return;
  SSL_CTX_set_default_verify_paths(self->ctx); /* with none there nobody is trusted */
  ERR_clear_error();
  self->has_trust = true;
}

/* ----- new ----------------------------------------------------------------------------- */

/* The server's choice among what the client offers; with none in common there is none. */
static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *size,
                   const unsigned char *offered, unsigned offered_size, void *context)
{
  (void)ssl;
  const agenda_tls_context *self = context;
  unsigned char *found = NULL;
  if (self->alpn == NULL) /* collected while a last handshake goes on */
    return SSL_TLSEXT_ERR_NOACK;
  if (SSL_select_next_proto(&found, size, self->alpn, self->alpn_size, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

static void set_up(SSL_CTX *ctx, int min_version)
{
  static const unsigned char id[] = "agenda";
  SSL_CTX_set_min_proto_version(ctx, min_version);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                             SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  /* Sessions live in tickets, not in our memory; the id is needed where clients are verified. */
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1);
  /* NB: a client of TLS 1.3 that only sends, and closes, would leave its tickets unread: then the
  ** system resets the connection and drops what is on its way. */
  SSL_CTX_set_num_tickets(ctx, 0);
}

int agenda_tls_context_new(lua_State *L)
{
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1))
    check_option(L);
  int min_version = version_option(L);
  lua_settop(L, 1);
  agenda_tls_context *self = lua_newuserdatauv(L, sizeof *self, 0);
  memset(self, 0, sizeof *self);
  luaL_setmetatable(L, AGENDA_TLS_CONTEXT);
  read_alpn(L, self);
  ERR_clear_error();
  self->ctx = SSL_CTX_new(TLS_method());
  if (self->ctx == NULL)
    return luaL_error(L, "not enough memory");
  set_up(self->ctx, min_version);
  load_cert(L, self);
  if (self->alpn != NULL) {
    /* NB: 0 is success here. */
    if (SSL_CTX_set_alpn_protos(self->ctx, self->alpn, self->alpn_size) != 0)
      return luaL_error(L, "not enough memory");
    SSL_CTX_set_alpn_select_cb(self->ctx, on_alpn, self);
  }
  lua_getfield(L, 1, "verify");
  self->verify_server = lua_isnil(L, -1) || lua_toboolean(L, -1);
  self->verify_client = lua_toboolean(L, -1);
  load_ca(L, self);
  lua_settop(L, 2);
  return 1;
}

/* ----- metamethods --------------------------------------------------------------------- */

/* The context is garbage; connections have their own share in what OpenSSL keeps. */
static int l_gc(lua_State *L)
{
  agenda_tls_context *self = lua_touserdata(L, 1);
  SSL_CTX_free(self->ctx);
  free(self->alpn);
  self->ctx = NULL;
  self->alpn = NULL;
  return 0;
}

/* "<tls_context at 0x...>" */
static int l_tostring(lua_State *L)
{
  lua_pushfstring(L, "<tls_context at %p>", lua_touserdata(L, 1));
  return 1;
}

void agenda_tls_context_register(lua_State *L)
{
  static const luaL_Reg metamethods[] = {
    {"__gc", l_gc},
    {"__tostring", l_tostring},
    {NULL, NULL},
  };
  luaL_newmetatable(L, AGENDA_TLS_CONTEXT);
  luaL_setfuncs(L, metamethods, 0);
  lua_pushliteral(L, "tls_context"); /* for agenda.type */
  lua_setfield(L, -2, "__agenda_type");
  lua_pop(L, 1);
}
