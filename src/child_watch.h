/*
** child_watch.h: child processes of the library's own: their end, and signals to them.
*/
#ifndef AGENDA_CHILD_WATCH_H
#define AGENDA_CHILD_WATCH_H

#include <sys/types.h>

#include "support.h"

typedef struct agenda_child agenda_child;

/* A child that is to be born: anchored in the loop at `index`, which will watch for its end by a
** pidfd, or by SIGCHLD where there is none or `by_signal` says so. [-0, +1, may raise] */
agenda_child *agenda_child_new(lua_State *L, int index, bool by_signal);

/* It was born. 0; or an errno when it cannot be watched: then it was killed. [-0, +0] */
int agenda_child_begin(lua_State *L, agenda_child *child, pid_t pid);

/* It could not be born: lets go of it. [-0, +0] */
void agenda_child_drop(lua_State *L, agenda_child *child);

void agenda_open_child_watch(lua_State *L);

#endif
