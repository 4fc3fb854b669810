/*
** task.c: futures whose result is that of a body which the loop drives.
**
** A pending task is held by what can wake it, and by nothing else: by the schedule (an anchor)
** while it is in the ready queue, sleeps, is parked at an event source or runs; by the future that
** it waits on meanwhile. So a task that nothing can wake any more is collected, and reported.
*/
#include "task.h"

#include <string.h>

#include "asyncgen.h"
#include "awaitable.h"
#include "coroutine.h"
#include "errors.h"
#include "handle.h"

const agenda_kind agenda_task_kind = {"task", "agenda.task", &agenda_future_kind,
                                      agenda_future_await, true};

static bool is_done(const agenda_task *task)
{
  return task->future.status != AGENDA_FUTURE_PENDING;
}

const char *agenda_task_push_name(lua_State *L, int index)
{
  const agenda_task *task = lua_touserdata(L, index);
  if (agenda_future_push_extra(L, index, AGENDA_EXTRA_NAME) == LUA_TSTRING)
    return lua_tostring(L, -1);
  lua_pop(L, 1);
  return lua_pushfstring(L, "Task-%d", (int)task->number);
}

/*
** Where the task's userdata is found: in the schedule's anchors, at the bottom of its coroutine's
** stack, or (a task of a coroutine object) in the weak table of tasks.
*/
void agenda_task_push(lua_State *L, agenda_task *task)
{
  lua_Debug info;
  lua_State *co = task->base->co;
  if (task->anchor != 0) {
    agenda_schedule_push(L, task->future.schedule, task->anchor);
    return;
  }
  if (task->base == &task->frame && co != NULL) {
    int last = -1;
    while (lua_getstack(co, last + 1, &info))
      last++;
    if (last >= 0 && lua_getstack(co, last, &info) && lua_getlocal(co, &info, 1) != NULL) {
      lua_xmove(co, L, 1);
      return;
    }
    if (lua_status(co) == LUA_OK && lua_gettop(co) > 2) {
      lua_pushvalue(co, 2);
      lua_xmove(co, L, 1);
      return;
    }
  }
  agenda_slot_push_slow(L, AGENDA_SLOT_TASKS);
  lua_rawgetp(L, -1, task);
  lua_remove(L, -2);
}

/* ----- making -------------------------------------------------------------------------- */

enum { MAX_PACKED = 200 }; /* arguments; a closure has room for 255 values */

/* The body of a task of any awaitable. With a second argument it was cancelled before it began. */
static int l_await_body(lua_State *L)
{
  if (lua_gettop(L) == 2)
    return agenda_asyncgen_call_throw(L);
  return agenda_awaitable_await(L);
}

static void remember_context(lua_State *L, agenda_state *state, agenda_task *task)
{
  if (AGENDA_LIKELY(!state->has_context))
    return;
  agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
  agenda_future_set_extra(L, -2, AGENDA_EXTRA_CONTEXT);
  task->has_context = true;
}

/* What a task that has not begun holds as its body when it has several arguments: never called,
** only a cheap box for the function and them. */
static int l_packed(lua_State *L)
{
  (void)L;
  return 0;
}

/*
** A task gets its coroutine when it begins: of many tasks that wait for their first turn, only a
** small userdata each then burdens the memory and the collector. A single argument stays where
** later the result will be. [-(nargs+1), +0, may raise]
*/
static void pack_body(lua_State *L, agenda_state *state, agenda_task *task, int owner, int nargs)
{
  if (AGENDA_UNLIKELY(nargs > MAX_PACKED)) {
    agenda_frame_init(L, state, &task->frame, owner, nargs, AGENDA_YIELDS_NOT);
    return;
  }
  if (nargs == 1)
    lua_setiuservalue(L, owner, AGENDA_FUTURE_VALUE);
  else if (nargs > 1)
    lua_pushcclosure(L, l_packed, nargs + 1);
  lua_setiuservalue(L, owner, AGENDA_FUTURE_EXTRA);
  task->frame.state = state;
  task->frame.status = AGENDA_FRAME_CREATED;
  task->packed = (uint8_t)nargs;
}

/* NB: what has a place beside the body in the extras keeps it when the coroutine comes in. */
void agenda_task_begin(lua_State *L, agenda_task *task, int self)
{
  int n = task->packed, top = lua_gettop(L);
  if (n == AGENDA_UNPACKED)
    return;
  luaL_checkstack(L, n + 8, "too many arguments");
  self = lua_absindex(L, self);
  bool shared = lua_getiuservalue(L, self, AGENDA_FUTURE_EXTRA) == LUA_TTABLE;
  if (AGENDA_UNLIKELY(shared))
    lua_rawgeti(L, -1, 0);
  if (n == 1) {
    lua_getiuservalue(L, self, AGENDA_FUTURE_VALUE);
    lua_pushnil(L);
    lua_setiuservalue(L, self, AGENDA_FUTURE_VALUE);
  }
  else if (n > 1) {
    int box = lua_gettop(L);
    for (int i = 1; i <= n + 1; i++)
      lua_getupvalue(L, box, i);
  }
  agenda_frame_init(L, task->frame.state, &task->frame, self, n, AGENDA_YIELDS_NOT);
  task->packed = AGENDA_UNPACKED;
  if (AGENDA_UNLIKELY(shared)) {
    lua_getiuservalue(L, self, AGENDA_FUTURE_EXTRA);
    lua_rawseti(L, top + 1, 0);
    lua_pushvalue(L, top + 1);
    lua_setiuservalue(L, self, AGENDA_FUTURE_EXTRA);
  }
  lua_settop(L, top);
}

void agenda_task_make_room(lua_State *L, agenda_task *task, int index)
{
  if (task->packed == 1)
    agenda_task_begin(L, task, index);
}

/* The body of a task that never began is not held any longer. [-0, +0] */
static void forget_body(lua_State *L, agenda_task *task)
{
  int top = lua_gettop(L);
  task->packed = AGENDA_UNPACKED;
  agenda_task_push(L, task);
  bool shared = lua_getiuservalue(L, top + 1, AGENDA_FUTURE_EXTRA) == LUA_TTABLE;
  lua_pushnil(L);
  if (shared)
    lua_rawseti(L, top + 2, 0);
  else
    lua_setiuservalue(L, top + 1, AGENDA_FUTURE_EXTRA);
  lua_settop(L, top);
}

/* Puts a C closure of the library in front of the awaitable at `first`, so that it is a call. */
static void push_await_body(lua_State *L, int first)
{
  agenda_state_push(L);
  lua_pushcclosure(L, l_await_body, 1);
  lua_insert(L, first);
}

/*
** NB: the coroutine object is claimed last, when nothing can fail any more.
*/
static agenda_task *new_task(lua_State *L, agenda_state *state, agenda_schedule *schedule,
                             int nargs, bool queue)
{
  int first = lua_gettop(L) - nargs;
  agenda_coroutine *coroutine = NULL;
  bool of_call = false;
  luaL_checkstack(L, 10, "task");
  if (!lua_isfunction(L, first)) {
    const agenda_kind *kind = agenda_object_kind(L, first);
    if (!agenda_awaitable_test(L, first))
      agenda_error_raise(L, AGENDA_TYPE_ERROR, "argument 1 is not awaitable; pass a function");
    lua_settop(L, first);
    coroutine = agenda_object_test(L, first, &agenda_coroutine_kind);
    if (coroutine != NULL)
      agenda_coroutine_check_unused(L, coroutine);
    else
      push_await_body(L, first);
    of_call = kind == &agenda_asend_kind || kind == &agenda_athrow_kind;
    nargs = coroutine != NULL ? 0 : 1;
  }
  if (schedule->closed)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Event loop is closed");
  agenda_task *task =
    agenda_object_new(L, state, &agenda_task_kind, sizeof *task, AGENDA_FUTURE_SLOTS);
  agenda_list_init(&task->link);
  task->base = &task->frame;
  task->frame.status = AGENDA_FRAME_FINISHED;
  task->number = (uint32_t)++state->task_names;
  task->deadline.kind = AGENDA_ITEM_TASK;
  task->of_call = of_call;
  task->packed = AGENDA_UNPACKED;
  lua_insert(L, first);
  if (coroutine == NULL)
    pack_body(L, state, task, first, nargs);
  else {
    agenda_future_set_extra(L, first, AGENDA_EXTRA_COROUTINE);
    agenda_slot_push_slow(L, AGENDA_SLOT_TASKS);
    lua_pushvalue(L, first);
    lua_rawsetp(L, -2, task);
    lua_pop(L, 1);
  }
  remember_context(L, state, task);
  agenda_ready_queue_grow(L, &schedule->ready);
  task->anchor = agenda_schedule_anchor(L, schedule, first);
  task->future.schedule = schedule;
  agenda_list_append(&schedule->tasks, &task->link);
  state->live.count[AGENDA_LIVE_TASKS]++;
  if (coroutine != NULL) {
    task->base = &coroutine->body.frame;
    coroutine->owned = coroutine->touched = true;
  }
  if (queue) {
    task->scheduled = true;
    agenda_ready_queue_push(L, &schedule->ready, AGENDA_ITEM_TASK, task);
  }
  return task;
}

agenda_task *agenda_task_new(lua_State *L, agenda_state *state, agenda_schedule *schedule,
                             int nargs)
{
  return new_task(L, state, schedule, nargs, true);
}

/* ----- waiting and waking -------------------------------------------------------------- */

static void schedule_step(lua_State *L, agenda_task *task)
{
  if (task->scheduled)
    return;
  agenda_ready_queue_push(L, &task->future.schedule->ready, AGENDA_ITEM_TASK, task);
  task->scheduled = true;
}

void agenda_task_wake(lua_State *L, agenda_task *task)
{
  schedule_step(L, task);
}

void agenda_task_wait_on(lua_State *L, agenda_task *task, int index)
{
  agenda_future *future = lua_touserdata(L, index);
  agenda_schedule *schedule = task->future.schedule;
  index = lua_absindex(L, index);
  if (future == &task->future)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Task cannot await on itself: %s",
                       luaL_tolstring(L, index, NULL));
  if (future->schedule != NULL && future->schedule != schedule)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                       "the task awaits a Future that is attached to a different loop");
  agenda_future_tie(future, schedule);
  agenda_task_push(L, task);
  agenda_task_guard(L, task, -1);
  agenda_future_add_waiter(L, index);
  if (AGENDA_LIKELY(!task->kept)) {
    agenda_schedule_unanchor(L, schedule, task->anchor);
    task->anchor = 0;
  }
  task->awaited = future;
  if (AGENDA_UNLIKELY(task->must_cancel)) {
    agenda_task_push(L, task);
    agenda_future_push_extra(L, -1, AGENDA_EXTRA_CANCEL_MESSAGE);
    if (agenda_future_cancel(L, index))
      task->must_cancel = false;
    lua_pop(L, 1);
  }
}

void agenda_task_awaken(lua_State *L, agenda_task *task)
{
  agenda_schedule *schedule = task->future.schedule;
  if (schedule == NULL || schedule->closed || task->scheduled)
    return;
  agenda_ready_queue_grow(L, &schedule->ready);
  if (task->anchor == 0)
    task->anchor = agenda_schedule_anchor(L, schedule, -1);
  schedule_step(L, task);
}

void agenda_task_park(agenda_task *task, agenda_park *park)
{
  if (AGENDA_UNLIKELY(task->must_cancel))
    return;
  task->parked = true;
  task->park = park;
  park->task = task;
}

void agenda_task_unpark(lua_State *L, agenda_park *park)
{
  if (park->task != NULL)
    schedule_step(L, park->task);
}

void agenda_task_leave(agenda_park *park)
{
  if (park->task == NULL)
    return;
  park->task->parked = false;
  park->task->park = NULL;
  park->task = NULL;
}

/* Pushes the future that the task waits on: index 1 of the suspended await. */
static void push_awaited(lua_State *L, const agenda_task *task)
{
  lua_Debug info;
  lua_State *co = task->base->leaf != NULL ? task->base->leaf->co : NULL;
  if (co != NULL && lua_getstack(co, 0, &info) && lua_getlocal(co, &info, 1) != NULL)
    lua_xmove(co, L, 1);
  else
    lua_pushnil(L);
}

/* The task at `index` raises the error at its next step; one that waits is woken for it. */
static void cancel_at_next_step(lua_State *L, agenda_task *task, int index)
{
  task->must_cancel = true;
  if (task->deadline.index != 0) {
    agenda_ready_queue_grow(L, &task->future.schedule->ready);
    agenda_deadline_heap_remove(&task->future.schedule->deadlines, &task->deadline);
    schedule_step(L, task);
  }
  else if (!task->scheduled && (task->awaited != NULL || task->packed != AGENDA_UNPACKED)) {
    /* NB: one that is still packed could not begin, for want of memory. */
    lua_pushvalue(L, index);
    agenda_task_awaken(L, task);
    lua_pop(L, 1);
  }
}

/*
** As in asyncio: the request goes on to what the task waits on, and along a chain of tasks that
** await each other to its end; only if there is nothing that can be cancelled the task's next step
** raises the error. A circle is broken where the request comes by a second time.
*/
bool agenda_task_cancel(lua_State *L, int index)
{
  agenda_task *task = lua_touserdata(L, index);
  if (is_done(task))
    return false;
  luaL_checkstack(L, 8, "cancel");
  lua_pushvalue(L, index);
  int self = lua_gettop(L);
  uint32_t pass = ++task->future.object.state->cancel_pass;
  for (;;) {
    task->cancelling++;
    task->cancel_pass = pass;
    agenda_future *awaited = task->parked ? NULL : task->awaited;
    if (awaited == NULL || awaited->status != AGENDA_FUTURE_PENDING)
      break;
    push_awaited(L, task);
    if (lua_touserdata(L, -1) != (void *)awaited)
      break;
    agenda_future_push_extra(L, self, AGENDA_EXTRA_CANCEL_MESSAGE);
    if (awaited->object.kind != &agenda_task_kind) {
      if (!agenda_future_cancel(L, self + 1))
        break;
      lua_settop(L, self - 1);
      return true;
    }
    agenda_task *next = (agenda_task *)(void *)awaited;
    if (next->cancel_pass == pass)
      break;
    agenda_future_set_extra(L, self + 1, AGENDA_EXTRA_CANCEL_MESSAGE);
    lua_replace(L, self);
    task = next;
  }
  cancel_at_next_step(L, task, self);
  lua_settop(L, self - 1);
  return true;
}

/* ----- a step -------------------------------------------------------------------------- */

static void push_cancelled(lua_State *L, agenda_task *task)
{
  agenda_error_push(L, AGENDA_CANCELLED_ERROR, NULL);
  agenda_task_push(L, task);
  agenda_future_push_extra(L, -1, AGENDA_EXTRA_CANCEL_MESSAGE);
  lua_remove(L, -2);
  lua_setfield(L, -2, "message");
}

/* The task at `self` is done: nothing of the schedule's holds it any more, and it has the place of
** its coroutine for a hold on the schedule's memory. [-0, +0] */
static void settle(lua_State *L, agenda_task *task, int self)
{
  bool shared = lua_getiuservalue(L, self, AGENDA_FUTURE_EXTRA) == LUA_TTABLE;
  agenda_schedule_push_self(L, task->future.schedule);
  if (shared)
    lua_rawseti(L, -2, 0);
  else
    lua_setiuservalue(L, self, AGENDA_FUTURE_EXTRA);
  lua_pop(L, 1);
  agenda_schedule *schedule = task->future.schedule;
  agenda_list_unlink(&task->link);
  agenda_schedule_unanchor(L, schedule, task->anchor);
  task->anchor = 0;
  task->future.object.state->live.count[AGENDA_LIVE_TASKS]--;
}

/* Debug mode: a failed task that nobody awaits is reported without waiting for the collector. */
static int l_report_failed(lua_State *L)
{
  agenda_task *task = lua_touserdata(L, 1);
  if (!task->future.unretrieved)
    return 0;
  task->future.unretrieved = false;
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "task");
  lua_getiuservalue(L, 1, AGENDA_FUTURE_VALUE);
  agenda_error_push_trace(L, -1);
  lua_setfield(L, -3, "traceback");
  lua_setfield(L, -2, "exception");
  agenda_future_report(L, task->future.schedule, "Task failed and nobody awaits it");
  return 0;
}

/*
** The body's outcome, `n` values on the top above the task's userdata, becomes the task's.
** KeyboardInterrupt also ends the run. [-(n+1), +0]
*/
static void finish(lua_State *L, agenda_task *task, agenda_outcome what, int n)
{
  int self = lua_gettop(L) - n;
  settle(L, task, self);
  if (what == AGENDA_RETURN) {
    if (task->must_cancel) {
      task->must_cancel = false;
      lua_settop(L, self);
      agenda_future_push_extra(L, self, AGENDA_EXTRA_CANCEL_MESSAGE);
      agenda_future_cancel_now(L, self);
    }
    else
      agenda_future_finish(L, self, n);
    lua_settop(L, self - 1);
    return;
  }
  if (agenda_error_is(L, -1, AGENDA_CANCELLED_ERROR)) {
    lua_getfield(L, -1, "message");
    agenda_future_cancel_now(L, self);
    lua_settop(L, self - 1);
    return;
  }
  if (lua_isnil(L, -1)) {
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "nil error");
    lua_replace(L, -2);
  }
  else if (agenda_error_is(L, -1, AGENDA_STOP_ITERATION)) {
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "task raised StopIteration");
    lua_insert(L, -2);
    agenda_error_set_cause(L);
  }
  bool interrupt = agenda_error_is(L, -1, AGENDA_KEYBOARD_INTERRUPT);
  bool awaited = task->future.waiting != 0;
  agenda_task_guard(L, task, self);
  lua_pushvalue(L, -1);
  agenda_future_fail(L, self);
  if (AGENDA_UNLIKELY(task->future.schedule->debug && !awaited && !interrupt)) {
    agenda_state_push(L);
    lua_pushcclosure(L, l_report_failed, 1);
    lua_pushvalue(L, self);
    agenda_handle_call_soon(L, task->future.schedule, 1);
  }
  if (interrupt) {
    task->future.unretrieved = false;
    agenda_error_propagate(L);
  }
  lua_settop(L, self - 1);
}

/* Makes the context of the task's the current one; pushes the one before. [-0, +1] */
static void enter_context(lua_State *L, agenda_state *state, agenda_task *task)
{
  agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
  agenda_task_push(L, task);
  agenda_future_push_extra(L, -1, AGENDA_EXTRA_CONTEXT);
  state->has_context = !lua_isnil(L, -1);
  agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
  lua_pop(L, 1);
}

/* Stores the task's context, which it may have changed, and restores the one at `before` (0: none,
** for the task has set its first). */
static void leave_context(lua_State *L, agenda_state *state, agenda_task *task, int before)
{
  if (before == 0) {
    lua_pushnil(L);
    before = lua_gettop(L);
  }
  if (!is_done(task)) {
    agenda_task_push(L, task);
    agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
    task->has_context = !lua_isnil(L, -1);
    agenda_future_set_extra(L, -2, AGENDA_EXTRA_CONTEXT);
    lua_pop(L, 1);
  }
  lua_pushvalue(L, before);
  state->has_context = !lua_isnil(L, -1);
  agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
  lua_remove(L, before);
}

/* Cancelled before its first run: the body never runs. */
static void never_run(lua_State *L, agenda_task *task)
{
  agenda_frame_drop(L, task->base);
  if (task->packed != AGENDA_UNPACKED)
    forget_body(L, task);
  agenda_task_push(L, task);
  push_cancelled(L, task);
  finish(L, task, AGENDA_ERROR, 1);
}

/* Pushes the error that the step is to raise, if any; gives how many values that is. */
static int push_thrown(lua_State *L, agenda_task *task)
{
  if (AGENDA_UNLIKELY(task->must_cancel)) {
    task->must_cancel = false;
    task->bad_yield = false;
    push_cancelled(L, task);
    return 1;
  }
  if (AGENDA_UNLIKELY(task->bad_yield)) {
    task->bad_yield = false;
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "task got bad yield");
    return 1;
  }
  return 0;
}

/*
** Whether the function at `level` was called by Lua for a __close: by that name, or, as an error is
** on its way out, above the function that its C caller had been given to call. That one, at index 2
** of a pcall and at 3 of a coroutine's base, is seen as a local only when something lies above it.
*/
static bool is_closing_level(lua_State *co, int level)
{
  lua_Debug info, beyond;
  if (!lua_checkstack(co, 4) || !lua_getstack(co, level, &info) || !lua_getinfo(co, "n", &info))
    return false;
  if (info.name != NULL && *info.namewhat == 'm' && strcmp(info.name, "close") == 0)
    return true;
  if (!lua_getstack(co, level + 1, &info) || !lua_getinfo(co, "S", &info) || *info.what != 'C')
    return false;
  bool base = !lua_getstack(co, level + 2, &beyond);
  if (lua_getlocal(co, &info, base ? 3 : 2) == NULL)
    return false;
  bool closing = lua_isfunction(co, -1);
  lua_pop(co, 1);
  return closing;
}

/* Debug mode: whether a cancellation that the task got may still be on its way out. */
static bool is_cleaning_up(const agenda_task *task)
{
  lua_Debug info;
  for (const agenda_frame *frame = task->base; frame != NULL; frame = frame->callee)
    for (int level = 0; frame->co != NULL && lua_getstack(frame->co, level, &info); level++)
      if (is_closing_level(frame->co, level))
        return true;
  return false;
}

/* Debug mode: the task was cancelled, got the error in this step, and goes on waiting. */
static void report_swallowed(lua_State *L, agenda_task *task)
{
  if (task->future.told_swallowed || task->cancelling == 0 || task->must_cancel ||
      is_cleaning_up(task))
    return;
  if (!task->parked && task->awaited != NULL && task->awaited->status == AGENDA_FUTURE_CANCELLED)
    return; /* it was cancelled in this step: the error is still to come */
  task->future.told_swallowed = true;
  int top = lua_gettop(L);
  agenda_task_push(L, task);
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "task");
  agenda_frame_push_stack(L, task->base);
  lua_setfield(L, -2, "traceback");
  const char *name = agenda_task_push_name(L, top + 1);
  const char *message = lua_pushfstring(
    L, "task '%s' swallowed its cancellation and goes on awaiting; use agenda.pcall", name);
  lua_insert(L, top + 1);
  lua_settop(L, -2);
  agenda_future_report(L, task->future.schedule, message);
  lua_settop(L, top);
}

/* The body waits: for a future or a deadline that it has attached itself to, or for its turn. */
static void wait_for_turn(lua_State *L, agenda_task *task, lua_State *where, int n)
{
  lua_pop(where, n);
  if (task->awaited != NULL || task->deadline.index != 0)
    return;
  task->bad_yield = n > 0;
  schedule_step(L, task);
}

void agenda_task_step(lua_State *L, agenda_task *task)
{
  agenda_schedule *schedule = task->future.schedule;
  agenda_state *state = task->future.object.state;
  task->scheduled = false;
  if (AGENDA_UNLIKELY(is_done(task)))
    return;
  if (task->parked)
    agenda_task_leave(task->park);
  task->awaited = NULL;
  bool never_runs = task->must_cancel && task->base->status == AGENDA_FRAME_CREATED;
  if (AGENDA_UNLIKELY(never_runs && !task->of_call)) {
    never_run(L, task);
    return;
  }
  if (task->packed != AGENDA_UNPACKED) {
    agenda_task_push(L, task);
    agenda_task_begin(L, task, -1);
    lua_pop(L, 1);
  }
  if (AGENDA_UNLIKELY(never_runs)) {
    task->must_cancel = false;
    push_cancelled(L, task);
    agenda_frame_add_argument(L, task->base);
  }
  int before = 0;
  if (AGENDA_UNLIKELY(state->has_context || task->has_context)) {
    enter_context(L, state, task);
    before = lua_gettop(L);
  }
  int thrown = push_thrown(L, task), n;
  lua_State *where;
  agenda_runner runner = {.kind = AGENDA_RUNNER_TASK, .can_wait = true, .task = task};
  agenda_task *previous = schedule->current;
  int cancelling = task->cancelling;
  schedule->current = task;
  schedule->steps++;
  agenda_outcome what = agenda_frame_drive(L, &runner, task->base, thrown, thrown > 0, &where, &n);
  schedule->current = previous;
  if (what == AGENDA_WAIT) {
    wait_for_turn(L, task, where, n);
    if (AGENDA_UNLIKELY(schedule->debug && cancelling > 0))
      report_swallowed(L, task);
  }
  if (AGENDA_UNLIKELY(before != 0 || state->has_context))
    leave_context(L, state, task, before);
  if (what != AGENDA_WAIT) {
    agenda_task_push(L, task);
    agenda_frame_take(L, task->base, where, n);
    finish(L, task, what, n);
  }
}

/* ----- closing generators for the loop ------------------------------------------------- */

/*
** Starts the cleanup of a collected generator at once if the loop runs, so that what its body
** holds still serves up to its first pending wait; the task goes on with the rest.
*/
bool agenda_task_close_generator(lua_State *L, agenda_schedule *schedule, int index)
{
  agenda_state *state = schedule->state;
  if (schedule->closed)
    return false;
  index = lua_absindex(L, index);
  luaL_checkstack(L, 10, "closing a generator");
  agenda_asyncgen_new_call(L, index, AGENDA_ACLOSE, 0);
  bool running = state->schedule == schedule;
  agenda_task *task = new_task(L, state, schedule, 0, !running);
  task->future.cleanup = true;
  lua_pushvalue(L, -1);
  agenda_body_set_extra(L, index, AGENDA_EXTRA_CLOSER);
  if (running) {
    bool propagating = state->propagating;
    agenda_task_step(L, task);
    state->propagating = propagating;
  }
  lua_pop(L, 1);
  return true;
}
