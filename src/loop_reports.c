/*
** loop_reports.c: the exception handler, and the text that shows which tasks wait for what.
*/
#include <string.h>

#include "errors.h"
#include "loop.h"

/* ----- the default handler ------------------------------------------------------------- */

/* The fields of a context that stand first, in this order. */
static const char *const leading_fields[] = {"task", "future", "handle", "asyncgen", NULL};

static bool is_leading(const char *name)
{
  for (int i = 0; leading_fields[i] != NULL; i++)
    if (strcmp(leading_fields[i], name) == 0)
      return true;
  return strcmp(name, "message") == 0 || strcmp(name, "exception") == 0 ||
         strcmp(name, "traceback") == 0;
}

/* Adds the prefix, the name (or NULL) and the text of the value at `index`. */
static void add_line(lua_State *L, luaL_Buffer *buffer, const char *prefix, const char *name,
                     int index)
{
  luaL_addstring(buffer, prefix);
  if (name != NULL) {
    luaL_addstring(buffer, name);
    luaL_addstring(buffer, ": ");
  }
  agenda_error_push_text(L, index);
  luaL_addvalue(buffer);
}

enum { CONTEXT = 2, MESSAGE, EXCEPTION, TRACEBACK, FIELD };

/* What is printed of the context table at index 2. [-0, +1, may raise] */
static int l_format(lua_State *L)
{
  luaL_Buffer buffer;
  lua_settop(L, CONTEXT);
  lua_getfield(L, CONTEXT, "message");
  lua_getfield(L, CONTEXT, "exception");
  lua_getfield(L, CONTEXT, "traceback");
  lua_pushnil(L); /* FIELD */
  lua_pushnil(L); /* its key */
  luaL_buffinit(L, &buffer);
  if (lua_isnil(L, MESSAGE))
    luaL_addstring(&buffer, "agenda: Unhandled exception in event loop");
  else
    add_line(L, &buffer, "agenda: ", NULL, MESSAGE);
  if (!lua_isnil(L, EXCEPTION))
    add_line(L, &buffer, "\n", NULL, EXCEPTION);
  if (!lua_isnil(L, TRACEBACK))
    add_line(L, &buffer, "\n", NULL, TRACEBACK);
  for (int i = 0; leading_fields[i] != NULL; i++) {
    lua_getfield(L, CONTEXT, leading_fields[i]);
    lua_replace(L, FIELD);
    if (!lua_isnil(L, FIELD))
      add_line(L, &buffer, "\n  ", leading_fields[i], FIELD);
  }
  for (;;) {
    lua_pushvalue(L, FIELD + 1);
    if (!lua_next(L, CONTEXT))
      break;
    lua_replace(L, FIELD);
    lua_replace(L, FIELD + 1);
    if (lua_type(L, FIELD + 1) == LUA_TSTRING && !is_leading(lua_tostring(L, FIELD + 1)))
      add_line(L, &buffer, "\n  ", lua_tostring(L, FIELD + 1), FIELD);
  }
  luaL_pushresult(&buffer);
  return 1;
}

/* The default handler: prints the context, the second argument, to stderr. */
static int l_print(lua_State *L)
{
  l_format(L);
  lua_writestringerror("%s\n", lua_tostring(L, -1));
  return 0;
}

/* ----- calling the handler ------------------------------------------------------------- */

static int l_text(lua_State *L)
{
  agenda_error_push_text(L, 1);
  return 1;
}

/* The handler of the loop at `index` failed with the error at `error` on the context at `context`:
** both are printed, whatever else goes wrong. [-0, +0] */
static void print_failure(lua_State *L, int index, int context, int error)
{
  lua_pushcfunction(L, l_text);
  lua_pushvalue(L, error);
  bool printable = lua_pcall(L, 1, 1, 0) == LUA_OK;
  const char *text = printable ? lua_tostring(L, -1) : "(an error that has no text)";
  lua_writestringerror("agenda: Unhandled error in exception handler: %s\n", text);
  lua_pushcfunction(L, l_print);
  lua_pushvalue(L, index);
  lua_pushvalue(L, context);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK)
    lua_writestringerror("%s\n", "agenda: what it was called for cannot be printed");
}

static void add_traceback(lua_State *L, int context)
{
  if (lua_getfield(L, context, "traceback") == LUA_TNIL &&
      lua_getfield(L, context, "exception") != LUA_TNIL) {
    agenda_error_push_trace(L, -1);
    lua_setfield(L, context, "traceback");
  }
  lua_settop(L, context);
}

/* As in asyncio, what a task set in its context is there for the handler too. Pushes the context
** that is in force, and has that of the table's task take its place, if there is one. [-0, +1] */
static void enter_context(lua_State *L, agenda_state *state, int context)
{
  agenda_slot_push_slow(L, AGENDA_SLOT_CONTEXT);
  lua_getfield(L, context, "task");
  if (agenda_object_test(L, -1, &agenda_task_kind) != NULL) {
    agenda_future_push_extra(L, -1, AGENDA_EXTRA_CONTEXT);
    state->has_context = !lua_isnil(L, -1);
    agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
  }
  lua_pop(L, 1);
}

bool agenda_loop_handle_error(lua_State *L, int index)
{
  luaL_checkstack(L, LUA_MINSTACK, "exception handler");
  agenda_state *state = agenda_state_get(L);
  bool had_context = state->has_context;
  int context = lua_gettop(L);
  add_traceback(L, context);
  enter_context(L, state, context);
  if (lua_getiuservalue(L, index, AGENDA_LOOP_HANDLER) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_pushcfunction(L, l_print);
  }
  lua_pushvalue(L, index);
  lua_pushvalue(L, context);
  bool interrupt = false;
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    interrupt = agenda_error_is(L, -1, AGENDA_KEYBOARD_INTERRUPT);
    if (!interrupt)
      print_failure(L, index, context, context + 2);
  }
  lua_pushvalue(L, context + 1);
  agenda_slot_set_slow(L, AGENDA_SLOT_CONTEXT);
  state->has_context = had_context;
  if (interrupt)
    lua_replace(L, context);
  lua_settop(L, context - !interrupt);
  return interrupt;
}

/* The report function of a schedule: the loop need not run. An interrupt has nobody to go to. */
void agenda_loop_report_stopped(lua_State *L, agenda_schedule *schedule)
{
  luaL_checkstack(L, LUA_MINSTACK, "exception handler");
  agenda_loop_push(L, schedule);
  lua_insert(L, -2);
  int index = lua_gettop(L) - 1;
  if (lua_isnil(L, index))
    lua_settop(L, index - 1);
  else {
    agenda_loop_handle_error(L, index);
    lua_settop(L, index - 1);
  }
}

/*
** NB: this may be called from a finalizer, out of which no error comes. So KeyboardInterrupt is
** kept in the loop, which raises it after the item under way.
*/
void agenda_loop_report(lua_State *L, agenda_state *state)
{
  agenda_event_loop *loop = state->loop;
  luaL_checkstack(L, LUA_MINSTACK, "exception handler");
  agenda_slot_push_slow(L, AGENDA_SLOT_LOOP);
  lua_insert(L, -2);
  int index = lua_gettop(L) - 1;
  if (agenda_loop_handle_error(L, index)) {
    lua_setiuservalue(L, index, AGENDA_LOOP_INTERRUPT);
    loop->interrupted = true;
  }
  lua_settop(L, index - 1);
}

/* ----- the tasks ----------------------------------------------------------------------- */

/* Pushes what the task waits for. [-0, +1, may raise] */
static void push_waits(lua_State *L, const agenda_schedule *schedule, const agenda_task *task)
{
  if (task->parked)
    lua_pushliteral(L, "waits for input");
  else if (task->awaited != NULL && task->awaited->object.kind == &agenda_task_kind) {
    agenda_task_push(L, (agenda_task *)(void *)task->awaited);
    agenda_error_push_text(L, -1);
    lua_pushfstring(L, "awaits %s", lua_tostring(L, -1));
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
  else if (task->awaited != NULL) {
    agenda_push_description(L, &task->awaited->object, NULL);
    lua_pushfstring(L, "awaits %s", lua_tostring(L, -1));
    lua_replace(L, -2);
  }
  else if (task->deadline.index != 0 && !task->must_cancel)
    lua_pushfstring(L, "sleeps for another %f seconds",
                    (lua_Number)(agenda_deadline_heap_when(&schedule->deadlines, &task->deadline) -
                                 schedule->now((agenda_schedule *)(void *)schedule)));
  else if (task == schedule->current)
    lua_pushliteral(L, "runs now");
  else
    lua_pushliteral(L, "is ready to run");
}

void agenda_loop_push_tasks(lua_State *L, const agenda_schedule *schedule)
{
  luaL_checkstack(L, LUA_MINSTACK, "list of tasks");
  const agenda_list *head = &schedule->tasks;
  lua_newtable(L);
  int list = lua_gettop(L), n = 0;
  for (agenda_list *node = head->next; node != head; node = node->next) {
    agenda_task *task = AGENDA_LIST_OWNER(node, agenda_task, link);
    agenda_task_push(L, task);
    if (lua_isnil(L, -1)) {
      lua_settop(L, list);
      continue; /* the collector has it already */
    }
    agenda_error_push_text(L, list + 1);
    push_waits(L, schedule, task);
    agenda_frame_push_stack(L, task->base);
    lua_pushfstring(L, "%s%s %s\n%s", n > 0 ? "\n" : "", lua_tostring(L, list + 2),
                    lua_tostring(L, list + 3),
                    lua_tostring(L, list + 4));
    lua_rawseti(L, list, ++n);
    lua_settop(L, list);
  }
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    luaL_addvalue(&buffer);
  }
  luaL_pushresult(&buffer);
  lua_remove(L, list);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** Sets who is told of errors that nobody handles: f(loop, context), with a context of `message`
and, as they apply, `exception`, `traceback`, `task`, `future`, `handle`, `asyncgen`. An error in f
is printed and the loop goes on, but KeyboardInterrupt ends the run. As in asyncio.
@function loop:set_exception_handler
@tparam ?function f nil for the default, which prints to stderr */
static int l_set_handler(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_loop_kind);
  luaL_checkany(L, 2);
  if (!lua_isnil(L, 2))
    agenda_handle_check_callback(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, AGENDA_LOOP_HANDLER);
  return 0;
}

/*** The exception handler that was set. As in asyncio.
@function loop:get_exception_handler
@treturn ?function nil for the default one */
static int l_get_handler(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_loop_kind);
  lua_getiuservalue(L, 1, AGENDA_LOOP_HANDLER);
  return 1;
}

/*** Calls the exception handler. As in asyncio.
@function loop:call_exception_handler
@tparam table context what set_exception_handler says; `traceback` is added where it is known
@raise KeyboardInterrupt that the handler raised */
static int l_call_handler(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_loop_kind);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  if (agenda_loop_handle_error(L, 1))
    return lua_error(L);
  return 0;
}

/*** Every unfinished task of the loop, with what it awaits and where, as text.
@function loop:_describe_tasks
@treturn string some lines for each */
static int l_describe_tasks(lua_State *L)
{
  agenda_loop_push_tasks(L, agenda_loop_check(L, 1, false)->schedule);
  return 1;
}

static const luaL_Reg methods[] = {
  {"call_exception_handler", l_call_handler},
  {"get_exception_handler", l_get_handler},
  {"set_exception_handler", l_set_handler},
  {"_describe_tasks", l_describe_tasks},
  {NULL, NULL}
};

void agenda_open_loop_reports(lua_State *L)
{
  agenda_functions_register(L, methods);
}
