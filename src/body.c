/*
** body.c: making, naming, describing and driving by hand, for all objects with a body.
*/
#include "body.h"

#include <string.h>

#include "errors.h"

/* ----- making -------------------------------------------------------------------------- */

/*
** The made function's upvalues: state, definition, metatable. What was made is remembered, weakly,
** for isgeneratorfunction and its like.
*/
int agenda_body_factory(lua_State *L, const agenda_kind *kind, lua_CFunction make)
{
  int function = lua_type(L, 1) == LUA_TSTRING ? 2 : 1;
  luaL_checktype(L, function, LUA_TFUNCTION);
  lua_settop(L, function);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, function);
  lua_rawseti(L, -2, AGENDA_DEFINITION_FUNCTION);
  if (function == 2)
    lua_pushvalue(L, 1);
  else
    agenda_push_definition(L, function);
  lua_rawseti(L, -2, AGENDA_DEFINITION_NAME);
  agenda_class_push(L, kind);
  lua_pushcclosure(L, make, 3);
  agenda_slot_push(L, AGENDA_SLOT_FUNCTIONS);
  lua_pushvalue(L, -2);
  lua_pushstring(L, kind->name);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return 1;
}

/* "file.lua:12" of the caller's line, or "". */
static void push_place(lua_State *L)
{
  size_t length;
  luaL_where(L, 1);
  const char *place = lua_tolstring(L, -1, &length);
  lua_pushlstring(L, place, length >= 2 ? length - 2 : 0); /* less ": " */
  lua_remove(L, -2);
}

/*
** NB: the metatable is set while the object is the newest: Lua looks for it from the head of its
** list of all objects.
*/
void *agenda_body_new(lua_State *L, const agenda_kind *kind, size_t size, int slots,
                      agenda_yields yields)
{
  agenda_state *state = agenda_state_here(L);
  int nargs = lua_gettop(L);
  AGENDA_TORTURE(L);
  luaL_checkstack(L, 6, "too many arguments");
  agenda_body *body = lua_newuserdatauv(L, size, slots);
  memset(body, 0, size);
  body->object.kind = kind;
  body->object.state = state;
  body->frame.status = AGENDA_FRAME_FINISHED;
  lua_pushvalue(L, lua_upvalueindex(3));
  lua_setmetatable(L, -2);
  lua_insert(L, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_rawgeti(L, -1, AGENDA_DEFINITION_FUNCTION);
  lua_insert(L, 2);
  lua_setiuservalue(L, 1, AGENDA_BODY_DEFINITION);
  agenda_frame_init(L, state, &body->frame, 1, nargs, yields);
  if (AGENDA_UNLIKELY(state->debug)) {
    push_place(L);
    agenda_body_set_extra(L, 1, AGENDA_EXTRA_MADE);
  }
  return body;
}

/* ----- names and fields ---------------------------------------------------------------- */

int agenda_body_push_extra(lua_State *L, int index, int key)
{
  if (lua_getiuservalue(L, index, AGENDA_BODY_EXTRA) != LUA_TTABLE)
    return LUA_TNIL; /* which was pushed */
  int type = lua_rawgeti(L, -1, key);
  lua_remove(L, -2);
  return type;
}

void agenda_body_set_extra(lua_State *L, int index, int key)
{
  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, AGENDA_BODY_EXTRA) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, AGENDA_BODY_EXTRA);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, key);
  lua_pop(L, 1);
}

const char *agenda_body_push_name(lua_State *L, int index)
{
  if (agenda_body_push_extra(L, index, AGENDA_EXTRA_BODY_NAME) == LUA_TSTRING)
    return lua_tostring(L, -1);
  lua_pop(L, 1);
  if (lua_getiuservalue(L, index, AGENDA_BODY_DEFINITION) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_pushliteral(L, "?");
    return "?";
  }
  lua_rawgeti(L, -1, AGENDA_DEFINITION_NAME);
  lua_remove(L, -2);
  return lua_tostring(L, -1);
}

int agenda_body_field(lua_State *L, const char *prefix)
{
  agenda_body *body = lua_touserdata(L, 1);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "name") == 0) {
    agenda_body_push_name(L, 1);
    return 1;
  }
  size_t length = strlen(prefix);
  if (strncmp(key, prefix, length) != 0 || key[length] != '_')
    return -1;
  key += length + 1;
  if (strcmp(key, "running") == 0)
    lua_pushboolean(L, agenda_frame_is_executing(&body->frame));
  else if (strcmp(key, "suspended") == 0)
    lua_pushboolean(L, body->frame.status == AGENDA_FRAME_SUSPENDED ||
                         (body->frame.status == AGENDA_FRAME_WAITING &&
                          !agenda_frame_is_executing(&body->frame)));
  else if (strcmp(key, "frame") == 0)
    agenda_frame_push_info(L, &body->frame, agenda_body_push_name(L, 1));
  else if (strcmp(key, "code") == 0) {
    lua_getiuservalue(L, 1, AGENDA_BODY_DEFINITION);
    lua_rawgeti(L, -1, AGENDA_DEFINITION_FUNCTION);
  }
  else
    return -1;
  return 1;
}

int agenda_body_assign(lua_State *L, agenda_body *body, bool qualname)
{
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
  int slot = strcmp(key, "name") == 0                 ? AGENDA_EXTRA_BODY_NAME
             : qualname && strcmp(key, "qualname") == 0 ? AGENDA_EXTRA_QUALNAME
                                                        : 0;
  if (slot == 0)
    return agenda_error_raise(L, AGENDA_TYPE_ERROR, "field '%s' of %s is read-only", key,
                              body->object.kind->name);
  if (lua_type(L, 3) != LUA_TSTRING)
    return agenda_error_raise(L, AGENDA_TYPE_ERROR, "%s must be set to a string, not %s", key,
                              luaL_typename(L, 3));
  lua_settop(L, 3);
  if (qualname && slot == AGENDA_EXTRA_BODY_NAME) { /* the qualified name stays as it is */
    if (agenda_body_push_extra(L, 1, AGENDA_EXTRA_QUALNAME) == LUA_TNIL)
      agenda_body_push_name(L, 1);
    agenda_body_set_extra(L, 1, AGENDA_EXTRA_QUALNAME);
    lua_settop(L, 3);
  }
  agenda_body_set_extra(L, 1, slot);
  return 0;
}

int agenda_body_tostring(lua_State *L, agenda_body *body)
{
  return agenda_push_description(L, &body->object, agenda_body_push_name(L, 1));
}

/*
** A suspended coroutine stands in the C function that waits, whose first argument is what it
** waits on (await, a loop's call of its generator, aw:await); only objects are of interest.
*/
void agenda_body_push_awaited(lua_State *L, const agenda_frame *frame)
{
  lua_Debug info;
  lua_State *co = frame->co;
  if (frame->status != AGENDA_FRAME_WAITING || co == NULL || frame->tag == AGENDA_TAG_FOREIGN ||
      agenda_frame_is_executing(frame) ||
      !lua_getstack(co, 0, &info) || lua_getlocal(co, &info, 1) == NULL) {
    lua_pushnil(L);
    return;
  }
  lua_xmove(co, L, 1);
  if (!lua_isuserdata(L, -1) && !lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
}

/* ----- driving ------------------------------------------------------------------------- */

bool agenda_body_abandoned(lua_State *L, const agenda_frame *frame)
{
  if (frame->status != AGENDA_FRAME_WAITING)
    return false;
  return frame->foreign == L || (frame->caller != NULL && frame->caller->co == L);
}

agenda_outcome agenda_body_hand(lua_State *L, agenda_frame *frame, int nargs, bool throw, int *n)
{
  lua_State *where;
  agenda_runner runner = {.kind = AGENDA_RUNNER_HAND, .can_wait = true};
  agenda_outcome what = agenda_frame_drive(L, &runner, frame, nargs, throw, &where, n);
  agenda_frame_take(L, frame, where, *n);
  return what;
}

int agenda_body_raise(lua_State *L, const char *what, bool async)
{
  const char *name = agenda_error_is(L, -1, AGENDA_STOP_ITERATION) ? "StopIteration"
                     : async && agenda_error_is(L, -1, AGENDA_STOP_ASYNC_ITERATION)
                       ? "StopAsyncIteration"
                       : NULL;
  if (name != NULL) {
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "%s raised %s", what, name);
    lua_insert(L, -2);
    agenda_error_set_cause(L);
  }
  return agenda_error_propagate(L);
}

bool agenda_body_any_value(lua_State *L, int n)
{
  for (int i = 1; i <= n; i++)
    if (!lua_isnil(L, -i))
      return true;
  return false;
}

/* ----- the collector ------------------------------------------------------------------- */

void agenda_body_rearm(lua_State *L)
{
  if (lua_getmetatable(L, 1))
    lua_setmetatable(L, 1);
}

void agenda_body_warn(lua_State *L, const char *message, const char *field)
{
  luaL_checkstack(L, 8, "warning");
  lua_createtable(L, 0, 3);
  lua_insert(L, -2);
  lua_setfield(L, -2, "exception");
  lua_getfield(L, -1, "exception");
  agenda_error_push_trace(L, -1);
  lua_setfield(L, -3, "traceback");
  lua_pop(L, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, field);
  agenda_warn(L, message);
}

void agenda_body_warn_closing(lua_State *L, const char *what, const char *field)
{
  const char *name = agenda_body_push_name(L, 1);
  const char *message = lua_pushfstring(L, "error while closing a collected %s '%s'", what, name);
  lua_replace(L, -2);
  lua_insert(L, -2);
  agenda_body_warn(L, message, field);
  lua_pop(L, 1);
}
