/*
** loop_debug.c: what the debug mode watches while items run: how long each takes and, under
** AGENDA_DEBUG=1, which tasks fail with nobody waiting for them.
*/
#include "errors.h"
#include "loop.h"

/* Reports that the task or handle on the top, which `text` describes, took long. [-1, +0] */
static void report_slow(lua_State *L, agenda_item_kind kind, const char *text, double seconds)
{
  char number[32];
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, kind == AGENDA_ITEM_TASK ? "task" : "handle");
  lua_Number rounded = (lua_Number)(long long)(seconds * 1000 + 0.5) / 1000;
  lua_number2str(number, sizeof number, rounded);
  lua_pushfstring(L, "Executing %s took %s seconds", text, number);
  lua_insert(L, -2);
  agenda_warn(L, lua_tostring(L, -2));
  lua_pop(L, 1);
}

/* Remembers the task on the top, which failed with nobody waiting, in the list at `failed`, which
** is nil as long as there is none. [-1, +0, may raise] */
static void note_failure(lua_State *L, int failed)
{
  if (lua_isnil(L, failed)) {
    lua_newtable(L);
    lua_replace(L, failed);
  }
  lua_rawseti(L, failed, (lua_Integer)lua_rawlen(L, failed) + 1);
}

void agenda_loop_report_failures(lua_State *L, int failed)
{
  lua_pushvalue(L, failed);
  lua_pushnil(L);
  lua_replace(L, failed);
  for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    agenda_future *future = lua_touserdata(L, -1);
    if (!future->unretrieved) {
      lua_pop(L, 1);
      continue;
    }
    future->unretrieved = false;
    lua_createtable(L, 0, 3);
    lua_getiuservalue(L, -2, AGENDA_FUTURE_VALUE);
    lua_setfield(L, -2, "exception");
    lua_insert(L, -2);
    lua_setfield(L, -2, "task");
    agenda_warn(L, "Task failed and nobody awaits it");
  }
  lua_pop(L, 2);
}

/* NB: the text is made before, while it can name the callback. */
void agenda_loop_run_timed(lua_State *L, agenda_event_loop *loop, const agenda_future *main,
                           int failed, agenda_ready entry)
{
  agenda_task *task = entry.kind == AGENDA_ITEM_TASK ? entry.item : NULL;
  int top = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, "slow callback");
  if (task != NULL)
    agenda_task_push(L, task);
  else
    agenda_schedule_push(L, loop->schedule, ((agenda_handle *)entry.item)->anchor);
  agenda_error_push_text(L, top + 1);
  bool awaited = task == NULL || task->future.waiting != 0 || &task->future == main;
  double began = agenda_loop_real_time(loop->schedule);
  agenda_loop_run_item(L, entry);
  double seconds = agenda_loop_real_time(loop->schedule) - began;
  if (seconds >= loop->slow) {
    lua_pushvalue(L, top + 1);
    report_slow(L, entry.kind, lua_tostring(L, top + 2), seconds);
  }
  lua_settop(L, top + 1);
  if (loop->reports_failures && !awaited && task->future.unretrieved)
    note_failure(L, failed);
  lua_settop(L, top);
}
