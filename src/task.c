/*
** task.c: futures whose result is that of a body which the loop drives.
**
** A pending task is held by what can wake it, and by nothing else: by the schedule (an anchor)
** while it is in the ready queue, sleeps, is parked at an event source or runs; by the future that
** it waits on meanwhile. So a task that nothing can wake any more is collected, and reported.
*/
#include "task.h"

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

void agenda_task_push_all(lua_State *L, const agenda_schedule *schedule)
{
  const agenda_list *head = &schedule->tasks;
  lua_Integer n = 0;
  luaL_checkstack(L, LUA_MINSTACK, "list of tasks");
  lua_newtable(L);
  for (const agenda_list *node = head->next; node != head; node = node->next) {
    agenda_task_push(L, AGENDA_LIST_OWNER(node, agenda_task, link));
    if (lua_isnil(L, -1))
      lua_pop(L, 1); /* the collector has it already */
    else
      lua_rawseti(L, -2, ++n);
  }
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

bool agenda_task_unpark_quick(agenda_park *park)
{
  agenda_task *task = park->task;
  if (task == NULL || task->scheduled ||
      !agenda_ready_queue_has_room(&task->future.schedule->ready))
    return false;
  schedule_step(NULL, task);
  return true;
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

/* The task at `index` raises the error at its next step; one that waits is woken for it. One that
** sleeps keeps its deadline up to that step, for the case that the request is withdrawn. */
static void cancel_at_next_step(lua_State *L, agenda_task *task, int index)
{
  task->must_cancel = true;
  if (task->deadline.index != 0)
    schedule_step(L, task);
  else if (!task->scheduled && (task->awaited != NULL || task->packed != AGENDA_UNPACKED)) {
    /* NB: one that is still packed could not begin, for want of memory. */
    lua_pushvalue(L, index);
    agenda_task_awaken(L, task);
    lua_pop(L, 1);
  }
}

/* The message on the top is the one of the error to come, unless the task is already on its way to
** raise one out of its sleep. [-1, +0, may raise] */
static void set_cancel_message(lua_State *L, const agenda_task *task, int index)
{
  if (task->must_cancel && task->deadline.index != 0)
    lua_pop(L, 1);
  else
    agenda_future_set_extra(L, index, AGENDA_EXTRA_CANCEL_MESSAGE);
}

/*
** As in asyncio: the request goes on to what the task waits on, and along a chain of tasks that
** await each other to its end; only if there is nothing that can be cancelled the task's next step
** raises the error. A circle is broken where the request comes by a second time.
*/
bool agenda_task_cancel(lua_State *L, int index)
{
  agenda_task *task = lua_touserdata(L, index);
  if (is_done(task)) {
    lua_pop(L, 1);
    return false;
  }
  luaL_checkstack(L, 8, "cancel");
  index = lua_absindex(L, index);
  set_cancel_message(L, task, index);
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
    set_cancel_message(L, next, self + 1);
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

/* The failed task: has its error reported unless somebody asks for it. */
static int l_remember_failed(lua_State *L)
{
  agenda_task *task = lua_touserdata(L, 1);
  agenda_task_guard(L, task, 1);
  agenda_slot_push_slow(L, AGENDA_SLOT_TASKS); /* where agenda_task_push_failed looks */
  lua_pushvalue(L, 1);
  lua_rawsetp(L, -2, task);
  return 0;
}

/*
** The body's outcome, `n` values on the top above the task's userdata, becomes the task's. NB: who
** waits for a failed task is woken though there may be no memory for a report.
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
    agenda_future_cancel_by(L, self);
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
  lua_pushcfunction(L, l_remember_failed);
  lua_pushvalue(L, self);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
  lua_pushvalue(L, -1);
  agenda_future_fail(L, self);
  if (AGENDA_UNLIKELY(task->future.schedule->debug && !awaited && !interrupt)) {
    agenda_state_push(L);
    lua_pushcclosure(L, agenda_task_l_report_failed, 1);
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
    agenda_task_forget_body(L, task);
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
  if (AGENDA_UNLIKELY(task->deadline.index != 0)) {
    if (!task->must_cancel)
      return; /* what woke it was withdrawn: it sleeps on */
    agenda_deadline_heap_remove(&schedule->deadlines, &task->deadline);
  }
  if (task->parked)
    agenda_task_leave(task->park);
  else if (AGENDA_UNLIKELY(task->must_cancel && task->awaited != NULL &&
                           task->awaited->status == AGENDA_FUTURE_CANCELLED))
    task->must_cancel = false; /* an earlier request is delivered by what it waited on */
  task->awaited = NULL;
  bool never_runs = task->must_cancel && task->base->status == AGENDA_FRAME_CREATED;
  if (AGENDA_UNLIKELY(never_runs && !task->of_call)) {
    never_run(L, task);
    return;
  }
  bool pushed = task->packed != AGENDA_UNPACKED; /* many end in the step in which they begin */
  if (pushed) {
    agenda_task_push(L, task);
    agenda_task_begin(L, task, -1);
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
      agenda_task_report_swallowed(L, task);
  }
  if (AGENDA_UNLIKELY(before != 0 || state->has_context))
    leave_context(L, state, task, before);
  if (what != AGENDA_WAIT) {
    if (!pushed)
      agenda_task_push(L, task);
    agenda_frame_take(L, task->base, where, n);
    finish(L, task, what, n);
  }
  else if (pushed)
    lua_pop(L, 1);
}
