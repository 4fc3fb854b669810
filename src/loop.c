/*
** loop.c: event loops as objects: made, given sources of events, closed. What they are asked to
** call stands in loop_calls.c, how they run in loop_run.c.
**
**   stopped <--> running
**      \-------> closed
*/
#include "loop.h"

#include <errno.h>

#include "errors.h"

const agenda_kind agenda_loop_kind = {.name = "event_loop", .metatable = "agenda.event_loop"};

static const double DEFAULT_SLOW_CALLBACK = 0.1; /* seconds, as in asyncio */

static bool is_closed(const agenda_event_loop *loop)
{
  return loop->schedule == NULL || loop->schedule->closed;
}

agenda_event_loop *agenda_loop_check(lua_State *L, int index, bool open)
{
  agenda_event_loop *loop = agenda_object_check(L, index, &agenda_loop_kind);
  if (AGENDA_UNLIKELY(loop->schedule == NULL || (open && loop->schedule->closed)))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Event loop is closed");
  return loop;
}

/* ----- sources of events --------------------------------------------------------------- */

void agenda_loop_attach(agenda_event_loop *loop, agenda_watch *watch)
{
  watch->loop = loop;
  /* NB: the wakeable ones stand at the front, where the turn looks for them. */
  agenda_list_append(watch->wakeable ? loop->watches.next : &loop->watches, &watch->link);
  agenda_list_init(&watch->event);
  loop->object.state->live.count[AGENDA_LIVE_WATCHERS] += !watch->silent;
  loop->polled += watch->polled;
  loop->schedule->watching += !watch->silent;
}

void agenda_loop_detach(agenda_event_loop *loop, agenda_watch *watch)
{
  if (agenda_list_empty(&watch->link))
    return;
  agenda_list_unlink(&watch->link);
  agenda_list_unlink(&watch->event);
  loop->object.state->live.count[AGENDA_LIVE_WATCHERS] -= !watch->silent;
  loop->polled -= watch->polled;
  loop->schedule->watching -= !watch->silent;
}

void agenda_loop_happened(agenda_watch *watch)
{
  if (agenda_list_empty(&watch->event))
    agenda_list_append(&watch->loop->happened, &watch->event);
}

/* ----- making -------------------------------------------------------------------------- */

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

static void stop_libev(lua_State *L, agenda_event_loop *loop)
{
  if (loop->ev == NULL)
    return;
  agenda_loop_host_stop(L, loop);
  agenda_loop_close_wakers(loop);
  if (loop->owns_ev)
    ev_loop_destroy(loop->ev);
  loop->ev = NULL;
}

/* Born closed: what can fail is acquired once the object is one that its __gc can release. */
agenda_event_loop *agenda_loop_new(lua_State *L, agenda_state *state, struct ev_loop *ev)
{
  agenda_event_loop *loop =
    agenda_object_new(L, state, &agenda_loop_kind, sizeof *loop, AGENDA_LOOP_SLOTS);
  agenda_list_init(&loop->watches);
  agenda_list_init(&loop->happened);
  atomic_init(&loop->woken, false);
  loop->timer_fd = loop->wake_fd = loop->wake_end = -1;
  loop->slow = DEFAULT_SLOW_CALLBACK;
  loop->reports_failures = state->debug;
  lua_newtable(L);
  lua_setiuservalue(L, -2, AGENDA_LOOP_WATCHERS);
  agenda_schedule *schedule = agenda_schedule_new(L, state);
  schedule->now = agenda_loop_real_time;
  schedule->report = agenda_loop_report_stopped;
  schedule->debug = state->debug;
  loop->schedule = schedule;
  agenda_loop_init_hooks(loop);
  state->live.count[AGENDA_LIVE_LOOPS]++;
  register_schedule(L, schedule);
  errno = 0;
  loop->owns_ev = ev == NULL;
  loop->ev = ev != NULL ? ev : ev_loop_new(EVFLAG_AUTO);
  if (loop->ev == NULL)
    agenda_error_raise_os(L, errno != 0 ? errno : ENOMEM, "ev_loop_new", NULL);
  if (!agenda_loop_open_wakers(loop)) {
    int number = errno;
    stop_libev(L, loop);
    agenda_error_raise_os(L, number, "eventfd", NULL);
  }
  return loop;
}

/* ----- closing ------------------------------------------------------------------------- */

/*** The unfinished tasks of the loop, whether it runs or not.
@function loop:_tasks
@treturn {task,...} oldest first
@raise RuntimeError when the loop is closed */
static int l_tasks(lua_State *L)
{
  agenda_task_push_all(L, agenda_loop_check(L, 1, true)->schedule);
  return 1;
}

/*** The tasks of the loop that have failed and whose error nobody has asked for.
@function loop:_failed_tasks
@treturn {[integer]=task} by their numbers, so the oldest has the least
@raise RuntimeError when the loop is closed */
static int l_failed_tasks(lua_State *L)
{
  agenda_task_push_failed(L, agenda_loop_check(L, 1, true)->schedule);
  return 1;
}

/* NB: a task without a schedule is one that was reported as destroyed already. */
static void abandon_task(agenda_task *task)
{
  agenda_schedule *schedule = task->future.schedule;
  agenda_list_unlink(&task->link);
  task->anchor = 0;
  task->scheduled = false;
  task->future.schedule = NULL;
  schedule->state->live.count[AGENDA_LIVE_TASKS]--;
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
    abandon_task(AGENDA_LIST_OWNER(schedule->tasks.next, agenda_task, link));
}

/* Stops and lets go of everything; cannot fail. [-0, +0] */
static void close_loop(lua_State *L, agenda_event_loop *loop)
{
  while (!agenda_list_empty(&loop->watches)) {
    agenda_watch *watch = AGENDA_LIST_OWNER(loop->watches.next, agenda_watch, link);
    agenda_loop_detach(loop, watch);
    watch->stop(L, loop, watch);
  }
  abandon_all(L, loop->schedule);
  agenda_schedule_close(L, loop->schedule);
  stop_libev(L, loop);
  loop->object.state->live.count[AGENDA_LIVE_LOOPS]--;
}

/* Reports each task of the list on the top as destroyed, through the loop at `index`. An interrupt
** that comes out of the handler is raised once all are reported. [-1, +0, may raise] */
static void report_destroyed(lua_State *L, int index)
{
  int list = lua_gettop(L), interrupt = list + 1;
  lua_pushnil(L);
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    agenda_task *task = lua_touserdata(L, -1);
    if (task->future.destroyed) {
      lua_pop(L, 1);
      continue;
    }
    task->future.destroyed = true;
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "task");
    lua_pushliteral(L, "Task was destroyed but it is pending!");
    lua_setfield(L, -2, "message");
    if (agenda_loop_handle_error(L, index))
      lua_replace(L, interrupt);
  }
  lua_settop(L, interrupt);
  if (!lua_isnil(L, interrupt))
    lua_error(L);
  lua_settop(L, list - 1);
}

void agenda_loop_abandon(lua_State *L, agenda_event_loop *loop)
{
  close_loop(L, loop);
}

void agenda_loop_close(lua_State *L, int index)
{
  int list = lua_gettop(L);
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    agenda_task_guard(L, lua_touserdata(L, -1), -1);
    lua_pop(L, 1);
  }
  lua_settop(L, list);
  close_loop(L, lua_touserdata(L, index));
  report_destroyed(L, index);
}

/*** Closes the loop: what waits in it is cancelled, watchers are stopped, and each pending task
is reported through the exception handler. Does nothing when it is closed. As in asyncio.
@function loop:close
@raise RuntimeError while the loop runs, and of a loop that a host runs */
static int l_close(lua_State *L)
{
  agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  lua_settop(L, 1);
  if (loop->running)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Cannot close a running event loop");
  if (is_closed(loop))
    return 0;
  if (loop->attached)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "Cannot close an event loop that a host has attached");
  agenda_task_push_all(L, loop->schedule);
  agenda_loop_close(L, 1);
  return 0;
}

/* Ends the bodies of the tasks in the list at `list`, whose loop is collected. */
static void close_bodies(lua_State *L, int list)
{
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    agenda_task_close_body(L, lua_touserdata(L, -1));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* NB: memory may be short here, and the loop has to be closed all the same. */
static int l_gc(lua_State *L)
{
  agenda_event_loop *loop = lua_touserdata(L, 1);
  if (loop->schedule == NULL)
    return 0;
  bool open = !loop->schedule->closed, listed = false;
  if (open) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, l_tasks, 1);
    lua_pushvalue(L, 1);
    listed = lua_pcall(L, 1, 1, 0) == LUA_OK;
    close_loop(L, loop);
  }
  agenda_schedule_release(L, loop->schedule);
  loop->schedule = NULL;
  if (listed) {
    lua_pushvalue(L, -1);
    report_destroyed(L, 1);
    close_bodies(L, lua_gettop(L));
  }
  return 0;
}

/* ----- asking about it ----------------------------------------------------------------- */

/*** Whether the loop runs now. As in asyncio.
@function loop:is_running
@treturn boolean */
static int l_is_running(lua_State *L)
{
  const agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
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
  agenda_event_loop *loop = agenda_loop_check(L, 1, false);
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
  const agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
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
  agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  if (!is_slow_callback_duration(L))
    return luaL_error(L, "an event loop has no assignable field '%s'", luaL_tolstring(L, 2, NULL));
  loop->slow = luaL_checknumber(L, 3);
  return 0;
}

/* "<event_loop running at 0x...>" */
static int l_tostring(lua_State *L)
{
  const agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  return agenda_push_description(L, &loop->object,
                                 loop->running ? "running" : is_closed(loop) ? "closed" : NULL);
}

static const luaL_Reg metamethods[] = {
  {"__gc", l_gc},
  {"__newindex", l_newindex},
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"close", l_close},
  {"get_debug", l_get_debug},
  {"is_closed", l_is_closed},
  {"is_running", l_is_running},
  {"set_debug", l_set_debug},
  {"_failed_tasks", l_failed_tasks},
  {"_tasks", l_tasks},
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
  agenda_open_loop_state(L);
  agenda_open_loop_hooks(L);
  agenda_loop_push_methods(L);
  agenda_open_loop_calls(L);
  agenda_open_loop_run(L);
  agenda_open_loop_reports(L);
  lua_setfield(L, -2, "_loop_methods"); /* for methods that are written in Lua */
}
