/*
** socket_calls.c: thin system calls on nonblocking sockets, for the Lua layer.
*/
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "errors.h"
#include "socket.h"

enum { MAX_FAILED = 64 }; /* connections that fail to be accepted in a row */

/* ----- check ------------------------------------------------------------------------- */

static agenda_socket_object *check_object(lua_State *L)
{
  const agenda_kind *kind = agenda_object_kind(L, 1);
  for (; kind != NULL; kind = kind->parent)
    if (kind == &agenda_socket_kind)
      return lua_touserdata(L, 1);
  luaL_typeerror(L, 1, agenda_socket_kind.metatable);
  return NULL;
}

static agenda_socket *check_open(lua_State *L)
{
  check_object(L);
  return agenda_socket_open_of(L, 1);
}

static int raise_at(lua_State *L, int number, const char *call, const agenda_address *address)
{
  return agenda_error_raise_os(L, number, call, agenda_address_push_text(L, address));
}

/* Raises for what agenda_address_check refused; the host or path is at index 2. */
static int raise_refused(lua_State *L, int number, const char *call)
{
  lua_settop(L, 3);
  return agenda_error_raise_os(L, number, call, agenda_address_push_given(L, 2));
}

/* ----- new and set ------------------------------------------------------------------- */

/*** A new nonblocking socket of the running loop.
@function socket
@tparam string family "inet", "inet6" or "unix"
@tparam string kind "stream" or "dgram"
@treturn socket
@raise OSError; RuntimeError "no running event loop" */
static int l_socket(lua_State *L)
{
  static const char *const families[] = {"inet", "inet6", "unix", NULL};
  static const int family_numbers[] = {AF_INET, AF_INET6, AF_UNIX};
  static const char *const types[] = {"stream", "dgram", NULL};
  static const int type_numbers[] = {SOCK_STREAM, SOCK_DGRAM};
  int family = family_numbers[luaL_checkoption(L, 1, NULL, families)];
  int type = type_numbers[luaL_checkoption(L, 2, NULL, types)];
  agenda_socket_new(L, agenda_state_here(L), &agenda_socket_kind, family, type);
  return 1;
}

static const struct {
  const char *name;
  int level, option;
} options[] = {
  {"reuseaddr", SOL_SOCKET, SO_REUSEADDR},
  {"reuseport", SOL_SOCKET, SO_REUSEPORT},
  {"broadcast", SOL_SOCKET, SO_BROADCAST},
  {"sndbuf", SOL_SOCKET, SO_SNDBUF},
  {"rcvbuf", SOL_SOCKET, SO_RCVBUF},
  {"nodelay", IPPROTO_TCP, TCP_NODELAY},
  {"v6only", IPPROTO_IPV6, IPV6_V6ONLY},
  {NULL, 0, 0}
};

/*** Sets an option of the socket.
@function socket:set
@tparam string name "reuseaddr", "reuseport", "broadcast", "sndbuf", "rcvbuf", "nodelay", "v6only"
@tparam boolean|integer value
@raise OSError */
static int l_set(lua_State *L)
{
  agenda_socket *self = check_open(L);
  const char *name = luaL_checkstring(L, 2);
  int value = lua_isboolean(L, 3) ? lua_toboolean(L, 3) : (int)luaL_checkinteger(L, 3);
  for (int i = 0; options[i].name != NULL; i++) {
    if (strcmp(options[i].name, name) != 0)
      continue;
    if (setsockopt(self->fd, options[i].level, options[i].option, &value, sizeof value) < 0)
      return agenda_error_raise_os(L, errno, "setsockopt", name);
    return 0;
  }
  return luaL_argerror(L, 2, "unknown option");
}

/* ----- bind, listen, connect --------------------------------------------------------- */

/*** Gives the socket an address.
@function socket:bind
@tparam string host a numeric one; for a Unix socket its path
@tparam[opt] integer port
@raise OSError; ValueError for a port out of range */
static int l_bind(lua_State *L)
{
  agenda_address address;
  agenda_socket *self = check_open(L);
  int number = agenda_address_check(L, 2, self->family, &address);
  if (number != 0)
    return raise_refused(L, number, "bind");
  if (bind(self->fd, &address.any, address.length) < 0)
    return raise_at(L, errno, "bind", &address);
  return 0;
}

/*** Begins to listen for connections.
@function socket:listen
@tparam integer backlog
@raise OSError */
static int l_listen(lua_State *L)
{
  agenda_socket *self = check_open(L);
  lua_Integer backlog = luaL_checkinteger(L, 2);
  if (listen(self->fd, backlog > SOMAXCONN ? SOMAXCONN : (int)backlog) < 0)
    return agenda_error_raise_os(L, errno, "listen", NULL);
  self->called = "server";
  return 0;
}

/*** Begins to connect.
@function socket:connect
@tparam string host a numeric one; for a Unix socket its path
@tparam[opt] integer port
@treturn ?future nil when that is done already; else one that is done when `connected` can tell
@raise OSError; ValueError for a port out of range */
static int l_connect(lua_State *L)
{
  agenda_socket *self = check_open(L);
  int number = agenda_address_check(L, 2, self->family, &self->peer);
  if (number != 0)
    return raise_refused(L, number, "connect");
  int result;
  do
    result = connect(self->fd, &self->peer.any, self->peer.length);
  while (result < 0 && errno == EINTR && self->family == AF_UNIX);
  if (result == 0)
    return 0;
  if (errno != EINPROGRESS && errno != EINTR)
    return raise_at(L, errno, "connect", &self->peer);
  agenda_socket_push_wait(L, 1, AGENDA_SOCKET_WRITE);
  return 1;
}

/*** How the connecting ended.
@function socket:connected
@raise OSError when it failed; RuntimeError when the socket was closed meanwhile */
static int l_connected(lua_State *L)
{
  agenda_socket *self = check_open(L);
  int number = 0;
  socklen_t size = sizeof number;
  if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &number, &size) < 0)
    number = errno;
  if (number != 0)
    return raise_at(L, number, "connect", &self->peer);
  return 0;
}

/* ----- accept ------------------------------------------------------------------------ */

/* Whether accept should be called again: this connection alone has failed, see accept(2). */
static bool is_of_connection(int number)
{
  switch (number) {
    case EINTR: case ECONNABORTED: case EPROTO: case ENETDOWN: case ENOPROTOOPT:
    case EHOSTDOWN: case ENONET: case EHOSTUNREACH: case EOPNOTSUPP: case ENETUNREACH:
    case EPERM: case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

static bool anybody_there(int fd)
{
  struct pollfd entry = {.fd = fd, .events = POLLIN};
  return poll(&entry, 1, 0) > 0;
}

/* NB: with no descriptor left accept fails even when nobody has come. */
static int accept_one(agenda_socket *self)
{
  for (int tries = 0;; tries++) {
    self->peer.length = sizeof self->peer.storage;
    int fd = accept4(self->fd, &self->peer.any, &self->peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 || tries == MAX_FAILED || !is_of_connection(errno)) {
      int number = errno;
      if (fd < 0 && number != EAGAIN && (tries == MAX_FAILED || !anybody_there(self->fd)))
        number = EAGAIN;
      errno = number;
      return fd;
    }
  }
}

/*** Takes a connection that has come, if there is one.
@function socket:accept
@tparam[opt] boolean both whether its own address is asked for, too
@treturn ?integer its descriptor, which is the caller's to close from here on
@treturn ?table the peer's {host, port}; its path for a Unix socket
@treturn ?table its own {host, port}, if asked for
@raise OSError */
static int l_accept(lua_State *L)
{
  agenda_socket *self = check_open(L);
  bool both = lua_toboolean(L, 2);
  luaL_checkstack(L, 8, "accept");
  if (self->accepted < 0)
    self->accepted = accept_one(self);
  if (self->accepted < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK)
      return 0;
    return agenda_error_raise_os(L, errno, "accept", NULL);
  }
  /* NB: it is the socket's until nothing can fail any more. */
  agenda_address own = {.length = sizeof own.storage};
  agenda_address_push_value(L, &self->peer);
  if (both && getsockname(self->accepted, &own.any, &own.length) == 0)
    agenda_address_push_value(L, &own);
  else
    lua_pushnil(L);
  lua_pushinteger(L, self->accepted);
  lua_insert(L, -3);
  self->accepted = -1;
  return 3;
}

/* ----- the object -------------------------------------------------------------------- */

/*** Gives the descriptor away and closes the object; nobody may be waiting.
@function socket:release
@treturn integer the descriptor, which is the caller's to close from here on */
static int l_release(lua_State *L)
{
  check_object(L);
  lua_pushinteger(L, agenda_socket_release(L, 1));
  return 1;
}

static int push_name(lua_State *L, const char *call,
                     int (*get)(int, struct sockaddr *, socklen_t *))
{
  agenda_socket *self = check_open(L);
  agenda_address address = {.length = sizeof address.storage};
  address.any.sa_family = AF_UNSPEC;
  if (get(self->fd, &address.any, &address.length) < 0)
    return agenda_error_raise_os(L, errno, call, NULL);
  return agenda_address_push(L, &address);
}

static int get_sockname(int fd, struct sockaddr *address, socklen_t *length)
{
  return getsockname(fd, address, length);
}

static int get_peername(int fd, struct sockaddr *address, socklen_t *length)
{
  return getpeername(fd, address, length);
}

/*** The socket's own address.
@function socket:sockname
@treturn string host, or the path of a Unix socket
@treturn ?integer port
@raise OSError; RuntimeError when it is closed */
static int l_sockname(lua_State *L)
{
  return push_name(L, "getsockname", get_sockname);
}

/*** The address of what the socket is connected to.
@function socket:peername
@treturn string host, or the path of a Unix socket
@treturn ?integer port
@raise OSError ENOTCONN; RuntimeError when it is closed */
static int l_peername(lua_State *L)
{
  return push_name(L, "getpeername", get_peername);
}

/*** The socket's descriptor, which stays the socket's.
@function socket:fileno
@treturn integer
@raise RuntimeError when it is closed */
static int l_fileno(lua_State *L)
{
  lua_pushinteger(L, check_open(L)->fd);
  return 1;
}

/*** Closes the socket; who waits for it gets RuntimeError. Does nothing when it is closed.
@function socket:close */
static int l_close(lua_State *L)
{
  check_object(L);
  agenda_socket_close(L, 1);
  return 0;
}

/*** Whether the socket is closed.
@function socket:is_closed
@treturn boolean */
static int l_is_closed(lua_State *L)
{
  lua_pushboolean(L, !agenda_socket_is_open(check_object(L)));
  return 1;
}

/* "<socket fd=7 at 0x...>", "<socket closed at 0x...>" */
static int l_tostring(lua_State *L)
{
  agenda_socket_object *object = check_object(L);
  const char *name = "closed";
  if (agenda_socket_is_open(object))
    name = lua_pushfstring(L, "fd=%d", object->socket->fd);
  return agenda_push_description(L, &object->object, name);
}

/* ----- addresses --------------------------------------------------------------------- */

/*** The family of a numeric host.
@function address_family
@tparam string host
@treturn ?string "inet" or "inet6"; nil for a name */
static int l_address_family(lua_State *L)
{
  switch (agenda_address_family(luaL_checkstring(L, 1))) {
    case AF_INET: lua_pushliteral(L, "inet"); return 1;
    case AF_INET6: lua_pushliteral(L, "inet6"); return 1;
    default: return 0;
  }
}

/*** What tells the socket at a path from another that takes its place later.
@function socket_identity
@tparam string path
@treturn ?string nil if there is no socket there */
static int l_socket_identity(lua_State *L)
{
  struct stat status;
  if (lstat(luaL_checkstring(L, 1), &status) < 0 || !S_ISSOCK(status.st_mode))
    return 0;
  lua_pushfstring(L, "%I:%I", (LUAI_UACINT)status.st_dev, (LUAI_UACINT)status.st_ino);
  return 1;
}

/* ----- the class --------------------------------------------------------------------- */

static const luaL_Reg metamethods[] = {
  {"__gc", agenda_socket_gc},
  {"__close", l_close},
  {"__tostring", l_tostring},
  {NULL, NULL}
};

const luaL_Reg agenda_socket_methods[] = {
  {"sockname", l_sockname},
  {"peername", l_peername},
  {"fileno", l_fileno},
  {"close", l_close},
  {NULL, NULL}
};

/* For the Lua layer. */
const luaL_Reg agenda_socket_calls[] = {
  {"set", l_set},
  {"bind", l_bind},
  {"connect", l_connect},
  {"connected", l_connected},
  {"is_closed", l_is_closed},
  {NULL, NULL}
};

static const luaL_Reg stream_calls[] = {
  {"listen", l_listen},
  {"accept", l_accept},
  {"release", l_release},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"socket", l_socket},
  {"address_family", l_address_family},
  {"socket_identity", l_socket_identity},
  {NULL, NULL}
};

void agenda_open_socket(lua_State *L)
{
  agenda_class_register(L, &agenda_socket_kind, metamethods, stream_calls, NULL);
  agenda_class_push(L, &agenda_socket_kind);
  lua_getfield(L, -1, "__index");
  agenda_functions_register(L, agenda_socket_methods);
  agenda_functions_register(L, agenda_socket_calls);
  lua_pop(L, 2);
  agenda_functions_register(L, functions);
}
