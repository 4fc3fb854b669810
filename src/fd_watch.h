/*
** fd_watch.h: callbacks for descriptors.
*/
#ifndef AGENDA_FD_WATCH_H
#define AGENDA_FD_WATCH_H

#include "support.h"

/* The descriptor that the argument names: an integer or an open Lua file; else an argument error.
** Negative for a number that no descriptor has. */
int agenda_fd_check(lua_State *L, int index);

void agenda_open_fd_watch(lua_State *L);

#endif
