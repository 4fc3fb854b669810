/*
** embed_calls.c: the part of the public C interface that starts tasks and makes awaitables.
**
** A public function pushes its entry, a closure of the library's, and calls it.
*/
#include "embed.h"

#include "errors.h"

/* ----- completions --------------------------------------------------------------------- */

/* What is to be called when a task has ended; behind the task, which is kept until then, since
** nothing in Lua may hold it. */
typedef struct completion {
  agenda_hook hook;
  agenda_done done; /* NULL once called */
  void *ud;
} completion;

#define COMPLETION(task) ((completion *)((task) + 1))

static int l_result(lua_State *L)
{
  return agenda_future_result(L, 1);
}

/* The task: calls its completion with what it has ended with, alone on the stack. One that has not
** ended was dropped. */
static int l_complete(lua_State *L)
{
  agenda_task *task = lua_touserdata(L, 1);
  const agenda_future *future = &task->future;
  const completion self = *COMPLETION(task);
  int status = LUA_OK, n = 1;
  if (AGENDA_LIKELY(future->status == AGENDA_FUTURE_RESULT))
    n = agenda_future_result(L, 1);
  else if (future->status == AGENDA_FUTURE_PENDING) {
    agenda_error_push(L, AGENDA_CANCELLED_ERROR, "the event loop was detached");
    status = LUA_ERRRUN;
  }
  else {
    agenda_state_push(L);
    lua_pushcclosure(L, l_result, 1);
    lua_pushvalue(L, 1);
    status = lua_pcall(L, 1, 1, 0);
  }
  luaL_checkstack(L, LUA_MINSTACK, "completion");
  COMPLETION(task)->done = NULL;
  lua_rotate(L, 1, n);
  lua_settop(L, n);
  self.done(L, status, n, self.ud);
  return 0;
}

/* A task and an error: calls its completion with that. */
static int l_fail(lua_State *L)
{
  completion *self = COMPLETION((agenda_task *)lua_touserdata(L, 1));
  agenda_done done = self->done;
  self->done = NULL;
  lua_remove(L, 1);
  done(L, LUA_ERRRUN, 1, self->ud);
  return 0;
}

/* Calls the completion of the task at `index`, absolute. Where memory is short for what the task
** has ended with, it gets that error; an error in it is reported. [-0, +0] */
static void complete(lua_State *L, int index)
{
  lua_pushcfunction(L, l_complete);
  lua_pushvalue(L, index);
  if (AGENDA_LIKELY(lua_pcall(L, 1, 0, 0) == LUA_OK))
    return;
  if (COMPLETION((agenda_task *)lua_touserdata(L, index))->done != NULL) {
    lua_pushcfunction(L, l_fail);
    lua_pushvalue(L, index);
    lua_rotate(L, -3, 2);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK)
      return;
  }
  lua_createtable(L, 0, 1);
  lua_insert(L, -2);
  lua_setfield(L, -2, "exception");
  agenda_warn(L, "error in the completion of a task");
}

static void on_task_done(lua_State *L, int index, agenda_hook *hook)
{
  (void)hook;
  if (lua_checkstack(L, LUA_MINSTACK))
    complete(L, index);
}

/* The task on the top gets a completion. [-0, +0, may raise] */
static void add_completion(lua_State *L, agenda_task *task, agenda_done done, void *ud)
{
  completion *self = COMPLETION(task);
  *self = (completion){{on_task_done}, done, ud};
  lua_pushlightuserdata(L, self);
  agenda_future_add_waiter(L, -2);
  task->kept = true;
}

void agenda_embed_push_completions(lua_State *L, const agenda_schedule *schedule)
{
  lua_Integer n = 0;
  luaL_checkstack(L, LUA_MINSTACK, "completions");
  lua_newtable(L);
  for (const agenda_list *node = schedule->tasks.next; node != &schedule->tasks;
       node = node->next) {
    agenda_task *task = AGENDA_LIST_OWNER(node, agenda_task, link);
    if (task->kept) {
      agenda_task_push(L, task);
      lua_rawseti(L, -2, ++n);
    }
  }
}

void agenda_embed_abandon_completions(lua_State *L)
{
  int list = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, "completions");
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    complete(L, list + 1);
    lua_pop(L, 1);
  }
  lua_settop(L, list - 1);
}

/* ----- tasks --------------------------------------------------------------------------- */

typedef struct spawn_call {
  agenda_done done;
  void *ud;
} spawn_call;

/* The function, its arguments, and a spawn_call. */
int agenda_embed_spawn(lua_State *L)
{
  const agenda_embed *embed = agenda_embed_here(L);
  const spawn_call *call = lua_touserdata(L, -1);
  agenda_schedule *schedule = agenda_embed_schedule(embed);
  lua_pop(L, 1);
  if (schedule == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop, and none attached");
  agenda_task *task =
    agenda_task_new_hosted(L, embed->state, schedule, lua_gettop(L) - 1, sizeof(completion));
  if (call->done != NULL)
    add_completion(L, task, call->done, call->ud);
  agenda_embed_notice(embed);
  return 1;
}

AGENDA_EXPORT void agenda_spawn(lua_State *L, int nargs, agenda_done done, void *ud)
{
  spawn_call call = {done, ud};
  if (!agenda_embed_push(L, AGENDA_ENTRY_SPAWN)) {
    agenda_embed_other(L)->spawn(L, nargs, done, ud);
    return;
  }
  lua_insert(L, -nargs - 2);
  lua_pushlightuserdata(L, &call);
  lua_call(L, nargs + 2, 1);
}

/* NB: an answer that comes after the host has detached wakes nobody, which is no error of its. */
static agenda_future *check_future(lua_State *L, bool task)
{
  agenda_future *future = agenda_object_check(L, 1, &agenda_future_kind);
  luaL_argcheck(L, task || future->object.kind != &agenda_task_kind, 1,
                "a task ends by itself");
  if (AGENDA_UNLIKELY(future->schedule != NULL && future->schedule->closed))
    future->waiting = AGENDA_WAITING_NONE;
  return future;
}

int agenda_embed_cancel(lua_State *L)
{
  const agenda_future *future = check_future(L, true);
  bool dropped = future->object.kind == &agenda_task_kind && future->schedule == NULL;
  lua_settop(L, 1);
  lua_pushnil(L);
  lua_pushboolean(L, !dropped && agenda_future_cancel(L, 1));
  agenda_embed_notice(agenda_embed_here(L));
  return 1;
}

AGENDA_EXPORT int agenda_cancel(lua_State *L, int idx)
{
  idx = lua_absindex(L, idx);
  if (!agenda_embed_push(L, AGENDA_ENTRY_CANCEL))
    return agenda_embed_other(L)->cancel(L, idx);
  lua_pushvalue(L, idx);
  lua_call(L, 1, 1);
  int taken = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return taken;
}

/* ----- futures ------------------------------------------------------------------------- */

int agenda_embed_future_new(lua_State *L)
{
  const agenda_embed *embed = agenda_embed_here(L);
  agenda_future_create(L, embed->state, agenda_embed_schedule(embed));
  return 1;
}

AGENDA_EXPORT void agenda_future_new(lua_State *L)
{
  if (!agenda_embed_push(L, AGENDA_ENTRY_FUTURE_NEW))
    agenda_embed_other(L)->future_new(L);
  else
    lua_call(L, 0, 1);
}

int agenda_embed_future_resolve(lua_State *L)
{
  check_future(L, false);
  lua_pushboolean(L, agenda_future_finish(L, 1, lua_gettop(L) - 1));
  agenda_embed_notice(agenda_embed_here(L));
  return 1;
}

int agenda_embed_future_reject(lua_State *L)
{
  const agenda_future *future = check_future(L, false);
  lua_settop(L, 2);
  agenda_future_check_error(L, 2);
  lua_pushboolean(L, future->status == AGENDA_FUTURE_PENDING);
  lua_insert(L, 2);
  agenda_future_fail(L, 1);
  agenda_embed_notice(agenda_embed_here(L));
  lua_settop(L, 2);
  return 1;
}

/* Calls the entry on the top with the future at `idx` and the `n` values under it. [-n, +0] */
static int call_with_values(lua_State *L, int idx, int n)
{
  lua_insert(L, -n - 1);
  lua_pushvalue(L, idx);
  lua_insert(L, -n - 1);
  lua_call(L, n + 1, 1);
  int taken = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return taken;
}

AGENDA_EXPORT int agenda_future_resolve(lua_State *L, int idx, int nresults)
{
  idx = lua_absindex(L, idx);
  if (!agenda_embed_push(L, AGENDA_ENTRY_FUTURE_RESOLVE))
    return agenda_embed_other(L)->future_resolve(L, idx, nresults);
  return call_with_values(L, idx, nresults);
}

AGENDA_EXPORT int agenda_future_reject(lua_State *L, int idx)
{
  idx = lua_absindex(L, idx);
  if (!agenda_embed_push(L, AGENDA_ENTRY_FUTURE_REJECT))
    return agenda_embed_other(L)->future_reject(L, idx);
  return call_with_values(L, idx, 1);
}

/* ----- awaiting ------------------------------------------------------------------------ */

/* The continuation of those who have none: what is above `top` are the results. */
static int give_results(lua_State *L, int status, lua_KContext top)
{
  (void)status;
  return lua_gettop(L) - (int)top;
}

/* NB: the call runs in the coroutine of the caller's, so the caller's continuation is one of a
** plain call, and Lua keeps its stack. */
AGENDA_EXPORT int agenda_await(lua_State *L, int idx, lua_KContext ctx, lua_KFunction k)
{
  idx = lua_absindex(L, idx);
  if (k == NULL) {
    k = give_results;
    ctx = lua_gettop(L);
  }
  if (!agenda_embed_push(L, AGENDA_ENTRY_AWAIT))
    return agenda_embed_other(L)->await(L, idx, ctx, k);
  lua_pushvalue(L, idx);
  lua_callk(L, 1, LUA_MULTRET, ctx, k);
  return k(L, LUA_OK, ctx);
}
