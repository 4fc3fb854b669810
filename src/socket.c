/*
** socket.c: sockets that belong to a loop, and waiting for them; socket_calls.c has what Lua calls.
**
**   (none) --new--> open --close, the end of the loop, collection--> closed
**
** The block with the watches stays in the loop's table until it is closed, with the futures of
** those who wait as user values; so who waits is kept alive by the loop, and an object that is
** dropped while nobody waits is collected and closes its socket. Should Lua lose that finalizer
** (where memory is short), the loop closes it at its end.
*/
#include "socket.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "body.h"
#include "errors.h"
#include "frame.h"

const agenda_kind agenda_socket_kind = {.name = "socket", .metatable = "agenda.socket"};

enum { OBJECT_SOCKET = 1 }; /* user values of the object */

enum {
  SOCKET_LOOP = 1, /* so that a collected loop's memory is there to be looked at */
  SOCKET_WAITING,  /* + direction: nil, a future, or a list of futures */
  SOCKET_OPENED = SOCKET_WAITING + 2, /* a traceback, in debug mode */
  SOCKET_SLOTS = SOCKET_OPENED
};

enum { AT_ONCE = 128 }; /* calls in a row that need not wait, before one takes a turn */

/* ----- state --------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

/* False for one that has no address yet. */
static bool find_address(const agenda_socket *self, agenda_address *address)
{
  if (self->fd < 0) {
    *address = self->last;
    return address->length > 0;
  }
  address->length = sizeof address->storage;
  if (getpeername(self->fd, &address->any, &address->length) == 0)
    return true;
  address->length = sizeof address->storage;
  if (getsockname(self->fd, &address->any, &address->length) < 0)
    return false;
  return address->any.sa_family == AF_UNIX || address->inet.sin_port != 0;
}

const char *agenda_socket_push_name(lua_State *L, const agenda_socket *self)
{
  agenda_address address;
  if (find_address(self, &address))
    return agenda_address_push_text(L, &address);
  lua_pushnil(L);
  return NULL;
}

/* Closes the descriptors; the block remembers its name. */
static void close_fds(agenda_socket *self)
{
  agenda_address address;
  if (find_address(self, &address))
    self->last = address;
  close_fd(&self->accepted);
  close_fd(&self->fd);
}

/* Pushes the block of the object at `index`. */
static agenda_socket *push_socket(lua_State *L, int index)
{
  lua_getiuservalue(L, index, OBJECT_SOCKET);
  return lua_touserdata(L, -1);
}

static void stop_side(agenda_socket *self, struct agenda_socket_side *side)
{
  ev_io_stop(self->loop->ev, &side->io);
  agenda_loop_detach(self->loop, &side->watch);
}

/* Resolves the futures of the direction of the block on the top, which are left there.
** [-0, +0, may raise memory errors] */
static void wake_waiting(lua_State *L, int direction)
{
  lua_getiuservalue(L, -1, SOCKET_WAITING + direction);
  if (lua_isuserdata(L, -1))
    agenda_future_finish(L, -1, 0);
  else if (lua_istable(L, -1)) {
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
      agenda_future_finish(L, -1, 0);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void forget_waiting(lua_State *L, int direction)
{
  lua_pushnil(L);
  lua_setiuservalue(L, -2, SOCKET_WAITING + direction);
}

static int l_wake_all(lua_State *L)
{
  wake_waiting(L, AGENDA_SOCKET_READ);
  wake_waiting(L, AGENDA_SOCKET_WRITE);
  return 0;
}

/* Stops and closes the socket of the block on the top. [-1, +0] */
static void shut(lua_State *L, agenda_socket *self)
{
  agenda_event_loop *loop = self->loop;
  for (int direction = 0; direction < 2; direction++)
    stop_side(self, &self->side[direction]);
  agenda_loop_detach(loop, &self->life);
  self->loop = NULL;
  close_fds(self);
  if (!loop->schedule->closed) {
    lua_pushcfunction(L, l_wake_all);
    lua_pushvalue(L, -2);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
      lua_pop(L, 1); /* no memory: they are woken by what comes next, or at the end */
  }
  forget_waiting(L, AGENDA_SOCKET_READ);
  forget_waiting(L, AGENDA_SOCKET_WRITE);
  lua_getiuservalue(L, -1, SOCKET_LOOP);
  lua_getiuservalue(L, -1, AGENDA_LOOP_WATCHERS);
  lua_pushnil(L);
  lua_rawsetp(L, -2, self);
  lua_pop(L, 3);
}

/* ----- events -------------------------------------------------------------------------- */

static void on_ready(struct ev_loop *ev, ev_io *io, int revents)
{
  (void)ev, (void)revents; /* an error, too, is for the call to find out */
  agenda_loop_happened(&AGENDA_LIST_OWNER(io, struct agenda_socket_side, io)->watch);
}

static agenda_socket *owner_of(struct agenda_socket_side *side, int direction)
{
  return AGENDA_LIST_OWNER(side - direction, agenda_socket, side);
}

/* Pushes the block, which the loop's table has; nil where the loop is being collected. */
static void push_block(lua_State *L, agenda_event_loop *loop, agenda_socket *self)
{
  agenda_loop_push(L, loop->schedule);
  if (lua_isnil(L, -1))
    return;
  lua_getiuservalue(L, -1, AGENDA_LOOP_WATCHERS);
  lua_rawgetp(L, -1, self);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* NB: forgets who waits only when all are woken, which may fail for want of memory. */
static void side_happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  struct agenda_socket_side *side = AGENDA_LIST_OWNER(watch, struct agenda_socket_side, watch);
  int direction = (side->io.events & EV_WRITE) != 0;
  agenda_socket *self = owner_of(side, direction);
  push_block(L, loop, self);
  wake_waiting(L, direction);
  forget_waiting(L, direction);
  lua_pop(L, 1);
  stop_side(self, side);
}

static void side_stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)L;
  ev_io_stop(loop->ev, &AGENDA_LIST_OWNER(watch, struct agenda_socket_side, watch)->io);
}

static void life_happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)L, (void)loop, (void)watch;
}

/* Says that the socket of the block at index 1 was not closed, and where it was opened. */
static int l_warn_left_open(lua_State *L)
{
  agenda_schedule *schedule = lua_touserdata(L, 2);
  const char *message = lua_pushfstring(L, "a %s was left unclosed until its loop was closed",
                                        (const char *)lua_touserdata(L, 3));
  lua_createtable(L, 0, 2);
  if (lua_isuserdata(L, 1))
    lua_getiuservalue(L, 1, SOCKET_OPENED);
  else
    lua_pushnil(L);
  lua_setfield(L, -2, "traceback");
  agenda_future_report(L, schedule, message);
  return 0;
}

/* The loop closes. */
static void life_stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_socket *self = AGENDA_LIST_OWNER(watch, agenda_socket, life);
  bool told = loop->schedule->debug && self->fd >= 0;
  for (int direction = 0; direction < 2; direction++)
    stop_side(self, &self->side[direction]);
  close_fds(self);
  if (told && lua_checkstack(L, 8)) {
    lua_pushcfunction(L, l_warn_left_open);
    push_block(L, loop, self);
    lua_pushlightuserdata(L, loop->schedule);
    lua_pushlightuserdata(L, (void *)self->called);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK)
      lua_pop(L, 1);
  }
  self->loop = NULL;
}

/* ----- new ----------------------------------------------------------------------------- */

/* Leaves the block; born closed. [-0, +1, may raise] */
static agenda_socket *new_block(lua_State *L, agenda_state *state, const agenda_kind *kind,
                                int family)
{
  agenda_socket *self = lua_newuserdatauv(L, sizeof *self, SOCKET_SLOTS);
  memset(self, 0, sizeof *self);
  self->fd = self->accepted = -1;
  self->family = family;
  self->called = kind->name;
  self->life.happened = life_happened;
  self->life.stop = life_stop;
  self->life.silent = true;
  agenda_list_init(&self->life.link);
  for (int direction = 0; direction < 2; direction++) {
    struct agenda_socket_side *side = &self->side[direction];
    side->watch.happened = side_happened;
    side->watch.stop = side_stop;
    side->watch.polled = true;
    agenda_list_init(&side->watch.link);
    ev_io_init(&side->io, on_ready, -1, direction == AGENDA_SOCKET_READ ? EV_READ : EV_WRITE);
  }
  agenda_loop_push(L, state->schedule);
  lua_setiuservalue(L, -2, SOCKET_LOOP);
  if (state->debug) {
    luaL_traceback(L, L, NULL, 1);
    lua_setiuservalue(L, -2, SOCKET_OPENED);
  }
  return self;
}

agenda_socket_object *agenda_socket_new(lua_State *L, agenda_state *state, const agenda_kind *kind,
                                        int family, int type)
{
  luaL_checkstack(L, 8, "socket");
  if (state->loop == NULL)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  agenda_socket_object *object = agenda_object_new(L, state, kind, sizeof *object, OBJECT_SOCKET);
  agenda_socket *self = new_block(L, state, kind, family);
  lua_getiuservalue(L, -1, SOCKET_LOOP);
  lua_getiuservalue(L, -1, AGENDA_LOOP_WATCHERS);
  lua_pushvalue(L, -3);
  lua_rawsetp(L, -2, self); /* may fail, so before there is anything to lose */
  lua_pop(L, 2);
  lua_setiuservalue(L, -2, OBJECT_SOCKET);
  self->loop = state->loop;
  agenda_loop_attach(self->loop, &self->life);
  object->socket = self;
  self->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (self->fd < 0) {
    int number = errno;
    agenda_socket_close(L, -1);
    agenda_error_raise_os(L, number, "socket", NULL);
  }
  for (int direction = 0; direction < 2; direction++) {
    struct agenda_socket_side *side = &self->side[direction];
    ev_io_set(&side->io, self->fd, direction == AGENDA_SOCKET_READ ? EV_READ : EV_WRITE);
  }
  return object;
}

/* ----- close --------------------------------------------------------------------------- */

bool agenda_socket_is_open(const agenda_socket_object *object)
{
  return object->socket != NULL && object->socket->loop != NULL;
}

void agenda_socket_close(lua_State *L, int index)
{
  if (!agenda_socket_is_open(lua_touserdata(L, index)))
    return;
  luaL_checkstack(L, 8, "close");
  shut(L, push_socket(L, index));
}

int agenda_socket_release(lua_State *L, int index)
{
  agenda_socket *self = agenda_socket_open_of(L, index);
  int fd = self->fd;
  for (int direction = 0; direction < 2; direction++)
    stop_side(self, &self->side[direction]);
  self->fd = -1;
  agenda_socket_close(L, index);
  return fd;
}

/* Says where the socket of the object at index 1 was opened. */
static void warn_unclosed(lua_State *L, const agenda_socket_object *object)
{
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, object->object.kind->name);
  push_socket(L, 1);
  lua_getiuservalue(L, -1, SOCKET_OPENED);
  lua_setfield(L, -3, "traceback");
  lua_pop(L, 1);
  lua_pushfstring(L, "a %s was dropped unclosed", object->socket->called);
  lua_insert(L, -2);
  agenda_warn(L, lua_tostring(L, -2));
}

/* __gc: gives the descriptor back, when it is collected for the second time: a generator that is
** collected with it may still use it in its cleanup. */
int agenda_socket_gc(lua_State *L)
{
  agenda_socket_object *object = lua_touserdata(L, 1);
  if (!agenda_socket_is_open(object))
    return 0;
  if (!object->doomed) {
    object->doomed = true;
    agenda_body_rearm(L);
    return 0;
  }
  bool told = object->object.state->debug;
  agenda_socket_close(L, 1);
  if (told)
    warn_unclosed(L, object);
  return 0;
}

/* ----- waiting ------------------------------------------------------------------------- */

agenda_socket *agenda_socket_open_of(lua_State *L, int index)
{
  agenda_socket_object *object = lua_touserdata(L, index);
  if (agenda_socket_is_open(object))
    return object->socket;
  const char *kind = object->object.kind->name;
  const char *name = object->socket != NULL ? agenda_socket_push_name(L, object->socket) : NULL;
  if (name != NULL)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: the %s is closed", name, kind);
  agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "the %s is closed", kind);
  return NULL;
}

void agenda_socket_push_wait(lua_State *L, int index, agenda_socket_direction direction)
{
  agenda_socket *self = agenda_socket_open_of(L, index);
  struct agenda_socket_side *side = &self->side[direction];
  agenda_state *state = self->loop->object.state;
  agenda_future_create(L, state, self->loop->schedule);
  push_socket(L, index);
  switch (lua_getiuservalue(L, -1, SOCKET_WAITING + direction)) {
    case LUA_TNIL:
      lua_pushvalue(L, -3);
      lua_setiuservalue(L, -3, SOCKET_WAITING + direction);
      break;
    case LUA_TTABLE:
      lua_pushvalue(L, -3);
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
      break;
    default:
      lua_createtable(L, 4, 0);
      lua_pushvalue(L, -2);
      lua_rawseti(L, -2, 1);
      lua_pushvalue(L, -4);
      lua_rawseti(L, -2, 2);
      lua_setiuservalue(L, -3, SOCKET_WAITING + direction);
  }
  lua_pop(L, 2);
  if (!ev_is_active(&side->io)) {
    agenda_loop_attach(self->loop, &side->watch);
    ev_io_start(self->loop->ev, &side->io);
  }
}

/* Takes the future at index 1 off those that wait for the socket of the object at index 2. */
static void end_wait(lua_State *L, agenda_socket *self, int direction)
{
  push_socket(L, 2);
  int type = lua_getiuservalue(L, -1, SOCKET_WAITING + direction);
  bool none = type == LUA_TNIL;
  if (lua_rawequal(L, -1, 1)) {
    lua_pushnil(L);
    lua_setiuservalue(L, -3, SOCKET_WAITING + direction);
    none = true;
  }
  else if (type == LUA_TTABLE) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1), kept = 0;
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, -1, i);
      if (lua_rawequal(L, -1, 1))
        lua_pop(L, 1);
      else
        lua_rawseti(L, -2, ++kept);
    }
    for (lua_Integer i = kept + 1; i <= n; i++) {
      lua_pushnil(L);
      lua_rawseti(L, -2, i);
    }
    none = kept == 0;
  }
  lua_pop(L, 2);
  if (none && self->loop != NULL)
    stop_side(self, &self->side[direction]);
}

int agenda_socket_await(lua_State *L, agenda_socket_direction direction, lua_KFunction k)
{
  agenda_state *state = agenda_state_here(L);
  const char *why = agenda_frame_cannot_wait(L, state, true);
  if (why != NULL)
    return agenda_frame_refuse_wait(L, state, "wait", why);
  luaL_checkstack(L, 8, "wait");
  agenda_socket_push_wait(L, 1, direction);
  lua_insert(L, 1); /* where the cancelling of a task looks for it */
  struct agenda_socket_side *side = &agenda_socket_open_of(L, 2)->side[direction];
  side->busy = true;
  side->at_once = 0;
  if (state->runner->kind == AGENDA_RUNNER_HAND) {
    lua_pushvalue(L, 1);
    return agenda_frame_wait(L, state, 1, 0, k);
  }
  agenda_task_wait_on(L, state->runner->task, 1);
  return agenda_frame_wait(L, state, 0, 0, k);
}

agenda_socket *agenda_socket_awaited(lua_State *L, agenda_socket_direction direction)
{
  agenda_socket_object *object = lua_touserdata(L, 2);
  agenda_future *future = lua_touserdata(L, 1);
  object->socket->side[direction].busy = false;
  end_wait(L, object->socket, direction);
  agenda_frame_resumed(L, agenda_state_here(L));
  if (future->status == AGENDA_FUTURE_PENDING)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "await wasn't used with future");
  agenda_future_result(L, 1);
  lua_remove(L, 1);
  return agenda_socket_open_of(L, 1);
}

bool agenda_socket_takes_turn(agenda_socket *self, agenda_socket_direction direction)
{
  return ++self->side[direction].at_once > AT_ONCE;
}
