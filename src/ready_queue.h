/*
** ready_queue.h: first in, first out: what the loop runs in its next turn.
*/
#ifndef AGENDA_READY_QUEUE_H
#define AGENDA_READY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "compat.h"

/* What a queue entry or a deadline belongs to. */
typedef enum { AGENDA_ITEM_TASK, AGENDA_ITEM_HANDLE } agenda_item_kind;

typedef struct agenda_ready {
  agenda_item_kind kind;
  void *item;
} agenda_ready;

/* A ring; the size of `entries` is a power of two, or 0. */
typedef struct agenda_ready_queue {
  agenda_ready *entries;
  size_t size, head, count;
} agenda_ready_queue;

/* Memory comes from L's allocator. */
void agenda_ready_queue_free(lua_State *L, agenda_ready_queue *queue);

/* Gives the memory of an empty queue back if a crowd has made it large. */
void agenda_ready_queue_trim(lua_State *L, agenda_ready_queue *queue);

/* Makes room for one more entry, so that a following push cannot fail. [may raise memory error] */
void agenda_ready_queue_grow(lua_State *L, agenda_ready_queue *queue);

static inline bool agenda_ready_queue_has_room(const agenda_ready_queue *queue)
{
  return queue->count < queue->size;
}

/* L may be NULL if there is room. */
static inline void agenda_ready_queue_push(lua_State *L, agenda_ready_queue *queue,
                                           agenda_item_kind kind, void *item)
{
  if (queue->count == queue->size)
    agenda_ready_queue_grow(L, queue);
  agenda_ready *entry = &queue->entries[(queue->head + queue->count) & (queue->size - 1)];
  entry->kind = kind;
  entry->item = item;
  queue->count++;
}

/* The queue must not be empty. */
static inline agenda_ready agenda_ready_queue_pop(agenda_ready_queue *queue)
{
  agenda_ready entry = queue->entries[queue->head];
  queue->head = (queue->head + 1) & (queue->size - 1);
  queue->count--;
  return entry;
}

#endif
