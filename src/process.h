/*
** process.h: starts programs.
*/
#ifndef AGENDA_PROCESS_H
#define AGENDA_PROCESS_H

#include "support.h"

void agenda_open_process(lua_State *L);

#endif
