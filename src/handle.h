/*
** handle.h: a callback that waits in a schedule, for the next turn or for a time.
*/
#ifndef AGENDA_HANDLE_H
#define AGENDA_HANDLE_H

#include "schedule.h"

typedef struct agenda_handle {
  agenda_object object;
  agenda_schedule *schedule; /* while it waits or is in the queue, else NULL */
  agenda_deadline deadline;  /* of a timer handle */
  double when;              /* of a timer: exactly what was asked for */
  uint32_t anchor;
  int arguments;             /* how many follow the function */
  bool timer, cancelled, done;
  bool queued;               /* it is in the ready queue */
  bool repeats;              /* a watcher's: it may be queued again after it ran */
  bool context;              /* it has a context of contextvars to run in */
} agenda_handle;

extern const agenda_kind agenda_handle_kind;       /* "handle" */
extern const agenda_kind agenda_timer_handle_kind; /* "timer_handle", a kind of handle */

/* User values of a handle, and of what begins with one. */
enum {
  AGENDA_HANDLE_FUNCTION = 1,
  AGENDA_HANDLE_FIRST, /* the first argument, or a table of all if there are more than two */
  AGENDA_HANDLE_SECOND,
  AGENDA_HANDLE_CONTEXT,
  AGENDA_HANDLE_SLOTS = AGENDA_HANDLE_CONTEXT
};

/* Schedules the call of the function with `n` arguments on the top, in the context of now, for
** the next turn or for the time `when`; leaves the handle. [-(n+1), +1, may raise] */
agenda_handle *agenda_handle_call_soon(lua_State *L, agenda_schedule *schedule, int n);
agenda_handle *agenda_handle_call_at(lua_State *L, agenda_schedule *schedule, double when, int n);

/* Stores the function with `n` arguments on the top in the handle under them, which is what a
** watcher begins with, and anchors it. [-(n+1), +0, may raise] */
void agenda_handle_prepare(lua_State *L, agenda_handle *handle, agenda_schedule *schedule, int n);

/* Puts a watcher's handle into the ready queue unless it is there. [may raise memory error] */
void agenda_handle_queue(lua_State *L, agenda_handle *handle);

/* Keeps the callback from running and lets go of what it holds; idempotent. [-0, +0] */
void agenda_handle_cancel(lua_State *L, agenda_handle *handle);

/* Its schedule closes, and was emptied: as cancel, and forgets the schedule. [-0, +0] */
void agenda_handle_abandon(lua_State *L, agenda_handle *handle);

/* A timer's deadline has come: the loop took it from the heap; it goes to the ready queue. */
void agenda_handle_wake(lua_State *L, agenda_handle *handle);

/* Runs the callback of a handle that the loop took from its queue. An error in it is reported
** (agenda_warn with handle= and exception=), but KeyboardInterrupt comes out.
** [-0, +0, may raise] */
void agenda_handle_run(lua_State *L, agenda_handle *handle);

/* Pushes "<kind file.lua:12 at 0x...>" for the handle's userdata at `index`. [-0, +1] */
void agenda_handle_push_text(lua_State *L, int index);

/* Raises an argument error unless the value at `index` can be called. */
void agenda_handle_check_callback(lua_State *L, int index);

/* Raises TypeError if the function at `index` makes coroutine objects, which nobody would await. */
void agenda_handle_refuse_coroutine(lua_State *L, int index, const char *name);

void agenda_open_handle(lua_State *L);

#endif
