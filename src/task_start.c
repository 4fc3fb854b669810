/*
** task_start.c: how tasks come to be, and to their coroutines.
*/
#include "task.h"

#include "asyncgen.h"
#include "awaitable.h"
#include "coroutine.h"
#include "errors.h"

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

void agenda_task_forget_body(lua_State *L, agenda_task *task)
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

/* When a task takes its first step: in the next turn, and gets its coroutine then or before. */
typedef enum { NEXT_TURN, NEXT_TURN_BEGUN, BY_CALLER } start;

/*
** NB: the coroutine object is claimed last, when nothing can fail any more.
*/

static agenda_task *new_task(lua_State *L, agenda_state *state, agenda_schedule *schedule,
                             int nargs, start how, size_t room)
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
    agenda_object_new(L, state, &agenda_task_kind, sizeof *task + room, AGENDA_FUTURE_SLOTS);
  agenda_list_init(&task->link);
  task->base = &task->frame;
  task->frame.status = AGENDA_FRAME_FINISHED;
  task->number = (uint32_t)++state->task_names;
  task->deadline.kind = AGENDA_ITEM_TASK;
  task->of_call = of_call;
  task->packed = AGENDA_UNPACKED;
  lua_insert(L, first);
  if (coroutine == NULL && how == NEXT_TURN_BEGUN)
    agenda_frame_init(L, state, &task->frame, first, nargs, AGENDA_YIELDS_NOT);
  else if (coroutine == NULL)
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
  if (how != BY_CALLER) {
    task->scheduled = true;
    agenda_ready_queue_push(L, &schedule->ready, AGENDA_ITEM_TASK, task);
  }
  return task;
}

agenda_task *agenda_task_new(lua_State *L, agenda_state *state, agenda_schedule *schedule,
                             int nargs)
{
  return new_task(L, state, schedule, nargs, NEXT_TURN, 0);
}

agenda_task *agenda_task_new_hosted(lua_State *L, agenda_state *state, agenda_schedule *schedule,
                                    int nargs, size_t room)
{
  return new_task(L, state, schedule, nargs, NEXT_TURN_BEGUN, room);
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
  agenda_task *task = new_task(L, state, schedule, 0, running ? BY_CALLER : NEXT_TURN, 0);
  task->future.cleanup = true;
  lua_pushvalue(L, -1);
  agenda_body_set_extra(L, index, AGENDA_EXTRA_CLOSER);
  if (running) {
    const void *propagating = state->propagating;
    agenda_task_step(L, task);
    state->propagating = propagating;
  }
  lua_pop(L, 1);
  return true;
}
