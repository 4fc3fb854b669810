/*
** module.c: the module `agenda.core`.
*/
#include "agenda.h"

#include "asyncgen.h"
#include "awaitable.h"
#include "child_watch.h"
#include "coroutine.h"
#include "datagram.h"
#include "descriptors.h"
#include "embed.h"
#include "errors.h"
#include "fd_watch.h"
#include "file.h"
#include "frame.h"
#include "generator.h"
#include "handle.h"
#include "hooks.h"
#include "loop.h"
#include "process.h"
#include "resolver.h"
#include "signal_watch.h"
#include "socket.h"
#include "stream.h"
#include "task.h"
#include "thread_call.h"
#include "thread_pool.h"

/*** The type of an agenda object.
@function type
@param x any value
@treturn ?string "generator", "coroutine", "async_generator", "future", "task", "event_loop" ... */
static int l_type(lua_State *L)
{
  luaL_checkany(L, 1);
  const agenda_kind *kind = agenda_object_kind(L, 1);
  lua_pushstring(L, kind != NULL ? kind->name : NULL);
  return 1;
}

/*** What a function of agenda.generator's, agenda.async's or agenda.asyncgen's makes.
@function function_type
@param x any value
@treturn ?string the type of what it makes */
static int l_function_type(lua_State *L)
{
  luaL_checkany(L, 1);
  agenda_slot_push(L, AGENDA_SLOT_FUNCTIONS);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  return 1;
}

/*** Sets who is told of warnings while no loop runs.
@function set_warning_handler
@tparam ?function f called with a table of `message` and what it is about; nil: one line to
stderr */
static int l_set_warning_handler(lua_State *L)
{
  if (!lua_isnoneornil(L, 1))
    luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  agenda_slot_set(L, AGENDA_SLOT_WARNING);
  return 0;
}

/*** A warning: to the running loop's exception handler, the warning handler, or stderr.
@function warn
@tparam string message
@tparam[opt] table context `exception`, `task` and so on */
static int l_warn(lua_State *L)
{
  const char *message = luaL_checkstring(L, 1);
  lua_settop(L, 2);
  agenda_warn(L, message);
  return 0;
}

/*** How many objects hold more than memory, by what they are.
@function live
@treturn {[string]=integer,...} */
static int l_live(lua_State *L)
{
  agenda_checks_push_live(L, &agenda_state_here(L)->live);
  return 1;
}

/*** The current context of contextvars: an immutable table, or nil.
@function context
@treturn ?table */
static int l_context(lua_State *L)
{
  agenda_slot_push(L, AGENDA_SLOT_CONTEXT);
  return 1;
}

/*** Makes a table, not to be changed any more, the current context.
@function set_context
@tparam ?table context */
static int l_set_context(lua_State *L)
{
  lua_settop(L, 1);
  agenda_state *state = agenda_state_here(L);
  state->has_context = !lua_isnil(L, 1);
  if (state->schedule != NULL && state->schedule->current != NULL)
    state->schedule->current->has_context = state->has_context;
  agenda_slot_set(L, AGENDA_SLOT_CONTEXT);
  return 0;
}

/* The body that must not yield while a scope is open that is opened now. What a context manager's
** body opens ends as its consumer leaves the manager, and so is that one's. */
static agenda_frame *scopes_owner(agenda_frame *frame)
{
  while (frame != NULL && frame->scopes_exempt)
    frame = frame->caller;
  return frame;
}

/*** Opens or closes a scope in the running body, in which it must not yield values (PEP 789).
@function scope
@tparam integer change 1 or -1
@tparam string kind "timeout" or "taskgroup"
@treturn boolean false where no body of agenda's runs */
static int l_scope(lua_State *L)
{
  static const char *const kinds[] = {"timeout", "taskgroup", NULL};
  agenda_state *state = agenda_state_here(L);
  lua_Integer change = luaL_checkinteger(L, 1);
  int kind = luaL_checkoption(L, 2, NULL, kinds);
  bool here = agenda_frame_here(state, L);
  agenda_frame *frame = here ? scopes_owner(state->current) : NULL;
  if (frame != NULL) {
    bool none = (kind == 0 ? frame->scopes & 0xff : frame->scopes >> 8) == 0;
    if (change > 0 || !none) /* it may end in another body than it began in */
      frame->scopes = (uint16_t)(frame->scopes + change * (kind == 0 ? 1 : 256));
  }
  lua_pushboolean(L, here);
  return 1;
}

/*** Lets a generator's body yield inside its scopes: that of a context manager. They are counted as
scopes of the body that enters the manager.
@function exempt
@tparam generator|async_generator g not yet begun */
static int l_exempt(lua_State *L)
{
  agenda_body *body = agenda_object_test(L, 1, &agenda_asyncgen_kind);
  if (body == NULL)
    body = agenda_object_check(L, 1, &agenda_generator_kind);
  body->frame.scopes_exempt = true;
  return 0;
}

/*** A text of the running loop's unfinished tasks, with what each awaits and where.
@function tasks_text
@treturn string
@raise RuntimeError "no running event loop" */
static int l_tasks_text(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  if (state->schedule == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  agenda_loop_push_tasks(L, state->schedule);
  return 1;
}

/*** Whether the debug mode is on.
@function is_debug
@treturn boolean */
static int l_is_debug(lua_State *L)
{
  lua_pushboolean(L, agenda_state_here(L)->debug);
  return 1;
}

static const luaL_Reg functions[] = {
  {"type", l_type},
  {"function_type", l_function_type},
  {"set_warning_handler", l_set_warning_handler},
  {"warn", l_warn},
  {"live", l_live},
  {"context", l_context},
  {"set_context", l_set_context},
  {"scope", l_scope},
  {"exempt", l_exempt},
  {"tasks_text", l_tasks_text},
  {"is_debug", l_is_debug},
  {NULL, NULL}
};

static void (*const rooms[])(lua_State *) = {
  agenda_open_errors, agenda_open_frame, agenda_open_hooks, agenda_open_awaitable,
  agenda_open_generator, agenda_open_coroutine,
  agenda_open_asyncgen_guard, agenda_open_asyncgen_call, agenda_open_asyncgen,
  agenda_open_handle, agenda_open_future, agenda_open_task, agenda_open_loop,
  agenda_open_fd_watch, agenda_open_signal_watch, agenda_open_thread_pool, agenda_open_resolver,
  agenda_open_socket, agenda_open_datagram,
  agenda_open_child_watch, agenda_open_process,
  agenda_open_thread_call, agenda_open_file,
  agenda_open_descriptors, agenda_open_stream, agenda_open_stream_standard,
  agenda_open_embed,
};

/*
** NB: runs a second time when the module is loaded anew in the same state; then the state and the
** classes of errors are those that are there, and so are the metatables.
*/
static int open_rooms(lua_State *L)
{
  lua_newtable(L);
  for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
    rooms[i](L);
  agenda_functions_register(L, functions);
  return 1;
}

static const char MODULE_KEY;

AGENDA_EXPORT int luaopen_agenda_core(lua_State *L)
{
  bool fresh;
  agenda_state_open(L, &fresh);
  lua_pop(L, 1);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &MODULE_KEY) == LUA_TTABLE)
    return 1;
  lua_pop(L, 1);
  agenda_state_push(L);
  lua_pushcclosure(L, open_rooms, 1);
  lua_call(L, 0, 1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &MODULE_KEY);
  return 1;
}
