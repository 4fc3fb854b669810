/*
** asyncgen_guard.c: what a body opened is there for its cleanup, also when both are collected.
**
** Lua finalizes younger objects first, so a file that the body opened would be closed before the
** generator could run the cleanup that needs it. The guard is an object that only the generator
** holds, younger than what the body had opened by then: it is finalized first, and finalizes the
** generator.
**
** A generator's first suspensions each make a new guard, unless no memory was taken since the last,
** as nothing can be opened without that. For one that yields often this would be most of the work.
** It is held instead, by the state, until the collector's next cycle: a *heartbeat*, an object that
** nothing refers to, is finalized then, makes one guard for each generator that was held, and lets
** them go. So they are collected a cycle later, and a value costs a look at a flag.
*/
#include "asyncgen.h"

enum { COUNTED = 64 };

static const agenda_kind guard_kind = {.name = "guard", .metatable = "agenda.guard"};
static const agenda_kind heartbeat_kind = {.name = "heartbeat", .metatable = "agenda.heartbeat"};

/* ----- guards -------------------------------------------------------------------------- */

/* Finalizes its generator, unless that has a younger guard. */
static int l_guard_gc(lua_State *L)
{
  if (lua_getiuservalue(L, 1, 1) != LUA_TUSERDATA)
    return 0;
  agenda_asyncgen *generator = agenda_object_test(L, 2, &agenda_asyncgen_kind);
  if (generator == NULL || lua_getiuservalue(L, 2, AGENDA_ASYNCGEN_GUARD) != LUA_TUSERDATA ||
      !lua_rawequal(L, 1, 3))
    return 0; /* a younger guard has taken its place */
  lua_settop(L, 2);
  lua_pushnil(L);
  lua_setiuservalue(L, 2, AGENDA_ASYNCGEN_GUARD);
  generator->protected = false; /* a new one at the next suspension */
  lua_remove(L, 1);
  agenda_asyncgen_gc(L);
  generator->guarded = true;
  return 0;
}

static void make_guard(lua_State *L, agenda_asyncgen *generator, int index)
{
  agenda_object_new(L, generator->body.object.state, &guard_kind, sizeof(agenda_object), 1);
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, 1);
  lua_setiuservalue(L, index, AGENDA_ASYNCGEN_GUARD);
  generator->protected = true;
}

/* Bytes in use, modulo the size of an unsigned. */
static unsigned memory_in_use(lua_State *L)
{
  return (unsigned)lua_gc(L, LUA_GCCOUNT) << 10 | (unsigned)lua_gc(L, LUA_GCCOUNTB);
}

/*
** NB: what the guards themselves took is left out of the count, or the generators of a pipeline
** would make guards because of each other's.
*/
static void guard_at_once(lua_State *L, agenda_asyncgen *generator, int index)
{
  agenda_state *state = generator->body.object.state;
  unsigned before = memory_in_use(L);
  if (generator->protected && generator->memory == before - state->guards)
    return;
  make_guard(L, generator, index);
  unsigned after = memory_in_use(L);
  state->guards += after - before;
  generator->memory = after - state->guards;
}

/* ----- the heartbeat ------------------------------------------------------------------- */

/* NB: what is left when memory fails here is let go by the next heartbeat. */
static int l_heartbeat_gc(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  state->beating = false;
  luaL_checkstack(L, 10, "guards");
  agenda_slot_push(L, AGENDA_SLOT_HELD);
  int list = lua_gettop(L);
  while (state->held > 0) {
    lua_rawgeti(L, list, (lua_Integer)state->held);
    lua_pushboolean(L, 0);
    lua_rawseti(L, list, (lua_Integer)state->held--);
    agenda_asyncgen *generator = lua_touserdata(L, -1);
    generator->held = false;
    if (generator->body.frame.status == AGENDA_FRAME_SUSPENDED)
      make_guard(L, generator, list + 1);
    lua_settop(L, list);
  }
  return 0;
}

static void hold(lua_State *L, agenda_asyncgen *generator, int index)
{
  agenda_state *state = generator->body.object.state;
  agenda_slot_push(L, AGENDA_SLOT_HELD);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, (lua_Integer)state->held + 1);
  lua_pop(L, 1);
  state->held++;
  generator->held = true;
  if (!state->beating) {
    agenda_object_new(L, state, &heartbeat_kind, sizeof(agenda_object), 0);
    state->beating = true;
    lua_pop(L, 1);
  }
}

void agenda_asyncgen_guard(lua_State *L, agenda_asyncgen *generator, int index)
{
  luaL_checkstack(L, 6, "guard");
  if (generator->suspensions < COUNTED) {
    generator->suspensions++;
    guard_at_once(L, generator, index);
  }
  else
    hold(L, generator, index);
}

static const luaL_Reg guard_metamethods[] = {
  {"__gc", l_guard_gc},
  {NULL, NULL}
};

static const luaL_Reg heartbeat_metamethods[] = {
  {"__gc", l_heartbeat_gc},
  {NULL, NULL}
};

void agenda_open_asyncgen_guard(lua_State *L)
{
  agenda_class_register(L, &guard_kind, guard_metamethods, NULL, NULL);
  agenda_class_register(L, &heartbeat_kind, heartbeat_metamethods, NULL, NULL);
}
