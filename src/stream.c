/*
** stream.c: streams as objects: opened on a descriptor, described, closed.
**
**            close                   all is sent, or it failed
**   OPEN ------------> CLOSING ----------------------------> CLOSED
**     \--------------------------------------------------------^
**         abort, collected, the loop closes; close with nothing unsent
*/
#include "stream.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "body.h"
#include "descriptors.h"
#include "errors.h"

const agenda_kind agenda_stream_kind = {.name = "stream", .metatable = "agenda.stream"};

/* ----- handles ------------------------------------------------------------------------- */

static agenda_stream_handle *check_handle(lua_State *L)
{
  agenda_stream_handle *handle = agenda_object_quick(L, 1, &agenda_stream_kind);
  if (AGENDA_UNLIKELY(handle == NULL))
    handle = agenda_object_check(L, 1, &agenda_stream_kind);
  return handle;
}

void agenda_stream_push(lua_State *L, int index)
{
  lua_getiuservalue(L, index, 1);
}

void agenda_stream_push_open(lua_State *L, const agenda_stream *stream)
{
  agenda_schedule_push(L, stream->loop->schedule, stream->anchor);
}

/* Puts a name in place of the address on the top: true if there is one. */
static bool name_address(lua_State *L)
{
  if (lua_istable(L, -1)) {
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    const char *host = lua_tostring(L, -2), *port = lua_tostring(L, -1);
    if (host == NULL || port == NULL)
      lua_pushliteral(L, "");
    else
      lua_pushfstring(L, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
    lua_replace(L, -4);
    lua_pop(L, 2);
  }
  return lua_isstring(L, -1) && lua_rawlen(L, -1) > 0;
}

/* Pushes the name of the stream whose userdata, or nil, is at `index`. [-0, +1] */
static const char *push_name_of(lua_State *L, const agenda_stream *stream, int index)
{
  static const int slots[] = {AGENDA_STREAM_NAME, AGENDA_STREAM_PEERNAME, AGENDA_STREAM_SOCKNAME};
  luaL_checkstack(L, 6, "name of a stream");
  if (stream != NULL)
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
      lua_getiuservalue(L, index, slots[i]);
      if (name_address(L))
        return lua_tostring(L, -1);
      lua_pop(L, 1);
    }
  if (stream != NULL && stream->fd >= 0)
    return lua_pushfstring(L, "fd %d", stream->fd);
  return lua_pushliteral(L, "stream");
}

const char *agenda_stream_push_name(lua_State *L, int index)
{
  const agenda_stream_handle *handle = lua_touserdata(L, index);
  lua_getiuservalue(L, index, 1);
  const char *name = push_name_of(L, handle->stream, lua_gettop(L));
  lua_remove(L, -2);
  return name;
}

int agenda_stream_raise_closed(lua_State *L, int index)
{
  return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: the stream is closed",
                            agenda_stream_push_name(L, index));
}

agenda_stream *agenda_stream_check_open(lua_State *L)
{
  agenda_stream *stream = check_handle(L)->stream;
  if (AGENDA_UNLIKELY(stream == NULL || stream->status != AGENDA_STREAM_OPEN))
    agenda_stream_raise_closed(L, 1);
  return stream;
}

/* ----- opening ------------------------------------------------------------------------- */

static const char SHARED_KEY;

static int l_shared_gc(lua_State *L)
{
  agenda_stream_shared *shared = lua_touserdata(L, 1);
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  if (shared->kept.data != NULL)
    allocate(ud, shared->kept.data, shared->kept.size, 0);
  shared->kept.data = NULL;
  return 0;
}

static agenda_stream_shared *get_shared(lua_State *L)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &SHARED_KEY);
  agenda_stream_shared *shared = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (shared != NULL)
    return shared;
  shared = lua_newuserdatauv(L, sizeof *shared, 0);
  shared->borrower = NULL;
  shared->step = 0;
  shared->row = 0;
  shared->kept = (agenda_stream_input){0};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_shared_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &SHARED_KEY);
  return shared;
}

/* Finds out what it is and sets O_NONBLOCK, which does nothing for files; false with errno set. */
static bool prepare_descriptor(agenda_stream *stream)
{
  struct stat status;
  if (fstat(stream->fd, &status) != 0)
    return false;
  stream->medium = S_ISSOCK(status.st_mode)   ? AGENDA_MEDIUM_SOCKET
                   : S_ISFIFO(status.st_mode) ? AGENDA_MEDIUM_PIPE
                                              : AGENDA_MEDIUM_OTHER;
  return S_ISREG(status.st_mode) || agenda_descriptor_set_nonblocking(stream->fd);
}

/* Whether a source is a file of the library's Lua layer: its folder is called agenda. */
static bool is_ours(const char *source)
{
  static const char folder[] = "/agenda";
  const char *name = strrchr(source, '/');
  size_t width = sizeof folder - 1;
  return name != NULL && (size_t)(name - source) >= width &&
         strncmp(name - width, folder, width) == 0;
}

/* Pushes where the stream was opened: the innermost line that is not the library's. */
static void push_opener(lua_State *L)
{
  lua_Debug info;
  for (int level = 1; lua_getstack(L, level, &info); level++)
    if (lua_getinfo(L, "Sl", &info) && info.currentline > 0 && !is_ours(info.source)) {
      lua_pushfstring(L, "%s:%d", info.short_src, info.currentline);
      return;
    }
  luaL_where(L, 2);
}

/* A boolean option of the table at index 2, true by default. */
static bool get_flag(lua_State *L, const char *name)
{
  bool flag = lua_getfield(L, 2, name) == LUA_TNIL || lua_toboolean(L, -1);
  lua_pop(L, 1);
  return flag;
}

static size_t get_limit(lua_State *L)
{
  size_t limit = AGENDA_STREAM_LIMIT;
  if (lua_getfield(L, 2, "limit") != LUA_TNIL) {
    int is_integer;
    lua_Integer n = lua_tointegerx(L, -1, &is_integer);
    if (lua_type(L, -1) != LUA_TNUMBER)
      luaL_error(L, "bad option 'limit' (number expected, got %s)", luaL_typename(L, -1));
    if (!is_integer && lua_tonumber(L, -1) == HUGE_VAL)
      n = LUA_MAXINTEGER;
    else if (!is_integer || n <= 0)
      agenda_error_raise(L, AGENDA_VALUE_ERROR, "Limit cannot be <= 0");
    limit = (size_t)n;
  }
  lua_pop(L, 1);
  return limit;
}

/*
** descriptor, options or nil. NB: from the moment that `stream->fd` is set, with the loop holding
** the stream, the descriptor is the stream's; before, l_stream closes it when this fails.
*/
static int l_open(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  int fd = (int)lua_tointeger(L, 1);
  if (state->loop == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  size_t limit = get_limit(L);
  agenda_stream_handle *handle =
    agenda_object_new(L, state, &agenda_stream_kind, sizeof *handle, 1);
  agenda_stream *stream = lua_newuserdatauv(L, sizeof *stream, AGENDA_STREAM_SLOTS);
  *stream = (agenda_stream){.fd = fd, .limit = limit, .output = {.first = 1}};
  stream->status = AGENDA_STREAM_CLOSED;
  agenda_list_init(&stream->watch.link);
  agenda_list_init(&stream->watch.event);
  stream->readable = get_flag(L, "readable");
  stream->writable = get_flag(L, "writable");
  stream->shared = get_shared(L);
  lua_getfield(L, 2, "name");
  lua_setiuservalue(L, 4, AGENDA_STREAM_NAME);
  lua_getfield(L, 2, "peername");
  lua_setiuservalue(L, 4, AGENDA_STREAM_PEERNAME);
  lua_getfield(L, 2, "sockname");
  lua_setiuservalue(L, 4, AGENDA_STREAM_SOCKNAME);
  if (state->debug) {
    push_opener(L);
    lua_setiuservalue(L, 4, AGENDA_STREAM_OPENED);
  }
  stream->keeps_input = lua_getfield(L, 2, "keeps_input") != LUA_TNIL;
  stream->standard = lua_getfield(L, 2, "standard") != LUA_TNIL;
  lua_getfield(L, 2, "shared");
  stream->shared_file = lua_toboolean(L, -1);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, 3, 1);
  stream->anchor = agenda_schedule_anchor(L, state->schedule, 4);
  if (stream->shared_file)
    agenda_stream_share();
  if (!prepare_descriptor(stream)) {
    int number = errno;
    if (stream->shared_file)
      agenda_stream_unshare();
    agenda_schedule_unanchor(L, state->schedule, stream->anchor);
    return agenda_error_raise_os(L, number, "open", lua_pushfstring(L, "fd %d", fd));
  }
  stream->loop = state->loop;
  agenda_stream_watch(stream);
  agenda_loop_attach(stream->loop, &stream->watch);
  stream->status = AGENDA_STREAM_OPEN;
  handle->stream = stream;
  if (stream->keeps_input)
    agenda_stream_adopt_input(stream);
  lua_settop(L, 3);
  return 1;
}

/*** A stream on a descriptor, which is the stream's from now on, also when this fails. For the
rooms that open things.
@function stream
@tparam integer fd the descriptor
@tparam[opt] table opts `readable` and `writable` (true), `limit` (64 KiB), `name` for messages,
`peername` and `sockname`: a list of host and port, or a path; `standard`: it is a standard stream;
`shared`: and others have its open file, too; `keeps_input`: and it is standard input
@treturn stream
@raise RuntimeError "no running event loop"; ValueError for a limit of 0 and less; OSError */
static int l_stream(lua_State *L)
{
  int fd = (int)luaL_checkinteger(L, 1);
  lua_settop(L, 2);
  if (!lua_istable(L, 2)) {
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_replace(L, 2);
  }
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
    if (fd >= 0)
      agenda_descriptor_close(fd);
    return lua_error(L);
  }
  return 1;
}

/* ----- closing ------------------------------------------------------------------------- */

void agenda_stream_close_descriptor(agenda_stream *stream)
{
  agenda_stream_await_input(stream, false);
  agenda_stream_await_output(stream, false);
  ev_io_stop(stream->loop->ev, &stream->reading);
  int fd = stream->fd;
  if (stream->filter != NULL && fd >= 0)
    agenda_stream_discard_input(stream);
  stream->fd = -1;
  if (fd >= 0)
    agenda_descriptor_close(fd);
  if (stream->shared_file)
    agenda_stream_unshare();
  stream->shared_file = false;
}

/* NB: the stream's userdata may be garbage from here on, if the caller has it nowhere. */
void agenda_stream_release(lua_State *L, agenda_stream *stream)
{
  stream->status = AGENDA_STREAM_CLOSED;
  if (stream->loop == NULL)
    return;
  agenda_schedule *schedule = stream->loop->schedule;
  agenda_stream_close_descriptor(stream);
  agenda_task_leave(&stream->reader);
  agenda_loop_detach(stream->loop, &stream->watch);
  if (stream->keeps_input)
    agenda_stream_keep_input(L, stream);
  agenda_stream_drop_input(L, stream);
  agenda_stream_release_filter(L, stream);
  stream->output = (agenda_stream_output){.first = 1};
  stream->loop = NULL;
  agenda_schedule_unanchor(L, schedule, stream->anchor);
  stream->anchor = 0;
}

void agenda_stream_finish(lua_State *L, agenda_stream *stream, int index)
{
  agenda_stream_drop_output(L, stream, index);
  agenda_stream_release(L, stream);
  agenda_stream_wake_all(L, index, AGENDA_STREAM_GONE);
}

/* Begins to close the stream of the handle at index 1. Who reads finds out; who waits for data to
** be sent goes on waiting, for it will be. */
static void start_closing(lua_State *L, agenda_stream *stream)
{
  if (stream == NULL || stream->status != AGENDA_STREAM_OPEN)
    return;
  stream->status = AGENDA_STREAM_CLOSING;
  luaL_checkstack(L, 10, "close");
  agenda_stream_push(L, 1);
  int index = lua_gettop(L);
  agenda_stream_wake_reader(L, stream, index);
  ev_io_stop(stream->loop->ev, &stream->reading);
  agenda_stream_drop_input(L, stream);
  if (stream->filter != NULL && stream->write_error == 0)
    agenda_stream_flush(L, stream, index);
  else if (stream->output.unsent == 0)
    agenda_stream_finish(L, stream, index);
  lua_settop(L, index - 1);
}

static void abort_stream(lua_State *L, agenda_stream *stream)
{
  if (stream == NULL || stream->status == AGENDA_STREAM_CLOSED)
    return;
  stream->error_told = true;
  luaL_checkstack(L, 10, "abort");
  agenda_stream_push(L, 1);
  int index = lua_gettop(L);
  stream->status = AGENDA_STREAM_CLOSING;
  stream->aborted = true;
  agenda_stream_wake_reader(L, stream, index);
  agenda_stream_wake_all(L, index, AGENDA_STREAM_ROOM);
  agenda_stream_wake_all(L, index, AGENDA_STREAM_SENT);
  agenda_stream_finish(L, stream, index);
  lua_settop(L, index - 1);
}

/*** Stops reading, sends what is unsent, closes. Does not wait. A task that is blocked in a read
gets an error at once; one in a write or a drain goes on when its data is sent. A second call does
nothing. As in asyncio.
@function stream:close */
static int l_close(lua_State *L)
{
  start_closing(L, check_handle(L)->stream);
  return 0;
}

/*** Discards what is unsent and closes at once. Tasks that are blocked get an error. A second call
does nothing.
@function stream:abort */
static int l_abort(lua_State *L)
{
  abort_stream(L, check_handle(L)->stream);
  return 0;
}

static int after_gone(lua_State *L, int status, lua_KContext context);

static int wait_for_gone(lua_State *L, agenda_stream *stream)
{
  if (stream == NULL || stream->status == AGENDA_STREAM_CLOSED) {
    if (stream != NULL && stream->write_error != 0 && !stream->error_told)
      return agenda_stream_raise_write_error(L, stream, 1);
    return 0;
  }
  return agenda_stream_wait_listed(L, AGENDA_STREAM_GONE, "wait", after_gone);
}

static int after_gone(lua_State *L, int status, lua_KContext context)
{
  (void)status, (void)context;
  return wait_for_gone(L, agenda_stream_wait_over(L));
}

/*** Waits until the stream is closed and all that was unsent before is sent. Awaits.
@function stream:wait_closed
@raise OSError when that could not be sent, unless a write has raised it already */
static int l_wait_closed(lua_State *L)
{
  agenda_stream *stream = check_handle(L)->stream;
  lua_settop(L, 1);
  return wait_for_gone(L, stream);
}

/* The end of a block: close and wait; abort if it ends by an error. Where nothing can wait the loop
** goes on with the rest. */
static int l_close_block(lua_State *L)
{
  agenda_stream *stream = check_handle(L)->stream;
  bool failed = !lua_isnoneornil(L, 2);
  lua_settop(L, 1);
  if (failed) {
    abort_stream(L, stream);
    return 0;
  }
  start_closing(L, stream);
  if (agenda_frame_cannot_wait(L, agenda_state_here(L), true) != NULL)
    return 0;
  return wait_for_gone(L, stream);
}

/* Debug mode: reports the stream at index 1 as unclosed. */
static int l_report(lua_State *L)
{
  const agenda_stream *stream = lua_touserdata(L, 1);
  const char *how = lua_tostring(L, 2), *name = push_name_of(L, stream, 1);
  lua_getiuservalue(L, 1, AGENDA_STREAM_OPENED);
  const char *opened = lua_tostring(L, -1);
  const char *message = lua_pushfstring(L, "stream %s %s unclosed (opened at %s)", name, how,
                                        opened != NULL ? opened : "?");
  lua_createtable(L, 0, 1);
  agenda_warn(L, message);
  return 0;
}

/* NB: nothing here can raise, and there may be no memory for a report. */
void agenda_stream_report(lua_State *L, const agenda_stream *stream, const char *how)
{
  if (stream->standard || stream->status != AGENDA_STREAM_OPEN || !lua_checkstack(L, 8))
    return;
  lua_pushcfunction(L, l_report);
  agenda_stream_push_open(L, stream);
  lua_pushstring(L, how);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK)
    lua_pop(L, 1);
}

/* Whether there are bodies beside those that run now: suspended, they may be collected, too. */
static bool others_are_suspended(const agenda_state *state)
{
  int running = 0;
  for (const agenda_frame *frame = state->current; frame != NULL; frame = frame->caller)
    running++;
  return state->live.count[AGENDA_LIVE_FRAMES] > running;
}

/*
** Dropped unclosed. What is being closed goes on. NB: a body that is collected with the stream may
** need it for its cleanup, which brings both back to life: then the next collection decides.
*/
static int l_gc(lua_State *L)
{
  agenda_stream_handle *handle = agenda_object_test(L, 1, &agenda_stream_kind);
  if (handle == NULL || handle->stream == NULL || handle->stream->status != AGENDA_STREAM_OPEN)
    return 0;
  if (!handle->doomed && others_are_suspended(handle->object.state)) {
    handle->doomed = true;
    agenda_body_rearm(L);
    return 0;
  }
  if (handle->object.state->debug)
    agenda_stream_report(L, handle->stream, "was dropped");
  agenda_stream_release(L, handle->stream);
  return 0;
}

/* <stream 127.0.0.1:80 at 0x...> */
static int l_tostring(lua_State *L)
{
  const agenda_stream_handle *handle = check_handle(L);
  return agenda_push_description(L, &handle->object, agenda_stream_push_name(L, 1));
}

static const luaL_Reg metamethods[] = {
  {"__close", l_close_block},
  {"__gc", l_gc},
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"abort", l_abort},
  {"close", l_close},
  {"wait_closed", l_wait_closed},
  {NULL, NULL}
};

void agenda_open_stream(lua_State *L)
{
  int core = lua_gettop(L);
  agenda_class_register(L, &agenda_stream_kind, metamethods, methods, NULL);
  agenda_class_push(L, &agenda_stream_kind);
  lua_getfield(L, -1, "__index");
  lua_pushvalue(L, -1);
  lua_setfield(L, core, "_stream_methods"); /* for methods that are written in Lua */
  agenda_open_stream_read(L, core);
  agenda_open_stream_write(L);
  agenda_open_stream_describe(L);
  lua_settop(L, core);
  agenda_state_push(L);
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, l_open, 1);
  lua_newtable(L);
  lua_pushcclosure(L, l_stream, 3);
  lua_setfield(L, core, "stream");
}
