/*
** agenda.h: the public C interface of agenda.
*/
#ifndef AGENDA_H
#define AGENDA_H

#include <lua.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the library in the state and leaves the module `agenda.core`, as `require` does; the same
** table each time. May be called from any coroutine. [-0, +1, may raise] */
int luaopen_agenda_core(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
