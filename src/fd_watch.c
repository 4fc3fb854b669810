/*
** fd_watch.c: callbacks for descriptors that can be read or written.
**
** One watcher for each descriptor and direction. It begins with a handle, which is queued anew at
** each event; it is anchored in the schedule, and the loop's table of watchers finds it by number.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "errors.h"
#include "fd_watch.h"
#include "loop.h"

typedef struct fd_watch {
  agenda_handle handle;
  agenda_watch watch;
  ev_io io;
} fd_watch;

/* Not a kind of handle: cancel() would leave the descriptor watched. */
static const agenda_kind fd_watch_kind = {.name = "fd_watch", .metatable = "agenda.fd_watch"};

/* ----- state --------------------------------------------------------------------------- */

/* The key in the loop's table of watchers. */
static lua_Integer key_of(int fd, int direction)
{
  return 2 * (lua_Integer)fd + (direction == EV_WRITE);
}

/* The watcher under the key in the table on the top, or NULL; leaves it or nil. [-0, +1] */
static fd_watch *find(lua_State *L, lua_Integer key)
{
  lua_rawgeti(L, -1, key);
  return lua_touserdata(L, -1);
}

static void on_ready(struct ev_loop *ev, ev_io *io, int revents)
{
  (void)ev, (void)revents; /* an error, too, is for the callback to find out */
  agenda_loop_happened(&AGENDA_LIST_OWNER(io, fd_watch, io)->watch);
}

static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)loop;
  agenda_handle_queue(L, &AGENDA_LIST_OWNER(watch, fd_watch, watch)->handle);
}

/* Stops watching and lets go of the callback, which may be in the queue or run now. */
static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  fd_watch *self = AGENDA_LIST_OWNER(watch, fd_watch, watch);
  ev_io_stop(loop->ev, &self->io);
  agenda_loop_detach(loop, watch);
  agenda_handle_cancel(L, &self->handle);
}

/* ----- verbs --------------------------------------------------------------------------- */

int agenda_fd_check(lua_State *L, int index)
{
  luaL_Stream *stream = luaL_testudata(L, index, LUA_FILEHANDLE);
  if (stream != NULL) {
    luaL_argcheck(L, stream->closef != NULL, index, "the file is closed");
    return fileno(stream->f);
  }
  int is_integer = 0;
  lua_Integer fd = lua_tointegerx(L, index, &is_integer);
  if (!is_integer || lua_type(L, index) != LUA_TNUMBER)
    luaL_typeerror(L, index, "descriptor or file");
  return fd < 0 || fd > INT_MAX / 2 ? -1 : (int)fd;
}

/* loop, descriptor, function, arguments */
static int add(lua_State *L, int direction, const char *name)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  int fd = agenda_fd_check(L, 2);
  agenda_handle_check_callback(L, 3);
  if (fd < 0 || fcntl(fd, F_GETFD) < 0) {
    lua_pushfstring(L, "descriptor %s", luaL_tolstring(L, 2, NULL));
    return agenda_error_raise_os(L, EBADF, name, lua_tostring(L, -1));
  }
  int n = lua_gettop(L) - 3;
  lua_Integer key = key_of(fd, direction);
  luaL_checkstack(L, 8, "watcher");
  fd_watch *self = agenda_object_new(L, loop->object.state, &fd_watch_kind, sizeof *self,
                                     AGENDA_HANDLE_SLOTS);
  self->watch.happened = happened;
  self->watch.stop = stop;
  self->watch.polled = true;
  ev_io_init(&self->io, on_ready, fd, direction);
  lua_pushvalue(L, -1);
  lua_rotate(L, 3, 2); /* the watcher, twice, below the function */
  agenda_handle_prepare(L, &self->handle, loop->schedule, n);
  lua_getiuservalue(L, 1, AGENDA_LOOP_WATCHERS);
  fd_watch *earlier = find(L, key);
  lua_pushvalue(L, 3);
  lua_rawseti(L, -3, key);
  if (earlier != NULL)
    stop(L, loop, &earlier->watch);
  agenda_loop_attach(loop, &self->watch);
  ev_io_start(loop->ev, &self->io);
  return 0;
}

/* loop, descriptor */
static int take_off(lua_State *L, int direction)
{
  agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  lua_Integer key = key_of(agenda_fd_check(L, 2), direction);
  lua_getiuservalue(L, 1, AGENDA_LOOP_WATCHERS);
  fd_watch *self = find(L, key);
  bool watched = self != NULL && loop->ev != NULL && key >= 0;
  if (watched) {
    stop(L, loop, &self->watch);
    lua_pushnil(L);
    lua_rawseti(L, -3, key);
  }
  lua_pushboolean(L, watched);
  return 1;
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** Calls a function in each turn in which a descriptor can be read, or is at its end. Takes the
place of an earlier reader of the same descriptor. As in asyncio.
@function loop:add_reader
@tparam integer|file fd a descriptor or a Lua file; take it off before it is closed
@tparam function f the callback, which runs outside of any task
@param ... its arguments
@raise OSError EBADF when it is not open; RuntimeError when the loop is closed */
static int l_add_reader(lua_State *L)
{
  return add(L, EV_READ, "add_reader");
}

/*** Calls a function in each turn in which a descriptor can be written. Takes the place of an
earlier writer of the same descriptor. As in asyncio.
@function loop:add_writer
@tparam integer|file fd a descriptor or a Lua file; take it off before it is closed
@tparam function f the callback, which runs outside of any task
@param ... its arguments
@raise OSError EBADF when it is not open; RuntimeError when the loop is closed */
static int l_add_writer(lua_State *L)
{
  return add(L, EV_WRITE, "add_writer");
}

/*** Stops watching a descriptor for reading; its callback is not called again. As in asyncio.
@function loop:remove_reader
@tparam integer|file fd a descriptor or a Lua file
@treturn boolean whether it was watched */
static int l_remove_reader(lua_State *L)
{
  return take_off(L, EV_READ);
}

/*** Stops watching a descriptor for writing; its callback is not called again. As in asyncio.
@function loop:remove_writer
@tparam integer|file fd a descriptor or a Lua file
@treturn boolean whether it was watched */
static int l_remove_writer(lua_State *L)
{
  return take_off(L, EV_WRITE);
}

/* What the exception handler shows of a failed callback's watcher. */
static int l_tostring(lua_State *L)
{
  agenda_object_check(L, 1, &fd_watch_kind);
  agenda_handle_push_text(L, 1);
  return 1;
}

static const luaL_Reg metamethods[] = {
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg loop_methods[] = {
  {"add_reader", l_add_reader},
  {"add_writer", l_add_writer},
  {"remove_reader", l_remove_reader},
  {"remove_writer", l_remove_writer},
  {NULL, NULL}
};

void agenda_open_fd_watch(lua_State *L)
{
  agenda_class_register(L, &fd_watch_kind, metamethods, NULL, NULL);
  agenda_loop_push_methods(L);
  agenda_functions_register(L, loop_methods);
  lua_pop(L, 1);
}
