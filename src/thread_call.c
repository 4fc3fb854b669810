/*
** thread_call.c: Lua functions on threads, each call in a Lua state of its own.
**
** The function goes there as its bytecode, arguments and results are copied. Each call gets a new
** state with the standard libraries, so that no call sees what another one left; that costs some
** 40 microseconds, about what the way to a thread and back takes anyway. The state finds modules
** where the caller's does.
*/
#include "thread_call.h"

#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "errors.h"
#include "parcel.h"
#include "thread_pool.h"

/* What came of it, and the values of `answer`. */
typedef enum {
  CALL_MEMORY,  /* there was not enough memory: none */
  CALL_RESULTS, /* the function's results */
  CALL_REFUSED, /* a result cannot be copied: its number, why not */
  CALL_VALUE,   /* an error: its trace, the value */
  CALL_OBJECT,  /* an error object of the library's: its trace, its class, a table of its fields */
  CALL_TEXT     /* an error that cannot be copied: its trace, its text */
} call_outcome;

typedef struct call {
  agenda_job job;
  agenda_parcel question; /* in the payload: path, cpath, bytecode, arguments */
  agenda_parcel answer;
  call_outcome outcome;
} call;

enum { QUESTION_PATH = 1, QUESTION_CPATH, QUESTION_CODE, QUESTION_HEAD = QUESTION_CODE };

/* Key of where the error was raised, in the registry of the thread's state. */
static const char LEVELS_KEY;

/* ----- on the thread ------------------------------------------------------------------- */

/* package.path and package.cpath, from the stack. */
static void set_paths(lua_State *L)
{
  lua_getglobal(L, "package");
  lua_pushvalue(L, QUESTION_PATH);
  lua_setfield(L, -2, "path");
  lua_pushvalue(L, QUESTION_CPATH);
  lua_setfield(L, -2, "cpath");
  lua_pop(L, 1);
}

/* Leaves the function in the place of its bytecode. */
static void load_function(lua_State *L)
{
  size_t size;
  const char *code = lua_tolstring(L, QUESTION_CODE, &size);
  if (luaL_loadbufferx(L, code, size, "=thread", "b") != LUA_OK)
    lua_error(L);
  for (int i = 2; lua_getupvalue(L, -1, i) != NULL; i++) { /* Lua itself sets the first */
    lua_pop(L, 1);
    lua_pushglobaltable(L);
    lua_setupvalue(L, -2, i);
  }
  lua_replace(L, QUESTION_CODE);
}

static int on_error(lua_State *L)
{
  agenda_error_push_levels(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &LEVELS_KEY);
  return 1;
}

/* Packs the values above `first`, malloced; false, with nothing packed, if one cannot be copied. */
static bool pack_answer(lua_State *L, call *self, int first, call_outcome outcome)
{
  int refused, top = lua_gettop(L);
  bool packed = agenda_parcel_pack(L, &self->answer, first, top, false, &refused);
  self->outcome = outcome;
  if (!packed) {
    free(self->answer.data);
    lua_pushinteger(L, refused - first + 1);
    lua_insert(L, -2);
  }
  return packed;
}

static void pack_results(lua_State *L, call *self, int first)
{
  if (!pack_answer(L, self, first, CALL_RESULTS))
    pack_answer(L, self, lua_gettop(L) - 1, CALL_REFUSED);
}

/* The most derived class of the library's own that the error at `index` is of, or -1. */
static int class_of(lua_State *L, int index)
{
  int which = agenda_state_get(L) == NULL ? -1 : AGENDA_ERROR_COUNT - 1;
  while (which >= 0 && !agenda_error_is(L, index, (agenda_error_class)which))
    which--;
  return which == AGENDA_STOP_ITERATION || which == AGENDA_EXCEPTION_GROUP ? -1 : which;
}

/* Leaves a table of those fields of the error object at `index` that are plain values. */
static void push_plain_fields(lua_State *L, int index)
{
  luaL_checkstack(L, 8, "error");
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int type = lua_type(L, -1);
    if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN) {
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, -5);
    }
  }
}

/* The error on the top. */
static void pack_error(lua_State *L, call *self)
{
  int error = lua_gettop(L), which = class_of(L, error);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &LEVELS_KEY);
  if (which >= 0) {
    lua_pushinteger(L, which);
    push_plain_fields(L, error);
    pack_answer(L, self, error + 1, CALL_OBJECT);
    return;
  }
  lua_pushvalue(L, error);
  if (pack_answer(L, self, error + 1, CALL_VALUE))
    return;
  lua_settop(L, error + 1);
  luaL_tolstring(L, error, NULL);
  pack_answer(L, self, error + 1, CALL_TEXT);
}

/* Runs the call in a fresh state: call. */
static int l_run(lua_State *L)
{
  call *self = lua_touserdata(L, 1);
  luaL_openlibs(L);
  lua_settop(L, 0);
  int n = agenda_parcel_unpack(L, &self->question) - QUESTION_HEAD;
  set_paths(L);
  load_function(L);
  lua_pushcfunction(L, on_error);
  lua_replace(L, QUESTION_CPATH);
  if (lua_pcall(L, n, LUA_MULTRET, QUESTION_CPATH) == LUA_OK)
    pack_results(L, self, QUESTION_CODE);
  else
    pack_error(L, self);
  return 0;
}

static void run_call(agenda_job *job)
{
  call *self = (call *)job;
  lua_State *L = luaL_newstate();
  if (L == NULL)
    return;
  lua_pushcfunction(L, l_run);
  lua_pushlightuserdata(L, self);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    free(self->answer.data);
    self->answer.data = NULL;
    self->outcome = CALL_MEMORY;
  }
  lua_close(L);
}

/* ----- back in the loop's thread ------------------------------------------------------- */

/* Leaves an error object: class, fields. [-2, +1] */
static void push_object(lua_State *L)
{
  int fields = lua_gettop(L);
  agenda_error_push(L, (agenda_error_class)lua_tointeger(L, fields - 1), NULL);
  for (lua_pushnil(L); lua_next(L, fields); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, fields + 1);
  }
  lua_replace(L, fields - 1);
  lua_settop(L, fields - 1);
}

/* Raises the error whose trace is at `trace` and whose description is above it. */
static int raise_error(lua_State *L, const call *self, int trace)
{
  if (self->outcome == CALL_OBJECT)
    push_object(L);
  else if (self->outcome == CALL_TEXT)
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "%s", lua_tostring(L, -1));
  else if (lua_isnil(L, -1))
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "nil error");
  lua_pushvalue(L, trace);
  if (lua_istable(L, -1))
    agenda_error_set_levels(L, -2);
  else
    lua_pop(L, 1);
  return lua_error(L);
}

static int deliver_call(lua_State *L, agenda_job *job)
{
  const call *self = (const call *)job;
  int top = lua_gettop(L);
  if (self->outcome == CALL_MEMORY)
    return luaL_error(L, "not enough memory");
  int n = agenda_parcel_unpack(L, &self->answer);
  if (self->outcome == CALL_RESULTS)
    return n;
  if (self->outcome == CALL_REFUSED)
    return agenda_error_raise(L, AGENDA_TYPE_ERROR, "result %I cannot be copied from a thread: %s",
                              (LUAI_UACINT)lua_tointeger(L, top + 1), lua_tostring(L, top + 2));
  return raise_error(L, self, top + 1);
}

static void release_call(lua_State *L, agenda_job *job)
{
  call *self = (call *)job;
  (void)L;
  free(self->answer.data);
  self->answer.data = NULL;
}

/* ----- the call ------------------------------------------------------------------------ */

typedef struct code_buffer {
  luaL_Buffer buffer;
  bool begun;
} code_buffer;

static int write_code(lua_State *L, const void *bytes, size_t size, void *ud)
{
  code_buffer *code = ud;
  if (!code->begun) {
    luaL_buffinit(L, &code->buffer);
    code->begun = true;
  }
  luaL_addlstring(&code->buffer, bytes, size);
  return 0;
}

/* Only globals are to be found where the function goes. NB: without debug information upvalues
** have no names. */
static void check_upvalues(lua_State *L, int index)
{
  const char *name;
  for (int i = 1; (name = lua_getupvalue(L, index, i)) != NULL; i++) {
    lua_pushglobaltable(L);
    bool nameless = *name == '\0' || strcmp(name, "(no name)") == 0;
    if (strcmp(name, "_ENV") != 0 && !(nameless && lua_rawequal(L, -1, -2)))
      agenda_error_raise(L, AGENDA_TYPE_ERROR,
                         "argument 1 has the upvalue '%s'; a function for a thread may have none "
                         "but _ENV",
                         name);
    lua_pop(L, 2);
  }
}

/* Leaves the bytecode of the function at `index`. [-0, +1, may raise] */
static void push_code(lua_State *L, int index)
{
  luaL_checktype(L, index, LUA_TFUNCTION);
  if (lua_iscfunction(L, index))
    agenda_error_raise(L, AGENDA_TYPE_ERROR, "argument 1 is a C function; pass a Lua function");
  check_upvalues(L, index);
  code_buffer code = {.begun = false};
  lua_pushvalue(L, index);
  lua_dump(L, write_code, &code, 0);
  luaL_pushresult(&code.buffer);
  lua_remove(L, -2);
}

static void push_path(lua_State *L, const char *name)
{
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "package") == LUA_TTABLE && lua_getfield(L, -1, name) == LUA_TSTRING) {
    lua_replace(L, -3);
    lua_pop(L, 1);
    return;
  }
  lua_settop(L, lua_absindex(L, -2));
  lua_pushliteral(L, "");
  lua_replace(L, -2);
}

/* Leaves the job of a call of the function at `first`, with the arguments above it, in the place
** of them. [-args, +1, may raise] */
static void push_call(lua_State *L, int first)
{
  if (!lua_checkstack(L, LUA_MINSTACK))
    luaL_error(L, "not enough memory");
  push_code(L, first);
  lua_replace(L, first);
  push_path(L, "path");
  push_path(L, "cpath");
  lua_rotate(L, first, 2);
  int last = lua_gettop(L), refused;
  agenda_parcel question;
  if (!agenda_parcel_pack(L, &question, first, last, true, &refused))
    agenda_error_raise(L, AGENDA_TYPE_ERROR, "argument %d cannot be copied to a thread: %s",
                       refused - first - QUESTION_HEAD + 2, lua_tostring(L, -1));
  call *self = agenda_job_new(L, sizeof *self, run_call, deliver_call);
  self->job.release = release_call;
  self->question = question;
  lua_insert(L, first);
  lua_setiuservalue(L, first, AGENDA_JOB_PAYLOAD);
  lua_settop(L, first);
}

/*** Calls a Lua function on a thread, in a Lua state of its own that has the standard libraries.
Arguments, results and errors are copied: nil, booleans, numbers, strings, and tables of these
without metatables. Awaits; cancelled, it leaves the thread to itself. As in asyncio.
@function to_thread
@tparam function f a Lua function without upvalues but _ENV
@param ... its arguments
@return its results
@raise its error; TypeError for what cannot be copied, for upvalues and for C functions */
static int l_to_thread(lua_State *L)
{
  push_call(L, 1);
  return agenda_job_await(L, agenda_job_loop(L, "call a function on a thread"));
}

/*** The same, but it does not wait. As in asyncio, without the executor.
@function loop:run_in_executor
@tparam function f a Lua function without upvalues but _ENV
@param ... its arguments
@treturn future of its results; cancelled before the call begins, it never does
@raise TypeError as `agenda.to_thread`; RuntimeError when the loop is closed */
static int l_run_in_executor(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  push_call(L, 2);
  agenda_job_submit(L, loop);
  return 1;
}

static const luaL_Reg functions[] = {
  {"to_thread", l_to_thread},
  {NULL, NULL}
};

static const luaL_Reg loop_methods[] = {
  {"run_in_executor", l_run_in_executor},
  {NULL, NULL}
};

void agenda_open_thread_call(lua_State *L)
{
  agenda_functions_register(L, functions);
  agenda_loop_push_methods(L);
  agenda_functions_register(L, loop_methods);
  lua_pop(L, 1);
}
