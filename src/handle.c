/*
** handle.c: callbacks that wait in a schedule.
**
**   call_soon -> queued ------------------> ran
**   call_at   -> in the heap -> queued ---> ran
**                    \------------\-------> cancelled
**
** What waits is anchored in the schedule, so it cannot be collected while the queue or the heap
** points at it, and needs no __gc. A cancelled timer leaves the heap at once; a cancelled entry
** of the queue keeps its place there, empty, until its turn comes.
*/
#include "handle.h"

#include <string.h>

#include "errors.h"

const agenda_kind agenda_handle_kind = {.name = "handle", .metatable = "agenda.handle"};
const agenda_kind agenda_timer_handle_kind = {
  .name = "timer_handle", .metatable = "agenda.timer_handle", .parent = &agenda_handle_kind};

enum { DIRECT_ARGUMENTS = 2, STACK_NEEDED = 12 };

/* ----- what a handle holds ------------------------------------------------------------- */

static void count(const agenda_handle *handle, int change)
{
  if (!handle->repeats) /* a watcher is counted as such */
    handle->object.state->live.count[AGENDA_LIVE_HANDLES] += change;
}

/* Stores the function and its arguments, and the context of now. [-(n+1), +0, may raise] */
static void store_call(lua_State *L, agenda_handle *handle, int n)
{
  agenda_state *state = handle->object.state;
  int function = lua_gettop(L) - n, owner = function - 1;
  if (n > DIRECT_ARGUMENTS) {
    lua_createtable(L, n, 0);
    lua_insert(L, function + 1);
    for (int i = n; i > 0; i--)
      lua_rawseti(L, function + 1, i);
  }
  for (int i = lua_gettop(L) - function; i >= 0; i--)
    lua_setiuservalue(L, owner, AGENDA_HANDLE_FUNCTION + i);
  handle->arguments = n;
  if (AGENDA_UNLIKELY(state->has_context)) {
    agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
    lua_setiuservalue(L, owner, AGENDA_HANDLE_CONTEXT);
    handle->context = true;
  }
}

/* Pushes the function and its arguments of the handle at `owner`. */
static void push_call(lua_State *L, const agenda_handle *handle, int owner)
{
  int n = handle->arguments;
  lua_getiuservalue(L, owner, AGENDA_HANDLE_FUNCTION);
  if (n <= DIRECT_ARGUMENTS) {
    for (int i = 0; i < n; i++)
      lua_getiuservalue(L, owner, AGENDA_HANDLE_FIRST + i);
    return;
  }
  lua_getiuservalue(L, owner, AGENDA_HANDLE_FIRST);
  int list = lua_gettop(L);
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, list, i);
  lua_remove(L, list);
}

/* Lets go of the function, the arguments and the context of the handle at `owner`. */
static void forget_call(lua_State *L, agenda_handle *handle, int owner)
{
  for (int slot = AGENDA_HANDLE_FUNCTION; slot <= AGENDA_HANDLE_SLOTS; slot++) {
    lua_pushnil(L);
    lua_setiuservalue(L, owner, slot);
  }
  handle->arguments = 0;
  handle->context = false;
}

static void release_anchor(lua_State *L, agenda_handle *handle)
{
  agenda_schedule_unanchor(L, handle->schedule, handle->anchor);
  handle->anchor = 0;
  handle->schedule = NULL;
}

/* ----- making -------------------------------------------------------------------------- */

static void check_open(lua_State *L, const agenda_schedule *schedule)
{
  if (AGENDA_UNLIKELY(schedule->closed))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Event loop is closed");
}

/* A new handle of the kind that holds the call on the top; leaves it. [-(n+1), +1] */
static agenda_handle *new_handle(lua_State *L, agenda_schedule *schedule, const agenda_kind *kind,
                                 int n)
{
  luaL_checkstack(L, STACK_NEEDED, "callback");
  agenda_handle *handle =
    agenda_object_new(L, schedule->state, kind, sizeof *handle, AGENDA_HANDLE_SLOTS);
  lua_insert(L, -(n + 2));
  store_call(L, handle, n);
  return handle;
}

agenda_handle *agenda_handle_call_soon(lua_State *L, agenda_schedule *schedule, int n)
{
  check_open(L, schedule);
  agenda_handle *handle = new_handle(L, schedule, &agenda_handle_kind, n);
  agenda_ready_queue_grow(L, &schedule->ready);
  handle->anchor = agenda_schedule_anchor(L, schedule, -1);
  handle->schedule = schedule;
  handle->queued = true;
  agenda_ready_queue_push(L, &schedule->ready, AGENDA_ITEM_HANDLE, handle);
  count(handle, +1);
  return handle;
}

/*
** NB: the handle is in the heap only once it is anchored; if the heap then fails to grow, the
** anchor is wasted until the loop closes, but nothing points at freed memory.
*/
agenda_handle *agenda_handle_call_at(lua_State *L, agenda_schedule *schedule, double when, int n)
{
  check_open(L, schedule);
  agenda_handle *handle = new_handle(L, schedule, &agenda_timer_handle_kind, n);
  handle->timer = true;
  handle->when = when;
  handle->deadline.kind = AGENDA_ITEM_HANDLE;
  uint32_t anchor = agenda_schedule_anchor(L, schedule, -1);
  agenda_deadline_heap_insert(L, &schedule->deadlines, &handle->deadline, when);
  handle->anchor = anchor;
  handle->schedule = schedule;
  count(handle, +1);
  return handle;
}

void agenda_handle_prepare(lua_State *L, agenda_handle *handle, agenda_schedule *schedule, int n)
{
  luaL_checkstack(L, STACK_NEEDED, "callback");
  handle->repeats = true;
  store_call(L, handle, n);
  handle->anchor = agenda_schedule_anchor(L, schedule, -1);
  handle->schedule = schedule;
}

/* ----- waiting and ending -------------------------------------------------------------- */

void agenda_handle_queue(lua_State *L, agenda_handle *handle)
{
  if (handle->queued || handle->cancelled)
    return;
  agenda_ready_queue_push(L, &handle->schedule->ready, AGENDA_ITEM_HANDLE, handle);
  handle->queued = true;
}

void agenda_handle_wake(lua_State *L, agenda_handle *handle)
{
  agenda_ready_queue_push(L, &handle->schedule->ready, AGENDA_ITEM_HANDLE, handle);
  handle->queued = true;
}

void agenda_handle_cancel(lua_State *L, agenda_handle *handle)
{
  if (handle->cancelled)
    return;
  handle->cancelled = true;
  if (handle->schedule == NULL)
    return; /* it ran, or its loop is closed */
  count(handle, -1);
  agenda_schedule_push(L, handle->schedule, handle->anchor);
  forget_call(L, handle, lua_gettop(L));
  if (!handle->queued) {
    if (handle->timer)
      agenda_deadline_heap_remove(&handle->schedule->deadlines, &handle->deadline);
    release_anchor(L, handle);
  }
  lua_pop(L, 1);
}

void agenda_handle_abandon(lua_State *L, agenda_handle *handle)
{
  handle->queued = false;
  handle->deadline.index = 0;
  if (handle->schedule == NULL)
    return;
  agenda_schedule_push(L, handle->schedule, handle->anchor);
  if (!handle->cancelled) {
    handle->cancelled = true;
    count(handle, -1);
    forget_call(L, handle, lua_gettop(L));
  }
  release_anchor(L, handle);
  lua_pop(L, 1);
}

/* ----- running ------------------------------------------------------------------------- */

/* Reports the error on the top, which the callback of the handle at `owner` raised.
** [-1, +0, may raise] */
static void report(lua_State *L, int owner)
{
  if (lua_isnil(L, -1)) {
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "nil error");
    lua_replace(L, -2);
  }
  agenda_handle_push_text(L, owner);
  lua_pushfstring(L, "Exception in callback %s", lua_tostring(L, -1));
  lua_replace(L, -2);
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "exception");
  lua_pushvalue(L, owner);
  lua_setfield(L, -2, "handle");
  agenda_warn(L, lua_tostring(L, -2));
  lua_pop(L, 2);
}

/* NB: KeyboardInterrupt is left on the top, for it ends the run, and then this is true. */
static bool call(lua_State *L, const agenda_handle *handle, int owner, int handler)
{
  push_call(L, handle, owner);
  if (AGENDA_LIKELY(lua_pcall(L, handle->arguments, 0, handler) == LUA_OK))
    return false;
  if (agenda_error_is(L, -1, AGENDA_KEYBOARD_INTERRUPT))
    return true;
  report(L, owner);
  return false;
}

/* Calls in the context of the handle's making, and brings the earlier one back. */
static bool call_in_context(lua_State *L, const agenda_handle *handle, int owner, int handler)
{
  agenda_state *state = handle->object.state;
  bool earlier = state->has_context;
  agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
  int saved = lua_gettop(L);
  lua_getiuservalue(L, owner, AGENDA_HANDLE_CONTEXT);
  agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
  state->has_context = handle->context;
  bool interrupted = call(L, handle, owner, handler);
  lua_pushvalue(L, saved);
  agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
  state->has_context = earlier;
  return interrupted;
}

/* Calls where there is no context, and drops one that the callback has set. */
static bool call_without_context(lua_State *L, const agenda_handle *handle, int owner, int handler)
{
  agenda_state *state = handle->object.state;
  bool interrupted = call(L, handle, owner, handler);
  if (AGENDA_UNLIKELY(state->has_context)) {
    lua_pushnil(L);
    agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
    state->has_context = false;
  }
  return interrupted;
}

void agenda_handle_run(lua_State *L, agenda_handle *handle)
{
  handle->queued = false;
  if (handle->cancelled) {
    if (handle->schedule != NULL)
      release_anchor(L, handle);
    return;
  }
  luaL_checkstack(L, handle->arguments + STACK_NEEDED, "callback");
  int top = lua_gettop(L), owner = top + 2;
  lua_pushcfunction(L, agenda_error_on_raise);
  agenda_schedule_push(L, handle->schedule, handle->anchor);
  if (!handle->repeats) {
    release_anchor(L, handle);
    handle->done = true;
    count(handle, -1);
  }
  bool interrupted = AGENDA_UNLIKELY(handle->context || handle->object.state->has_context)
                       ? call_in_context(L, handle, owner, top + 1)
                       : call_without_context(L, handle, owner, top + 1);
  if (AGENDA_UNLIKELY(interrupted))
    lua_error(L);
  if (!handle->repeats)
    forget_call(L, handle, owner);
  lua_settop(L, top);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

void agenda_handle_check_callback(lua_State *L, int index)
{
  if (lua_type(L, index) == LUA_TFUNCTION)
    return;
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL)
    luaL_typeerror(L, index, lua_typename(L, LUA_TFUNCTION));
  lua_pop(L, 1);
}

void agenda_handle_refuse_coroutine(lua_State *L, int index, const char *name)
{
  agenda_slot_push_slow(L, AGENDA_SLOT_FUNCTIONS);
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  const char *made = lua_tostring(L, -1);
  if (made != NULL && strcmp(made, "coroutine") == 0)
    agenda_error_raise(L, AGENDA_TYPE_ERROR, "coroutines cannot be used with %s()", name);
  lua_pop(L, 2);
}

void agenda_handle_push_text(lua_State *L, int index)
{
  const agenda_handle *handle = lua_touserdata(L, index);
  luaL_checkstack(L, STACK_NEEDED, "description");
  const char *name = handle->cancelled ? "cancelled" : handle->done ? "done" : NULL;
  if (lua_getiuservalue(L, index, AGENDA_HANDLE_FUNCTION) == LUA_TFUNCTION) {
    agenda_push_definition(L, -1);
    lua_replace(L, -2);
    name = lua_tostring(L, -1);
  }
  agenda_push_description(L, &handle->object, name);
  lua_replace(L, -2);
}

/*** Keeps the callback from being called; does nothing when it ran or was cancelled before.
Lets go of the function and its arguments. As asyncio's Handle.cancel.
@function handle:cancel */
static int l_cancel(lua_State *L)
{
  agenda_handle_cancel(L, agenda_object_check(L, 1, &agenda_handle_kind));
  return 0;
}

/*** Whether cancel() was called, or the loop was closed before the callback's turn came.
As asyncio's Handle.cancelled.
@function handle:cancelled
@treturn boolean true also if it was cancelled after it ran */
static int l_cancelled(lua_State *L)
{
  const agenda_handle *handle = agenda_object_check(L, 1, &agenda_handle_kind);
  lua_pushboolean(L, handle->cancelled);
  return 1;
}

/*** The time at which a timer's callback is to be called. As asyncio's TimerHandle.when.
@function timer_handle:when
@treturn number seconds on the loop's clock, exactly as given; it may be math.huge */
static int l_when(lua_State *L)
{
  const agenda_handle *handle = agenda_object_check(L, 1, &agenda_timer_handle_kind);
  lua_pushnumber(L, handle->when);
  return 1;
}

/* "<handle file.lua:12 at 0x...>" */
static int l_tostring(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_handle_kind);
  agenda_handle_push_text(L, 1);
  return 1;
}

static const luaL_Reg metamethods[] = {
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg handle_methods[] = {
  {"cancel", l_cancel},
  {"cancelled", l_cancelled},
  {NULL, NULL}
};

static const luaL_Reg timer_methods[] = {
  {"cancel", l_cancel},
  {"cancelled", l_cancelled},
  {"when", l_when},
  {NULL, NULL}
};

void agenda_open_handle(lua_State *L)
{
  agenda_class_register(L, &agenda_handle_kind, metamethods, handle_methods, NULL);
  agenda_class_register(L, &agenda_timer_handle_kind, metamethods, timer_methods, NULL);
}
