/*
** stream_wait.c: waiting for a stream's descriptor.
**
** A task that reads is parked at the stream, which costs a few pointers; a reader that somebody
** drives by hand waits on a future that is the stream's own and is used again and again. Those who
** wait for output to be sent have a future each. The descriptor stays watched for input between two
** reads, so that a reader that comes back soon costs no system call; it is given up when something
** comes that nobody waits for.
*/
#include "errors.h"
#include "stream.h"

/* ----- events -------------------------------------------------------------------------- */

static void on_readable(struct ev_loop *ev, ev_io *io, int revents)
{
  agenda_stream *stream = AGENDA_LIST_OWNER(io, agenda_stream, reading);
  (void)revents;
  stream->drained = false;
  if (!stream->watching_input) {
    ev_io_stop(ev, io);
    return;
  }
  if (AGENDA_LIKELY(agenda_task_unpark_quick(&stream->reader))) {
    agenda_stream_await_input(stream, false);
    return;
  }
  stream->events |= EV_READ;
  agenda_loop_happened(&stream->watch);
}

static void on_writable(struct ev_loop *ev, ev_io *io, int revents)
{
  agenda_stream *stream = AGENDA_LIST_OWNER(io, agenda_stream, writing);
  (void)ev, (void)revents;
  stream->events |= EV_WRITE;
  agenda_loop_happened(&stream->watch);
}

static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_stream *stream = AGENDA_LIST_OWNER(watch, agenda_stream, watch);
  int events = stream->events, top = lua_gettop(L);
  (void)loop;
  stream->events = 0;
  luaL_checkstack(L, 20, "stream");
  agenda_stream_push_open(L, stream);
  if (events & EV_READ)
    agenda_stream_wake_reader(L, stream, top + 1);
  if (events & EV_WRITE)
    agenda_stream_flush(L, stream, top + 1);
  lua_settop(L, top);
}

/* The loop closes. Nobody is woken: the tasks go with it. */
static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_stream *stream = AGENDA_LIST_OWNER(watch, agenda_stream, watch);
  if (AGENDA_UNLIKELY(loop->schedule->debug))
    agenda_stream_report(L, stream, "was left");
  agenda_stream_release(L, stream);
}

void agenda_stream_watch(agenda_stream *stream)
{
  stream->watch.happened = happened;
  stream->watch.stop = stop;
  stream->watch.silent = true; /* what is waited for is counted one by one */
  ev_io_init(&stream->reading, on_readable, stream->fd, EV_READ);
  ev_io_init(&stream->writing, on_writable, stream->fd, EV_WRITE);
}

static void count(agenda_stream *stream, bool *counted, bool on)
{
  if (*counted == on)
    return;
  *counted = on;
  stream->loop->polled += on ? 1 : -1;
  stream->loop->schedule->watching += on ? 1 : -1;
}

void agenda_stream_await_input(agenda_stream *stream, bool on)
{
  count(stream, &stream->watching_input, on);
  if (on && AGENDA_UNLIKELY(!ev_is_active(&stream->reading)))
    ev_io_start(stream->loop->ev, &stream->reading);
}

void agenda_stream_await_output(agenda_stream *stream, bool on)
{
  count(stream, &stream->watching_output, on);
  if (on)
    ev_io_start(stream->loop->ev, &stream->writing);
  else
    ev_io_stop(stream->loop->ev, &stream->writing);
}

/* ----- waking -------------------------------------------------------------------------- */

void agenda_stream_wake_reader(lua_State *L, agenda_stream *stream, int index)
{
  if (!stream->watching_input)
    return;
  if (AGENDA_LIKELY(stream->reader.task != NULL)) {
    agenda_task_unpark(L, &stream->reader);
    agenda_stream_await_input(stream, false);
    return;
  }
  agenda_stream_await_input(stream, false);
  if (lua_getiuservalue(L, index, AGENDA_STREAM_READER) == LUA_TUSERDATA)
    agenda_future_finish(L, lua_gettop(L), 0);
  lua_pop(L, 1);
}

void agenda_stream_wake_all(lua_State *L, int index, int slot)
{
  if (lua_getiuservalue(L, index, slot) == LUA_TTABLE) {
    int list = lua_gettop(L);
    lua_pushnil(L);
    lua_setiuservalue(L, index, slot);
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
      agenda_future_finish(L, list + 1, 0);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* ----- waiting ------------------------------------------------------------------------- */

static void check_can_wait(lua_State *L, agenda_state *state, const char *what)
{
  const char *why = agenda_frame_cannot_wait(L, state, true);
  if (AGENDA_UNLIKELY(why != NULL))
    agenda_frame_refuse_wait(L, state, what, why);
}

/* Waits on the future at index 1. */
static int wait(lua_State *L, lua_KContext context, lua_KFunction k)
{
  agenda_state *state = agenda_state_here(L);
  if (AGENDA_LIKELY(state->runner->kind == AGENDA_RUNNER_TASK))
    return agenda_frame_wait(L, state, 0, context, k);
  lua_pushvalue(L, 1);
  return agenda_frame_wait(L, state, 1, context, k);
}

/* Ties the running task to the future at index 1. */
static void attach_task(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  if (AGENDA_LIKELY(state->runner->kind == AGENDA_RUNNER_TASK))
    agenda_task_wait_on(L, state->runner->task, 1);
}

/* Puts the reader's future, pending, at index 1. NB: one that is pending, but has a waiter, is that
** of a read whose task was thrown out of it. */
static void push_reader(lua_State *L, agenda_stream *stream)
{
  agenda_stream_push(L, 1);
  lua_getiuservalue(L, -1, AGENDA_STREAM_READER);
  agenda_future *future = lua_touserdata(L, -1);
  if (future == NULL || !agenda_future_renew(L, -1)) {
    lua_pop(L, 1);
    agenda_future_create(L, agenda_state_here(L), stream->loop->schedule);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, AGENDA_STREAM_READER);
  }
  lua_insert(L, 1);
  lua_pop(L, 1);
}

int agenda_stream_wait_input(lua_State *L, agenda_stream *stream, lua_KContext context,
                             lua_KFunction k)
{
  agenda_state *state = stream->loop->object.state;
  check_can_wait(L, state, "read");
  agenda_task *task = state->runner->kind == AGENDA_RUNNER_TASK ? state->runner->task : NULL;
  bool parks = task != NULL && task->future.schedule == stream->loop->schedule;
  if (AGENDA_UNLIKELY(!parks)) {
    push_reader(L, stream);
    attach_task(L);
  }
  stream->read_under_way = true;
  agenda_stream_await_input(stream, true);
  if (AGENDA_LIKELY(parks)) {
    agenda_task_park(task, &stream->reader);
    return agenda_frame_wait(L, state, 0, context, k);
  }
  return wait(L, context, k);
}

/* Raises what was thrown in, or the error of the future at index 1; takes that away. */
static void resumed(lua_State *L)
{
  const agenda_future *future = lua_touserdata(L, 1);
  agenda_frame_resumed(L, agenda_state_here(L));
  if (AGENDA_UNLIKELY(future->status != AGENDA_FUTURE_RESULT &&
                      future->status != AGENDA_FUTURE_PENDING))
    agenda_future_result(L, 1);
  lua_remove(L, 1);
}

agenda_stream *agenda_stream_read_resumed(lua_State *L)
{
  agenda_stream_handle *handle = lua_touserdata(L, 1);
  bool parked = handle->object.kind == &agenda_stream_kind;
  if (AGENDA_UNLIKELY(!parked))
    handle = lua_touserdata(L, 2);
  agenda_stream *stream = handle->stream;
  stream->read_under_way = false;
  if (stream->loop != NULL)
    agenda_stream_await_input(stream, false);
  if (AGENDA_LIKELY(parked))
    agenda_frame_resumed(L, handle->object.state);
  else
    resumed(L);
  stream->woken = true;
  return stream;
}

/* Appends the future at index 1 to the list on the top, in place of those at its end that were
** cancelled. */
static void append_waiter(lua_State *L)
{
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  for (; n > 0; n--) {
    lua_rawgeti(L, -1, n);
    const agenda_future *last = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (last->status == AGENDA_FUTURE_PENDING)
      break;
    lua_pushnil(L);
    lua_rawseti(L, -2, n);
  }
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, n + 1);
}

int agenda_stream_wait_listed(lua_State *L, int slot, const char *what, lua_KFunction k)
{
  check_can_wait(L, agenda_state_here(L), what);
  agenda_stream *stream = ((agenda_stream_handle *)lua_touserdata(L, 1))->stream;
  lua_settop(L, 1);
  agenda_future_create(L, agenda_state_here(L), stream->loop->schedule);
  lua_insert(L, 1);
  agenda_stream_push(L, 2);
  if (lua_getiuservalue(L, -1, slot) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, slot);
  }
  attach_task(L);
  append_waiter(L);
  lua_settop(L, 2);
  return wait(L, 0, k);
}

agenda_stream *agenda_stream_wait_over(lua_State *L)
{
  agenda_stream *stream = ((agenda_stream_handle *)lua_touserdata(L, 2))->stream;
  resumed(L);
  return stream;
}

/* ----- turns --------------------------------------------------------------------------- */

bool agenda_stream_turn_due(lua_State *L, agenda_stream *stream)
{
  agenda_stream_shared *shared = stream->shared;
  uint32_t step = stream->loop->schedule->steps;
  if (shared->step != step) {
    shared->step = step;
    shared->row = 0;
  }
  if (AGENDA_LIKELY(++shared->row <= AGENDA_STREAM_ROW))
    return false;
  agenda_state *state = agenda_state_here(L);
  return agenda_frame_cannot_wait(L, state, true) == NULL &&
         state->runner->kind == AGENDA_RUNNER_TASK;
}

int agenda_stream_take_turn(lua_State *L, lua_KContext context, lua_KFunction k)
{
  return agenda_frame_wait(L, agenda_state_here(L), 0, context, k);
}
