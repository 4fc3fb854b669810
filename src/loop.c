/*
** loop.c: event loops as objects: made, asked to call things, closed. How one runs stands in
** loop_run.c.
**
**   stopped <--> running
**      \-------> closed
*/
#include "loop.h"

#include <errno.h>
#include <math.h>

#include "errors.h"
#include "task.h"

const agenda_kind agenda_loop_kind = {.name = "event_loop", .metatable = "agenda.event_loop"};

static const double DEFAULT_SLOW_CALLBACK = 0.1; /* seconds, as in asyncio */

static bool is_closed(const agenda_loop *loop)
{
  return loop->schedule == NULL || loop->schedule->closed;
}

agenda_loop *agenda_loop_check(lua_State *L, int index, bool open)
{
  agenda_loop *loop = agenda_object_check(L, index, &agenda_loop_kind);
  if (AGENDA_UNLIKELY(loop->schedule == NULL || (open && loop->schedule->closed)))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Event loop is closed");
  return loop;
}

/* ----- sources of events ----------------------------------------------------------------- */

void agenda_loop_attach(agenda_loop *loop, agenda_watch *watch)
{
  /* NB: the wakeable ones stand at the front, where the turn looks for them. */
  agenda_list_append(watch->wakeable ? loop->watches.next : &loop->watches, &watch->link);
  agenda_list_init(&watch->event);
  loop->object.state->live.count[AGENDA_LIVE_WATCHERS]++;
  loop->polled += watch->polled;
  loop->schedule->watching += !watch->silent;
}

void agenda_loop_detach(agenda_loop *loop, agenda_watch *watch)
{
  if (agenda_list_empty(&watch->link))
    return;
  agenda_list_unlink(&watch->link);
  agenda_list_unlink(&watch->event);
  loop->object.state->live.count[AGENDA_LIVE_WATCHERS]--;
  loop->polled -= watch->polled;
  loop->schedule->watching -= !watch->silent;
}

void agenda_loop_happened(agenda_loop *loop, agenda_watch *watch)
{
  if (agenda_list_empty(&watch->event))
    agenda_list_append(&loop->happened, &watch->event);
}

/* ----- making ---------------------------------------------------------------------------- */

/*
** A schedule knows no loop, so that a future keeps none alive. The way back is an entry of the
** weak table of tasks, under the schedule's address.
*/
static void register_schedule(lua_State *L, const agenda_schedule *schedule)
{
  agenda_slot_push_slow(L, AGENDA_SLOT_TASKS);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, schedule);
  lua_pop(L, 1);
}

void agenda_loop_push(lua_State *L, const agenda_schedule *schedule)
{
  if (schedule == NULL) {
    lua_pushnil(L);
    return;
  }
  agenda_slot_push_slow(L, AGENDA_SLOT_TASKS);
  lua_rawgetp(L, -1, schedule);
  lua_remove(L, -2);
}

static void stop_libev(agenda_loop *loop)
{
  if (loop->ev == NULL)
    return;
  agenda_loop_close_wakers(loop);
  ev_loop_destroy(loop->ev);
  loop->ev = NULL;
}

/* Born closed: what can fail is acquired once the object is one that its __gc can release. */
agenda_loop *agenda_loop_new(lua_State *L, agenda_state *state)
{
  agenda_loop *loop =
    agenda_object_new(L, state, &agenda_loop_kind, sizeof *loop, AGENDA_LOOP_SLOTS);
  agenda_list_init(&loop->watches);
  agenda_list_init(&loop->happened);
  agenda_loop_init_hooks(loop);
  atomic_init(&loop->woken, false);
  loop->timer_fd = loop->wake_fd = loop->wake_end = -1;
  loop->slow = DEFAULT_SLOW_CALLBACK;
  lua_newtable(L);
  lua_setiuservalue(L, -2, AGENDA_LOOP_WATCHERS);
  agenda_schedule *schedule = agenda_schedule_new(L, state);
  schedule->now = agenda_loop_real_time;
  schedule->debug = state->debug;
  loop->schedule = schedule;
  state->live.count[AGENDA_LIVE_LOOPS]++;
  register_schedule(L, schedule);
  errno = 0;
  loop->ev = ev_loop_new(EVFLAG_AUTO);
  if (loop->ev == NULL)
    agenda_error_raise_os(L, errno != 0 ? errno : ENOMEM, "ev_loop_new", NULL);
  ev_set_userdata(loop->ev, loop);
  if (!agenda_loop_open_wakers(loop)) {
    int number = errno;
    stop_libev(loop);
    agenda_error_raise_os(L, number, "eventfd", NULL);
  }
  return loop;
}

/* ----- closing --------------------------------------------------------------------------- */

/* Pushes a list of the unfinished tasks. */
static int l_list_tasks(lua_State *L)
{
  const agenda_loop *loop = lua_touserdata(L, 1);
  const agenda_list *head = &loop->schedule->tasks;
  lua_Integer n = 0;
  lua_newtable(L);
  for (const agenda_list *node = head->next; node != head; node = node->next) {
    agenda_task_push(L, AGENDA_LIST_OWNER(node, agenda_task, link));
    if (lua_isnil(L, -1))
      lua_pop(L, 1); /* the collector has it already */
    else
      lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* NB: a task without a schedule is one that was reported as destroyed already. */
static void abandon_task(lua_State *L, agenda_task *task)
{
  agenda_schedule *schedule = task->future.schedule;
  agenda_list_unlink(&task->link);
  task->anchor = 0;
  task->scheduled = false;
  task->future.schedule = NULL;
  schedule->state->live.count[AGENDA_LIVE_TASKS]--;
  agenda_schedule_release(L, schedule);
}

/* Empties the queue, the heap and the list of tasks. [-0, +0] */
static void abandon_all(lua_State *L, agenda_schedule *schedule)
{
  while (schedule->ready.count > 0) {
    agenda_ready entry = agenda_ready_queue_pop(&schedule->ready);
    if (entry.kind == AGENDA_ITEM_HANDLE)
      agenda_handle_abandon(L, entry.item);
  }
  agenda_deadline *deadline;
  while ((deadline = agenda_deadline_heap_first(&schedule->deadlines)) != NULL) {
    agenda_deadline_heap_remove(&schedule->deadlines, deadline);
    if (deadline->kind == AGENDA_ITEM_HANDLE)
      agenda_handle_abandon(L, AGENDA_LIST_OWNER(deadline, agenda_handle, deadline));
  }
  while (!agenda_list_empty(&schedule->tasks))
    abandon_task(L, AGENDA_LIST_OWNER(schedule->tasks.next, agenda_task, link));
}

/* Stops and lets go of everything; cannot fail. [-0, +0] */
static void close_loop(lua_State *L, agenda_loop *loop)
{
  while (!agenda_list_empty(&loop->watches)) {
    agenda_watch *watch = AGENDA_LIST_OWNER(loop->watches.next, agenda_watch, link);
    agenda_loop_detach(loop, watch);
    watch->stop(L, loop, watch);
  }
  abandon_all(L, loop->schedule);
  agenda_host_clear(&loop->host);
  agenda_schedule_close(L, loop->schedule);
  stop_libev(loop);
  loop->object.state->live.count[AGENDA_LIVE_LOOPS]--;
}

/* Reports each task of the list on the top as destroyed, through the loop at index 1. An interrupt
** that comes out of the handler is raised once all are reported. [-1, +0, may raise] */
static void report_destroyed(lua_State *L)
{
  int list = lua_gettop(L), interrupt = list + 1;
  lua_pushnil(L);
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "task");
    lua_pushliteral(L, "Task was destroyed but it is pending!");
    lua_setfield(L, -2, "message");
    if (agenda_loop_handle_error(L, 1))
      lua_replace(L, interrupt);
  }
  lua_settop(L, interrupt);
  if (!lua_isnil(L, interrupt))
    lua_error(L);
  lua_settop(L, list - 1);
}

/*** Closes the loop: what waits in it is cancelled, watchers are stopped, and each pending task
is reported through the exception handler. Does nothing when it is closed. As in asyncio.
@function loop:close
@raise RuntimeError while the loop runs */
static int l_close(lua_State *L)
{
  agenda_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  lua_settop(L, 1);
  if (loop->running)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Cannot close a running event loop");
  if (is_closed(loop))
    return 0;
  l_list_tasks(L);
  close_loop(L, loop);
  report_destroyed(L);
  return 0;
}

/* NB: memory may be short here, and the loop has to be closed all the same. */
static int l_gc(lua_State *L)
{
  agenda_loop *loop = lua_touserdata(L, 1);
  if (loop->schedule == NULL)
    return 0;
  bool open = !loop->schedule->closed, listed = false;
  if (open) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, l_list_tasks, 1);
    lua_pushvalue(L, 1);
    listed = lua_pcall(L, 1, 1, 0) == LUA_OK;
    close_loop(L, loop);
  }
  agenda_schedule_release(L, loop->schedule);
  loop->schedule = NULL;
  if (listed)
    report_destroyed(L);
  return 0;
}

/* ----- asking it to call things ---------------------------------------------------------- */

/*** Calls a function in the loop's next turn; first in, first out. The callback runs outside of
any task and cannot wait; an error in it goes to the exception handler. As in asyncio.
@function loop:call_soon
@tparam function f the callback
@param ... its arguments
@treturn handle with cancel() and cancelled()
@raise RuntimeError when the loop is closed */
static int l_call_soon(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, true);
  agenda_handle_check_callback(L, 2);
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
@raise RuntimeError when the loop is closed */
static int l_call_later(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, true);
  double delay = check_time(L, 2);
  agenda_handle_check_callback(L, 3);
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
@raise RuntimeError when the loop is closed */
static int l_call_at(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, true);
  double when = check_time(L, 2);
  agenda_handle_check_callback(L, 3);
  agenda_handle_call_at(L, loop->schedule, when, lua_gettop(L) - 3);
  return 1;
}

/*** The loop's monotonic time, which moves inside a callback too. As in asyncio.
@function loop:time
@treturn number seconds since an unspecified moment */
static int l_time(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, false);
  lua_pushnumber(L, loop->schedule->now(loop->schedule));
  return 1;
}

/*** A pending future of this loop. As in asyncio.
@function loop:create_future
@treturn future
@raise RuntimeError when the loop is closed */
static int l_create_future(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, true);
  agenda_future_new(L, loop->object.state, loop->schedule);
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
  agenda_loop *loop = agenda_loop_check(L, 1, true);
  if (lua_gettop(L) < 2)
    lua_settop(L, 2);
  agenda_task_new(L, loop->object.state, loop->schedule, lua_gettop(L) - 2);
  return 1;
}

/* ----- asking about it ------------------------------------------------------------------- */

/*** Whether the loop runs now. As in asyncio.
@function loop:is_running
@treturn boolean */
static int l_is_running(lua_State *L)
{
  const agenda_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  lua_pushboolean(L, loop->running);
  return 1;
}

/*** Whether the loop was closed. As in asyncio.
@function loop:is_closed
@treturn boolean */
static int l_is_closed(lua_State *L)
{
  lua_pushboolean(L, is_closed(agenda_object_check(L, 1, &agenda_loop_kind)));
  return 1;
}

/*** Turns the loop's debug mode on or off; AGENDA_DEBUG=1 turns it on from the start.
As in asyncio.
@function loop:set_debug
@tparam boolean on */
static int l_set_debug(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, false);
  luaL_checkany(L, 2);
  loop->schedule->debug = lua_toboolean(L, 2);
  if (loop->running)
    loop->object.state->debug = loop->schedule->debug;
  return 0;
}

/*** Whether the loop is in debug mode. As in asyncio.
@function loop:get_debug
@treturn boolean */
static int l_get_debug(lua_State *L)
{
  lua_pushboolean(L, agenda_loop_check(L, 1, false)->schedule->debug);
  return 1;
}

static bool is_slow_callback_duration(lua_State *L)
{
  lua_pushliteral(L, "slow_callback_duration");
  bool same = lua_rawequal(L, 2, -1);
  lua_pop(L, 1);
  return same;
}

/* Methods, and the field slow_callback_duration: seconds from which on the debug mode calls a
** callback slow. */
static int l_index(lua_State *L)
{
  const agenda_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  if (agenda_class_method(L))
    return 1;
  if (!is_slow_callback_duration(L))
    return 0;
  lua_pushnumber(L, loop->slow);
  return 1;
}

/* Assigns slow_callback_duration; nothing else can be. */
static int l_newindex(lua_State *L)
{
  agenda_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  if (!is_slow_callback_duration(L))
    return luaL_error(L, "an event loop has no assignable field '%s'", luaL_tolstring(L, 2, NULL));
  loop->slow = check_time(L, 3);
  return 0;
}

/* "<event_loop running at 0x...>" */
static int l_tostring(lua_State *L)
{
  const agenda_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  return agenda_push_description(L, &loop->object,
                                 loop->running ? "running" : is_closed(loop) ? "closed" : NULL);
}

/* ----- the loops of a Lua state ---------------------------------------------------------- */

/*** A new loop, which is not the default one until set_event_loop makes it so. As in asyncio.
@function new_event_loop
@treturn event_loop
@raise OSError when the system has no descriptors left */
static int l_new_event_loop(lua_State *L)
{
  agenda_loop_new(L, agenda_state_here(L));
  return 1;
}

/*** The loop that runs now. As in asyncio.
@function get_running_loop
@treturn event_loop
@raise RuntimeError "no running event loop" */
static int l_get_running_loop(lua_State *L)
{
  if (agenda_state_here(L)->loop == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  agenda_slot_push(L, AGENDA_SLOT_LOOP);
  return 1;
}

/*** The loop that runs now, else the default loop, which is made where there is none.
As in asyncio.
@function get_event_loop
@treturn event_loop */
static int l_get_event_loop(lua_State *L)
{
  if (agenda_state_here(L)->loop != NULL)
    agenda_slot_push(L, AGENDA_SLOT_LOOP);
  else if (agenda_slot_push(L, AGENDA_SLOT_DEFAULT_LOOP) == LUA_TNIL) {
    agenda_loop_new(L, agenda_state_here(L));
    lua_pushvalue(L, -1);
    agenda_slot_set(L, AGENDA_SLOT_DEFAULT_LOOP);
  }
  return 1;
}

/*** Makes a loop the default one of this Lua state. As in asyncio.
@function set_event_loop
@tparam ?event_loop loop nil for none */
static int l_set_event_loop(lua_State *L)
{
  luaL_checkany(L, 1);
  if (!lua_isnil(L, 1))
    agenda_object_check(L, 1, &agenda_loop_kind);
  lua_settop(L, 1);
  agenda_slot_set(L, AGENDA_SLOT_DEFAULT_LOOP);
  return 0;
}

/*** For agenda.testing: a clock that stands still while code runs and, when everything is blocked,
jumps to the next deadline.
@function _use_virtual_clock
@tparam event_loop loop one that has no timers yet
@tparam[opt=0] number start its first time in seconds */
static int l_use_virtual_clock(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, true);
  loop->schedule->virtual_now = luaL_optnumber(L, 2, 0);
  loop->schedule->now = agenda_loop_virtual_time;
  loop->virtual_clock = true;
  return 0;
}

/*** A table that belongs to the loop, for the Lua layer's own use.
@function _loop_extra
@tparam event_loop loop
@treturn table the same one at each call */
static int l_loop_extra(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_loop_kind);
  if (lua_getiuservalue(L, 1, AGENDA_LOOP_EXTRA) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, AGENDA_LOOP_EXTRA);
  }
  return 1;
}

static const luaL_Reg metamethods[] = {
  {"__gc", l_gc},
  {"__newindex", l_newindex},
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"call_at", l_call_at},
  {"call_later", l_call_later},
  {"call_soon", l_call_soon},
  {"close", l_close},
  {"create_future", l_create_future},
  {"create_task", l_create_task},
  {"get_debug", l_get_debug},
  {"is_closed", l_is_closed},
  {"is_running", l_is_running},
  {"set_debug", l_set_debug},
  {"time", l_time},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"get_event_loop", l_get_event_loop},
  {"get_running_loop", l_get_running_loop},
  {"new_event_loop", l_new_event_loop},
  {"set_event_loop", l_set_event_loop},
  {"_loop_extra", l_loop_extra},
  {"_use_virtual_clock", l_use_virtual_clock},
  {NULL, NULL}
};

void agenda_loop_push_methods(lua_State *L)
{
  agenda_class_push(L, &agenda_loop_kind);
  lua_getfield(L, -1, "__index");
  lua_getupvalue(L, -1, 2);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void agenda_open_loop(lua_State *L)
{
  agenda_class_register(L, &agenda_loop_kind, metamethods, methods, l_index);
  agenda_functions_register(L, functions);
  agenda_open_loop_hooks(L);
  agenda_loop_push_methods(L);
  agenda_open_loop_run(L);
  agenda_open_loop_reports(L);
  lua_setfield(L, -2, "_loop_methods"); /* for methods that are written in Lua */
}
