/*
** datagram.c: sending and receiving datagrams.
**
** A datagram is taken from the system by the task that asked for it, at the moment that it runs; so
** one that is cancelled while it waits has taken none.
*/
#include "datagram.h"

#include <errno.h>
#include <string.h>

#include "errors.h"
#include "frame.h"

const agenda_kind agenda_datagram_kind = {.name = "datagram",
                                          .metatable = "agenda.datagram",
                                          .parent = &agenda_socket_kind};

enum { MAX_SIZE = 65536 }; /* more than a datagram can have */

static bool would_block(int number)
{
  return number == EAGAIN || number == EWOULDBLOCK;
}

static agenda_socket *check_open(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_datagram_kind);
  return agenda_socket_open_of(L, 1);
}

/*** A new socket for datagrams.
@function datagram_socket
@tparam string family "inet" or "inet6"
@treturn datagram
@raise OSError; RuntimeError "no running event loop" */
static int l_datagram_socket(lua_State *L)
{
  static const char *const families[] = {"inet", "inet6", NULL};
  int family = luaL_checkoption(L, 1, NULL, families) == 0 ? AF_INET : AF_INET6;
  agenda_socket_new(L, agenda_state_here(L), &agenda_datagram_kind, family, SOCK_DGRAM);
  return 1;
}

/* ----- receiving ----------------------------------------------------------------------- */

/* Pushes the text and {host, port}. */
static int push_datagram(lua_State *L, const char *data, size_t size, const agenda_address *from)
{
  lua_pushlstring(L, data, size);
  agenda_address_push_value(L, from);
  return 2;
}

static int receive_now(lua_State *L, agenda_socket *self);

static int on_readable(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return receive_now(L, agenda_socket_awaited(L, AGENDA_SOCKET_READ));
}

static int receive_now(lua_State *L, agenda_socket *self)
{
  char data[MAX_SIZE];
  agenda_address from = {.length = sizeof from.storage};
  ssize_t size;
  from.any.sa_family = AF_UNSPEC;
  do
    size = recvfrom(self->fd, data, sizeof data, 0, &from.any, &from.length);
  while (size < 0 && errno == EINTR);
  if (size >= 0)
    return push_datagram(L, data, (size_t)size, &from);
  if (would_block(errno))
    return agenda_socket_await(L, AGENDA_SOCKET_READ, on_readable);
  int number = errno;
  return agenda_error_raise_os(L, number, "recvfrom", agenda_socket_push_name(L, self));
}

/*** Receives a datagram. Awaits until there is one. A call that is cancelled has taken none.
@function datagram:recv
@treturn string its data, which may be ""
@treturn table where it came from: {host, port}
@raise OSError, ECONNREFUSED among them: the peer's system says that nobody receives what was sent
to it; RuntimeError when another task receives, and when it is closed; CancelledError */
static int l_recv(lua_State *L)
{
  agenda_socket *self = check_open(L);
  lua_settop(L, 1);
  if (self->side[AGENDA_SOCKET_READ].busy)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "recv() called while another task is already waiting for a datagram");
  if (agenda_socket_takes_turn(self, AGENDA_SOCKET_READ))
    return agenda_socket_await(L, AGENDA_SOCKET_READ, on_readable);
  return receive_now(L, self);
}

/* ----- sending ------------------------------------------------------------------------- */

/* Reads {host, port} at index 3, which may be nil. False for a host that is a name. */
static bool check_destination(lua_State *L, const agenda_socket *self, agenda_address *to)
{
  to->length = 0;
  if (lua_isnoneornil(L, 3))
    return true;
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  luaL_argcheck(L, lua_rawgeti(L, 3, 1) == LUA_TSTRING, 3, "{host, port} expected");
  luaL_argcheck(L, lua_rawgeti(L, 3, 2) == LUA_TNUMBER && lua_isinteger(L, 5), 3,
                "{host, port} expected");
  int number = agenda_address_check(L, 4, self->family, to);
  if (number == EAFNOSUPPORT)
    agenda_error_raise_os(L, number, "sendto", agenda_address_push_given(L, 4));
  lua_settop(L, 3);
  if (number == 0 && self->peer.length > 0) {
    if (memcmp(to, &self->peer, sizeof *to) != 0)
      agenda_error_raise(L, AGENDA_VALUE_ERROR, "the datagram is connected to %s, not %s",
                         agenda_address_push_text(L, &self->peer),
                         agenda_address_push_text(L, to));
    to->length = 0;
  }
  return number == 0;
}

static int send_now(lua_State *L, agenda_socket *self);

static int on_writable(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return send_now(L, agenda_socket_awaited(L, AGENDA_SOCKET_WRITE));
}

static int send_now(lua_State *L, agenda_socket *self)
{
  agenda_address to;
  size_t length;
  const char *data = lua_tolstring(L, 2, &length);
  if (!check_destination(L, self, &to)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  ssize_t size;
  do
    size = sendto(self->fd, data, length, MSG_NOSIGNAL, to.length > 0 ? &to.any : NULL, to.length);
  while (size < 0 && errno == EINTR);
  if (size >= 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  if (would_block(errno))
    return agenda_socket_await(L, AGENDA_SOCKET_WRITE, on_writable);
  int number = errno;
  const char *what =
    to.length > 0 ? agenda_address_push_text(L, &to) : agenda_socket_push_name(L, self);
  return agenda_error_raise_os(L, number, "sendto", what);
}

/*** Sends a datagram. Awaits while the system has no room for it.
@function datagram:_send
@tparam string data
@tparam[opt] table addr {host, port}
@treturn boolean false if the host is a name, which has to be resolved first; nothing was sent then
@raise OSError: EMSGSIZE if it is too large, EDESTADDRREQ without an address, ECONNREFUSED as
`recv`; RuntimeError when it is closed; CancelledError, with nothing sent */
static int l_send(lua_State *L)
{
  agenda_socket *self = check_open(L);
  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 3);
  if (agenda_socket_takes_turn(self, AGENDA_SOCKET_WRITE) &&
      agenda_frame_cannot_wait(L, agenda_state_here(L), true) == NULL)
    return agenda_socket_await(L, AGENDA_SOCKET_WRITE, on_writable);
  return send_now(L, self);
}

/* ----- the class ----------------------------------------------------------------------- */

/* At the end of a block. */
static int l_close(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_datagram_kind);
  agenda_socket_close(L, 1);
  return 0;
}

/* "<datagram fd=7 at 0x...>", "<datagram closed at 0x...>" */
static int l_tostring(lua_State *L)
{
  agenda_socket_object *object = agenda_object_check(L, 1, &agenda_datagram_kind);
  const char *name = "closed";
  if (agenda_socket_is_open(object))
    name = lua_pushfstring(L, "fd=%d", object->socket->fd);
  return agenda_push_description(L, &object->object, name);
}

static const luaL_Reg metamethods[] = {
  {"__gc", agenda_socket_gc},
  {"__close", l_close},
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"recv", l_recv},
  {"_send", l_send},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"datagram_socket", l_datagram_socket},
  {NULL, NULL}
};

void agenda_open_datagram(lua_State *L)
{
  agenda_class_register(L, &agenda_datagram_kind, metamethods, methods, NULL);
  agenda_class_push(L, &agenda_datagram_kind);
  lua_getfield(L, -1, "__index");
  agenda_functions_register(L, agenda_socket_methods);
  agenda_functions_register(L, agenda_socket_calls);
  lua_setfield(L, -3, "_datagram_methods"); /* for those that are written in Lua */
  lua_pop(L, 1);
  agenda_functions_register(L, functions);
}
