/*
** schedule.h: what futures and tasks need of a loop: its queue, its deadlines, its clock, and
** a strong hold on what waits there.
**
** A schedule outlives the loop's userdata as long as futures point at it, by a count of
** references, so that no future needs to keep the loop alive.
*/
#ifndef AGENDA_SCHEDULE_H
#define AGENDA_SCHEDULE_H

#include "deadline_heap.h"
#include "hooks.h"
#include "list.h"
#include "ready_queue.h"
#include "support.h"

typedef struct agenda_schedule {
  agenda_state *state;
  int references;
  int self;                      /* registry reference of its memory */
  int anchors;                   /* registry reference of the table of anchored values */
  uint32_t *free_slots;          /* slots of that table that are free again */
  uint32_t free_count, free_size, slots;
  agenda_ready_queue ready;
  agenda_deadline_heap deadlines;
  agenda_list tasks;             /* the unfinished, in order of creation */
  struct agenda_task *current;   /* the task whose step runs, or NULL */
  agenda_host host;              /* of the async generators first iterated on the loop */
  double (*now)(struct agenda_schedule *schedule);
  double virtual_now;            /* the time, where a virtual clock stands in for the real one */
  /* Reports the context table on the top to the loop's handler, also while it does not run.
  ** [-1, +0] */
  void (*report)(lua_State *L, struct agenda_schedule *schedule);
  uint32_t steps;                /* of tasks so far: tells whether one has run on without waiting */
  int watching;                  /* descriptors, threads, children, signals that can wake */
  bool closed;
  bool debug;
} agenda_schedule;

/* A new schedule with one reference. [may raise] */
agenda_schedule *agenda_schedule_new(lua_State *L, agenda_state *state);

/* Pushes its memory: while something holds that value, the pointer stays good. [-0, +1] */
void agenda_schedule_push_self(lua_State *L, agenda_schedule *schedule);

/* Adds or drops a reference; the last one closes it. */
void agenda_schedule_retain(agenda_schedule *schedule);
void agenda_schedule_release(lua_State *L, agenda_schedule *schedule);

/* Lets go of all that is anchored and marks the schedule closed; idempotent. Handles and tasks
** in the queue and the heap are taken out first (their flags are the caller's business). */
void agenda_schedule_close(lua_State *L, agenda_schedule *schedule);

/* Keeps the value at `index` alive; gives its slot (never 0). [-0, +0, may raise] */
uint32_t agenda_schedule_anchor(lua_State *L, agenda_schedule *schedule, int index);

/* Pushes an anchored value. [-0, +1] */
void agenda_schedule_push(lua_State *L, agenda_schedule *schedule, uint32_t slot);

/* Lets it go. `slot` 0 does nothing. [-0, +0] */
void agenda_schedule_unanchor(lua_State *L, agenda_schedule *schedule, uint32_t slot);

#endif
