/*
** checks.h: assertions, live-object counters and the collector's torture point.
*/
#ifndef AGENDA_CHECKS_H
#define AGENDA_CHECKS_H

#include "compat.h"

/* A broken invariant of the library's own; users' mistakes raise instead. */
#ifdef AGENDA_DEBUG_CHECKS
#include <assert.h>
#define AGENDA_ASSERT(condition) assert(condition)
#else
#define AGENDA_ASSERT(condition) ((void)0)
#endif

/* Called by every helper that allocates: the torture build collects there. */
#ifdef AGENDA_GC_TORTURE
#define AGENDA_TORTURE(L) ((void)lua_gc((L), LUA_GCCOLLECT, 0))
#else
#define AGENDA_TORTURE(L) ((void)(L))
#endif

/* What `agenda.core.live()` counts: things that hold more than memory. */
typedef enum {
  AGENDA_LIVE_FRAMES,   /* coroutines that have begun and not ended */
  AGENDA_LIVE_TASKS,    /* tasks that are not done */
  AGENDA_LIVE_HANDLES,  /* callbacks and timers that wait in a loop */
  AGENDA_LIVE_WATCHERS, /* descriptors and signals that a loop watches */
  AGENDA_LIVE_LOOPS,    /* loops that are not closed */
  AGENDA_LIVE_KINDS
} agenda_live_kind;

typedef struct agenda_live {
  int count[AGENDA_LIVE_KINDS];
} agenda_live;

/* Pushes a table of counter name -> count. [-0, +1, may raise] */
void agenda_checks_push_live(lua_State *L, const agenda_live *live);

#endif
