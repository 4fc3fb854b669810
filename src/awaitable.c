/*
** awaitable.c: `await` of any awaitable: objects of the library by their kind, others by the
** metamethod __await.
*/
#include "awaitable.h"

#include "errors.h"

bool agenda_awaitable_test(lua_State *L, int index)
{
  const agenda_kind *kind = agenda_object_kind(L, index);
  if (kind != NULL)
    return kind->await != NULL;
  if (luaL_getmetafield(L, index, "__await") == LUA_TNIL)
    return false;
  lua_pop(L, 1);
  return true;
}

static int after_metamethod(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L) - 1;
}

int agenda_awaitable_await(lua_State *L)
{
  const agenda_kind *kind = agenda_object_kind(L, 1);
  if (kind != NULL && kind->await != NULL)
    return kind->await(L);
  if (kind != NULL || luaL_getmetafield(L, 1, "__await") == LUA_TNIL)
    return agenda_error_raise(L, AGENDA_TYPE_ERROR, "object %s can't be used in 'await' expression",
                              kind != NULL ? kind->name : luaL_typename(L, 1));
  lua_pushvalue(L, 1);
  lua_callk(L, 1, LUA_MULTRET, 0, after_metamethod);
  return after_metamethod(L, LUA_OK, 0);
}

/*** Awaits a coroutine object, Future, Task, any awaitable of the library, or an object whose
metatable has `__await`. Awaits; a finished Future gives its result without a switch.
@function await
@param x the awaitable
@return its results
@raise what it raises; TypeError for anything else; RuntimeError where nothing can wait */
static int l_await(lua_State *L)
{
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  agenda_state *state = agenda_state_here(L);
  if (!agenda_frame_here(state, L)) {
    const agenda_kind *kind = agenda_object_kind(L, 1);
    const char *why = agenda_frame_cannot_wait(L, state, false);
    if (why != NULL && !agenda_awaitable_test(L, 1))
      return agenda_awaitable_await(L); /* the TypeError says more */
    if (why != NULL && (kind == NULL || !kind->checks_wait))
      return agenda_frame_refuse_wait(L, state, "await", why);
  }
  return agenda_awaitable_await(L);
}

/*** Whether a value can be awaited.
@function isawaitable
@param x any value
@treturn boolean */
static int l_isawaitable(lua_State *L)
{
  lua_settop(L, 1);
  lua_pushboolean(L, agenda_awaitable_test(L, 1));
  return 1;
}

static const luaL_Reg functions[] = {
  {"await", l_await},
  {"isawaitable", l_isawaitable},
  {NULL, NULL}
};

void agenda_open_awaitable(lua_State *L)
{
  agenda_functions_register(L, functions);
}
