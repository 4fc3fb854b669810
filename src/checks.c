/*
** checks.c: the names of the live-object counters.
*/
#include "checks.h"

static const char *const live_names[AGENDA_LIVE_KINDS] = {
  "frames", "tasks", "handles", "watchers", "loops",
};

void agenda_checks_push_live(lua_State *L, const agenda_live *live)
{
  lua_createtable(L, 0, AGENDA_LIVE_KINDS);
  for (int i = 0; i < AGENDA_LIVE_KINDS; i++) {
    lua_pushinteger(L, live->count[i]);
    lua_setfield(L, -2, live_names[i]);
  }
}
