/*
** deadline_heap.h: a min-heap of deadlines; equal times come out in the order they went in.
*/
#ifndef AGENDA_DEADLINE_HEAP_H
#define AGENDA_DEADLINE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "compat.h"

/* Embedded in what has a deadline (a sleeping task, a timer handle). */
typedef struct agenda_deadline {
  uint32_t sequence; /* order of insertion, modulo 2^32 */
  uint32_t index : 31; /* place in the heap plus one; 0: not in it */
  uint32_t kind : 1; /* agenda_item_kind */
} agenda_deadline;

typedef struct agenda_deadline_heap {
  struct agenda_deadline_entry {
    double when;
    agenda_deadline *deadline;
  } *entries;
  uint32_t count, size;
  uint32_t sequence;
} agenda_deadline_heap;

void agenda_deadline_heap_free(lua_State *L, agenda_deadline_heap *heap);

/* Inserts for a time in seconds on the loop's clock, which may be infinite but not NaN.
** [may raise a memory error, and then has changed nothing] */
void agenda_deadline_heap_insert(lua_State *L, agenda_deadline_heap *heap,
                                 agenda_deadline *deadline, double when);

/* Takes it out; does nothing when it is not in. */
void agenda_deadline_heap_remove(agenda_deadline_heap *heap, agenda_deadline *deadline);

/* The time of one that is in the heap. */
static inline double agenda_deadline_heap_when(const agenda_deadline_heap *heap,
                                               const agenda_deadline *deadline)
{
  return heap->entries[deadline->index - 1].when;
}

/* The nearest deadline, or NULL. */
static inline agenda_deadline *agenda_deadline_heap_first(const agenda_deadline_heap *heap)
{
  return heap->count == 0 ? NULL : heap->entries[0].deadline;
}

#endif
