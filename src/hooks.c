/*
** hooks.c: the per-state hooks of PEP 525.
**
** A running loop would pay two calls of Lua functions for each async generator. So it is a host:
** its two hooks are ordinary functions to whoever asks for them, and as long as nobody has
** asked for them or replaced them the library puts the generator into the host's table instead of
** calling, and the functions are not even there.
*/
#include "hooks.h"

#include <stdlib.h>

#include "errors.h"

void agenda_host_init(lua_State *L, agenda_host *host)
{
  host->generators = LUA_NOREF;
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  host->generators = luaL_ref(L, LUA_REGISTRYINDEX);
}

void agenda_host_clear(lua_State *L, agenda_host *host)
{
  luaL_unref(L, LUA_REGISTRYINDEX, host->generators);
  host->generators = LUA_NOREF;
}

static int compare_places(const void *a, const void *b)
{
  lua_Integer x = *(const lua_Integer *)a, y = *(const lua_Integer *)b;
  return x < y ? -1 : x > y;
}

void agenda_host_push_list(lua_State *L, const agenda_host *host)
{
  size_t n = 0, i = 0;
  luaL_checkstack(L, 8, "list of async generators");
  lua_newtable(L);
  if (lua_rawgeti(L, LUA_REGISTRYINDEX, host->generators) != LUA_TTABLE) {
    lua_pop(L, 1);
    return;
  }
  int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
    n++;
  lua_Integer *places = lua_newuserdatauv(L, (n + 1) * sizeof *places, 0);
  for (lua_pushnil(L); lua_next(L, table) && i < n; lua_pop(L, 1))
    places[i++] = lua_tointeger(L, -2);
  lua_settop(L, table + 1);
  qsort(places, i, sizeof *places, compare_places);
  n = 0;
  for (size_t k = 0; k < i; k++) {
    if (lua_rawgeti(L, table, places[k]) == LUA_TNIL)
      lua_pop(L, 1);
    else
      lua_rawseti(L, table - 1, (lua_Integer)++n);
  }
  lua_settop(L, table - 1);
}

void agenda_hooks_first(lua_State *L, agenda_state *state, agenda_host **host, int index)
{
  index = lua_absindex(L, index);
  if (state->host != NULL) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->host->generators);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, ++state->host->adopted);
    lua_pop(L, 1);
    *host = state->host;
    state->host->retain(state->host);
    lua_pushnil(L);
    return;
  }
  if (agenda_slot_push_slow(L, AGENDA_SLOT_FIRSTITER) == LUA_TNIL)
    lua_pop(L, 1);
  else {
    lua_pushvalue(L, index);
    lua_call(L, 1, 0);
  }
  agenda_slot_push_slow(L, AGENDA_SLOT_FINALIZER);
}

/* A hook from the field of the table at 1, or the argument itself when `field` is NULL: false
** clears, nil keeps. Anything else must be callable. */
static void set_hook(lua_State *L, const char *field, agenda_slot slot)
{
  if (field != NULL)
    lua_getfield(L, 1, field);
  else
    lua_pushvalue(L, 1);
  if (field != NULL && lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  agenda_slot_set(L, slot);
}

static void check_hook(lua_State *L, const char *field)
{
  if (field != NULL)
    lua_getfield(L, 1, field);
  else
    lua_pushvalue(L, 1);
  bool callable = lua_isfunction(L, -1) || luaL_getmetafield(L, -1, "__call") != LUA_TNIL;
  if (!callable && lua_toboolean(L, -1))
    agenda_error_raise(L, AGENDA_TYPE_ERROR, "callable %s expected, got %s",
                       field != NULL ? field : "finalizer", luaL_typename(L, -1));
  lua_settop(L, 1);
}

static void show_hooks(lua_State *L)
{
  agenda_host *host = agenda_state_here(L)->host;
  if (host != NULL)
    host->show(L, host);
}

/* Whoever sets a hook takes over from a running loop. */
static void leave_host(lua_State *L)
{
  show_hooks(L);
  agenda_state_here(L)->host = NULL;
}

/*** Sets the hooks for async generators of this Lua state (PEP 525).
@function set_asyncgen_hooks
@tparam table hooks `firstiter` is called with a generator before its first iteration, `finalizer`
with one that was collected while suspended; an absent field stays, `false` clears
@raise TypeError for what cannot be called */
static int l_set_hooks(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  check_hook(L, "firstiter");
  check_hook(L, "finalizer");
  leave_host(L);
  set_hook(L, "firstiter", AGENDA_SLOT_FIRSTITER);
  set_hook(L, "finalizer", AGENDA_SLOT_FINALIZER);
  return 0;
}

/*** The hooks in force.
@function get_asyncgen_hooks
@treturn table fields `firstiter` and `finalizer`, nil where none is set */
static int l_get_hooks(lua_State *L)
{
  show_hooks(L);
  lua_createtable(L, 0, 2);
  agenda_slot_push(L, AGENDA_SLOT_FIRSTITER);
  lua_setfield(L, -2, "firstiter");
  agenda_slot_push(L, AGENDA_SLOT_FINALIZER);
  lua_setfield(L, -2, "finalizer");
  return 1;
}

/*** Sets the finalizer alone.
@function set_asyncgen_finalizer
@tparam ?function|nil|false f nil or false clears
@raise TypeError for what cannot be called */
static int l_set_finalizer(lua_State *L)
{
  lua_settop(L, 1);
  check_hook(L, NULL);
  leave_host(L);
  set_hook(L, NULL, AGENDA_SLOT_FINALIZER);
  return 0;
}

/*** The finalizer in force.
@function get_asyncgen_finalizer
@treturn ?function nil if there is none */
static int l_get_finalizer(lua_State *L)
{
  show_hooks(L);
  agenda_slot_push(L, AGENDA_SLOT_FINALIZER);
  return 1;
}

static const luaL_Reg functions[] = {
  {"set_asyncgen_hooks", l_set_hooks},
  {"get_asyncgen_hooks", l_get_hooks},
  {"set_asyncgen_finalizer", l_set_finalizer},
  {"get_asyncgen_finalizer", l_get_finalizer},
  {NULL, NULL}
};

void agenda_open_hooks(lua_State *L)
{
  agenda_functions_register(L, functions);
}
