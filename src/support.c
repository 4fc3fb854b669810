/*
** support.c: the per-state context, classes, objects, warnings.
*/
#include "support.h"

#include <stdlib.h>
#include <string.h>

static const char STATE_KEY[] = "agenda.state";

/* ----- the state ----------------------------------------------------------------------- */

void agenda_state_push(lua_State *L)
{
  lua_getfield(L, LUA_REGISTRYINDEX, STATE_KEY);
}

agenda_state *agenda_state_get(lua_State *L)
{
  agenda_state_push(L);
  agenda_state *state = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return state;
}

static void set_weak_table(lua_State *L, agenda_slot slot, const char *mode)
{
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_setiuservalue(L, -2, slot);
}

agenda_state *agenda_state_open(lua_State *L, bool *fresh)
{
  agenda_state_push(L);
  agenda_state *state = lua_touserdata(L, -1);
  *fresh = state == NULL;
  if (state != NULL)
    return state;
  lua_pop(L, 1);
  state = lua_newuserdatauv(L, sizeof *state, AGENDA_SLOT_LAST);
  memset(state, 0, sizeof *state);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  state->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  const char *debug = getenv("AGENDA_DEBUG");
  state->debug = debug != NULL && *debug != '\0' && strcmp(debug, "0") != 0;
  lua_newtable(L);
  lua_setiuservalue(L, -2, AGENDA_SLOT_METATABLES);
  lua_newtable(L);
  lua_setiuservalue(L, -2, AGENDA_SLOT_RECENT);
  lua_newtable(L);
  lua_setiuservalue(L, -2, AGENDA_SLOT_HELD);
  set_weak_table(L, AGENDA_SLOT_TRACES, "k");
  set_weak_table(L, AGENDA_SLOT_TASKS, "v");
  set_weak_table(L, AGENDA_SLOT_FUNCTIONS, "k");
  lua_pushvalue(L, -1);
  state->self = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, STATE_KEY);
  return state;
}

int agenda_slot_push_slow(lua_State *L, agenda_slot slot)
{
  agenda_state_push(L);
  int type = lua_getiuservalue(L, -1, slot);
  lua_remove(L, -2);
  return type;
}

void agenda_slot_set_slow(lua_State *L, agenda_slot slot)
{
  agenda_state_push(L);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, slot);
  lua_pop(L, 1);
}

/* ----- classes ------------------------------------------------------------------------- */

void agenda_functions_register(lua_State *L, const luaL_Reg *functions)
{
  agenda_state_push(L);
  luaL_setfuncs(L, functions, 1);
}

static int count_functions(const luaL_Reg *functions)
{
  int n = 0;
  while (functions != NULL && functions[n].name != NULL)
    n++;
  return n;
}

/* NB: Lua looks metamethods up by name, and the key that comes first into a table of the right size
** is found at once, wherever the hashes of the others fall. So the first metamethod is the one that
** is called most. */
void agenda_class_register(lua_State *L, const agenda_kind *kind, const luaL_Reg *metamethods,
                           const luaL_Reg *methods, lua_CFunction fields)
{
  agenda_slot_push_slow(L, AGENDA_SLOT_METATABLES);
  lua_createtable(L, 0, count_functions(metamethods) + 2);
  if (metamethods != NULL)
    agenda_functions_register(L, metamethods);
  lua_pushstring(L, kind->metatable);
  lua_setfield(L, -2, "__name");
  lua_newtable(L);
  if (methods != NULL)
    agenda_functions_register(L, methods);
  if (fields != NULL) {
    agenda_state_push(L);
    lua_insert(L, -2);
    lua_pushcclosure(L, fields, 2);
  }
  lua_setfield(L, -2, "__index");
  lua_rawsetp(L, -2, kind);
  lua_pop(L, 1);
}

void agenda_class_push(lua_State *L, const agenda_kind *kind)
{
  agenda_slot_push_slow(L, AGENDA_SLOT_METATABLES);
  lua_rawgetp(L, -1, kind);
  lua_remove(L, -2);
}

bool agenda_class_method(lua_State *L)
{
  lua_pushvalue(L, 2);
  return lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL;
}

/* ----- objects ------------------------------------------------------------------------- */

/* The same as agenda_class_push where the state is at hand, without the registry's strings. */
static void push_class(lua_State *L, const agenda_state *state, const agenda_kind *kind)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->self);
  lua_getiuservalue(L, -1, AGENDA_SLOT_METATABLES);
  lua_rawgetp(L, -1, kind);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/*
** NB: the metatable is set while the object is the newest, because Lua looks for it from the
** head of its list of all objects when it moves it to the list of those with finalizers.
*/
void *agenda_object_new(lua_State *L, agenda_state *state, const agenda_kind *kind, size_t size,
                        int slots)
{
  AGENDA_TORTURE(L);
  agenda_object *object = lua_newuserdatauv(L, size, slots);
  memset(object, 0, size);
  object->kind = kind;
  object->state = state;
  push_class(L, state, kind);
  lua_setmetatable(L, -2);
  return object;
}

/*
** An object of ours is told by its first two words, the kind and the state: a comparison in
** place of a metatable fetched and looked up by name, which would cost as much as a switch.
*/
const agenda_kind *agenda_object_kind(lua_State *L, int index)
{
  const agenda_object *object = lua_touserdata(L, index);
  if (object == NULL || lua_rawlen(L, index) < sizeof *object)
    return NULL;
  return object->state == agenda_state_here(L) ? object->kind : NULL;
}

void *agenda_object_test(lua_State *L, int index, const agenda_kind *kind)
{
  void *exact = agenda_object_quick(L, index, kind);
  if (AGENDA_LIKELY(exact != NULL))
    return exact;
  const agenda_kind *found = agenda_object_kind(L, index);
  for (; found != NULL; found = found->parent)
    if (found == kind)
      return lua_touserdata(L, index);
  return NULL;
}

void *agenda_object_check(lua_State *L, int index, const agenda_kind *kind)
{
  void *object = agenda_object_test(L, index, kind);
  if (AGENDA_UNLIKELY(object == NULL))
    luaL_typeerror(L, index, kind->metatable);
  return object;
}

void agenda_values_pack(lua_State *L, int n)
{
  if (n == 0)
    lua_pushnil(L);
  if (n < 2)
    return;
  lua_createtable(L, n, 0);
  lua_insert(L, -n - 1);
  for (int i = n; i > 0; i--)
    lua_rawseti(L, -i - 1, i);
}

/* ----- descriptions -------------------------------------------------------------------- */

int agenda_push_description(lua_State *L, const agenda_object *object, const char *name)
{
  if (name == NULL)
    lua_pushfstring(L, "<%s at %p>", object->kind->name, (const void *)object);
  else
    lua_pushfstring(L, "<%s %s at %p>", object->kind->name, name, (const void *)object);
  return 1;
}

void agenda_push_definition(lua_State *L, int index)
{
  lua_Debug info;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &info);
  if (*info.what == 'C')
    lua_pushliteral(L, "[C]");
  else
    lua_pushfstring(L, "%s:%d", info.short_src, info.linedefined);
}

/* ----- warnings ------------------------------------------------------------------------ */

static void print_warning(lua_State *L, const char *message)
{
  lua_writestringerror("agenda: %s", message);
  if (lua_istable(L, -1) && lua_getfield(L, -1, "exception") != LUA_TNIL) {
    lua_writestringerror(": %s", luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
  }
  lua_writestringerror("%s", "\n");
}

/*
** The context table gets the message, then goes to the loop that runs, else to the warning
** handler; an error in that one is printed, for there is nobody left to tell.
*/
void agenda_warn(lua_State *L, const char *message)
{
  agenda_state *state = agenda_state_get(L);
  luaL_checkstack(L, 8, "warning");
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
  }
  int context = lua_gettop(L);
  lua_pushstring(L, message);
  lua_setfield(L, context, "message");
  if (state->report != NULL) {
    state->report(L, state);
    lua_settop(L, context - 1);
    return;
  }
  if (agenda_slot_push_slow(L, AGENDA_SLOT_WARNING) != LUA_TFUNCTION) {
    lua_settop(L, context);
    print_warning(L, message);
  }
  else {
    lua_pushvalue(L, context);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      lua_writestringerror("agenda: error in the warning handler: %s\n",
                           luaL_tolstring(L, -1, NULL));
      lua_settop(L, context);
      print_warning(L, message);
    }
  }
  lua_settop(L, context - 1);
}
