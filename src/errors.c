/*
** errors.c: the error classes and their objects.
**
** A class is a table {name=, parent=} in `agenda.errors`; an instance is a plain table whose
** metatable carries its class under a private key. An instance answers with its own fields,
** then `class` and `traceback`, then what its class and the class's ancestors hold.
*/
#include "errors.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Private keys of an instance's metatable and of a class. */
static const char CLASS_KEY, METATABLE_KEY;

/* Key of `agenda.errors` in the list of classes. */
static const char PUBLIC[] = "errors";

static const struct {
  const char *name;
  int parent; /* agenda_error_class, or -1 */
} builtin[AGENDA_ERROR_COUNT] = {
  [AGENDA_BASE_ERROR] = {"BaseError", -1},
  [AGENDA_GENERATOR_EXIT] = {"GeneratorExit", AGENDA_BASE_ERROR},
  [AGENDA_CANCELLED_ERROR] = {"CancelledError", AGENDA_BASE_ERROR},
  [AGENDA_KEYBOARD_INTERRUPT] = {"KeyboardInterrupt", AGENDA_BASE_ERROR},
  [AGENDA_ERROR_ERROR] = {"Error", AGENDA_BASE_ERROR},
  [AGENDA_RUNTIME_ERROR] = {"RuntimeError", AGENDA_ERROR_ERROR},
  [AGENDA_TYPE_ERROR] = {"TypeError", AGENDA_ERROR_ERROR},
  [AGENDA_VALUE_ERROR] = {"ValueError", AGENDA_ERROR_ERROR},
  [AGENDA_INVALID_STATE_ERROR] = {"InvalidStateError", AGENDA_ERROR_ERROR},
  [AGENDA_TIMEOUT_ERROR] = {"TimeoutError", AGENDA_ERROR_ERROR},
  [AGENDA_STOP_ITERATION] = {"StopIteration", AGENDA_ERROR_ERROR},
  [AGENDA_STOP_ASYNC_ITERATION] = {"StopAsyncIteration", AGENDA_ERROR_ERROR},
  [AGENDA_OS_ERROR] = {"OSError", AGENDA_ERROR_ERROR},
  [AGENDA_TLS_ERROR] = {"TLSError", AGENDA_ERROR_ERROR},
  [AGENDA_INCOMPLETE_READ_ERROR] = {"IncompleteReadError", AGENDA_ERROR_ERROR},
  [AGENDA_LIMIT_OVERRUN_ERROR] = {"LimitOverrunError", AGENDA_ERROR_ERROR},
  [AGENDA_QUEUE_EMPTY] = {"QueueEmpty", AGENDA_ERROR_ERROR},
  [AGENDA_QUEUE_FULL] = {"QueueFull", AGENDA_ERROR_ERROR},
  [AGENDA_QUEUE_SHUT_DOWN] = {"QueueShutDown", AGENDA_ERROR_ERROR},
  [AGENDA_BROKEN_BARRIER_ERROR] = {"BrokenBarrierError", AGENDA_ERROR_ERROR},
  [AGENDA_EXCEPTION_GROUP] = {"ExceptionGroup", AGENDA_ERROR_ERROR},
};

/* Pushes the class of the error object at `index`; false, and nothing, for other values. */
static bool push_class(lua_State *L, int index)
{
  if (!lua_istable(L, index) || !lua_getmetatable(L, index))
    return false;
  lua_rawgetp(L, -1, &CLASS_KEY);
  lua_remove(L, -2);
  if (lua_istable(L, -1))
    return true;
  lua_pop(L, 1);
  return false;
}

static bool is_class(lua_State *L, int index)
{
  if (!lua_istable(L, index))
    return false;
  bool yes = lua_rawgetp(L, index, &METATABLE_KEY) == LUA_TTABLE;
  lua_pop(L, 1);
  return yes;
}

/* Whether the class on the top is, or descends from, the class at address `ancestor`. [-1, +0] */
static bool descends(lua_State *L, const void *ancestor)
{
  bool found = false;
  while (lua_istable(L, -1) && !(found = lua_topointer(L, -1) == ancestor)) {
    lua_pushliteral(L, "parent");
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  return found;
}

/* ----- making and testing errors from C ------------------------------------------------ */

static void push_builtin(lua_State *L, agenda_error_class which)
{
  agenda_slot_push_slow(L, AGENDA_SLOT_ERRORS);
  lua_rawgeti(L, -1, which + 1);
  lua_remove(L, -2);
}

/* Takes a class, leaves an instance without a message. [-1, +1] */
static void instantiate(lua_State *L)
{
  AGENDA_TORTURE(L);
  lua_createtable(L, 0, 2);
  lua_rawgetp(L, -2, &METATABLE_KEY);
  lua_setmetatable(L, -2);
  lua_remove(L, -2);
}

/* A new object; `format` may be NULL. [-0, +1, may raise] */
static void push_error(lua_State *L, agenda_error_class which, const char *format,
                       va_list arguments)
{
  luaL_checkstack(L, 8, "error object");
  push_builtin(L, which);
  instantiate(L);
  if (format != NULL) {
    lua_pushvfstring(L, format, arguments);
    lua_setfield(L, -2, "message");
  }
}

void agenda_error_push(lua_State *L, agenda_error_class which, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  push_error(L, which, format, arguments);
  va_end(arguments);
}

int agenda_error_raise(lua_State *L, agenda_error_class which, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  push_error(L, which, format, arguments);
  va_end(arguments);
  return lua_error(L);
}

int agenda_error_raise_stop(lua_State *L, int n)
{
  luaL_checkstack(L, 8, "StopIteration");
  int first = lua_gettop(L) - n + 1;
  lua_createtable(L, n, 1);
  lua_insert(L, first);
  lua_pushnil(L);
  if (n > 0)
    lua_copy(L, first + 1, -1);
  lua_insert(L, first); /* value, values, v1 ... vn */
  for (int i = n; i > 0; i--)
    lua_rawseti(L, first + 1, i);
  lua_pushinteger(L, n);
  lua_setfield(L, first + 1, "n");
  agenda_error_push(L, AGENDA_STOP_ITERATION, NULL);
  lua_insert(L, first);
  lua_setfield(L, first, "values");
  lua_setfield(L, first, "value");
  return lua_error(L);
}

/* The symbolic name of an errno; libc has one only from glibc 2.32 on, and other systems none. */
static const char *errno_name(int number)
{
  switch (number) {
#define NAMED(e) case e: return #e;
    NAMED(E2BIG) NAMED(EACCES) NAMED(EADDRINUSE) NAMED(EADDRNOTAVAIL) NAMED(EAFNOSUPPORT)
    NAMED(EAGAIN) NAMED(EALREADY) NAMED(EBADF) NAMED(EBUSY) NAMED(ECHILD) NAMED(ECONNABORTED)
    NAMED(ECONNREFUSED) NAMED(ECONNRESET) NAMED(EDESTADDRREQ) NAMED(EDOM) NAMED(EEXIST)
    NAMED(EFAULT) NAMED(EFBIG) NAMED(EHOSTUNREACH) NAMED(EINPROGRESS) NAMED(EINTR)
    NAMED(EINVAL) NAMED(EIO) NAMED(EISCONN) NAMED(EISDIR) NAMED(ELOOP) NAMED(EMFILE)
    NAMED(EMSGSIZE) NAMED(ENAMETOOLONG) NAMED(ENETDOWN) NAMED(ENETRESET) NAMED(ENETUNREACH)
    NAMED(ENFILE) NAMED(ENOBUFS) NAMED(ENODEV) NAMED(ENOENT) NAMED(ENOEXEC) NAMED(ENOMEM)
    NAMED(ENOPROTOOPT) NAMED(ENOSPC) NAMED(ENOSYS) NAMED(ENOTCONN) NAMED(ENOTDIR)
    NAMED(ENOTEMPTY) NAMED(ENOTSOCK) NAMED(ENOTSUP) NAMED(ENOTTY) NAMED(ENXIO) NAMED(EPERM)
    NAMED(EPIPE) NAMED(EPROTO) NAMED(EPROTONOSUPPORT) NAMED(ERANGE) NAMED(EROFS)
    NAMED(ESPIPE) NAMED(ESRCH) NAMED(ETIMEDOUT) NAMED(ETXTBSY) NAMED(EXDEV)
#undef NAMED
    default: return NULL;
  }
}

int agenda_error_raise_os(lua_State *L, int number, const char *syscall, const char *what)
{
  const char *code = errno_name(number);
  if (what != NULL)
    agenda_error_push(L, AGENDA_OS_ERROR, "%s: %s: %s", syscall, what, strerror(number));
  else
    agenda_error_push(L, AGENDA_OS_ERROR, "%s: %s", syscall, strerror(number));
  lua_pushinteger(L, number);
  lua_setfield(L, -2, "errno");
  if (code != NULL)
    lua_pushstring(L, code);
  else
    lua_pushfstring(L, "E%d", number);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, syscall);
  lua_setfield(L, -2, "syscall");
  return lua_error(L);
}

bool agenda_error_is(lua_State *L, int index, agenda_error_class which)
{
  if (!lua_istable(L, index) || !lua_checkstack(L, 4) || !lua_getmetatable(L, index))
    return false;
  agenda_state *state = agenda_state_get(L);
  bool exact = lua_topointer(L, -1) == state->error_metatables[which];
  lua_pop(L, 1);
  if (exact)
    return true;
  return push_class(L, index) && descends(L, state->error_classes[which]);
}

/* Whether it is under BaseError and not under Error: cancellation and so on. */
static bool is_control(lua_State *L, int index)
{
  return agenda_error_is(L, index, AGENDA_BASE_ERROR) &&
         !agenda_error_is(L, index, AGENDA_ERROR_ERROR);
}

/* Whether the class on the top is one of groups, which need errors. [-1, +0] */
static bool is_class_of_groups(lua_State *L)
{
  return descends(L, agenda_state_get(L)->error_classes[AGENDA_EXCEPTION_GROUP]);
}

static int refuse_empty_group(lua_State *L)
{
  return agenda_error_raise(L, AGENDA_VALUE_ERROR,
                            "an ExceptionGroup needs a list of at least one error");
}

void agenda_error_instance(lua_State *L, int index)
{
  if (!is_class(L, index))
    return;
  lua_pushvalue(L, index);
  if (is_class_of_groups(L))
    refuse_empty_group(L);
  lua_pushvalue(L, index);
  instantiate(L);
  lua_replace(L, index);
}

void agenda_error_set_cause(lua_State *L)
{
  lua_setfield(L, -2, "cause");
}

void agenda_error_push_text(lua_State *L, int index)
{
  luaL_tolstring(L, index, NULL);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** An error object of this class.
@function errors.X
@tparam[opt] any message what went wrong; usually a string
@tparam[opt] table fields merged into the object
@treturn table the error object; nothing is raised
@raise ValueError for an ExceptionGroup without errors */
static int l_class_call(lua_State *L)
{
  if (!is_class(L, 1))
    return luaL_typeerror(L, 1, "error class");
  lua_settop(L, 3);
  if (!lua_isnil(L, 3) && !lua_istable(L, 3)) /* the second of those that are written */
    return luaL_argerror(
      L, 2, lua_pushfstring(L, "table expected, got %s", luaL_typename(L, 3)));
  lua_pushvalue(L, 1);
  bool group = is_class_of_groups(L);
  lua_pushvalue(L, 1);
  instantiate(L);
  if (!lua_isnil(L, 2)) {
    lua_pushvalue(L, 2);
    lua_setfield(L, 4, "message");
  }
  if (!lua_isnil(L, 3)) {
    lua_pushnil(L);
    while (lua_next(L, 3)) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, 4);
    }
  }
  if (group) {
    lua_pushliteral(L, "errors");
    if (lua_rawget(L, 4) != LUA_TTABLE || lua_rawlen(L, -1) == 0)
      return refuse_empty_group(L);
    lua_pop(L, 1);
  }
  return 1;
}

/*** Whether a value is an error object of this class or a descendant.
@function errors.X:is
@tparam any value any value
@treturn boolean false for anything that is no error object */
static int l_class_is(lua_State *L)
{
  if (!is_class(L, 1))
    return luaL_typeerror(L, 1, "error class");
  lua_settop(L, 2);
  bool found = push_class(L, 2) && descends(L, lua_topointer(L, 1));
  lua_pushboolean(L, found);
  return 1;
}

/* <error class Name> */
static int l_class_tostring(lua_State *L)
{
  if (!is_class(L, 1))
    return luaL_typeerror(L, 1, "error class");
  lua_getfield(L, 1, "name");
  lua_pushfstring(L, "<error class %s>", lua_tostring(L, -1));
  return 1;
}

/* __index of a class: its ancestors'. */
static int l_class_index(lua_State *L)
{
  lua_settop(L, 2);
  for (;;) {
    lua_pushliteral(L, "parent");
    if (lua_rawget(L, 1) != LUA_TTABLE)
      return 0;
    lua_replace(L, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 1) != LUA_TNIL)
      return 1;
    lua_pop(L, 1);
  }
}

/* `class`, `traceback`, then what the class and its ancestors hold. */
static int l_instance_index(lua_State *L)
{
  lua_settop(L, 2);
  if (!push_class(L, 1))
    return 0;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "class") == 0)
    return 1;
  if (strcmp(key, "traceback") == 0) {
    agenda_error_push_trace(L, 1);
    return 1;
  }
  if (strcmp(key, "parent") == 0)
    return 0;
  lua_pushvalue(L, 2);
  lua_gettable(L, 3);
  return 1;
}

/* "Name: message", or "Name" if the message is nil or empty, as Python shows errors. */
static int l_instance_tostring(lua_State *L)
{
  if (!push_class(L, 1)) {
    luaL_tolstring(L, 1, NULL);
    return 1;
  }
  lua_getfield(L, -1, "name");
  lua_pushliteral(L, "message");
  bool there = lua_rawget(L, 1) != LUA_TNIL;
  size_t length;
  luaL_tolstring(L, -1, &length);
  lua_replace(L, -2);
  if (!there || length == 0) {
    lua_pop(L, 1);
    return 1;
  }
  lua_pushliteral(L, ": ");
  lua_insert(L, -2);
  lua_concat(L, 3);
  return 1;
}

static const luaL_Reg instance_metamethods[] = {
  {"__index", l_instance_index},
  {"__tostring", l_instance_tostring},
  {NULL, NULL}
};

static const luaL_Reg class_metamethods[] = {
  {"__call", l_class_call},
  {"__index", l_class_index},
  {"__tostring", l_class_tostring},
  {NULL, NULL}
};

/* A new class named by the string at `name`, child of the class at `parent` (0: of none), both
** absolute. [-0, +1] */
static void push_new_class(lua_State *L, int name, int parent)
{
  luaL_checkstack(L, 8, "error class");
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, name);
  lua_setfield(L, -2, "name");
  if (parent != 0) {
    lua_pushvalue(L, parent);
    lua_setfield(L, -2, "parent");
  }
  lua_createtable(L, 0, 4);
  agenda_functions_register(L, instance_metamethods);
  lua_pushfstring(L, "agenda.errors.%s", lua_tostring(L, name));
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, &CLASS_KEY);
  lua_rawsetp(L, -2, &METATABLE_KEY);
  lua_createtable(L, 0, 4);
  agenda_functions_register(L, class_metamethods);
  lua_pushliteral(L, "agenda.error_class");
  lua_setfield(L, -2, "__name");
  lua_setmetatable(L, -2);
}

/*** A new error class.
@function errors.class
@tparam string name its name, as tostring shows it
@tparam[opt=errors.Error] table parent the class that it extends
@treturn table the class */
static int l_class(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TSTRING);
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    push_builtin(L, AGENDA_ERROR_ERROR);
  }
  else if (!is_class(L, 2))
    return luaL_typeerror(L, 2, "error class");
  push_new_class(L, 1, 2);
  return 1;
}

/*** The recorded trace of an error that crossed agenda; also a message handler.
@function traceback
@tparam any err any error value, strings included
@treturn string its text, and where it was raised if that is known */
static int l_traceback(lua_State *L)
{
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  if (!lua_checkstack(L, 24))
    return 1;
  luaL_tolstring(L, 1, NULL);
  agenda_error_push_trace(L, 1);
  if (lua_isnil(L, -1)) {
    luaL_traceback(L, L, NULL, 1);
    lua_replace(L, -2);
  }
  lua_pushliteral(L, "\n");
  lua_insert(L, -2);
  lua_concat(L, 3);
  return 1;
}

static int finish_pcall(lua_State *L, int status, lua_KContext context)
{
  (void)context;
  if (status == LUA_OK || status == LUA_YIELD)
    return lua_gettop(L) - 1;
  if (is_control(L, -1)) {
    agenda_state_here(L)->propagating = lua_topointer(L, -1);
    return lua_error(L);
  }
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

/*** Like `pcall`, but cancellation, GeneratorExit and KeyboardInterrupt pass through, and the trace
of what it catches is recorded.
@function pcall
@tparam function f called with the arguments; it may await
@param ... the arguments
@treturn boolean true and f's results, or false and the error
@raise errors under BaseError and not under Error */
static int l_pcall(lua_State *L)
{
  luaL_checkany(L, 1);
  lua_pushcfunction(L, agenda_error_on_raise);
  lua_pushboolean(L, 1);
  lua_rotate(L, 1, 2);
  int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 1, 0, finish_pcall);
  return finish_pcall(L, status, 0);
}

static const luaL_Reg functions[] = {
  {"traceback", l_traceback},
  {"pcall", l_pcall},
  {NULL, NULL}
};

static const luaL_Reg class_functions[] = {
  {"class", l_class},
  {NULL, NULL}
};

static const luaL_Reg base_methods[] = {
  {"is", l_class_is},
  {NULL, NULL}
};

/*
** The classes are made once for a Lua state and found again when the module is loaded anew, so
** that their identity lasts. Lists them by number for C, by name for Lua.
*/
static void make_classes(lua_State *L)
{
  agenda_state *state = agenda_state_get(L);
  lua_newtable(L);
  int list = lua_gettop(L);
  lua_pushvalue(L, list);
  agenda_slot_set_slow(L, AGENDA_SLOT_ERRORS);
  lua_newtable(L);
  int errors = lua_gettop(L);
  lua_pushvalue(L, errors);
  lua_setfield(L, list, PUBLIC);
  for (int i = 0; i < AGENDA_ERROR_COUNT; i++) {
    lua_settop(L, errors);
    lua_pushstring(L, builtin[i].name);
    if (builtin[i].parent >= 0)
      lua_rawgeti(L, list, builtin[i].parent + 1);
    push_new_class(L, errors + 1, builtin[i].parent >= 0 ? errors + 2 : 0);
    if (i == AGENDA_BASE_ERROR)
      agenda_functions_register(L, base_methods);
    state->error_classes[i] = lua_topointer(L, -1);
    lua_rawgetp(L, -1, &METATABLE_KEY);
    state->error_metatables[i] = lua_topointer(L, -1);
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, errors, builtin[i].name);
    lua_rawseti(L, list, i + 1);
  }
  lua_settop(L, errors);
  agenda_functions_register(L, class_functions);
  lua_pop(L, 2);
}

void agenda_open_errors(lua_State *L)
{
  if (agenda_slot_push_slow(L, AGENDA_SLOT_ERRORS) == LUA_TNIL)
    make_classes(L);
  lua_pop(L, 1);
  agenda_slot_push_slow(L, AGENDA_SLOT_ERRORS);
  lua_getfield(L, -1, PUBLIC);
  lua_setfield(L, -3, "errors");
  lua_pop(L, 1);
  agenda_functions_register(L, functions);
}
