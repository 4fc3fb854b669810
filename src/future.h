/*
** future.h: a result that will be there later, and who waits for it.
*/
#ifndef AGENDA_FUTURE_H
#define AGENDA_FUTURE_H

#include "schedule.h"

typedef enum {
  AGENDA_FUTURE_PENDING,
  AGENDA_FUTURE_RESULT,
  AGENDA_FUTURE_FAILED,
  AGENDA_FUTURE_CANCELLED
} agenda_future_status;

/* User values of futures and tasks. */
enum {
  AGENDA_FUTURE_VALUE = 2, /* while pending who waits, afterwards the result or the error */
  AGENDA_FUTURE_EXTRA = 1, /* nil, or a task's body, later its coroutine, at the end its schedule;
                           ** or a table of what few futures have (enum below), with that at 0 */
  AGENDA_FUTURE_SLOTS = 2
};

/* Integer keys of the table at AGENDA_FUTURE_EXTRA. */
enum {
  AGENDA_EXTRA_CANCEL_MESSAGE = 1,
  AGENDA_EXTRA_NAME,
  AGENDA_EXTRA_COROUTINE, /* the coroutine object that a task drives */
  AGENDA_EXTRA_CONTEXT,   /* the context of contextvars that a task runs in */
  AGENDA_EXTRA_CANCELLER, /* what is called in place of cancelling: gather's */
  AGENDA_EXTRA_GUARD      /* see task_guard.c */
};

typedef struct agenda_future {
  agenda_object object;
  agenda_schedule *schedule; /* NULL until it is tied to a loop; counted, but not by tasks */
  int values;                /* of the result: 1 is stored as itself, more in a table;
                             ** of an error: the length of its trace when the future ended */
  uint8_t status;            /* agenda_future_status */
  uint8_t waiting;           /* what AGENDA_FUTURE_VALUE holds while pending */
  bool unretrieved : 1;      /* failed, and nobody has asked for the error */
  bool has_canceller : 1;    /* AGENDA_EXTRA_CANCELLER is there */
  /* Of tasks, which have no room for them: */
  bool destroyed : 1;        /* it was reported as destroyed while pending */
  bool cleanup : 1;          /* it closes a generator that was collected */
  bool told_swallowed : 1;   /* debug: that it swallowed a cancellation */
} agenda_future;

/* What may wait beside tasks and callbacks, as a light userdata: called at once when the future at
** `index` is done. Must not raise, and not end before that. */
typedef struct agenda_hook {
  void (*done)(lua_State *L, int index, struct agenda_hook *hook);
} agenda_hook;

extern const agenda_kind agenda_future_kind;

/* A new pending future, tied to `schedule` or (NULL) to none yet. [-0, +1, may raise] */
agenda_future *agenda_future_create(lua_State *L, agenda_state *state, agenda_schedule *schedule);

/* Finishes a pending future, which is at `index`, with the `n` values on the top, or the error on
** the top (a CancelledError does not cancel), or by cancelling it (with the message on the top,
** nil for none, or by the CancelledError on the top), and schedules who waits. False if it was done
** already. [-n, +0] / [-1, +0] / [-1, +0, may raise] / [-1, +0] */
bool agenda_future_finish(lua_State *L, int index, int n);
bool agenda_future_fail(lua_State *L, int index);
bool agenda_future_cancel_now(lua_State *L, int index);
bool agenda_future_cancel_by(lua_State *L, int index);

/* Makes what a future can fail with of the value at `index`, absolute: an instance of a class, an
** error of nil. TypeError for StopIteration. [-0, +0, may raise] */
void agenda_future_check_error(lua_State *L, int index);

/* Makes the future at `index`, which is its owner's alone, pending again; false if it is pending
** and something waits on it. [-0, +0] */
bool agenda_future_renew(lua_State *L, int index);

/* future:cancel(message on the top or nil), a task's included. Who cancels one that has failed does
** not want its error, as in asyncio. [-1, +0, may raise] */
bool agenda_future_cancel(lua_State *L, int index);

/* Pushes the result values, or raises the error, of a done future at `index`.
** [-0, +n, may raise] */
int agenda_future_result(lua_State *L, int index);

/* Awaits the future at stack index 1 of the running C function, which has nothing else on its
** stack: `return agenda_future_await(L)`. [may raise, may yield] */
int agenda_future_await(lua_State *L);

/* Adds the value on the top, a task or the address of an agenda_hook, to those that the pending
** future at `index` wakes. [-1, +0, may raise] */
void agenda_future_add_waiter(lua_State *L, int index);

/* Ties the future to the schedule if it is tied to none. */
void agenda_future_tie(agenda_future *future, agenda_schedule *schedule);

/* The extra table of the future at `index`: reads, and writes the value on the top.
** [-0, +1] / [-1, +0, may raise] */
int agenda_future_push_extra(lua_State *L, int index, int key);
void agenda_future_set_extra(lua_State *L, int index, int key);

/* The methods that tasks have too. */
extern const luaL_Reg agenda_future_methods[];

/* A __gc: reports the error of the future at `index` if nobody has asked for it. [-0, +0] */
void agenda_future_report_unretrieved(lua_State *L, int index, const char *message,
                                      const char *field);

/* Reports the context table on the top to the schedule's loop, or as a warning. [-1, +0] */
void agenda_future_report(lua_State *L, agenda_schedule *schedule, const char *message);

/* Calls the function on the top with the future at `index` as soon as it is done.
** [-1, +0, may raise] */
void agenda_future_add_callback(lua_State *L, int index);

/* Between future.c and future_methods.c: what `waiting` says of AGENDA_FUTURE_VALUE, and the places
** in the table of an entry there. */
enum { AGENDA_WAITING_NONE, AGENDA_WAITING_ONE, AGENDA_WAITING_LIST };
enum {
  AGENDA_ENTRY_CALLBACK = 1,
  AGENDA_ENTRY_CONTEXT,
  AGENDA_ENTRY_DONE,  /* of a batch: how many are done, */
  AGENDA_ENTRY_FAILED /* and which have failed */
};

void agenda_open_future(lua_State *L);

#endif
