/*
** loop_state.c: the loops of a Lua state: the one that runs, the default one, new ones; and what
** the Lua layer needs of a loop.
*/
#include "errors.h"
#include "loop.h"

/*** A new loop, which is not the default one until set_event_loop makes it so. As in asyncio.
@function new_event_loop
@treturn event_loop
@raise OSError when the system has no descriptors left */
static int l_new_event_loop(lua_State *L)
{
  agenda_loop_new(L, agenda_state_here(L), NULL);
  return 1;
}

/*** The loop that runs now. As in asyncio.
@function get_running_loop
@treturn event_loop
@raise RuntimeError "no running event loop" */
static int l_get_running_loop(lua_State *L)
{
  if (agenda_state_here(L)->loop == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  agenda_slot_push(L, AGENDA_SLOT_LOOP);
  return 1;
}

/*** The loop that runs now, else the default loop, which is made where there is none.
As in asyncio.
@function get_event_loop
@treturn event_loop */
static int l_get_event_loop(lua_State *L)
{
  if (agenda_state_here(L)->loop != NULL)
    agenda_slot_push(L, AGENDA_SLOT_LOOP);
  else if (agenda_slot_push(L, AGENDA_SLOT_DEFAULT_LOOP) == LUA_TNIL) {
    agenda_loop_new(L, agenda_state_here(L), NULL);
    lua_pushvalue(L, -1);
    agenda_slot_set(L, AGENDA_SLOT_DEFAULT_LOOP);
  }
  return 1;
}

/*** Makes a loop the default one of this Lua state. As in asyncio.
@function set_event_loop
@tparam ?event_loop loop nil for none */
static int l_set_event_loop(lua_State *L)
{
  luaL_checkany(L, 1);
  if (!lua_isnil(L, 1))
    agenda_object_check(L, 1, &agenda_loop_kind);
  lua_settop(L, 1);
  agenda_slot_set(L, AGENDA_SLOT_DEFAULT_LOOP);
  return 0;
}

/* ----- for the Lua layer --------------------------------------------------------------- */

/*** For agenda.testing: a clock that stands still while code runs and, when everything is blocked,
jumps to the next deadline.
@function _use_virtual_clock
@tparam event_loop loop one that has no timers yet
@tparam[opt=0] number start its first time in seconds */
static int l_use_virtual_clock(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  loop->schedule->virtual_now = luaL_optnumber(L, 2, 0);
  loop->schedule->now = agenda_loop_virtual_time;
  loop->virtual_clock = true;
  return 0;
}

/*** A table that belongs to the loop, for the Lua layer's own use.
@function _loop_extra
@tparam event_loop loop
@treturn table the same one at each call */
static int l_loop_extra(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_loop_kind);
  if (lua_getiuservalue(L, 1, AGENDA_LOOP_EXTRA) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, AGENDA_LOOP_EXTRA);
  }
  return 1;
}

static const luaL_Reg functions[] = {
  {"get_event_loop", l_get_event_loop},
  {"get_running_loop", l_get_running_loop},
  {"new_event_loop", l_new_event_loop},
  {"set_event_loop", l_set_event_loop},
  {"_loop_extra", l_loop_extra},
  {"_use_virtual_clock", l_use_virtual_clock},
  {NULL, NULL}
};

void agenda_open_loop_state(lua_State *L)
{
  agenda_functions_register(L, functions);
}
