/*
** asyncgen.h: async generators of PEP 525 and their awaitables.
*/
#ifndef AGENDA_ASYNCGEN_H
#define AGENDA_ASYNCGEN_H

#include "body.h"
#include "hooks.h"

/*
** For a body in C that often has its next value at hand: pushes it, or gives 0, without the body's
** coroutine and without waiting or raising. Whatever it does the body would do as well. [-0, +n]
*/
typedef int (*agenda_asyncgen_at_hand)(lua_State *L, void *source);

typedef struct agenda_asyncgen {
  agenda_body body;
  agenda_asyncgen_at_hand at_hand; /* or NULL */
  void *source;        /* its argument, which the body keeps alive */
  agenda_host *host;   /* that has adopted it, while it is open, or NULL */
  unsigned memory;     /* in use when the guard was made, less guards: see asyncgen_guard.c */
  bool protected;      /* it has a guard */
  bool held;           /* kept alive until the collector's next cycle */
  uint8_t suspensions; /* the first few are counted */
  bool begun;          /* the hooks were called */
  bool guarded;        /* its guard has finalized it already */
  bool dead;           /* its finalizer has run: nothing of it is left to collect */
} agenda_asyncgen;

/* The awaitable of one call of anext, asend, athrow or aclose. */
typedef struct agenda_asyncgen_call {
  agenda_object object;
  agenda_asyncgen *generator;
  int values;     /* to send: 1 stands as itself, more in a table */
  uint8_t verb;   /* agenda_asyncgen_verb */
  uint8_t status; /* agenda_asyncgen_call_status */
} agenda_asyncgen_call;

typedef enum { AGENDA_ANEXT, AGENDA_ASEND, AGENDA_ATHROW, AGENDA_ACLOSE } agenda_asyncgen_verb;

typedef enum {
  AGENDA_CALL_NEW,
  AGENDA_CALL_STEPPING, /* driven by hand, between steps */
  AGENDA_CALL_SPENT
} agenda_asyncgen_call_status;

/* One more user value than a body has. */
enum { AGENDA_ASYNCGEN_GUARD = AGENDA_BODY_SLOTS + 1 };

extern const agenda_kind agenda_asyncgen_kind;
extern const agenda_kind agenda_asend_kind, agenda_athrow_kind;

/* Pushes a new awaitable of `verb` on the generator at `index` with the `n` values (or the error)
** on the top. [-n, +1, may raise] */
agenda_asyncgen_call *agenda_asyncgen_new_call(lua_State *L, int index, agenda_asyncgen_verb verb,
                                               int n);

/* Raises the error on the top at the yield of a call that has not been stepped, as a task does
** that is cancelled before its first run. The call is at index 1: `return ...`. */
int agenda_asyncgen_call_throw(lua_State *L);

/* From the body of the generator that runs: how its next values may be had. */
void agenda_asyncgen_set_at_hand(agenda_state *state, agenda_asyncgen_at_hand at_hand,
                                 void *source);

void agenda_open_asyncgen(lua_State *L);
void agenda_open_asyncgen_call(lua_State *L);

/* ----- asyncgen_guard.c */

/* The generator at `index` was suspended by a value-yield. [-0, +0, may raise] */
void agenda_asyncgen_guard(lua_State *L, agenda_asyncgen *generator, int index);

static inline void agenda_asyncgen_suspended(lua_State *L, agenda_asyncgen *generator, int index)
{
  if (AGENDA_UNLIKELY(!generator->held))
    agenda_asyncgen_guard(L, generator, index);
}

void agenda_open_asyncgen_guard(lua_State *L);

/* ----- between asyncgen.c and asyncgen_call.c: what a consumer makes of an outcome, the checks */

int agenda_asyncgen_gc(lua_State *L);
int agenda_asyncgen_receive_next(lua_State *L, agenda_frame *frame, agenda_outcome what, int n);
int agenda_asyncgen_receive_close(lua_State *L, agenda_frame *frame, agenda_outcome what, int n);
int agenda_asyncgen_raise_running(lua_State *L);
void agenda_asyncgen_begin(lua_State *L, agenda_asyncgen *generator, int index);

#endif
