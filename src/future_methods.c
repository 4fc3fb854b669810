/*
** future_methods.c: what Lua sees of futures.
*/
#include "errors.h"
#include "future.h"
#include "handle.h"
#include "task.h"

static agenda_future *check_future(lua_State *L)
{
  return agenda_object_check(L, 1, &agenda_future_kind);
}

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
  agenda_future_check_error(L, 2);
  agenda_future_fail(L, 1);
  return 0;
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
  lua_rawgeti(L, -1, AGENDA_ENTRY_CALLBACK);
  bool same = lua_rawequal(L, -1, 2);
  lua_pop(L, 1);
  return same;
}

/*** A callback that is told of many futures at a time: it is called once in the turn after some of
them were done. Its errors are reported as those of callbacks are.
@function new_batch
@tparam function f
@treturn table for `spawn_in_batch`: at 3 the number of those done, which the callback sets back to
0, at 4 a list of those that failed, which it empties */
static int l_new_batch(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_createtable(L, 4, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, AGENDA_ENTRY_CALLBACK);
  agenda_slot_push(L, AGENDA_SLOT_CONTEXT);
  lua_rawseti(L, -2, AGENDA_ENTRY_CONTEXT);
  lua_pushinteger(L, 0);
  lua_rawseti(L, -2, AGENDA_ENTRY_DONE);
  lua_newtable(L);
  lua_rawseti(L, -2, AGENDA_ENTRY_FAILED);
  return 1;
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
  if (future->waiting == AGENDA_WAITING_ONE && is_callback(L)) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, AGENDA_FUTURE_VALUE);
    future->waiting = AGENDA_WAITING_NONE;
    removed = 1;
  }
  else if (future->waiting == AGENDA_WAITING_LIST) {
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
  {NULL, NULL}
};

void agenda_open_future(lua_State *L)
{
  agenda_class_register(L, &agenda_future_kind, metamethods, agenda_future_methods, NULL);
  agenda_functions_register(L, functions);
}
