/*
** hooks.h: who is told of the first iteration of an async generator, and who closes one that is
** collected while suspended: hooks set from Lua, or a host (a running loop) set from C.
*/
#ifndef AGENDA_HOOKS_H
#define AGENDA_HOOKS_H

#include "list.h"
#include "support.h"

/* Adopts the generators that are first iterated while it is the state's. */
typedef struct agenda_host {
  agenda_list generators; /* agenda_hosted.link of the open ones, in order of first iteration */
  /* Starts the cleanup of the suspended generator at `index`, as a task; false if it cannot.
  ** [-0, +0, may raise] */
  bool (*close)(lua_State *L, struct agenda_host *host, int index);
} agenda_host;

/* A generator's place with its host. */
typedef struct agenda_hosted {
  agenda_list link;
  agenda_host *host; /* NULL without one */
} agenda_hosted;

void agenda_host_init(agenda_host *host);

/* Lets go of all generators: they outlive their host. */
void agenda_host_clear(agenda_host *host);

/* Makes `host` (NULL for none) the state's, with the Lua hooks that the functions on the top and
** under it (firstiter, finalizer) stand for; gives the earlier ones in their place.
** [-2, +2, may raise] */
agenda_host *agenda_hooks_exchange(lua_State *L, agenda_host *host);

/*
** The first iteration of the generator at `index`: calls the hook, joins the host, and leaves the
** finalizer in force (nil where the host serves). [-0, +1, may raise]
*/
void agenda_hooks_first(lua_State *L, agenda_state *state, agenda_hosted *hosted, int index);

void agenda_open_hooks(lua_State *L);

#endif
