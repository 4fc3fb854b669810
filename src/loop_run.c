/*
** loop_run.c: how a loop runs.
**
** One turn: wait until something happens, unless something is ready; put what happened and what
** is due at the end of the ready queue; run what is in the queue now. What that schedules waits
** for the next turn.
**
** The turns run under one protected call, and only KeyboardInterrupt, errors of memory and those
** of a debug hook come out of it: tasks and handles keep all others. What was ready then is still
** in the queue, for the next run. libev's callbacks only note what happened, so no error crosses
** ev_run.
*/
#include "loop.h"

#include <math.h>

#include "errors.h"

typedef enum { RUN_FOREVER, RUN_UNTIL, RUN_ONCE, RUN_HOST } run_mode;

typedef struct run {
  agenda_event_loop *loop;
  agenda_future *main; /* of RUN_UNTIL */
  double limit;        /* of RUN_ONCE: not to wait longer than this time of the real clock */
  run_mode mode;
  bool deadlock;       /* nothing is left that could end it */
} run;

enum { RUN_ARGUMENT = 1, RUN_LOOP, RUN_FAILED }; /* stack of the protected function */

/* ----- waiting ------------------------------------------------------------------------- */

static bool anything_new(const agenda_event_loop *loop)
{
  return loop->schedule->ready.count > 0 || !agenda_list_empty(&loop->happened) ||
         atomic_load_explicit(&loop->woken, memory_order_acquire);
}

double agenda_loop_next_deadline(const agenda_event_loop *loop)
{
  const agenda_deadline *first = agenda_deadline_heap_first(&loop->schedule->deadlines);
  return first == NULL ? INFINITY : agenda_deadline_heap_when(&loop->schedule->deadlines, first);
}

bool agenda_loop_is_ready(const agenda_event_loop *loop)
{
  if (anything_new(loop))
    return true;
  double next = agenda_loop_next_deadline(loop);
  return next < INFINITY && next <= loop->schedule->now(loop->schedule);
}

static bool nothing_to_wait_for(const agenda_event_loop *loop)
{
  return loop->schedule->watching == 0 && agenda_loop_next_deadline(loop) == INFINITY;
}

static int do_nothing(lua_State *L)
{
  (void)L;
  return 0;
}

/*
** lua.c's handler of SIGINT sets a debug hook, which needs a call to fire: a loop that only waits
** would not notice Ctrl-C.
*/
static void let_hook_fire(lua_State *L)
{
  if (AGENDA_LIKELY(lua_gethookmask(L) == 0))
    return;
  lua_pushcfunction(L, do_nothing);
  lua_call(L, 0, 0);
}

/* Waits for something to happen, until the nearest deadline or the limit. False when nothing can
** happen any more. */
static bool block(lua_State *L, const run *r)
{
  agenda_event_loop *loop = r->loop;
  agenda_ready_queue_trim(L, &loop->schedule->ready);
  for (;;) {
    double next = agenda_loop_next_deadline(loop);
    if (loop->virtual_clock && next < INFINITY) {
      if (next > loop->schedule->virtual_now)
        loop->schedule->virtual_now = next;
      return true;
    }
    if (r->mode != RUN_FOREVER && nothing_to_wait_for(loop))
      return false;
    double until = next < r->limit ? next : r->limit;
    if (until <= agenda_loop_real_time(loop->schedule))
      return true;
    agenda_loop_arm(loop, until);
    ev_run(loop->ev, EVRUN_ONCE);
    let_hook_fire(L);
    if (anything_new(loop))
      return true;
  }
}

/*
** NB: an object that is no longer in use may hold what would go on, a generator whose cleanup a
** finalizer starts; so that is looked at before anything is called a deadlock. The tasks stay: they
** are to be cancelled, which is kinder to their cleanup.
*/
static bool collect_and_look(lua_State *L, const agenda_event_loop *loop)
{
  bool found = false;
  agenda_task_push_all(L, loop->schedule);
  for (int stage = 0; stage < 2 && !found; stage++) {
    lua_gc(L, LUA_GCCOLLECT, 0);
    found = anything_new(loop) || !nothing_to_wait_for(loop);
  }
  lua_pop(L, 1);
  return found;
}

/* False for a deadlock. */
static bool poll_events(lua_State *L, const run *r)
{
  agenda_event_loop *loop = r->loop;
  if (loop->polled > 0)
    ev_run(loop->ev, EVRUN_NOWAIT);
  if (anything_new(loop) || loop->stopping || r->limit == -INFINITY)
    return true;
  return block(L, r) || (r->mode == RUN_UNTIL && collect_and_look(L, loop));
}

/* ----- one turn ------------------------------------------------------------------------ */

/* What happened goes to the ready queue. */
static void take_events(lua_State *L, agenda_event_loop *loop)
{
  if (AGENDA_UNLIKELY(atomic_load_explicit(&loop->woken, memory_order_relaxed))) {
    atomic_store(&loop->woken, false);
    for (agenda_list *node = loop->watches.next; node != &loop->watches; node = node->next) {
      agenda_watch *watch = AGENDA_LIST_OWNER(node, agenda_watch, link);
      if (!watch->wakeable)
        break;
      agenda_loop_happened(watch);
    }
  }
  while (!agenda_list_empty(&loop->happened)) {
    agenda_watch *watch = AGENDA_LIST_OWNER(loop->happened.next, agenda_watch, event);
    agenda_ready_queue_grow(L, &loop->schedule->ready);
    agenda_list_unlink(&watch->event);
    watch->happened(L, loop, watch);
  }
}

/* What is due goes to the ready queue. */
static void take_deadlines(lua_State *L, agenda_schedule *schedule)
{
  agenda_deadline *first = agenda_deadline_heap_first(&schedule->deadlines);
  if (first == NULL)
    return;
  double now = schedule->now(schedule);
  while (first != NULL && agenda_deadline_heap_when(&schedule->deadlines, first) <= now) {
    agenda_ready_queue_grow(L, &schedule->ready);
    agenda_deadline_heap_remove(&schedule->deadlines, first);
    if (first->kind == AGENDA_ITEM_TASK)
      agenda_task_wake(L, AGENDA_LIST_OWNER(first, agenda_task, deadline));
    else
      agenda_handle_wake(L, AGENDA_LIST_OWNER(first, agenda_handle, deadline));
    first = agenda_deadline_heap_first(&schedule->deadlines);
  }
}

static void raise_interrupt(lua_State *L, agenda_event_loop *loop)
{
  loop->interrupted = false;
  lua_getiuservalue(L, RUN_LOOP, AGENDA_LOOP_INTERRUPT);
  lua_pushnil(L);
  lua_setiuservalue(L, RUN_LOOP, AGENDA_LOOP_INTERRUPT);
  lua_error(L);
}

static void run_ready(lua_State *L, const run *r)
{
  agenda_event_loop *loop = r->loop;
  agenda_schedule *schedule = loop->schedule;
  for (size_t n = schedule->ready.count; n > 0; n--) {
    agenda_ready entry = agenda_ready_queue_pop(&schedule->ready);
    if (AGENDA_UNLIKELY(schedule->debug))
      agenda_loop_run_timed(L, loop, r->main, RUN_FAILED, entry);
    else
      agenda_loop_run_item(L, entry);
    if (AGENDA_UNLIKELY(loop->interrupted))
      raise_interrupt(L, loop);
  }
  if (AGENDA_UNLIKELY(!lua_isnil(L, RUN_FAILED)))
    agenda_loop_report_failures(L, RUN_FAILED);
}

/* False for a deadlock. Where a host runs the loop, it has polled. */
static bool take_turn(lua_State *L, const run *r)
{
  bool alive = r->mode == RUN_HOST || poll_events(L, r);
  take_events(L, r->loop);
  take_deadlines(L, r->loop->schedule);
  run_ready(L, r);
  return alive;
}

/* ----- runs ---------------------------------------------------------------------------- */

/*
** Once the main future is done there is one more turn, so that the callbacks which it scheduled
** are called, as they are in asyncio.
*/
static void run_until(lua_State *L, run *r)
{
  while (r->main->status == AGENDA_FUTURE_PENDING) {
    r->deadlock = !take_turn(L, r);
    if (r->deadlock || r->loop->stopping)
      break;
  }
  if (r->main->status != AGENDA_FUTURE_PENDING) {
    r->deadlock = false;
    r->main->unretrieved = false; /* the caller gets the error */
    r->limit = -INFINITY;
    take_turn(L, r);
  }
}

static int l_run(lua_State *L)
{
  run *r = lua_touserdata(L, RUN_ARGUMENT);
  lua_pushnil(L); /* RUN_FAILED */
  switch (r->mode) {
    case RUN_FOREVER:
      do
        take_turn(L, r);
      while (!r->loop->stopping);
      break;
    case RUN_UNTIL:
      run_until(L, r);
      break;
    case RUN_ONCE:
    case RUN_HOST:
      take_turn(L, r);
      break;
  }
  return 0;
}

static void check_not_running(lua_State *L, const agenda_event_loop *loop)
{
  if (loop->attached)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "This event loop is attached to a host, "
                                                "which runs it");
  if (loop->running)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "This event loop is already running");
  if (loop->object.state->loop != NULL)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                       "Cannot run the event loop while another loop is running");
}

/*
** Makes the loop at index 1 the running one. NB: the frame that called run, if it is one of ours,
** is not what runs in the callbacks, even though they share its coroutine.
*/
static void enter(lua_State *L, agenda_event_loop *loop)
{
  agenda_state *state = loop->object.state;
  agenda_loop_enter_hooks(loop);
  lua_pushvalue(L, 1);
  agenda_slot_set(L, AGENDA_SLOT_LOOP);
  loop->running = true;
  loop->frame = state->current;
  loop->runner = state->runner;
  loop->earlier_debug = state->debug;
  state->current = NULL;
  state->runner = NULL;
  state->debug = loop->schedule->debug;
  state->loop = loop;
  state->schedule = loop->schedule;
  state->report = agenda_loop_report;
}

static void leave(lua_State *L, agenda_event_loop *loop)
{
  agenda_state *state = loop->object.state;
  state->report = NULL;
  state->loop = NULL;
  state->schedule = NULL;
  state->debug = loop->earlier_debug;
  state->runner = loop->runner;
  state->current = loop->frame;
  loop->running = loop->stopping = false;
  lua_pushnil(L);
  agenda_slot_set(L, AGENDA_SLOT_LOOP);
  agenda_loop_leave_hooks(L, loop, 1);
}

/* Runs the loop at index 1 as `r` says; what comes out of it is raised. */
static void run_protected(lua_State *L, run *r)
{
  luaL_checkstack(L, LUA_MINSTACK, "event loop");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, l_run, 1);
  lua_pushlightuserdata(L, r);
  lua_pushvalue(L, 1);
  enter(L, r->loop);
  int status = lua_pcall(L, 2, 0, 0);
  leave(L, r->loop);
  if (status != LUA_OK)
    lua_error(L);
}

int agenda_loop_host_turn(lua_State *L)
{
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  run r = {.loop = lua_touserdata(L, 1), .limit = -INFINITY, .mode = RUN_HOST};
  run_protected(L, &r);
  return 0;
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** Runs the loop until stop() is called; after a stop() before it, for one turn.
As in asyncio.
@function loop:run_forever
@raise RuntimeError when the loop is closed, when it or another one runs; KeyboardInterrupt that a
callback or a task raised */
static int l_run_forever(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  lua_settop(L, 1);
  check_not_running(L, loop);
  run r = {.loop = loop, .limit = INFINITY, .mode = RUN_FOREVER};
  run_protected(L, &r);
  return 0;
}

/* Replaces what is at index 2 by a future of the loop: itself, or a task that awaits it. */
static agenda_future *check_main(lua_State *L, agenda_event_loop *loop)
{
  agenda_future *future = agenda_object_test(L, 2, &agenda_future_kind);
  if (future == NULL)
    return &agenda_task_new(L, loop->object.state, loop->schedule, 0)->future;
  agenda_future_tie(future, loop->schedule);
  if (future->schedule != loop->schedule)
    agenda_error_raise(L, AGENDA_VALUE_ERROR, "The future belongs to a different loop");
  return future;
}

/*** Runs the loop until an awaitable is done. As in asyncio; a function is run as a task.
@function loop:run_until_complete
@param aw an awaitable of this loop or a function without arguments
@treturn any its results
@raise its error; TypeError when it is neither; RuntimeError when stop() cut it short, when nothing
can end it ("deadlock", with the tasks that wait), when the loop is closed, when it or another one
runs; KeyboardInterrupt that a callback or another task raised */
static int l_run_until_complete(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  lua_settop(L, 2);
  check_not_running(L, loop);
  run r = {.loop = loop, .limit = INFINITY, .mode = RUN_UNTIL};
  r.main = check_main(L, loop);
  run_protected(L, &r);
  if (r.main->status != AGENDA_FUTURE_PENDING)
    return agenda_future_result(L, 2);
  if (!r.deadlock)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "Event loop stopped before Future completed.");
  agenda_loop_push_tasks(L, loop->schedule);
  return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                            "deadlock: nothing can wake the tasks that wait\n%s",
                            lua_tostring(L, -1));
}

/*** One turn, for hosts that own the outer loop: runs the callbacks that are ready and the timers
that are due.
@function loop:run_once
@tparam[opt] number timeout how long to wait when nothing is ready, in seconds: 0 polls, nil waits
for the next event; with nothing to wait for it returns
@raise RuntimeError when the loop is closed, when it or another one runs; KeyboardInterrupt that a
callback or a task raised */
static int l_run_once(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  double limit = INFINITY;
  if (!lua_isnoneornil(L, 2)) {
    double timeout = luaL_checknumber(L, 2);
    luaL_argcheck(L, !isnan(timeout), 2, "not a number of seconds");
    limit = timeout > 0 ? agenda_loop_real_time(loop->schedule) + timeout : -INFINITY;
  }
  lua_settop(L, 1);
  check_not_running(L, loop);
  run r = {.loop = loop, .limit = limit, .mode = RUN_ONCE};
  run_protected(L, &r);
  return 0;
}

/*** Ends run_forever or run_until_complete at the end of the turn; before one, makes it a single
turn. As in asyncio.
@function loop:stop
@raise RuntimeError of a loop that a host runs */
static int l_stop(lua_State *L)
{
  agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  if (loop->attached)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "Cannot stop an event loop that a host has attached");
  loop->stopping = true;
  return 0;
}

static const luaL_Reg methods[] = {
  {"run_forever", l_run_forever},
  {"run_once", l_run_once},
  {"run_until_complete", l_run_until_complete},
  {"stop", l_stop},
  {NULL, NULL}
};

void agenda_open_loop_run(lua_State *L)
{
  agenda_functions_register(L, methods);
}
