/*
** embed.h: what embed.c, embed_calls.c and embed_end.c share of the public C interface.
*/
#ifndef AGENDA_EMBED_H
#define AGENDA_EMBED_H

#include "agenda.h"

#include <pthread.h>

#include "loop.h"

/* What a host has of a loop. */
struct agenda_loop {
  const agenda_api *api;   /* of the copy of the library that made it; stays the first field */
  pthread_mutex_t lock;    /* for what follows, up to the blank line */
  struct agenda_embed_posted *first, **last;
  int retained;
  bool owned;              /* the Lua state is open, and this the newest of its kind there */
  bool open;

  agenda_watch watch;      /* wakes the loop */
  agenda_event_loop *loop; /* NULL once closed */
  int process;             /* who attached */
  bool winding_up;
};

/* What there is of the C interface in a Lua state: a userdata in the registry, and the second
** upvalue of the entries below. */
typedef struct agenda_embed {
  agenda_state *state;
  agenda_loop *attached; /* of the last agenda_attach, also once it is detached; or NULL */
  agenda_loop *borrowed; /* of a loop that agenda.run runs, or NULL */
} agenda_embed;

#define agenda_embed_here(L) ((agenda_embed *)lua_touserdata((L), lua_upvalueindex(2)))

/* Functions that are called with the state and the agenda_embed as upvalues, from C code that has
** no upvalues of the library's. The registry has them under the addresses of the table's items. */
typedef enum {
  AGENDA_ENTRY_ATTACH,
  AGENDA_ENTRY_WIND_UP,
  AGENDA_ENTRY_DETACH,
  AGENDA_ENTRY_SPAWN,
  AGENDA_ENTRY_CANCEL,
  AGENDA_ENTRY_FUTURE_NEW,
  AGENDA_ENTRY_FUTURE_RESOLVE,
  AGENDA_ENTRY_FUTURE_REJECT,
  AGENDA_ENTRY_AWAIT,
  AGENDA_ENTRIES
} agenda_entry;

/* Pushes an entry; false, with nothing pushed, where this copy of the library is not the one that
** the state has open. [-0, +(0|1), may raise] */
bool agenda_embed_push(lua_State *L, agenda_entry which);

/* What the state has of this copy of the library, or NULL. */
agenda_embed *agenda_embed_find(lua_State *L);

/* The functions of the copy that it has open; NULL, or an error, if it has none. [may raise] */
const agenda_api *agenda_embed_find_other(lua_State *L);
const agenda_api *agenda_embed_other(lua_State *L);

/* The schedule for tasks and futures made from C, or NULL: of the loop that runs, else of the
** attached one. */
agenda_schedule *agenda_embed_schedule(const agenda_embed *embed);

/* Something was scheduled: the host's loop is to see it, if it has one. */
void agenda_embed_notice(const agenda_embed *embed);

/* ----- embed_calls.c */

int agenda_embed_spawn(lua_State *L);
int agenda_embed_cancel(lua_State *L);
int agenda_embed_future_new(lua_State *L);
int agenda_embed_future_resolve(lua_State *L);
int agenda_embed_future_reject(lua_State *L);

/* Pushes a list of the schedule's tasks that have a completion, and calls those of the list on the
** top, whose tasks were dropped. [-0, +1, may raise] / [-1, +0, may raise] */
void agenda_embed_push_completions(lua_State *L, const agenda_schedule *schedule);
void agenda_embed_abandon_completions(lua_State *L);

/* ----- embed_end.c */

int agenda_embed_wind_up(lua_State *L);
int agenda_embed_detach(lua_State *L);

/* ----- embed.c */

extern const agenda_api agenda_embed_api;

void agenda_open_embed(lua_State *L);

#endif
