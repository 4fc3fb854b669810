/*
** resolver.c: getaddrinfo, which may take seconds, on the thread pool.
**
** What needs no look-up (a numeric address, no host, a numeric port) is answered at once.
*/
#include "resolver.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "errors.h"
#include "thread_pool.h"

enum { PORT_SIZE = 8, LARGEST_PORT = 65535 };

typedef struct lookup {
  agenda_job job;
  const char *host, *service; /* in `text`; NULL for none */
  struct addrinfo hints, *found;
  int failure, number; /* an EAI_ code, and the errno of EAI_SYSTEM */
  char text[];
} lookup;

/* ----- results ------------------------------------------------------------------------- */

static const char *failure_name(int failure)
{
  switch (failure) {
#define NAMED(e) case e: return #e;
    NAMED(EAI_AGAIN) NAMED(EAI_BADFLAGS) NAMED(EAI_FAIL) NAMED(EAI_FAMILY) NAMED(EAI_MEMORY)
    NAMED(EAI_NONAME) NAMED(EAI_OVERFLOW) NAMED(EAI_SERVICE) NAMED(EAI_SOCKTYPE) NAMED(EAI_SYSTEM)
#ifdef EAI_NODATA
    NAMED(EAI_NODATA)
#endif
#ifdef EAI_ADDRFAMILY
    NAMED(EAI_ADDRFAMILY)
#endif
#undef NAMED
    default: return NULL;
  }
}

/* errno is that of EAI_SYSTEM, else the resolver's own code, as in Python. */
static int raise_failure(lua_State *L, const lookup *self)
{
  int failure = self->failure;
  const char *host = self->host != NULL ? self->host : "no host";
  const char *text = failure == EAI_SYSTEM ? strerror(self->number) : gai_strerror(failure);
  if (failure == EAI_SERVICE)
    agenda_error_push(L, AGENDA_OS_ERROR, "getaddrinfo: %s, service %s: %s", host, self->service,
                      text);
  else
    agenda_error_push(L, AGENDA_OS_ERROR, "getaddrinfo: %s: %s", host, text);
  lua_pushinteger(L, failure == EAI_SYSTEM ? self->number : failure);
  lua_setfield(L, -2, "errno");
  const char *name = failure_name(failure);
  if (name != NULL)
    lua_pushstring(L, name);
  else
    lua_pushfstring(L, "EAI_%d", failure);
  lua_setfield(L, -2, "code");
  lua_pushliteral(L, "getaddrinfo");
  lua_setfield(L, -2, "syscall");
  return lua_error(L);
}

/* Pushes {addr=, port=, family=}; false, and nothing, for a family that we have no name for. */
static bool push_address(lua_State *L, const struct addrinfo *info)
{
  char addr[NI_MAXHOST];
  if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) ||
      getnameinfo(info->ai_addr, info->ai_addrlen, addr, sizeof addr, NULL, 0, NI_NUMERICHOST) != 0)
    return false;
  bool six = info->ai_family == AF_INET6;
  const struct sockaddr_in *in = (const void *)info->ai_addr;
  const struct sockaddr_in6 *in6 = (const void *)info->ai_addr;
  lua_createtable(L, 0, 3);
  lua_pushstring(L, addr);
  lua_setfield(L, -2, "addr");
  lua_pushinteger(L, ntohs(six ? in6->sin6_port : in->sin_port));
  lua_setfield(L, -2, "port");
  lua_pushstring(L, six ? "inet6" : "inet");
  lua_setfield(L, -2, "family");
  return true;
}

static int deliver_lookup(lua_State *L, agenda_job *job)
{
  const lookup *self = (const lookup *)job;
  if (self->failure != 0)
    return raise_failure(L, self);
  lua_newtable(L);
  lua_Integer n = 0;
  for (const struct addrinfo *info = self->found; info != NULL; info = info->ai_next)
    if (push_address(L, info))
      lua_rawseti(L, -2, ++n);
  return 1;
}

static void release_lookup(lua_State *L, agenda_job *job)
{
  lookup *self = (lookup *)job;
  (void)L;
  if (self->found != NULL)
    freeaddrinfo(self->found);
  self->found = NULL;
}

/* ----- the look-up --------------------------------------------------------------------- */

/* NB: the C library calls a name unknown, too, when it cannot open the files and sockets that it
** would find it with. */
static void run_lookup(agenda_job *job)
{
  lookup *self = (lookup *)job;
  errno = 0;
  self->failure = getaddrinfo(self->host, self->service, &self->hints, &self->found);
  self->number = errno;
  if (self->failure != 0 && (errno == EMFILE || errno == ENFILE))
    self->failure = EAI_SYSTEM;
  if (self->failure != 0)
    self->found = NULL;
}

/* The results where no look-up is needed, protected so that they are freed: lookup. */
static int l_finish(lua_State *L)
{
  return deliver_lookup(L, lua_touserdata(L, 1));
}

/* Answers without a look-up, if that can be done: 1, with the list. [-0, +(0|1), may raise] */
static int answer_at_once(lua_State *L, lookup *self, bool numeric_service)
{
  if (!numeric_service)
    return 0;
  struct addrinfo hints = self->hints;
  hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, l_finish, 1);
  if (getaddrinfo(self->host, self->service, &hints, &self->found) != 0) {
    self->found = NULL;
    lua_pop(L, 1);
    return 0;
  }
  lua_pushlightuserdata(L, self);
  int status = lua_pcall(L, 1, 1, 0);
  release_lookup(L, &self->job);
  if (status != LUA_OK)
    lua_error(L);
  return 1;
}

/* ----- arguments ----------------------------------------------------------------------- */

/* A string without zeros, or NULL for nil. */
static const char *check_text(lua_State *L, int index)
{
  size_t length;
  if (lua_isnoneornil(L, index))
    return NULL;
  luaL_checktype(L, index, LUA_TSTRING);
  const char *text = lua_tolstring(L, index, &length);
  luaL_argcheck(L, strlen(text) == length, index, "string contains zeros");
  return text;
}

/* The port at index 2 as text, which is in the buffer or on the stack. */
static const char *check_port(lua_State *L, char buffer[PORT_SIZE], bool *numeric)
{
  *numeric = true;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_Integer port = luaL_checkinteger(L, 2);
    if (port < 0 || port > LARGEST_PORT)
      agenda_error_raise(L, AGENDA_VALUE_ERROR, "the port must be from 0 to 65535, not %I",
                         (LUAI_UACINT)port);
    snprintf(buffer, PORT_SIZE, "%d", (int)port);
    return buffer;
  }
  if (!lua_isnoneornil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
    luaL_typeerror(L, 2, "port number or service name");
  const char *service = check_text(L, 2);
  if (service != NULL) {
    char *end;
    long port = strtol(service, &end, 10);
    *numeric = end != service && *end == '\0';
    if (*numeric && (port < 0 || port > LARGEST_PORT))
      agenda_error_raise(L, AGENDA_VALUE_ERROR, "the port must be from 0 to 65535, not %s",
                         service);
  }
  return service;
}

/* The value of the option at the top, one of the names; `otherwise` for nil. [-1, +0] */
static int option_value(lua_State *L, const char *option, const char *const names[],
                        const int values[], int otherwise)
{
  int value = otherwise;
  if (!lua_isnil(L, -1)) {
    const char *name = luaL_tolstring(L, -1, NULL);
    int i = 0;
    while (names[i] != NULL && strcmp(names[i], name) != 0)
      i++;
    if (names[i] == NULL)
      agenda_error_raise(L, AGENDA_VALUE_ERROR, "unknown %s '%s'", option, name);
    value = values[i];
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return value;
}

/* The options at index 3. */
static void check_options(lua_State *L, struct addrinfo *hints)
{
  static const char *const options[] = {"family", "type", "passive", NULL};
  static const char *const families[] = {"inet", "inet6", "unspec", NULL};
  static const int family_values[] = {AF_INET, AF_INET6, AF_UNSPEC};
  static const char *const types[] = {"stream", "dgram", NULL};
  static const int type_values[] = {SOCK_STREAM, SOCK_DGRAM};
  hints->ai_socktype = SOCK_STREAM;
  if (lua_isnoneornil(L, 3))
    return;
  luaL_checktype(L, 3, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    int i = 0;
    while (options[i] != NULL && strcmp(options[i], key) != 0)
      i++;
    if (options[i] == NULL)
      luaL_argerror(L, 3, lua_pushfstring(L, "unknown option '%s'", key));
  }
  lua_getfield(L, 3, "family");
  hints->ai_family = option_value(L, "family", families, family_values, AF_UNSPEC);
  lua_getfield(L, 3, "type");
  hints->ai_socktype = option_value(L, "type", types, type_values, SOCK_STREAM);
  lua_getfield(L, 3, "passive");
  if (lua_toboolean(L, -1))
    hints->ai_flags |= AI_PASSIVE;
  lua_pop(L, 1);
}

/* Leaves a new look-up with copies of the texts. [-0, +1, may raise] */
static lookup *new_lookup(lua_State *L, const char *host, const char *service,
                          const struct addrinfo *hints)
{
  size_t host_size = host != NULL ? strlen(host) + 1 : 0;
  size_t service_size = service != NULL ? strlen(service) + 1 : 0;
  lookup *self =
    agenda_job_new(L, sizeof *self + host_size + service_size, run_lookup, deliver_lookup);
  self->job.release = release_lookup;
  self->hints = *hints;
  if (host != NULL)
    self->host = memcpy(self->text, host, host_size);
  if (service != NULL)
    self->service = memcpy(self->text + host_size, service, service_size);
  return self;
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** The addresses of a host and a port, in the order in which they are to be tried. Awaits, unless
the host is numeric or nil; the look-up goes on in a thread when it is cancelled. As in asyncio.
@function getaddrinfo
@tparam ?string host a name or a numeric address; nil: this machine, see `passive`
@tparam ?integer|string port a number or a service name; nil: 0
@tparam[opt] table opts `family` ("inet" or "inet6": only these), `type` ("stream", or "dgram" for
services of datagrams), `passive` (with no host: the addresses to listen on, not the loopback ones)
@treturn {{addr=string,port=integer,family=string},...}
@raise OSError with `code` "EAI_NONAME" and so on, `syscall` "getaddrinfo"; ValueError for a port
that there is not; RuntimeError where nothing can wait */
static int l_getaddrinfo(lua_State *L)
{
  char buffer[PORT_SIZE];
  bool numeric;
  struct addrinfo hints = {.ai_family = AF_UNSPEC};
  const char *host = check_text(L, 1);
  const char *service = check_port(L, buffer, &numeric);
  check_options(L, &hints);
  lua_settop(L, 3);
  lookup *self = new_lookup(L, host, service, &hints);
  if (answer_at_once(L, self, numeric) == 1)
    return 1;
  return agenda_job_await(L, agenda_job_loop(L, "resolve a name"));
}

static const luaL_Reg functions[] = {
  {"getaddrinfo", l_getaddrinfo},
  {NULL, NULL}
};

void agenda_open_resolver(lua_State *L)
{
  agenda_functions_register(L, functions);
}
