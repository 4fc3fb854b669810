/*
** datagram.h: sockets for datagrams.
*/
#ifndef AGENDA_DATAGRAM_H
#define AGENDA_DATAGRAM_H

#include "socket.h"

extern const agenda_kind agenda_datagram_kind; /* "datagram", a kind of socket */

void agenda_open_datagram(lua_State *L);

#endif
