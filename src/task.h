/*
** task.h: a future whose result is that of a body which the loop drives.
*/
#ifndef AGENDA_TASK_H
#define AGENDA_TASK_H

#include "frame.h"
#include "future.h"

enum { AGENDA_UNPACKED = 255 };

struct agenda_task;

/* Where a task waits that an event source wakes without a future: the source has this. */
typedef struct agenda_park {
  struct agenda_task *task; /* or NULL */
} agenda_park;

typedef struct agenda_task {
  agenda_future future;
  agenda_frame frame;       /* of a function's task */
  agenda_frame *base;       /* `frame`, or that of the coroutine object it drives */
  union {
    agenda_future *awaited; /* the future it waits on, or NULL */
    agenda_park *park;      /* if it is parked */
  };
  agenda_deadline deadline; /* of sleep */
  agenda_list link;         /* in the schedule's list of unfinished tasks */
  uint32_t anchor;          /* slot while the loop holds it; 0 while only a future does */
  uint32_t number;          /* of its default name */
  uint32_t cancel_pass;     /* the last request that came by, to tell a circle */
  int16_t cancelling;       /* requests to cancel less uncancel */
  uint8_t packed;           /* arguments of a body that has no coroutine yet, or AGENDA_UNPACKED */
  bool guarded : 1;           /* it has a guard */
  bool must_cancel : 1;       /* the next step raises CancelledError */
  bool scheduled : 1;         /* it is in the ready queue */
  bool parked : 1;            /* it waits at `park`, where the schedule holds it */
  bool bad_yield : 1;         /* the next step raises RuntimeError "task got bad yield" */
  bool kept : 1;              /* it is anchored until it is done: a host waits for its end */
  bool of_call : 1;           /* its body awaits a call of an async generator */
  bool has_context : 1;       /* AGENDA_EXTRA_CONTEXT is not nil */
} agenda_task;

extern const agenda_kind agenda_task_kind;

/* A task of the function (or coroutine object) with `nargs` arguments on the top, first run in
** the schedule's next turn; leaves the task. [-(nargs+1), +1, may raise] */
agenda_task *agenda_task_new(lua_State *L, agenda_state *state, agenda_schedule *schedule,
                             int nargs);

/* The same for a host, with `room` bytes behind the task for it. NB: it has its coroutine from the
** start: a host that spawns in one of its loop's callbacks has a turn right after. */
agenda_task *agenda_task_new_hosted(lua_State *L, agenda_state *state, agenda_schedule *schedule,
                                    int nargs, size_t room);

/* Gives the task at `index` its coroutine unless it has it. [-0, +0, may raise] */
void agenda_task_begin(lua_State *L, agenda_task *task, int index);

/* Makes AGENDA_FUTURE_VALUE of the task at `index` free for who waits. [-0, +0, may raise] */
void agenda_task_make_room(lua_State *L, agenda_task *task, int index);

/* Runs the task's next step: the loop took it from its queue. [-0, +0, may raise memory errors
** and KeyboardInterrupt] */
void agenda_task_step(lua_State *L, agenda_task *task);

/* The running task waits on the pending future at `index`. [-0, +0, may raise] */
void agenda_task_wait_on(lua_State *L, agenda_task *task, int index);

/* What the task on the top waited on is done: it goes to the ready queue. [-0, +0, may raise] */
void agenda_task_awaken(lua_State *L, agenda_task *task);

/* The running task waits at `park`, which must not move until it has left. Does nothing if it is to
** be cancelled: then it takes a turn. */
void agenda_task_park(agenda_task *task, agenda_park *park);

/* The task that waits there, if any, goes to the ready queue. [-0, +0, may raise memory error] */
void agenda_task_unpark(lua_State *L, agenda_park *park);

/* The same, if that takes no memory; false if nothing was done. */
bool agenda_task_unpark_quick(agenda_park *park);

/* No task waits there any more. */
void agenda_task_leave(agenda_park *park);

/* Requests the cancellation of the task at `index`, with the message on the top (nil for none).
** False if it is done. [-1, +0, may raise] */
bool agenda_task_cancel(lua_State *L, int index);

/* The task's deadline has come: it goes to the ready queue. */
void agenda_task_wake(lua_State *L, agenda_task *task);

/* Pushes the name of the task at `index`, its default one or the one that was set. [-0, +1] */
const char *agenda_task_push_name(lua_State *L, int index);

/* Pushes the task's userdata. [-0, +1] */
void agenda_task_push(lua_State *L, agenda_task *task);

/* Pushes a list of the schedule's unfinished tasks, oldest first. [-0, +1, may raise] */
void agenda_task_push_all(lua_State *L, const agenda_schedule *schedule);

/* Pushes a table of the tasks that have failed and whose error nobody has asked for, by their
** numbers. [-0, +1, may raise] */
void agenda_task_push_failed(lua_State *L, const agenda_schedule *schedule);

/* Starts the cleanup of the suspended async generator at `index` as a task; false once the schedule
** is closed. [-0, +0, may raise] */
bool agenda_task_close_generator(lua_State *L, agenda_schedule *schedule, int index);

/* ----- between task.c and task_start.c */

/* The body of a task that never began is not held any longer. [-0, +0] */
void agenda_task_forget_body(lua_State *L, agenda_task *task);

/* ----- task_debug.c */

/* A callback: reports the failed task at index 1, that nobody awaits, before it is collected. */
int agenda_task_l_report_failed(lua_State *L);

/* The task was cancelled, got the error in this step, and goes on waiting: says so, once. */
void agenda_task_report_swallowed(lua_State *L, agenda_task *task);

/* ----- task_guard.c */

/* Has the task at `index` looked after when it is collected. Idempotent. [-0, +0, may raise] */
void agenda_task_guard(lua_State *L, agenda_task *task, int index);

/* Ends the body of a pending task that has left its schedule, with GeneratorExit. [-0, +0] */
void agenda_task_close_body(lua_State *L, agenda_task *task);

void agenda_open_task_guard(lua_State *L);

/* ----- task_methods.c */

void agenda_open_task(lua_State *L);

#endif
