/*
** thread_call.h: Lua functions on threads.
*/
#ifndef AGENDA_THREAD_CALL_H
#define AGENDA_THREAD_CALL_H

#include "support.h"

void agenda_open_thread_call(lua_State *L);

#endif
