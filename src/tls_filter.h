/*
** tls_filter.h: one TLS connection as a filter of a stream.
*/
#ifndef AGENDA_TLS_FILTER_H
#define AGENDA_TLS_FILTER_H

#include <stdbool.h>

#include "tls_context.h"

#define AGENDA_TLS_FILTER "agenda.filter.tls"

/* A new connection for the context at index 1; `server_name` may be NULL. Leaves the filter.
** [-0, +1, raises ValueError] */
int agenda_tls_filter_new(lua_State *L, bool server_side, const char *server_name);

/* Makes the metatable. [-0, +0, may raise] */
void agenda_tls_filter_register(lua_State *L);

#endif
