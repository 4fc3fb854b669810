/*
** body.h: what generators, coroutine objects and async generators have in common: a function, a
** name, a frame.
*/
#ifndef AGENDA_BODY_H
#define AGENDA_BODY_H

#include "frame.h"

typedef struct agenda_body {
  agenda_object object;
  agenda_frame frame;
} agenda_body;

/* User values. */
enum {
  AGENDA_BODY_DEFINITION = AGENDA_FRAME_THREAD + 1, /* shared by all of one function's making */
  AGENDA_BODY_EXTRA,                                /* nil, or a table of what few have */
  AGENDA_BODY_SLOTS = AGENDA_BODY_EXTRA
};

/* Keys of the definition table. */
enum { AGENDA_DEFINITION_FUNCTION = 1, AGENDA_DEFINITION_NAME };

/* Keys of the extra table. */
enum {
  AGENDA_EXTRA_BODY_NAME = 1, /* a name that was assigned */
  AGENDA_EXTRA_QUALNAME,
  AGENDA_EXTRA_FINALIZER,     /* of an async generator */
  AGENDA_EXTRA_CLOSER,        /* the task that closes an async generator */
  AGENDA_EXTRA_MADE           /* debug: where it was made */
};

/* `agenda.generator([name,] fn)` and its like: leaves the function that makes objects of `kind`
** with `make`. [-args, +1, may raise] */
int agenda_body_factory(lua_State *L, const agenda_kind *kind, lua_CFunction make);

/* In a `make` function: the new object takes the place of the arguments. [-args, +1, may raise] */
void *agenda_body_new(lua_State *L, const agenda_kind *kind, size_t size, int slots,
                      agenda_yields yields);

/* Pushes the name of the object at `index`; reads and writes its extra table. */
const char *agenda_body_push_name(lua_State *L, int index);
int agenda_body_push_extra(lua_State *L, int index, int key);
void agenda_body_set_extra(lua_State *L, int index, int key); /* [-1, +0, may raise] */

/* The fields `<prefix>_running`, `_suspended`, `_frame`, `_code`, `name` of the object at 1, key
** at 2: 1 with the value pushed, or -1 for other keys. */
int agenda_body_field(lua_State *L, const char *prefix);

/* __newindex: `name`, and `qualname` where `qualname` is true. */
int agenda_body_assign(lua_State *L, agenda_body *body, bool qualname);

int agenda_body_tostring(lua_State *L, agenda_body *body);

/* Pushes what the body waits on now (index 1 of the suspended call), or nil. [-0, +1] */
void agenda_body_push_awaited(lua_State *L, const agenda_frame *frame);

/* Whether a waiting frame's consumer was unwound (its coroutine was closed) and L is it. */
bool agenda_body_abandoned(lua_State *L, const agenda_frame *frame);

/* Drives the frame by hand: waits come out as values. Leaves the values. [-nargs, +n, may raise] */
agenda_outcome agenda_body_hand(lua_State *L, agenda_frame *frame, int nargs, bool throw, int *n);

/* If the error on the top is a StopIteration (or, with `async`, a StopAsyncIteration), puts a
** RuntimeError "<what> raised StopIteration" in its place. Then raises it. */
int agenda_body_raise(lua_State *L, const char *what, bool async);

/* Whether there is a non-nil value among the `n` on the top. */
bool agenda_body_any_value(lua_State *L, int n);

/* For a __gc: sets the metatable anew, so that the object at 1 can be finalized again. */
void agenda_body_rearm(lua_State *L);

/* For a __gc: warns of the error on the top, which the cleanup of the object at 1, a `what`, has
** raised. [-1, +0] */
void agenda_body_warn_closing(lua_State *L, const char *what, const char *field);

/* Warns of the error on the top as one of the object at 1, the context's `field`. [-1, +0] */
void agenda_body_warn(lua_State *L, const char *message, const char *field);

#endif
