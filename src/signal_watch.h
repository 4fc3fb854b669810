/*
** signal_watch.h: callbacks for signals, and what Ctrl-C does to a run.
*/
#ifndef AGENDA_SIGNAL_WATCH_H
#define AGENDA_SIGNAL_WATCH_H

#include "support.h"

/* The signal that the argument names: "SIGTERM" or a number. Raises ValueError for one that there
** is not, or that cannot be caught, an argument error for another type. */
int agenda_signal_check(lua_State *L, int index);

void agenda_open_signal_watch(lua_State *L);
void agenda_open_interrupt(lua_State *L);

#endif
