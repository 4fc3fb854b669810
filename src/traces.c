/*
** traces.c: where errors were raised.
**
** A trace is a table of levels, innermost first, each of four entries: source, line, name, line of
** the definition (0 in a main chunk, -1 in C); `false` in place of a source begins the next
** coroutine outward. Recording so costs a fraction of luaL_traceback, and the text is made only
** when somebody reads it. Functions are not kept: with their upvalues they would keep alive what
** the error has long left behind.
*/
#include "errors.h"

enum {
  LEVELS_PER_COROUTINE = 24,
  LEVEL = 4,                 /* entries of a level */
  TRACE_LIMIT = LEVEL * 160, /* entries; what lies further out is left out */
  RECENT = 32                /* traces of errors that are not objects */
};

static void append_levels(lua_State *L, int trace, int first_level)
{
  lua_Debug info;
  int n = (int)lua_rawlen(L, trace);
  for (int level = 0; n < TRACE_LIMIT && level < LEVELS_PER_COROUTINE; level++) {
    if (!lua_getstack(L, first_level + level, &info) || !lua_getinfo(L, "nSl", &info))
      break;
    if (*info.what == 'C' && level > 0 && info.name == NULL)
      continue; /* the library's own base function */
    lua_pushstring(L, info.short_src);
    lua_rawseti(L, trace, ++n);
    lua_pushinteger(L, info.currentline);
    lua_rawseti(L, trace, ++n);
    if (info.name != NULL)
      lua_pushstring(L, info.name);
    else
      lua_pushboolean(L, 0);
    lua_rawseti(L, trace, ++n);
    lua_pushinteger(L, *info.what == 'm' ? 0 : info.linedefined);
    lua_rawseti(L, trace, ++n);
  }
}

static void append_boundary(lua_State *L, int trace)
{
  int n = (int)lua_rawlen(L, trace);
  for (int i = 1; n < TRACE_LIMIT && i <= LEVEL; i++) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, trace, n + i);
  }
}

/* Pushes the trace of the value at `index` (absolute) or nil. */
static void find_trace(lua_State *L, int index)
{
  if (lua_istable(L, index) || lua_isuserdata(L, index)) {
    agenda_slot_push_slow(L, AGENDA_SLOT_TRACES);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return;
  }
  agenda_slot_push_slow(L, AGENDA_SLOT_RECENT);
  for (int i = 1; i <= RECENT; i++) {
    lua_rawgeti(L, -1, 2 * i);
    if (lua_rawequal(L, -1, index)) {
      lua_pop(L, 1);
      lua_rawgeti(L, -1, 2 * i + 1);
      lua_remove(L, -2);
      return;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_pushnil(L);
}

/* Stores the trace on the top for the value at `index` (absolute). [-1, +0] */
static void store_trace(lua_State *L, int index)
{
  if (lua_istable(L, index) || lua_isuserdata(L, index)) {
    agenda_slot_push_slow(L, AGENDA_SLOT_TRACES);
    lua_pushvalue(L, index);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 2);
    return;
  }
  agenda_slot_push_slow(L, AGENDA_SLOT_RECENT);
  lua_rawgeti(L, -1, 1);
  lua_Integer last = lua_tointeger(L, -1) % RECENT + 1;
  lua_pop(L, 1);
  for (int i = 1; i <= RECENT; i++) { /* the same string again takes the place of the older */
    lua_rawgeti(L, -1, 2 * i);
    bool same = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    if (same) {
      last = i;
      break;
    }
  }
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, 2 * last);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 2 * last + 1);
  lua_pushinteger(L, last);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 2);
}

void agenda_error_push_levels(lua_State *L)
{
  luaL_checkstack(L, 8, "traceback");
  lua_newtable(L);
  append_levels(L, lua_gettop(L), 1);
}

void agenda_error_set_levels(lua_State *L, int index)
{
  luaL_checkstack(L, 8, "traceback");
  store_trace(L, lua_absindex(L, index));
}

/* Whether an error of this kind is a matter of course, whose trace nobody wants. */
static bool is_flow(lua_State *L, int index)
{
  return agenda_error_is(L, index, AGENDA_STOP_ITERATION) ||
         agenda_error_is(L, index, AGENDA_STOP_ASYNC_ITERATION) ||
         agenda_error_is(L, index, AGENDA_GENERATOR_EXIT);
}

/* What tells errors apart; values without an address are one. */
static const void *identity(lua_State *L, int index, const agenda_state *state)
{
  const void *address = lua_topointer(L, index);
  return address != NULL ? address : state;
}

/*
** An error object that is raised again keeps the trace of where it was first raised; one that is on
** its way out of an awaited coroutine has been seen by agenda_error_propagate.
*/
int agenda_error_on_raise(lua_State *L)
{
  agenda_state *state = agenda_state_get(L);
  const void *propagating = state->propagating;
  state->propagating = NULL;
  if (!lua_checkstack(L, 16) || lua_isnil(L, 1) || is_flow(L, 1))
    return 1;
  find_trace(L, 1);
  bool again = lua_istable(L, 1) || propagating == identity(L, 1, state);
  if (!lua_istable(L, 2) || !again) {
    lua_settop(L, 1);
    lua_newtable(L);
    append_levels(L, 2, 1);
    lua_pushvalue(L, 2);
    store_trace(L, 1);
  }
  lua_settop(L, 1);
  return 1;
}

/*
** NB: the trace is continued here and not in the message handler, which does not see an error that
** the awaiting function catches with pcall.
*/
int agenda_error_propagate(lua_State *L)
{
  agenda_state *state = agenda_state_get(L);
  int error = lua_gettop(L);
  state->propagating = NULL;
  if (lua_checkstack(L, 16) && !lua_isnil(L, error) && !is_flow(L, error)) {
    find_trace(L, error);
    if (lua_istable(L, -1)) {
      append_boundary(L, error + 1);
      append_levels(L, error + 1, 1);
      state->propagating = identity(L, error, state);
    }
    lua_settop(L, error);
  }
  return lua_error(L);
}

void agenda_error_begin_trace(lua_State *L, int index)
{
  index = lua_absindex(L, index);
  if (lua_isnil(L, index) || is_flow(L, index))
    return;
  agenda_error_push_levels(L);
  agenda_error_set_levels(L, index);
}

int agenda_error_trace_length(lua_State *L, int index)
{
  int length = 0;
  if (lua_checkstack(L, 8)) {
    find_trace(L, lua_absindex(L, index));
    if (lua_istable(L, -1))
      length = (int)lua_rawlen(L, -1);
    lua_pop(L, 1);
  }
  return length;
}

void agenda_error_cut_trace(lua_State *L, int index, int length)
{
  if (!lua_checkstack(L, 12))
    return;
  index = lua_absindex(L, index);
  find_trace(L, index);
  if (lua_istable(L, -1)) {
    for (int i = (int)lua_rawlen(L, -1); i > length; i--) {
      lua_pushnil(L);
      lua_rawseti(L, -2, i);
    }
    if (length == 0) { /* nobody had raised it */
      lua_pushnil(L);
      store_trace(L, index);
    }
  }
  lua_pop(L, 1);
}

/* Pushes the line of the trace's level at `i`. [-0, +1] */
static void push_level(lua_State *L, int trace, int i)
{
  if (lua_rawgeti(L, trace, i) != LUA_TSTRING) {
    lua_pop(L, 1);
    lua_pushliteral(L, "\nawaited by:");
    return;
  }
  int base = lua_gettop(L);
  for (int k = 1; k < LEVEL; k++) lua_rawgeti(L, trace, i + k);
  const char *source = lua_tostring(L, base);
  int line = (int)lua_tointeger(L, base + 1), defined = (int)lua_tointeger(L, base + 3);
  const char *name = lua_tostring(L, base + 2);
  lua_pushfstring(L, "\n\t%s:", source);
  if (line > 0)
    lua_pushfstring(L, "%d:", line);
  else
    lua_pushliteral(L, "");
  if (name != NULL)
    lua_pushfstring(L, " in function '%s'", name);
  else if (defined == 0)
    lua_pushliteral(L, " in main chunk");
  else if (defined < 0)
    lua_pushliteral(L, " in ?");
  else
    lua_pushfstring(L, " in function <%s:%d>", source, defined);
  lua_concat(L, 3);
  lua_replace(L, base);
  lua_settop(L, base);
}

void agenda_error_push_trace(lua_State *L, int index)
{
  luaL_checkstack(L, 16, "traceback");
  index = lua_absindex(L, index);
  find_trace(L, index);
  if (!lua_istable(L, -1))
    return; /* the nil */
  int trace = lua_gettop(L);
  int n = (int)lua_rawlen(L, trace);
  lua_pushliteral(L, "stack traceback:");
  for (int i = 1; i < n; i += LEVEL) {
    push_level(L, trace, i);
    lua_concat(L, 2);
  }
  lua_remove(L, trace);
}
