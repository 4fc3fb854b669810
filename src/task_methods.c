/*
** task_methods.c: what Lua sees of tasks: starting, waiting, naming, cancelling, looking at them.
*/
#include "task.h"

#include <math.h>

#include "errors.h"
#include "handle.h"

static agenda_task *check_task(lua_State *L)
{
  return agenda_object_check(L, 1, &agenda_task_kind);
}

static bool is_done(const agenda_task *task)
{
  return task->future.status != AGENDA_FUTURE_PENDING;
}

/* ----- sleeping ------------------------------------------------------------------------ */

static int after_sleep(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  agenda_frame_resumed(L, agenda_state_here(L));
  return lua_gettop(L) - 1;
}

/* The callback of a sleep that somebody drives by hand. */
static int l_resolve(lua_State *L)
{
  agenda_future *future = lua_touserdata(L, 1);
  if (future->status == AGENDA_FUTURE_PENDING)
    agenda_future_finish(L, 1, 0);
  return 0;
}

static int sleep_by_hand(lua_State *L, agenda_state *state, double seconds)
{
  if (state->schedule == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  agenda_schedule *schedule = state->schedule;
  agenda_future_create(L, state, schedule);
  lua_replace(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, l_resolve, 1);
  lua_pushvalue(L, 1);
  agenda_handle_call_at(L, schedule, schedule->now(schedule) + seconds, 1);
  lua_pop(L, 1);
  lua_pushvalue(L, 1);
  return agenda_frame_wait(L, state, 1, 0, after_sleep);
}

/*** Waits. Awaits; `sleep(0)` and less let the loop take one turn.
@function sleep
@tparam number seconds how long; fractions count
@param ... given back
@return the extra arguments
@raise ValueError for NaN; RuntimeError where nothing can wait */
static int l_sleep(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  double seconds = luaL_checknumber(L, 1);
  if (AGENDA_UNLIKELY(isnan(seconds)))
    return agenda_error_raise(L, AGENDA_VALUE_ERROR, "Invalid delay: NaN (not a number)");
  const char *why = agenda_frame_cannot_wait(L, state, true);
  if (AGENDA_UNLIKELY(why != NULL))
    return agenda_frame_refuse_wait(L, state, "sleep", why);
  if (seconds <= 0)
    return agenda_frame_wait(L, state, 0, 0, after_sleep);
  if (state->runner->kind == AGENDA_RUNNER_HAND)
    return sleep_by_hand(L, state, seconds);
  agenda_task *task = state->runner->task;
  agenda_schedule *schedule = task->future.schedule;
  if (AGENDA_UNLIKELY(task->must_cancel))
    agenda_ready_queue_grow(L, &schedule->ready);
  agenda_deadline_heap_insert(L, &schedule->deadlines, &task->deadline,
                              schedule->now(schedule) + seconds);
  if (AGENDA_UNLIKELY(task->must_cancel))
    agenda_task_wake(L, task); /* it takes a turn, if nobody withdraws the request */
  return agenda_frame_wait(L, state, 0, 0, after_sleep);
}

static int after_checkpoint(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  agenda_frame_resumed(L, agenda_state_here(L));
  return 0;
}

/*** Takes a turn and delivers a pending cancellation. Awaits.
@function checkpoint
@raise CancelledError; RuntimeError where nothing can wait */
static int l_checkpoint(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  const char *why = agenda_frame_cannot_wait(L, state, true);
  lua_settop(L, 0);
  if (why != NULL)
    return agenda_frame_refuse_wait(L, state, "take a turn", why);
  return agenda_frame_wait(L, state, 0, 0, after_checkpoint);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

static agenda_schedule *check_running(lua_State *L)
{
  agenda_schedule *schedule = agenda_state_here(L)->schedule;
  if (schedule == NULL)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  return schedule;
}

/*** Starts a task on the running loop; it first runs in the next turn.
@function spawn
@tparam function|awaitable f
@param ... arguments of the function
@treturn task
@raise RuntimeError "no running event loop"; TypeError for what is neither */
static int l_spawn(lua_State *L)
{
  if (lua_gettop(L) < 1)
    lua_settop(L, 1);
  agenda_schedule *schedule = check_running(L);
  agenda_task_new(L, schedule->state, schedule, lua_gettop(L) - 1);
  return 1;
}

/*** The same, and a batch's callback is told when the task is done: see new_batch.
@function spawn_in_batch
@tparam table batch
@tparam function|awaitable f
@param ... arguments of the function
@treturn task
@raise RuntimeError "no running event loop"; TypeError for what is neither */
static int l_spawn_in_batch(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  agenda_schedule *schedule = check_running(L);
  agenda_task_new(L, schedule->state, schedule, lua_gettop(L) - 2);
  lua_pushvalue(L, 1);
  agenda_future_add_waiter(L, 2);
  return 1;
}

/*** A Future or Task as it is; a task of any other awaitable. As in asyncio.
@function ensure_future
@tparam function|awaitable aw
@treturn future
@raise RuntimeError "no running event loop"; TypeError for what is neither */
static int l_ensure_future(lua_State *L)
{
  lua_settop(L, 1);
  if (agenda_object_test(L, 1, &agenda_future_kind) != NULL)
    return 1;
  return l_spawn(L);
}

/*** The task that runs now.
@function current_task
@treturn ?task nil in a plain callback
@raise RuntimeError "no running event loop" */
static int l_current_task(lua_State *L)
{
  agenda_schedule *schedule = check_running(L);
  if (schedule->current == NULL)
    lua_pushnil(L);
  else
    agenda_task_push(L, schedule->current);
  return 1;
}

/*** The unfinished tasks of the running loop, oldest first.
@function all_tasks
@treturn {task,...}
@raise RuntimeError "no running event loop" */
static int l_all_tasks(lua_State *L)
{
  agenda_task_push_all(L, check_running(L));
  return 1;
}

/*** The task's name.
@function task:get_name
@treturn string "Task-1" and so on by default */
static int l_get_name(lua_State *L)
{
  check_task(L);
  agenda_task_push_name(L, 1);
  return 1;
}

/*** Names the task.
@function task:set_name
@tparam any name through tostring */
static int l_set_name(lua_State *L)
{
  check_task(L);
  luaL_checkany(L, 2);
  luaL_tolstring(L, 2, NULL);
  agenda_future_set_extra(L, 1, AGENDA_EXTRA_NAME);
  return 0;
}

/*** The coroutine object that the task drives; of a function's task, its Lua coroutine.
@function task:get_coro
@treturn ?coroutine|thread nil once a function's task is done */
static int l_get_coro(lua_State *L)
{
  agenda_task_begin(L, check_task(L), 1);
  if (agenda_future_push_extra(L, 1, AGENDA_EXTRA_COROUTINE) == LUA_TNIL)
    if (lua_getiuservalue(L, 1, AGENDA_FRAME_THREAD) == LUA_TTABLE)
      lua_rawgeti(L, -1, 0);
  if (lua_isuserdata(L, -1) && is_done(lua_touserdata(L, 1)) && agenda_object_kind(L, -1) == NULL)
    lua_pushnil(L); /* the schedule */
  return 1;
}

/*** How many requests to cancel the task there are, less those that were taken back.
@function task:cancelling
@treturn integer */
static int l_cancelling(lua_State *L)
{
  lua_pushinteger(L, check_task(L)->cancelling);
  return 1;
}

/*** Takes a request to cancel back; the last one withdraws an error not yet delivered.
@function task:uncancel
@treturn integer how many are left */
static int l_uncancel(lua_State *L)
{
  agenda_task *task = check_task(L);
  if (task->cancelling > 0 && --task->cancelling == 0)
    task->must_cancel = false;
  lua_pushinteger(L, task->cancelling);
  return 1;
}

/* Appends the levels of a coroutine to the list at `list`, outermost first. */
static void append_levels(lua_State *L, lua_State *co, int list)
{
  lua_Debug info;
  int level = 0;
  while (lua_getstack(co, level, &info))
    level++;
  while (--level >= 0) {
    if (!lua_getstack(co, level, &info) || !lua_getinfo(co, "Sln", &info) || *info.what == 'C')
      continue;
    lua_createtable(L, 0, 3);
    lua_pushstring(L, info.source);
    lua_setfield(L, -2, "source");
    lua_pushinteger(L, info.currentline);
    lua_setfield(L, -2, "currentline");
    lua_pushstring(L, info.name);
    lua_setfield(L, -2, "name");
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
  }
}

/*** Where the task is: the functions of its coroutine and of those that it awaits, outermost first.
@function task:get_stack
@treturn {{source=string,currentline=integer,name=?string},...} empty once it is done */
static int l_get_stack(lua_State *L)
{
  agenda_task *task = check_task(L);
  lua_newtable(L);
  if (is_done(task))
    return 1;
  int list = lua_gettop(L);
  for (const agenda_frame *frame = task->base; frame != NULL; frame = frame->callee)
    if (frame->co != NULL && frame->status != AGENDA_FRAME_CREATED)
      append_levels(L, frame->co, list);
  return 1;
}

/*** Prints where the task is, or where its error was raised.
@function task:print_stack
@tparam[opt=io.stderr] file file */
static int l_print_stack(lua_State *L)
{
  agenda_task *task = check_task(L);
  int type = lua_type(L, 2);
  luaL_argexpected(L, type <= LUA_TNIL || type == LUA_TUSERDATA || type == LUA_TTABLE, 2, "file");
  lua_settop(L, 2);
  luaL_tolstring(L, 1, NULL);
  lua_pushliteral(L, "\n");
  if (!is_done(task))
    agenda_frame_push_stack(L, task->base);
  else if (task->future.status == AGENDA_FUTURE_FAILED) {
    lua_getiuservalue(L, 1, AGENDA_FUTURE_VALUE);
    luaL_tolstring(L, -1, NULL);
    lua_pushliteral(L, "\n");
    agenda_error_push_trace(L, -3);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_pushliteral(L, "");
    }
    lua_concat(L, 3);
    lua_remove(L, -2);
  }
  else
    lua_pushliteral(L, "(done)");
  lua_pushliteral(L, "\n");
  lua_concat(L, 4);
  if (lua_isnil(L, 2)) {
    lua_writestringerror("%s", lua_tostring(L, -1));
    return 0;
  }
  lua_getfield(L, 2, "write");
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_call(L, 2, 0);
  return 0;
}

/* <task Task-1 at 0x...> */
static int l_tostring(lua_State *L)
{
  agenda_task *task = check_task(L);
  return agenda_push_description(L, &task->future.object, agenda_task_push_name(L, 1));
}

static const luaL_Reg metamethods[] = {
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"get_name", l_get_name},
  {"set_name", l_set_name},
  {"get_coro", l_get_coro},
  {"cancelling", l_cancelling},
  {"uncancel", l_uncancel},
  {"get_stack", l_get_stack},
  {"print_stack", l_print_stack},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"spawn", l_spawn},
  {"create_task", l_spawn},
  {"spawn_in_batch", l_spawn_in_batch},
  {"ensure_future", l_ensure_future},
  {"current_task", l_current_task},
  {"all_tasks", l_all_tasks},
  {"sleep", l_sleep},
  {"checkpoint", l_checkpoint},
  {NULL, NULL}
};

void agenda_open_task(lua_State *L)
{
  agenda_class_register(L, &agenda_task_kind, metamethods, methods, NULL);
  agenda_class_push(L, &agenda_task_kind);
  lua_getfield(L, -1, "__index");
  agenda_functions_register(L, agenda_future_methods);
  lua_pop(L, 2);
  agenda_functions_register(L, functions);
  agenda_open_task_guard(L);
}
