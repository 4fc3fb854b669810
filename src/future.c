/*
** future.c: results that come later.
**
**             set_result                    RESULT
**   PENDING --set_exception--------------> FAILED
**             cancel                        CANCELLED
**
** While it is pending, one user value holds who waits: nothing, a single entry (the most common
** case, without a table), or a list. An entry is a task, a callback, or a table of a callback, its
** context and (of a batch) what it is to be told. When it is done
** the same user value holds the result or the error, and the entries go to the ready queue in
** their order.
*/
#include "future.h"

#include "errors.h"
#include "frame.h"
#include "handle.h"
#include "task.h"

const agenda_kind agenda_future_kind = {"future", "agenda.future", NULL, agenda_future_await, true};

enum { WAITING_NONE, WAITING_ONE, WAITING_LIST };
enum { ENTRY_CALLBACK = 1, ENTRY_CONTEXT, ENTRY_DONE, ENTRY_FAILED };

static agenda_future *check_future(lua_State *L)
{
  return agenda_object_check(L, 1, &agenda_future_kind);
}

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

/* Adds the entry on the top to the pending future at `index`. [-1, +0, may raise] */
static void add_entry(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  switch (future->waiting) {
    case WAITING_NONE:
      if (future->object.kind == &agenda_task_kind)
        agenda_task_make_room(L, lua_touserdata(L, index), index);
      lua_setiuservalue(L, index, AGENDA_FUTURE_VALUE);
      future->waiting = WAITING_ONE;
      break;
    case WAITING_ONE:
      lua_createtable(L, 4, 0);
      lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
      lua_rawseti(L, -2, 1);
      lua_insert(L, -2);
      lua_rawseti(L, -2, 2);
      lua_setiuservalue(L, index, AGENDA_FUTURE_VALUE);
      future->waiting = WAITING_LIST;
      break;
    default:
      lua_getiuservalue(L, index, AGENDA_FUTURE_VALUE);
      lua_insert(L, -2);
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
      lua_pop(L, 1);
  }
}

void agenda_future_add_waiter(lua_State *L, int index)
{
  add_entry(L, index);
}

/* Counts the future at `index` in the batch of the entry on the top, if it is one. True if others
** were counted before, so that the callback is on its way. [-0, +0, may raise] */
static bool joins_batch(lua_State *L, int index)
{
  int entry = lua_gettop(L);
  const agenda_future *future = lua_touserdata(L, index);
  if (lua_rawgeti(L, entry, ENTRY_DONE) == LUA_TNIL) {
    lua_settop(L, entry);
    return false;
  }
  lua_Integer done = lua_tointeger(L, -1);
  lua_pushinteger(L, done + 1);
  lua_rawseti(L, entry, ENTRY_DONE);
  if (future->status == AGENDA_FUTURE_FAILED) {
    lua_rawgeti(L, entry, ENTRY_FAILED);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  lua_settop(L, entry);
  return done > 0;
}

/* Takes the entry on the top and the future at `index` to the ready queue. [-1, +0, may raise] */
static void dispatch(lua_State *L, int index, agenda_schedule *schedule)
{
  agenda_state *state = schedule->state;
  if (lua_isuserdata(L, -1)) {
    agenda_task *task = lua_touserdata(L, -1);
    agenda_hook *hook = lua_touserdata(L, -1);
    if (hook->object.kind != &agenda_task_kind)
      hook->done(L, index, hook);
    else if (task->awaited == lua_touserdata(L, index))
      agenda_task_awaken(L, task);
    lua_pop(L, 1);
    return;
  }
  if (lua_istable(L, -1) && joins_batch(L, index)) {
    lua_pop(L, 1);
    return;
  }
  bool had_context = state->has_context;
  agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
  lua_insert(L, -2);
  if (lua_istable(L, -1)) {
    lua_rawgeti(L, -1, ENTRY_CONTEXT);
    state->has_context = !lua_isnil(L, -1);
    agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
    lua_rawgeti(L, -1, ENTRY_CALLBACK);
    lua_remove(L, -2);
  }
  else if (had_context) {
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

/*
** The future at `index` is done with the status, and the value on the top is its result: stores
** it and wakes who waits. [-1, +0, may raise]
*/
static void finish(lua_State *L, int index, agenda_future_status status)
{
  agenda_future *future = lua_touserdata(L, index);
  int waiting = future->waiting;
  future->status = (uint8_t)status;
  future->waiting = WAITING_NONE;
  if (waiting == WAITING_NONE) {
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
  if (waiting == WAITING_ONE) {
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
  if (n > 1) {
    lua_createtable(L, n, 0);
    lua_insert(L, -n - 1);
    for (int i = n; i > 0; i--)
      lua_rawseti(L, -i - 1, i);
  }
  else if (n == 0)
    lua_pushnil(L);
  future->values = n;
  finish(L, index, AGENDA_FUTURE_RESULT);
  return true;
}

bool agenda_future_fail(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  if (future->status != AGENDA_FUTURE_PENDING) {
    lua_pop(L, 1);
    return false;
  }
  future->unretrieved = true;
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

bool agenda_future_renew(lua_State *L, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  if (future->status == AGENDA_FUTURE_PENDING)
    return future->waiting == WAITING_NONE;
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
  if (future->has_canceller && future->status == AGENDA_FUTURE_PENDING)
    return call_canceller(L, index);
  if (future->object.kind != &agenda_task_kind)
    return agenda_future_cancel_now(L, index);
  if (future->status != AGENDA_FUTURE_PENDING) {
    lua_pop(L, 1);
    return false;
  }
  index = lua_absindex(L, index);
  agenda_future_set_extra(L, index, AGENDA_EXTRA_CANCEL_MESSAGE);
  return agenda_task_cancel(L, index);
}

/* Pushes a CancelledError with the message of the future at `index`. */
static void push_cancelled(lua_State *L, int index)
{
  agenda_error_push(L, AGENDA_CANCELLED_ERROR, NULL);
  agenda_future_push_extra(L, index, AGENDA_EXTRA_CANCEL_MESSAGE);
  lua_setfield(L, -2, "message");
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
      return agenda_error_propagate(L);
    case AGENDA_FUTURE_CANCELLED:
      push_cancelled(L, lua_absindex(L, index));
      return lua_error(L);
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
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "cannot await: %s", why);
  if (state->runner->kind == AGENDA_RUNNER_HAND) {
    lua_pushvalue(L, 1);
    return agenda_frame_wait(L, state, 1, 0, after_await);
  }
  agenda_task_wait_on(L, state->runner->task, 1);
  return agenda_frame_wait(L, state, 0, 0, after_await);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** Whether the future is done: it has a result, an error, or was cancelled.
@function future:done
@treturn boolean */
static int l_done(lua_State *L)
{
  lua_pushboolean(L, check_future(L)->status != AGENDA_FUTURE_PENDING);
  return 1;
}

/*** Whether the future was cancelled.
@function future:cancelled
@treturn boolean */
static int l_cancelled(lua_State *L)
{
  lua_pushboolean(L, check_future(L)->status == AGENDA_FUTURE_CANCELLED);
  return 1;
}

/*** The results of a done future. As in asyncio.
@function future:result
@return the values
@raise its error; CancelledError; InvalidStateError "Result is not set." */
static int l_result(lua_State *L)
{
  check_future(L);
  lua_settop(L, 1);
  return agenda_future_result(L, 1);
}

/*** The error of a done future. As in asyncio.
@function future:exception
@return the error, or nil
@raise CancelledError if it was cancelled; InvalidStateError "Exception is not set." */
static int l_exception(lua_State *L)
{
  agenda_future *future = check_future(L);
  lua_settop(L, 1);
  if (future->status == AGENDA_FUTURE_PENDING)
    return agenda_error_raise(L, AGENDA_INVALID_STATE_ERROR, "Exception is not set.");
  if (future->status == AGENDA_FUTURE_CANCELLED)
    return agenda_future_result(L, 1);
  future->unretrieved = false;
  if (future->status == AGENDA_FUTURE_FAILED)
    lua_getiuservalue(L, 1, AGENDA_FUTURE_VALUE);
  else
    lua_pushnil(L);
  return 1;
}

/*** Cancels the future; of a task, requests that its body be cancelled at its next await.
@function future:cancel
@tparam[opt] any message of the CancelledError
@treturn boolean false if it was done already */
static int l_cancel(lua_State *L)
{
  check_future(L);
  lua_settop(L, 2);
  lua_pushboolean(L, agenda_future_cancel(L, 1));
  return 1;
}

static int raise_not_pending(lua_State *L)
{
  return agenda_error_raise(L, AGENDA_INVALID_STATE_ERROR, "invalid state: the future is done");
}

/*** Finishes the future with results.
@function future:set_result
@param ... the results
@raise InvalidStateError if it is done */
static int l_set_result(lua_State *L)
{
  agenda_future *future = check_future(L);
  if (future->object.kind == &agenda_task_kind)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "Task does not support set_result operation");
  if (future->status != AGENDA_FUTURE_PENDING)
    return raise_not_pending(L);
  agenda_future_finish(L, 1, lua_gettop(L) - 1);
  return 0;
}

/*** Finishes the future with an error.
@function future:set_exception
@param err any error value, or an error class
@raise InvalidStateError if it is done; TypeError for StopIteration */
static int l_set_exception(lua_State *L)
{
  agenda_future *future = check_future(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (future->object.kind == &agenda_task_kind)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "Task does not support set_exception operation");
  if (future->status != AGENDA_FUTURE_PENDING)
    return raise_not_pending(L);
  agenda_error_instance(L, 2);
  if (agenda_error_is(L, 2, AGENDA_STOP_ITERATION))
    return agenda_error_raise(L, AGENDA_TYPE_ERROR,
                              "StopIteration interacts badly with generators and cannot be raised "
                              "into a Future");
  if (lua_isnil(L, 2)) {
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "nil error");
    lua_replace(L, 2);
  }
  agenda_future_fail(L, 1);
  return 0;
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
    lua_rawseti(L, -2, 1);
    agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
    lua_rawseti(L, -2, 2);
  }
  add_entry(L, index);
}

/*** Has f called, through call_soon and with the future, when it is done. As in asyncio.
@function future:add_done_callback
@tparam function f
@raise RuntimeError if the future is tied to no loop and none runs */
static int l_add_done_callback(lua_State *L)
{
  check_future(L);
  agenda_handle_check_callback(L, 2);
  lua_settop(L, 2);
  agenda_future_add_callback(L, 1);
  return 0;
}

/* Whether the entry on the top is the callback at index 2. */
static bool is_callback(lua_State *L)
{
  if (lua_rawequal(L, -1, 2))
    return true;
  if (!lua_istable(L, -1))
    return false;
  lua_rawgeti(L, -1, 1);
  bool same = lua_rawequal(L, -1, 2);
  lua_pop(L, 1);
  return same;
}

/*** A callback that is told of many futures at a time: it is called once in the turn after some of
them were done. Its errors are reported as those of callbacks are.
@function new_batch
@tparam function f
@treturn table for `join_batch`: at 3 the number of those done, which the callback sets back to 0,
at 4 a list of those that failed, which it empties */
static int l_new_batch(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_createtable(L, 4, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, ENTRY_CALLBACK);
  agenda_slot_push(L, AGENDA_SLOT_CONTEXT);
  lua_rawseti(L, -2, ENTRY_CONTEXT);
  lua_pushinteger(L, 0);
  lua_rawseti(L, -2, ENTRY_DONE);
  lua_newtable(L);
  lua_rawseti(L, -2, ENTRY_FAILED);
  return 1;
}

/*** Has the batch's callback told when the future is done.
@function join_batch
@tparam future future pending, and tied to a loop
@tparam table batch */
static int l_join_batch(lua_State *L)
{
  agenda_future *future = check_future(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_argcheck(L, future->status == AGENDA_FUTURE_PENDING, 1, "the future is done");
  lua_settop(L, 2);
  add_entry(L, 1);
  return 0;
}

/*** Removes every registration of a callback. As in asyncio.
@function future:remove_done_callback
@tparam function f
@treturn integer how many there were */
static int l_remove_done_callback(lua_State *L)
{
  agenda_future *future = check_future(L);
  lua_Integer removed = 0;
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, AGENDA_FUTURE_VALUE);
  if (future->waiting == WAITING_ONE && is_callback(L)) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, AGENDA_FUTURE_VALUE);
    future->waiting = WAITING_NONE;
    removed = 1;
  }
  else if (future->waiting == WAITING_LIST) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, 3), kept = 0;
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, 3, i);
      if (is_callback(L)) {
        removed++;
        lua_pop(L, 1);
      }
      else
        lua_rawseti(L, 3, ++kept);
    }
    for (lua_Integer i = kept + 1; i <= n; i++) {
      lua_pushnil(L);
      lua_rawseti(L, 3, i);
    }
  }
  lua_pushinteger(L, removed);
  return 1;
}

/*** The loop that the future is tied to.
@function future:get_loop
@treturn ?event_loop nil if it is tied to none */
static int l_get_loop(lua_State *L)
{
  agenda_future *future = check_future(L);
  if (future->schedule == NULL)
    return 0;
  agenda_slot_push(L, AGENDA_SLOT_TASKS);
  lua_rawgetp(L, -1, future->schedule);
  return 1;
}

/*** Awaits the future; the same as `agenda.await(fut)`. A done one does not switch. Awaits.
@function future:await
@return its results
@raise its error; CancelledError */
static int l_await(lua_State *L)
{
  check_future(L);
  lua_settop(L, 1);
  return agenda_future_await(L);
}

/* <future pending at 0x...> */
static int l_tostring(lua_State *L)
{
  static const char *const names[] = {"pending", "finished", "failed", "cancelled"};
  agenda_future *future = check_future(L);
  return agenda_push_description(L, &future->object, names[future->status]);
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

/* Reports an error that nobody took, and lets go of the schedule. */
static int l_gc(lua_State *L)
{
  agenda_future *future = agenda_object_test(L, 1, &agenda_future_kind);
  if (future == NULL)
    return 0;
  agenda_future_report_unretrieved(L, 1, "Future exception was never retrieved", "future");
  agenda_schedule *schedule = future->schedule;
  future->schedule = NULL;
  agenda_schedule_release(L, schedule);
  return 0;
}

/*** A Future that is tied to a loop when somebody first waits on it.
@function future
@treturn future */
static int l_future(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  agenda_future_create(L, state, NULL);
  return 1;
}

/*** Has a function called in place of cancelling a pending future; it says whether that worked.
@function set_canceller
@tparam future future
@tparam function f called with the future and the message */
static int l_set_canceller(lua_State *L)
{
  agenda_future *future = check_future(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  agenda_future_set_extra(L, 1, AGENDA_EXTRA_CANCELLER);
  future->has_canceller = true;
  return 0;
}

static const luaL_Reg metamethods[] = {
  {"__gc", l_gc},
  {"__tostring", l_tostring},
  {NULL, NULL}
};

const luaL_Reg agenda_future_methods[] = {
  {"done", l_done},
  {"cancelled", l_cancelled},
  {"result", l_result},
  {"exception", l_exception},
  {"cancel", l_cancel},
  {"set_result", l_set_result},
  {"set_exception", l_set_exception},
  {"add_done_callback", l_add_done_callback},
  {"remove_done_callback", l_remove_done_callback},
  {"get_loop", l_get_loop},
  {"await", l_await},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"future", l_future},
  {"set_canceller", l_set_canceller},
  {"new_batch", l_new_batch},
  {"join_batch", l_join_batch},
  {NULL, NULL}
};

void agenda_open_future(lua_State *L)
{
  agenda_class_register(L, &agenda_future_kind, metamethods, agenda_future_methods, NULL);
  agenda_functions_register(L, functions);
}
