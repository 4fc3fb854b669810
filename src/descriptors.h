/*
** descriptors.h: descriptors as such: pairs of them, their modes, closing them.
*/
#ifndef AGENDA_DESCRIPTORS_H
#define AGENDA_DESCRIPTORS_H

#include "support.h"

/* Sets O_NONBLOCK unless it is set; false with errno set. */
bool agenda_descriptor_set_nonblocking(int fd);

/* Closes a descriptor once, whatever signals come. */
void agenda_descriptor_close(int fd);

void agenda_open_descriptors(lua_State *L);

#endif
