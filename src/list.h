/*
** list.h: an intrusive doubly linked ring. A head and a detached node point at
** themselves, so unlinking needs no head and may be repeated.
*/
#ifndef AGENDA_LIST_H
#define AGENDA_LIST_H

#include <stddef.h>

typedef struct agenda_list {
  struct agenda_list *next, *previous;
} agenda_list;

#define AGENDA_LIST_OWNER(node, type, member) \
  ((type *)(void *)((char *)(node) - offsetof(type, member)))

static inline void agenda_list_init(agenda_list *node)
{
  node->next = node->previous = node;
}

static inline int agenda_list_empty(const agenda_list *head)
{
  return head->next == head;
}

static inline void agenda_list_append(agenda_list *head, agenda_list *node)
{
  node->previous = head->previous;
  node->next = head;
  head->previous->next = node;
  head->previous = node;
}

static inline void agenda_list_unlink(agenda_list *node)
{
  node->previous->next = node->next;
  node->next->previous = node->previous;
  agenda_list_init(node);
}

#endif
