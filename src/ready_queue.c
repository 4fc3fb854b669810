/*
** ready_queue.c: growth of the ring of ready items.
*/
#include "ready_queue.h"

enum { INITIAL_SIZE = 64, LARGE_SIZE = 4096 };

void agenda_ready_queue_free(lua_State *L, agenda_ready_queue *queue)
{
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  if (queue->entries != NULL)
    allocate(ud, queue->entries, queue->size * sizeof *queue->entries, 0);
  queue->entries = NULL;
  queue->size = queue->head = queue->count = 0;
}

void agenda_ready_queue_trim(lua_State *L, agenda_ready_queue *queue)
{
  if (queue->count == 0 && queue->size > LARGE_SIZE)
    agenda_ready_queue_free(L, queue);
}

void agenda_ready_queue_grow(lua_State *L, agenda_ready_queue *queue)
{
  if (queue->count < queue->size)
    return;
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  size_t size = queue->size == 0 ? INITIAL_SIZE : 2 * queue->size;
  agenda_ready *entries = allocate(ud, NULL, 0, size * sizeof *entries);
  if (entries == NULL)
    luaL_error(L, "not enough memory");
  for (size_t i = 0; i < queue->count; i++)
    entries[i] = queue->entries[(queue->head + i) & (queue->size - 1)];
  if (queue->entries != NULL)
    allocate(ud, queue->entries, queue->size * sizeof *entries, 0);
  queue->entries = entries;
  queue->size = size;
  queue->head = 0;
}
