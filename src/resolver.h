/*
** resolver.h: names and services to addresses.
*/
#ifndef AGENDA_RESOLVER_H
#define AGENDA_RESOLVER_H

#include "support.h"

void agenda_open_resolver(lua_State *L);

#endif
