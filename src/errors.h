/*
** errors.h: the error classes of `agenda.errors`, and recorded tracebacks.
*/
#ifndef AGENDA_ERRORS_H
#define AGENDA_ERRORS_H

#include "support.h"

/* In the order of their parents: a class stands after the one that it extends. */
typedef enum {
  AGENDA_BASE_ERROR,
  AGENDA_GENERATOR_EXIT,
  AGENDA_CANCELLED_ERROR,
  AGENDA_KEYBOARD_INTERRUPT,
  AGENDA_ERROR_ERROR,
  AGENDA_RUNTIME_ERROR,
  AGENDA_TYPE_ERROR,
  AGENDA_VALUE_ERROR,
  AGENDA_INVALID_STATE_ERROR,
  AGENDA_TIMEOUT_ERROR,
  AGENDA_STOP_ITERATION,
  AGENDA_STOP_ASYNC_ITERATION,
  AGENDA_OS_ERROR,
  AGENDA_TLS_ERROR,
  AGENDA_INCOMPLETE_READ_ERROR,
  AGENDA_LIMIT_OVERRUN_ERROR,
  AGENDA_QUEUE_EMPTY,
  AGENDA_QUEUE_FULL,
  AGENDA_QUEUE_SHUT_DOWN,
  AGENDA_BROKEN_BARRIER_ERROR,
  AGENDA_EXCEPTION_GROUP,
  AGENDA_ERROR_COUNT
} agenda_error_class;

/* Pushes a new error object; `format` (as in lua_pushfstring) may be NULL. [-0, +1, may raise] */
void agenda_error_push(lua_State *L, agenda_error_class which, const char *format, ...);

/* Raises one. Does not return. */
int agenda_error_raise(lua_State *L, agenda_error_class which, const char *format, ...);

/* Raises StopIteration with the `n` values on the top as `values` and `value`. */
int agenda_error_raise_stop(lua_State *L, int n);

/* Raises an OSError for `number` (an errno) that happened in `syscall` on `what`. */
int agenda_error_raise_os(lua_State *L, int number, const char *syscall, const char *what);

/* Whether the value at `index` is an error object of the class or a descendant. */
bool agenda_error_is(lua_State *L, int index, agenda_error_class which);

/* If the value at `index` is an error class, puts an instance of it there. `index` is absolute.
** [-0, +0, may raise] */
void agenda_error_instance(lua_State *L, int index);

/* Raises the value on the top as one on its way out: its trace is continued, not begun anew. */
int agenda_error_propagate(lua_State *L);

/* Gives the value at `index`, which has no trace, that of the running function.
** [-0, +0, may raise] */
void agenda_error_begin_trace(lua_State *L, int index);

/* How long the trace of the value at `index` is; and cuts it to what it was, so that one who is
** given the error again does not find those who were given it before. [-0, +0] */
int agenda_error_trace_length(lua_State *L, int index);
void agenda_error_cut_trace(lua_State *L, int index, int length);

/* Sets err.cause of the error object under the top to the value on the top. [-1, +0] */
void agenda_error_set_cause(lua_State *L);

/* The message handler of agenda's coroutines: records the trace, gives the value back. */
int agenda_error_on_raise(lua_State *L);

/* Pushes the recorded trace of the value at `index` as a string, or nil. [-0, +1, may raise] */
void agenda_error_push_trace(lua_State *L, int index);

/* Where the caller of the running message handler stands, as a table of strings, numbers and
** booleans, in any Lua state; and makes such a table, on the top, the trace of the value at
** `index`. [-0, +1, may raise] / [-1, +0, may raise] */
void agenda_error_push_levels(lua_State *L);
void agenda_error_set_levels(lua_State *L, int index);

/* Pushes a line for humans: the value through __tostring. [-0, +1, may raise] */
void agenda_error_push_text(lua_State *L, int index);

void agenda_open_errors(lua_State *L);

#endif
