/*
** task_guard.c: what happens to tasks that are collected.
**
** A task has no __gc of its own, for most tasks need none, and one would keep each of them for
** another cycle of the collector. What has to be told when the task is collected (it waits on a
** future, or its error has not been asked for) gives it a guard: an object with a __gc that only
** the task holds, and which holds the task.
*/
#include "task.h"

#define DESTROYED "Task was destroyed but it is pending!"

static const agenda_kind guard_kind = {.name = "task_guard", .metatable = "agenda.task_guard"};

enum { GUARD_TASK = 1, GUARD_SLOTS = GUARD_TASK };

void agenda_task_guard(lua_State *L, agenda_task *task, int index)
{
  if (task->guarded)
    return;
  index = lua_absindex(L, index);
  agenda_object_new(L, task->future.object.state, &guard_kind, sizeof(agenda_object), GUARD_SLOTS);
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, GUARD_TASK);
  agenda_future_set_extra(L, index, AGENDA_EXTRA_GUARD);
  task->guarded = true;
}

void agenda_task_push_failed(lua_State *L, const agenda_schedule *schedule)
{
  luaL_checkstack(L, LUA_MINSTACK, "failed tasks");
  lua_newtable(L);
  agenda_slot_push_slow(L, AGENDA_SLOT_TASKS);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (agenda_object_kind(L, -1) != &agenda_task_kind)
      continue;
    const agenda_task *task = lua_touserdata(L, -1);
    if (task->future.schedule != schedule || !task->future.unretrieved)
      continue;
    lua_pushvalue(L, -1);
    lua_rawseti(L, -5, task->number);
  }
  lua_pop(L, 1);
}

static void report_destroyed(lua_State *L, agenda_task *task, int index)
{
  task->future.destroyed = true;
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, index);
  lua_setfield(L, -2, "task");
  agenda_future_report(L, task->future.schedule, DESTROYED);
}

/*
** Cancels a collected task, alive again, so that its cleanup may wait. False if its loop is closed.
** NB: an error in here leaves the task collected, and nothing pointing at it.
*/
static bool revive(lua_State *L, agenda_task *task, int index)
{
  agenda_schedule *schedule = task->future.schedule;
  if (schedule == NULL || schedule->closed || task->base->status != AGENDA_FRAME_WAITING)
    return false;
  task->guarded = false;
  agenda_task_guard(L, task, index);
  lua_pushliteral(L, DESTROYED);
  agenda_future_set_extra(L, index, AGENDA_EXTRA_CANCEL_MESSAGE);
  task->awaited = NULL;
  task->must_cancel = true;
  lua_pushvalue(L, index);
  agenda_task_awaken(L, task);
  lua_pop(L, 1);
  agenda_list_append(&schedule->tasks, &task->link);
  return true;
}

void agenda_task_close_body(lua_State *L, agenda_task *task)
{
  agenda_frame *base = task->base;
  task->future.status = AGENDA_FUTURE_CANCELLED;
  if (task->parked)
    agenda_task_leave(task->park);
  task->awaited = NULL;
  if (base->status == AGENDA_FRAME_CREATED)
    agenda_frame_drop(L, base);
  else if (base->status == AGENDA_FRAME_WAITING) {
    int n;
    agenda_frame_close_now(L, base, &n);
  }
}

/*
** An error that nobody has asked for is reported; so is a pending task that nothing can wake, which
** is cancelled or (its loop is closed) closed, so that its cleanup runs.
*/
static int l_gc(lua_State *L)
{
  luaL_checkstack(L, 12, "collected task");
  if (lua_getiuservalue(L, 1, GUARD_TASK) != LUA_TUSERDATA)
    return 0;
  agenda_task *task = lua_touserdata(L, 2);
  if (task->future.status != AGENDA_FUTURE_PENDING) {
    agenda_future_report_unretrieved(L, 2, "Task exception was never retrieved", "task");
    return 0;
  }
  agenda_list_unlink(&task->link);
  if (task->future.schedule != NULL) {
    bool revived = revive(L, task, 2);
    if (!revived)
      task->future.object.state->live.count[AGENDA_LIVE_TASKS]--;
    report_destroyed(L, task, 2);
    if (revived)
      return 0;
  }
  agenda_task_close_body(L, task);
  return 0;
}

static const luaL_Reg metamethods[] = {
  {"__gc", l_gc},
  {NULL, NULL}
};

void agenda_open_task_guard(lua_State *L)
{
  agenda_class_register(L, &guard_kind, metamethods, NULL, NULL);
}
