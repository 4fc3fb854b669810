/*
** loop_calls.c: what a loop is asked to call: callbacks, timers, tasks.
*/
#include <math.h>

#include "loop.h"

static void check_callback(lua_State *L, const agenda_event_loop *loop, int index, const char *name)
{
  agenda_handle_check_callback(L, index);
  if (AGENDA_UNLIKELY(loop->schedule->debug))
    agenda_handle_refuse_coroutine(L, index, name);
}

/*** Calls a function in the loop's next turn; first in, first out. The callback runs outside of
any task and cannot wait; an error in it goes to the exception handler. As in asyncio.
@function loop:call_soon
@tparam function f the callback
@param ... its arguments
@treturn handle with cancel() and cancelled()
@raise RuntimeError when the loop is closed; in debug mode TypeError for a coroutine function */
static int l_call_soon(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  check_callback(L, loop, 2, "call_soon");
  agenda_handle_call_soon(L, loop->schedule, lua_gettop(L) - 2);
  return 1;
}

static double check_time(lua_State *L, int index)
{
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, !isnan(seconds), index, "not a number of seconds");
  return seconds;
}

/*** Calls a function after a delay, never early. Equal times run in order of scheduling.
As in asyncio.
@function loop:call_later
@tparam number delay seconds; negative ones are due at once, math.huge never comes
@tparam function f the callback
@param ... its arguments
@treturn timer_handle with cancel(), cancelled() and when()
@raise RuntimeError when the loop is closed; in debug mode TypeError for a coroutine function */
static int l_call_later(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  double delay = check_time(L, 2);
  check_callback(L, loop, 3, "call_later");
  double when = loop->schedule->now(loop->schedule) + delay;
  agenda_handle_call_at(L, loop->schedule, when, lua_gettop(L) - 3);
  return 1;
}

/*** Calls a function at a time of the loop's clock, never early. As in asyncio.
@function loop:call_at
@tparam number when seconds, compared with loop:time(); math.huge never comes
@tparam function f the callback
@param ... its arguments
@treturn timer_handle with cancel(), cancelled() and when()
@raise RuntimeError when the loop is closed; in debug mode TypeError for a coroutine function */
static int l_call_at(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  double when = check_time(L, 2);
  check_callback(L, loop, 3, "call_at");
  agenda_handle_call_at(L, loop->schedule, when, lua_gettop(L) - 3);
  return 1;
}

/*** The loop's monotonic time, which moves inside a callback too. As in asyncio.
@function loop:time
@treturn number seconds since an unspecified moment */
static int l_time(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, false);
  lua_pushnumber(L, loop->schedule->now(loop->schedule));
  return 1;
}

/*** A pending future of this loop. As in asyncio.
@function loop:create_future
@treturn future
@raise RuntimeError when the loop is closed */
static int l_create_future(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  agenda_future_create(L, loop->object.state, loop->schedule);
  return 1;
}

/*** A task of this loop, first run in its next turn. As in asyncio.
@function loop:create_task
@param f a function or any awaitable
@param ... the function's arguments
@treturn task
@raise TypeError when f is neither; RuntimeError when the loop is closed */
static int l_create_task(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  if (lua_gettop(L) < 2)
    lua_settop(L, 2);
  agenda_task_new(L, loop->object.state, loop->schedule, lua_gettop(L) - 2);
  return 1;
}

static const luaL_Reg methods[] = {
  {"call_at", l_call_at},
  {"call_later", l_call_later},
  {"call_soon", l_call_soon},
  {"create_future", l_create_future},
  {"create_task", l_create_task},
  {"time", l_time},
  {NULL, NULL}
};

void agenda_open_loop_calls(lua_State *L)
{
  agenda_functions_register(L, methods);
}
