/*
** future.c: results that come later.
**
**             set_result                    RESULT
**   PENDING --set_exception--------------> FAILED
**             cancel                        CANCELLED
**
** While it is pending, one user value holds who waits: nothing, a single entry (the most common
** case, without a table), or a list. An entry is a task, a callback, or a table of a callback, its
** context and (of a batch) what it is to be told. When it is done the same user value holds the
** result or the error, and the entries go to the ready queue in their order.
*/
#include "future.h"

#include "errors.h"
#include "frame.h"
#include "handle.h"
#include "task.h"

const agenda_kind agenda_future_kind = {"future", "agenda.future", NULL, agenda_future_await, true};

agenda_future *agenda_future_create(lua_State *L, agenda_state *state, agenda_schedule *schedule)
{
  agenda_future *future =
    agenda_object_new(L, state, &agenda_future_kind, sizeof *future, AGENDA_FUTURE_SLOTS);
  agenda_future_tie(future, schedule);
  return future;
}

void agenda_future_tie(agenda_future *future, agenda_schedule *schedule)
{
  if (future->schedule == NULL && schedule != NULL) {
    agenda_schedule_retain(schedule);
    future->schedule = schedule;
  }
}

int agenda_future_push_extra(lua_State *L, int index, int key)
{
  if (lua_getiuservalue(L, index, AGENDA_FUTURE_EXTRA) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_pushnil(L);
    return LUA_TNIL;
  }
  int type = lua_rawgeti(L, -1, key);
  lua_remove(L, -2);
  return type;
}

void agenda_future_set_extra(lua_State *L, int index, int key)
{
  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, AGENDA_FUTURE_EXTRA) != LUA_TTABLE) {
    if (lua_isnil(L, -2)) {
      lua_pop(L, 2);
      return;
    }
    lua_createtable(L, 1, 1);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, AGENDA_FUTURE_EXTRA);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, key);
  lua_pop(L, 1);
}

/* ----- who waits ----------------------------------------------------------------------- */

void agenda_future_add_waiter(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  switch (future->waiting) {
    case AGENDA_WAITING_NONE:
      if (future->object.kind == &agenda_task_kind)
        agenda_task_make_room(L, lua_touserdata(L, index), index);
      lua_setiuservalue(L, index, AGENDA_FUTURE_VALUE);
      future->waiting = AGENDA_WAITING_ONE;
      break;
    case AGENDA_WAITING_ONE:
      lua_createtable(L, 4, 0);
      lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
      lua_rawseti(L, -2, 1);
      lua_insert(L, -2);
      lua_rawseti(L, -2, 2);
      lua_setiuservalue(L, index, AGENDA_FUTURE_VALUE);
      future->waiting = AGENDA_WAITING_LIST;
      break;
    default:
      lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
      lua_insert(L, -2);
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
      lua_pop(L, 1);
  }
}

/* Counts the future at `index` in the batch of the entry on the top, if it is one. True if others
** were counted before, so that the callback is on its way. [-0, +0, may raise] */
static bool joins_batch(lua_State *L, int index)
{
  int entry = lua_gettop(L);
  const agenda_future *future = lua_touserdata(L, index);
  if (lua_rawgeti(L, entry, AGENDA_ENTRY_DONE) == LUA_TNIL) {
    lua_settop(L, entry);
    return false;
  }
  lua_Integer done = lua_tointeger(L, -1);
  lua_pushinteger(L, done + 1);
  lua_rawseti(L, entry, AGENDA_ENTRY_DONE);
  if (future->status == AGENDA_FUTURE_FAILED) {
    lua_rawgeti(L, entry, AGENDA_ENTRY_FAILED);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  lua_settop(L, entry);
  return done > 0;
}

/* Has the callback on the top, or that of the table there, called with the future at `index`, in
** the context that it was added in. [-1, +0, may raise] */
static void schedule_callback(lua_State *L, int index, agenda_schedule *schedule)
{
  agenda_state *state = schedule->state;
  bool had_context = state->has_context;
  if (AGENDA_LIKELY(!had_context && lua_isfunction(L, -1))) {
    lua_pushvalue(L, index);
    agenda_handle_call_soon(L, schedule, 1);
    lua_pop(L, 1);
    return;
  }
  agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
  lua_insert(L, -2);
  if (lua_istable(L, -1)) {
    lua_rawgeti(L, -1, AGENDA_ENTRY_CONTEXT);
    state->has_context = !lua_isnil(L, -1);
    agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
    lua_rawgeti(L, -1, AGENDA_ENTRY_CALLBACK);
    lua_remove(L, -2);
  }
  else {
    lua_pushnil(L);
    agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
    state->has_context = false;
  }
  lua_pushvalue(L, index);
  agenda_handle_call_soon(L, schedule, 1);
  lua_pop(L, 1);
  agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
  state->has_context = had_context;
}

/* Takes the entry on the top and the future at `index` to the ready queue. [-1, +0, may raise] */
static void dispatch(lua_State *L, int index, agenda_schedule *schedule)
{
  int type = lua_type(L, -1);
  if (type == LUA_TUSERDATA) {
    agenda_task *task = lua_touserdata(L, -1);
    if (task->awaited == lua_touserdata(L, index))
      agenda_task_awaken(L, task);
    lua_pop(L, 1);
    return;
  }
  if (type == LUA_TLIGHTUSERDATA) {
    agenda_hook *hook = lua_touserdata(L, -1);
    lua_pop(L, 1);
    hook->done(L, index, hook);
    return;
  }
  if (lua_istable(L, -1) && joins_batch(L, index)) {
    lua_pop(L, 1);
    return;
  }
  schedule_callback(L, index, schedule);
}

/*
** The future at `index` is done with the status, and the value on the top is its result: stores
** it and wakes who waits. [-1, +0, may raise]
*/
static void finish(lua_State *L, int index, agenda_future_status status)
{
  agenda_future *future = lua_touserdata(L, index);
  int waiting = future->waiting;
  future->status = (uint8_t)status;
  future->waiting = AGENDA_WAITING_NONE;
  if (waiting == AGENDA_WAITING_NONE) {
    lua_setiuservalue(L, index, AGENDA_FUTURE_VALUE);
    return;
  }
  luaL_checkstack(L, 10, "future");
  lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
  lua_insert(L, -2);
  lua_setiuservalue(L, index, AGENDA_FUTURE_VALUE);
  agenda_schedule *schedule =
    future->schedule != NULL ? future->schedule : future->object.state->schedule;
  if (schedule == NULL || schedule->closed)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                       schedule == NULL ? "no running event loop" : "Event loop is closed");
  if (waiting == AGENDA_WAITING_ONE) {
    dispatch(L, index, schedule);
    return;
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    dispatch(L, index, schedule);
  }
  lua_pop(L, 1);
}

/* ----- being done ---------------------------------------------------------------------- */

bool agenda_future_finish(lua_State *L, int index, int n)
{
  agenda_future *future = lua_touserdata(L, index);
  if (future->status != AGENDA_FUTURE_PENDING) {
    lua_pop(L, n);
    return false;
  }
  index = lua_absindex(L, index);
  if (n != 1)
    agenda_values_pack(L, n);
  future->values = n;
  finish(L, index, AGENDA_FUTURE_RESULT);
  return true;
}

void agenda_future_check_error(lua_State *L, int index)
{
  agenda_error_instance(L, index);
  if (agenda_error_is(L, index, AGENDA_STOP_ITERATION))
    agenda_error_raise(L, AGENDA_TYPE_ERROR,
                       "StopIteration interacts badly with generators and cannot be raised into a "
                       "Future");
  if (lua_isnil(L, index)) {
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "nil error");
    lua_replace(L, index);
  }
}

bool agenda_future_fail(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  if (future->status != AGENDA_FUTURE_PENDING) {
    lua_pop(L, 1);
    return false;
  }
  future->unretrieved = true;
  future->values = agenda_error_trace_length(L, -1);
  finish(L, lua_absindex(L, index), AGENDA_FUTURE_FAILED);
  return true;
}

bool agenda_future_cancel_now(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  if (future->status != AGENDA_FUTURE_PENDING) {
    lua_pop(L, 1);
    return false;
  }
  index = lua_absindex(L, index);
  agenda_future_set_extra(L, index, AGENDA_EXTRA_CANCEL_MESSAGE);
  lua_pushnil(L);
  finish(L, index, AGENDA_FUTURE_CANCELLED);
  return true;
}

bool agenda_future_cancel_by(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  if (future->status != AGENDA_FUTURE_PENDING) {
    lua_pop(L, 1);
    return false;
  }
  future->values = agenda_error_trace_length(L, -1);
  finish(L, lua_absindex(L, index), AGENDA_FUTURE_CANCELLED);
  return true;
}

bool agenda_future_renew(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  if (future->status == AGENDA_FUTURE_PENDING)
    return future->waiting == AGENDA_WAITING_NONE;
  index = lua_absindex(L, index);
  lua_pushnil(L);
  lua_setiuservalue(L, index, AGENDA_FUTURE_VALUE);
  if (AGENDA_UNLIKELY(future->status != AGENDA_FUTURE_RESULT)) {
    lua_pushnil(L);
    lua_setiuservalue(L, index, AGENDA_FUTURE_EXTRA);
    future->unretrieved = future->has_canceller = false;
  }
  future->values = 0;
  future->status = AGENDA_FUTURE_PENDING;
  return true;
}

/* gather's future: its canceller says whether there was anything to cancel. [-1, +0] */
static bool call_canceller(lua_State *L, int index)
{
  index = lua_absindex(L, index);
  agenda_future_push_extra(L, index, AGENDA_EXTRA_CANCELLER);
  lua_insert(L, -2);
  lua_pushvalue(L, index);
  lua_insert(L, -2);
  lua_call(L, 2, 1);
  bool taken = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return taken;
}

bool agenda_future_cancel(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  future->unretrieved = false;
  if (future->has_canceller && future->status == AGENDA_FUTURE_PENDING)
    return call_canceller(L, index);
  if (future->object.kind != &agenda_task_kind)
    return agenda_future_cancel_now(L, index);
  return agenda_task_cancel(L, index);
}

/* Pushes the error that cancelled the future at `index`, else one with its message. */
static void push_cancelled(lua_State *L, int index)
{
  lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
  if (agenda_error_is(L, -1, AGENDA_CANCELLED_ERROR))
    return;
  lua_pop(L, 1);
  agenda_error_push(L, AGENDA_CANCELLED_ERROR, NULL);
  agenda_future_push_extra(L, index, AGENDA_EXTRA_CANCEL_MESSAGE);
  lua_setfield(L, -2, "message");
}

/* Raises the error on the top, whose trace had the length when the future ended; one that nobody
** had raised gets its trace here. */
static int raise_again(lua_State *L, int length)
{
  agenda_error_cut_trace(L, -1, length);
  if (length > 0)
    return agenda_error_propagate(L);
  agenda_error_begin_trace(L, -1);
  return lua_error(L);
}

int agenda_future_result(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  if (AGENDA_UNLIKELY(future->status != AGENDA_FUTURE_RESULT))
    luaL_checkstack(L, 8, "result");
  switch (future->status) {
    case AGENDA_FUTURE_RESULT:
      if (future->values == 0)
        return 0;
      lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
      if (future->values == 1)
        return 1;
      luaL_checkstack(L, future->values, "too many results");
      for (int i = 1; i <= future->values; i++)
        lua_rawgeti(L, -i, i);
      return future->values;
    case AGENDA_FUTURE_FAILED:
      future->unretrieved = false;
      lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
      return raise_again(L, future->values);
    case AGENDA_FUTURE_CANCELLED:
      push_cancelled(L, lua_absindex(L, index));
      return raise_again(L, future->values);
    default:
      return agenda_error_raise(L, AGENDA_INVALID_STATE_ERROR, "Result is not set.");
  }
}

/* ----- awaiting ------------------------------------------------------------------------ */

static int after_await(lua_State *L, int status, lua_KContext context)
{
  agenda_future *future = lua_touserdata(L, 1);
  (void)status;
  (void)context;
  agenda_frame_resumed(L, agenda_state_here(L));
  if (future->status == AGENDA_FUTURE_PENDING)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "await wasn't used with future");
  lua_settop(L, 1);
  return agenda_future_result(L, 1);
}

int agenda_future_await(lua_State *L)
{
  agenda_future *future = lua_touserdata(L, 1);
  if (future->status != AGENDA_FUTURE_PENDING)
    return agenda_future_result(L, 1);
  agenda_state *state = agenda_state_here(L);
  const char *why = agenda_frame_cannot_wait(L, state, true);
  if (why != NULL)
    return agenda_frame_refuse_wait(L, state, "await", why);
  if (state->runner->kind == AGENDA_RUNNER_HAND) {
    lua_pushvalue(L, 1);
    return agenda_frame_wait(L, state, 1, 0, after_await);
  }
  agenda_task_wait_on(L, state->runner->task, 1);
  return agenda_frame_wait(L, state, 0, 0, after_await);
}

void agenda_future_add_callback(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  agenda_state *state = future->object.state;
  index = lua_absindex(L, index);
  agenda_future_tie(future, state->schedule);
  if (future->schedule == NULL)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  if (future->status != AGENDA_FUTURE_PENDING) {
    lua_pushvalue(L, index);
    agenda_handle_call_soon(L, future->schedule, 1);
    lua_pop(L, 1);
    return;
  }
  if (state->has_context || !lua_isfunction(L, -1)) {
    lua_createtable(L, 2, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, AGENDA_ENTRY_CALLBACK);
    agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
    lua_rawseti(L, -2, AGENDA_ENTRY_CONTEXT);
  }
  agenda_future_add_waiter(L, index);
}

/* ----- the collector ------------------------------------------------------------------- */

/* A warning about a future goes to its own loop, whether that runs or not, unless it is closed. */
void agenda_future_report(lua_State *L, agenda_schedule *schedule, const char *message)
{
  if (schedule == NULL || schedule->closed || schedule->report == NULL ||
      schedule->state->schedule != NULL) {
    agenda_warn(L, message);
    return;
  }
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  schedule->report(L, schedule);
}

void agenda_future_report_unretrieved(lua_State *L, int index, const char *message,
                                      const char *field)
{
  agenda_future *future = lua_touserdata(L, index);
  if (!future->unretrieved)
    return;
  future->unretrieved = false;
  luaL_checkstack(L, 10, "report");
  index = lua_absindex(L, index);
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, index);
  lua_setfield(L, -2, field);
  lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
  agenda_error_push_trace(L, -1);
  lua_setfield(L, -3, "traceback");
  lua_setfield(L, -2, "exception");
  agenda_future_report(L, future->schedule, message);
}
