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
  agenda_loop *loop = AGENDA_LIST_OWNER(host, agenda_loop, host);
  return loop->schedule != NULL && agenda_task_close_generator(L, loop->schedule, index);
}

void agenda_loop_init_hooks(agenda_loop *loop)
{
  agenda_host_init(&loop->host);
  loop->host.close = start_cleanup;
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
  agenda_loop *loop = lua_touserdata(L, lua_upvalueindex(2));
  agenda_object_check(L, 1, &agenda_asyncgen_kind);
  if (!start_cleanup(L, &loop->host, 1))
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

void agenda_loop_enter_hooks(lua_State *L, agenda_loop *loop, int index)
{
  push_hook(L, index, AGENDA_LOOP_FIRSTITER, l_firstiter);
  push_hook(L, index, AGENDA_LOOP_FINALIZER, l_finalizer);
  loop->earlier_host = agenda_hooks_exchange(L, &loop->host);
  lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FINALIZER);
  lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FIRSTITER);
}

void agenda_loop_leave_hooks(lua_State *L, agenda_loop *loop, int index)
{
  lua_getiuservalue(L, index, AGENDA_LOOP_EARLIER_FIRSTITER);
  lua_getiuservalue(L, index, AGENDA_LOOP_EARLIER_FINALIZER);
  agenda_hooks_exchange(L, loop->earlier_host);
  lua_pop(L, 2);
  lua_pushnil(L);
  lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FINALIZER);
  lua_pushnil(L);
  lua_setiuservalue(L, index, AGENDA_LOOP_EARLIER_FIRSTITER);
}

/* ----- the generators that are open ---------------------------------------------------- */

/*
** Pushes the userdata that holds a frame: the first value of the outermost function of its
** coroutine, which frame.c puts there.
*/
static void push_owner(lua_State *L, lua_State *co)
{
  lua_Debug info;
  int low = 0, high = 1;
  while (lua_getstack(co, high, &info)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    if (lua_getstack(co, middle, &info))
      low = middle;
    else
      high = middle;
  }
  lua_getstack(co, low, &info);
  if (!lua_checkstack(co, 1) || lua_getlocal(co, &info, 1) == NULL)
    lua_pushnil(L);
  else
    lua_xmove(co, L, 1);
}

/*** The async generators that were first iterated on the loop and are still open.
@function _loop_generators
@tparam event_loop loop
@treturn table a list, in the order of first iteration
@raise RuntimeError when the loop is closed */
static int l_loop_generators(lua_State *L)
{
  agenda_loop *loop = agenda_loop_check(L, 1, true);
  const agenda_list *head = &loop->host.generators;
  lua_Integer n = 0;
  lua_settop(L, 1);
  lua_newtable(L);
  for (agenda_list *node = head->next; node != head; node = node->next) {
    lua_State *co = AGENDA_LIST_OWNER(node, agenda_asyncgen, hosted.link)->body.frame.co;
    if (co == NULL)
      continue;
    push_owner(L, co);
    if (agenda_object_test(L, -1, &agenda_asyncgen_kind) != NULL)
      lua_rawseti(L, 2, ++n);
    else
      lua_pop(L, 1);
  }
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
  lua_pushboolean(L, task->cleanup);
  return 1;
}

static const luaL_Reg functions[] = {
  {"_is_cleanup", l_is_cleanup},
  {"_loop_generators", l_loop_generators},
  {NULL, NULL}
};

void agenda_open_loop_hooks(lua_State *L)
{
  agenda_functions_register(L, functions);
}
