/*
** hooks.c: the per-state hooks of PEP 525.
**
** A running loop would pay two calls of Lua functions for each async generator. So it is a host:
** its two hooks are ordinary functions to whoever asks for them, and as long as nobody has
** replaced them the library links the generator into the host's list instead of calling.
*/
#include "hooks.h"

#include "errors.h"

void agenda_host_init(agenda_host *host)
{
  agenda_list_init(&host->generators);
  host->close = NULL;
}

void agenda_host_clear(agenda_host *host)
{
  while (!agenda_list_empty(&host->generators)) {
    agenda_hosted *hosted = AGENDA_LIST_OWNER(host->generators.next, agenda_hosted, link);
    agenda_list_unlink(&hosted->link);
    hosted->host = NULL;
  }
}

agenda_host *agenda_hooks_exchange(lua_State *L, agenda_host *host)
{
  agenda_state *state = agenda_state_get(L);
  agenda_host *earlier = state->host;
  agenda_slot_push_slow(L, AGENDA_SLOT_FIRSTITER);
  agenda_slot_push_slow(L, AGENDA_SLOT_FINALIZER);
  lua_rotate(L, -4, 2);
  agenda_slot_set_slow(L, AGENDA_SLOT_FINALIZER);
  agenda_slot_set_slow(L, AGENDA_SLOT_FIRSTITER);
  state->host = host;
  return earlier;
}

void agenda_hooks_first(lua_State *L, agenda_state *state, agenda_hosted *hosted, int index)
{
  index = lua_absindex(L, index);
  agenda_list_init(&hosted->link);
  if (state->host != NULL) {
    hosted->host = state->host;
    agenda_list_append(&state->host->generators, &hosted->link);
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

/* Whoever sets a hook takes over from a running loop. */
static void leave_host(lua_State *L)
{
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
