/*
** hooks.h: who is told of the first iteration of an async generator, and who closes one that is
** collected while suspended: hooks set from Lua, or a host (a running loop) set from C.
*/
#ifndef AGENDA_HOOKS_H
#define AGENDA_HOOKS_H

#include "support.h"

/*
** Adopts the generators that are first iterated while it is the state's. NB: it knows them by a
** weak table, not by links in them: where memory is short, Lua drops a finalizer unrun, and an
** object may be freed that had no chance to unlink itself. For the same reason a host is counted
** by those it adopts.
*/
typedef struct agenda_host {
  int generators;       /* registry reference: order of first iteration -> generator, weak */
  lua_Integer adopted;  /* how many so far */
  /* Starts the cleanup of the suspended generator at `index`, as a task; false if it cannot.
  ** [-0, +0, may raise] */
  bool (*close)(lua_State *L, struct agenda_host *host, int index);
  /* Sets its hooks as functions, for those who ask for them or set others. [-0, +0, may raise] */
  void (*show)(lua_State *L, struct agenda_host *host);
  void (*retain)(struct agenda_host *host);
  void (*release)(lua_State *L, struct agenda_host *host);
} agenda_host;

/* Gives a zeroed host its table. [-0, +0, may raise] */
void agenda_host_init(lua_State *L, agenda_host *host);

/* Lets go of the table: the generators outlive their host's service. [-0, +0] */
void agenda_host_clear(lua_State *L, agenda_host *host);

/* Pushes a list of those that are not collected, in the order of first iteration.
** [-0, +1, may raise] */
void agenda_host_push_list(lua_State *L, const agenda_host *host);

/*
** The first iteration of the generator at `index`: calls the hook, or has the state's host adopt
** it, which is stored in `*host` and to be released. Leaves the finalizer in force (nil where a
** host serves). [-0, +1, may raise]
*/
void agenda_hooks_first(lua_State *L, agenda_state *state, agenda_host **host, int index);

void agenda_open_hooks(lua_State *L);

#endif
