/*
** signal_watch.h: callbacks for signals, and what Ctrl-C does to a run.
*/
#ifndef AGENDA_SIGNAL_WATCH_H
#define AGENDA_SIGNAL_WATCH_H

#include "support.h"

void agenda_open_signal_watch(lua_State *L);
void agenda_open_interrupt(lua_State *L);

#endif
