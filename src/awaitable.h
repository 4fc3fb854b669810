/*
** awaitable.h: `await`, and what can be awaited.
*/
#ifndef AGENDA_AWAITABLE_H
#define AGENDA_AWAITABLE_H

#include "frame.h"

/* Whether the value at `index` can be awaited. */
bool agenda_awaitable_test(lua_State *L, int index);

/* Awaits the value at index 1, alone on the stack: `return agenda_awaitable_await(L)`. */
int agenda_awaitable_await(lua_State *L);

void agenda_open_awaitable(lua_State *L);

#endif
