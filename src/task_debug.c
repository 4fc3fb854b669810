/*
** task_debug.c: what debug mode tells of tasks.
*/
#include "task.h"

#include <string.h>

#include "errors.h"

int agenda_task_l_report_failed(lua_State *L)
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

void agenda_task_report_swallowed(lua_State *L, agenda_task *task)
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
