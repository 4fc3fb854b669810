/*
** coroutine.h: coroutine objects of PEP 492.
*/
#ifndef AGENDA_COROUTINE_H
#define AGENDA_COROUTINE_H

#include "body.h"

typedef struct agenda_coroutine {
  agenda_body body;
  bool owned;   /* a task drives it */
  bool touched; /* awaited, driven, thrown into or closed: nothing to warn of */
} agenda_coroutine;

extern const agenda_kind agenda_coroutine_kind;

/* Raises RuntimeError unless the coroutine can still be awaited or be given to a task. */
void agenda_coroutine_check_unused(lua_State *L, const agenda_coroutine *coroutine);

void agenda_open_coroutine(lua_State *L);

#endif
