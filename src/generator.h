/*
** generator.h: generators of PEP 255, 342, 380 and 479; the value-yield.
*/
#ifndef AGENDA_GENERATOR_H
#define AGENDA_GENERATOR_H

#include "body.h"

extern const agenda_kind agenda_generator_kind;

void agenda_open_generator(lua_State *L);

#endif
