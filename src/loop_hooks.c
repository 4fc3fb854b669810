/*
** loop_hooks.c: what a running loop does for async generators (PEP 525): it knows those that were
** first iterated on it, so that they can be closed, and starts the cleanup of those that are
** collected.
**
** As a rule it adopts them as their host, without a call (see hooks.h). Its two hooks are functions
** too, for those who ask for them and put their own in front.
*/
#include "asyncgen.h"
#include "errors.h"
#include "loop.h"

/* ----- the host ------------------------------------------------------------------------ */

static bool start_cleanup(lua_State *L, agenda_host *host, int index)
{
  return agenda_task_close_generator(L, AGENDA_LIST_OWNER(host, agenda_schedule, host), index);
}

/* ----- the hooks as functions; the loop is their second upvalue ------------------------ */

/* Registers the generator with the loop, in the order of first iteration. */
static int l_firstiter(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_asyncgen_kind);
  if (lua_getiuservalue(L, lua_upvalueindex(2), AGENDA_LOOP_GENERATORS) != LUA_TTABLE) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, lua_upvalueindex(2), AGENDA_LOOP_GENERATORS);
  }
  lua_pushvalue(L, 1);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  return 0;
}

/* Starts the generator's cleanup. */
static int l_finalizer(lua_State *L)
{
  agenda_event_loop *loop = lua_touserdata(L, lua_upvalueindex(2));
  agenda_object_check(L, 1, &agenda_asyncgen_kind);
  if (!start_cleanup(L, &loop->schedule->host, 1))
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Event loop is closed");
  return 0;
}

/* Pushes the loop's hook in `slot`, made at its first run. */
static void push_hook(lua_State *L, int index, int slot, lua_CFunction function)
{
  if (lua_getiuservalue(L, index, slot) == LUA_TFUNCTION)
    return;
  lua_pop(L, 1);
  agenda_state_push(L);
  lua_pushvalue(L, index);
  lua_pushcclosure(L, function, 2);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, slot);
}

/* In place of those that were there before the loop ran, which it keeps. */
static void show_hooks(lua_State *L, agenda_host *host)
{
  luaL_checkstack(L, 6, "hooks");
  agenda_loop_push(L, AGENDA_LIST_OWNER(host, agenda_schedule, host));
  int index = lua_gettop(L);
  agenda_event_loop *loop = lua_touserdata(L, index);
  if (!loop->hooks_shown) {
    push_hook(L, index, AGENDA_LOOP_FINALIZER, l_finalizer);
    push_hook(L, index, AGENDA_LOOP_FIRSTITER, l_firstiter);
    loop->hooks_shown = true;
    agenda_slot_push_slow(L, AGENDA_SLOT_FIRSTITER);
    lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FIRSTITER);
    agenda_slot_push_slow(L, AGENDA_SLOT_FINALIZER);
    lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FINALIZER);
    agenda_slot_set_slow(L, AGENDA_SLOT_FIRSTITER);
    agenda_slot_set_slow(L, AGENDA_SLOT_FINALIZER);
  }
  lua_settop(L, index - 1);
}

/* Puts those back that were there before. */
static void hide_hooks(lua_State *L, agenda_event_loop *loop, int index)
{
  loop->hooks_shown = false;
  lua_getiuservalue(L, index, AGENDA_LOOP_EARLIER_FIRSTITER);
  agenda_slot_set_slow(L, AGENDA_SLOT_FIRSTITER);
  lua_getiuservalue(L, index, AGENDA_LOOP_EARLIER_FINALIZER);
  agenda_slot_set_slow(L, AGENDA_SLOT_FINALIZER);
  lua_pushnil(L);
  lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FINALIZER);
  lua_pushnil(L);
  lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FIRSTITER);
}

/* ----- while the loop runs ------------------------------------------------------------- */

void agenda_loop_init_hooks(agenda_event_loop *loop)
{
  loop->schedule->host.close = start_cleanup;
  loop->schedule->host.show = show_hooks;
}

void agenda_loop_enter_hooks(agenda_event_loop *loop)
{
  loop->object.state->host = &loop->schedule->host;
}

void agenda_loop_leave_hooks(lua_State *L, agenda_event_loop *loop, int index)
{
  loop->object.state->host = NULL;
  if (loop->hooks_shown)
    hide_hooks(L, loop, index);
}

/* ----- the generators that are open ---------------------------------------------------- */

/*** The async generators that were first iterated on the loop and are still open.
@function _loop_generators
@tparam event_loop loop
@treturn table a list, in the order of first iteration
@raise RuntimeError when the loop is closed */
static int l_loop_generators(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  lua_settop(L, 1);
  agenda_host_push_list(L, &loop->schedule->host);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
  if (lua_getiuservalue(L, 1, AGENDA_LOOP_GENERATORS) == LUA_TTABLE) {
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
      lua_pushvalue(L, -2);
      lua_rawseti(L, 2, ++n);
    }
  }
  lua_settop(L, 2);
  return 1;
}

/*** Whether a task closes an async generator that was collected.
@function _is_cleanup
@tparam task task
@treturn boolean */
static int l_is_cleanup(lua_State *L)
{
  const agenda_task *task = agenda_object_check(L, 1, &agenda_task_kind);
  lua_pushboolean(L, task->future.cleanup);
  return 1;
}

/*** Whether a host is told of a task's end, and so of its error.
@function _is_kept
@tparam task task
@treturn boolean */
static int l_is_kept(lua_State *L)
{
  const agenda_task *task = agenda_object_check(L, 1, &agenda_task_kind);
  lua_pushboolean(L, task->kept);
  return 1;
}

static const luaL_Reg functions[] = {
  {"_is_cleanup", l_is_cleanup},
  {"_is_kept", l_is_kept},
  {"_loop_generators", l_loop_generators},
  {NULL, NULL}
};

void agenda_open_loop_hooks(lua_State *L)
{
  agenda_functions_register(L, functions);
}
