/*
** deadline_heap.c: a four-way heap. The times stand in the array beside the pointers, so that
** a comparison touches no other memory unless two times are equal.
*/
#include "deadline_heap.h"

enum { ARITY = 4, INITIAL_SIZE = 64 };

typedef struct agenda_deadline_entry entry;

static bool before(const entry *a, const entry *b)
{
  if (a->when != b->when)
    return a->when < b->when;
  return (int32_t)(a->deadline->sequence - b->deadline->sequence) < 0;
}

static void place(agenda_deadline_heap *heap, uint32_t index, entry e)
{
  heap->entries[index] = e;
  e.deadline->index = index + 1;
}

static void sift_up(agenda_deadline_heap *heap, uint32_t index, entry e)
{
  while (index > 0) {
    uint32_t parent = (index - 1) / ARITY;
    if (!before(&e, &heap->entries[parent]))
      break;
    place(heap, index, heap->entries[parent]);
    index = parent;
  }
  place(heap, index, e);
}

static void sift_down(agenda_deadline_heap *heap, uint32_t index, entry e)
{
  for (;;) {
    uint32_t first = index * ARITY + 1;
    if (first >= heap->count)
      break;
    uint32_t end = first + ARITY < heap->count ? first + ARITY : heap->count;
    uint32_t least = first;
    for (uint32_t child = first + 1; child < end; child++)
      if (before(&heap->entries[child], &heap->entries[least]))
        least = child;
    if (!before(&heap->entries[least], &e))
      break;
    place(heap, index, heap->entries[least]);
    index = least;
  }
  place(heap, index, e);
}

void agenda_deadline_heap_free(lua_State *L, agenda_deadline_heap *heap)
{
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  if (heap->entries != NULL)
    allocate(ud, heap->entries, heap->size * sizeof(entry), 0);
  heap->entries = NULL;
  heap->count = heap->size = 0;
}

void agenda_deadline_heap_insert(lua_State *L, agenda_deadline_heap *heap,
                                 agenda_deadline *deadline, double when)
{
  if (heap->count == heap->size) {
    void *ud;
    lua_Alloc allocate = lua_getallocf(L, &ud);
    uint32_t size = heap->size == 0 ? INITIAL_SIZE : heap->size + heap->size / 2;
    entry *entries = allocate(ud, heap->entries, heap->size * sizeof(entry), size * sizeof(entry));
    if (entries == NULL)
      luaL_error(L, "not enough memory");
    heap->entries = entries;
    heap->size = size;
  }
  deadline->sequence = ++heap->sequence;
  entry e = {when, deadline};
  sift_up(heap, heap->count++, e);
}

void agenda_deadline_heap_remove(agenda_deadline_heap *heap, agenda_deadline *deadline)
{
  if (deadline->index == 0)
    return;
  uint32_t index = deadline->index - 1;
  deadline->index = 0;
  entry last = heap->entries[--heap->count];
  if (index == heap->count)
    return;
  if (index > 0 && before(&last, &heap->entries[(index - 1) / ARITY]))
    sift_up(heap, index, last);
  else
    sift_down(heap, index, last);
}
