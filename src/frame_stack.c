/*
** frame_stack.c: where a frame stands, and who waits for it.
*/
#include "frame.h"

#include <string.h>

/* The level of the body's function: the outermost but the base. -1 if there is none. */
static int body_level(lua_State *co)
{
  lua_Debug info;
  int level = 0;
  while (lua_getstack(co, level, &info))
    level++;
  return level - 2;
}

void agenda_frame_push_info(lua_State *L, const agenda_frame *frame, const char *name)
{
  lua_Debug info;
  lua_State *co = frame->co;
  if (frame->status == AGENDA_FRAME_FINISHED || co == NULL) {
    lua_pushnil(L);
    return;
  }
  memset(&info, 0, sizeof info);
  if (frame->status == AGENDA_FRAME_CREATED) {
    lua_pushvalue(co, AGENDA_BASE_BODY);
    lua_getinfo(co, ">S", &info);
    info.currentline = info.linedefined;
  }
  else {
    int level = body_level(co);
    if (level < 0 || !lua_getstack(co, level, &info) || !lua_getinfo(co, "Sl", &info)) {
      lua_pushnil(L);
      return;
    }
  }
  lua_createtable(L, 0, 3);
  lua_pushstring(L, info.source);
  lua_setfield(L, -2, "source");
  lua_pushinteger(L, info.currentline);
  lua_setfield(L, -2, "currentline");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
}

void agenda_frame_push_stack(lua_State *L, const agenda_frame *frame)
{
  luaL_checkstack(L, 8, "traceback");
  const agenda_frame *innermost = frame;
  if (frame->leaf != NULL)
    innermost = frame->leaf;
  else
    while (innermost->callee != NULL)
      innermost = innermost->callee;
  lua_pushliteral(L, "");
  int shown = 0;
  for (const agenda_frame *f = innermost; f != NULL; f = f == frame ? NULL : f->caller) {
    if (f->co == NULL)
      break;
    if (++shown > 20) {
      lua_pushliteral(L, "\nawaited by: ...");
      lua_concat(L, 2);
      break;
    }
    luaL_traceback(L, f->co, f == innermost ? NULL : "\nawaited by:", 0);
    lua_concat(L, 2);
  }
}
