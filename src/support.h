/*
** support.h: the per-state context, classes of objects, checked userdata.
**
** Every C function of the library is a closure whose first upvalue is the state
** userdata, so that no hot path looks anything up in the registry.
*/
#ifndef AGENDA_SUPPORT_H
#define AGENDA_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "checks.h"
#include "compat.h"

struct agenda_frame;
struct agenda_runner;
struct agenda_event_loop;
struct agenda_schedule;

/* A class of userdata. Objects point at their kind, which makes the check of an
** argument one comparison. */
typedef struct agenda_kind {
  const char *name;      /* what agenda.type says: "async_generator" */
  const char *metatable; /* its __name: "agenda.asyncgen" */
  const struct agenda_kind *parent;
  int (*await)(lua_State *L); /* awaits the object at index 1, alone on the stack; or NULL */
  bool checks_wait;           /* `await` itself finds out whether anything can wait */
} agenda_kind;

/* User values of the state userdata. */
typedef enum {
  AGENDA_SLOT_METATABLES = 1, /* kind (light userdata) -> metatable */
  AGENDA_SLOT_ERRORS,         /* the classes of errors by number, and the table agenda.errors */
  AGENDA_SLOT_TRACES,         /* weak: error object -> recorded trace */
  AGENDA_SLOT_RECENT,         /* traces of errors that are not objects: a ring */
  AGENDA_SLOT_THROWN,         /* the error that the throwing hook is to raise */
  AGENDA_SLOT_FIRSTITER,      /* asyncgen hook, or nil */
  AGENDA_SLOT_FINALIZER,      /* asyncgen hook, or nil */
  AGENDA_SLOT_WARNING,        /* agenda.set_warning_handler's function, or nil */
  AGENDA_SLOT_CONTEXT,        /* the current context of contextvars, or nil */
  AGENDA_SLOT_LOOP,           /* the running loop's userdata, or nil */
  AGENDA_SLOT_DEFAULT_LOOP,   /* set_event_loop's loop, or nil */
  AGENDA_SLOT_TASKS,          /* weak values: task pointer -> task userdata */
  AGENDA_SLOT_FUNCTIONS,      /* weak keys: generator function -> its kind */
  AGENDA_SLOT_HELD,           /* a list of async generators: see asyncgen_guard.c */
  AGENDA_SLOT_LAST = AGENDA_SLOT_HELD
} agenda_slot;

enum { AGENDA_ERROR_CLASSES = 24 };

typedef struct agenda_state {
  int self;                       /* registry reference of the state's userdata */
  lua_State *main;                /* callbacks run here, never on a caller's thread */
  struct agenda_frame *current;   /* the frame whose code runs now, or NULL */
  struct agenda_runner *runner;   /* the innermost runner, or NULL */
  struct agenda_frame *leaf;      /* of the yield that is on its way outward */
  int leaf_values;                /* values on the leaf's stack: yielded or arguments */
  int outward;                    /* an agenda_outcome: AGENDA_WAIT or AGENDA_CALL */
  int nesting;                    /* nested lua_resume calls of ours */
  const void *propagating;        /* the error that is on its way out; see traces.c */
  const void *refusal;            /* the last error that said "cannot await: ..." and the like */
  bool debug;                     /* AGENDA_DEBUG=1, or a loop in debug mode */
  struct agenda_event_loop *loop; /* the running loop, or NULL */
  struct agenda_schedule *schedule; /* the running loop's, or NULL */
  struct agenda_host *host;       /* what adopts async generators, or NULL; see hooks.h */
  /* Reports a context table; set by the running loop. [-1, +0] */
  void (*report)(lua_State *L, struct agenda_state *state);
  const void *error_classes[AGENDA_ERROR_CLASSES];
  const void *error_metatables[AGENDA_ERROR_CLASSES];
  lua_Hook saved_hook;            /* the user's, while a throwing hook is set */
  int saved_mask, saved_count;
  unsigned guards;                /* bytes taken by guards of async generators, about */
  unsigned held;                  /* async generators in AGENDA_SLOT_HELD */
  bool beating;                   /* a heartbeat of theirs is on its way */
  bool has_context;               /* AGENDA_SLOT_CONTEXT is not nil */
  uint32_t cancel_pass;           /* counts requests to cancel */
  uint64_t task_names;            /* for "Task-1", "Task-2" ... */
  agenda_live live;
} agenda_state;

/* The head of each object of the library. */
typedef struct agenda_object {
  const agenda_kind *kind;
  agenda_state *state;
} agenda_object;

/* The state, in a function of the library or its continuation. */
#define agenda_state_here(L) ((agenda_state *)lua_touserdata((L), lua_upvalueindex(1)))

/* The state from anywhere, through the registry; NULL before the library is opened. */
agenda_state *agenda_state_get(lua_State *L);

/* Makes or finds the state and leaves its userdata. `fresh` tells which. [-0, +1, may raise] */
agenda_state *agenda_state_open(lua_State *L, bool *fresh);

/* Pushes the state's userdata through the registry. [-0, +1] */
void agenda_state_push(lua_State *L);

/* Reads or writes a slot of the state, from a function of the library. [-0, +1] / [-1, +0] */
#define agenda_slot_push(L, slot) lua_getiuservalue((L), lua_upvalueindex(1), (slot))
#define agenda_slot_set(L, slot) lua_setiuservalue((L), lua_upvalueindex(1), (slot))

/* The same from code that has no upvalues. */
int agenda_slot_push_slow(lua_State *L, agenda_slot slot);
void agenda_slot_set_slow(lua_State *L, agenda_slot slot);

/* Makes the class's metatable: `metamethods`, and `methods` in a table; either may be NULL.
** With `fields`, __index is that function, with the methods in its second upvalue, else the table
** itself. Leaves nothing. [may raise] */
void agenda_class_register(lua_State *L, const agenda_kind *kind, const luaL_Reg *metamethods,
                           const luaL_Reg *methods, lua_CFunction fields);

/* Pushes the class's metatable. [-0, +1] */
void agenda_class_push(lua_State *L, const agenda_kind *kind);

/* For a `fields` function: pushes methods[key] (key at index 2) and is true if it is there. */
bool agenda_class_method(lua_State *L);

/* A new zeroed object with its metatable set and `slots` user values. [-0, +1, may raise] */
void *agenda_object_new(lua_State *L, agenda_state *state, const agenda_kind *kind, size_t size,
                        int slots);

/* The object at `index` if it is of `kind` or a descendant, else NULL. */
void *agenda_object_test(lua_State *L, int index, const agenda_kind *kind);

/* The same, or an argument error. */
void *agenda_object_check(lua_State *L, int index, const agenda_kind *kind);

/* The same for a class without descendants, on the hottest road: NULL if it is something else. */
static inline void *agenda_object_quick(lua_State *L, int index, const agenda_kind *kind)
{
  agenda_object *object = lua_touserdata(L, index);
  if (AGENDA_LIKELY(object != NULL && lua_rawlen(L, index) >= sizeof *object &&
                    object->kind == kind))
    return object;
  return NULL;
}

/* The kind of any object of the library, or NULL for other values. */
const agenda_kind *agenda_object_kind(lua_State *L, int index);

/* Registers functions with the state as their upvalue into the table on the top. [-0, +0] */
void agenda_functions_register(lua_State *L, const luaL_Reg *functions);

/* Makes one value of the `n` on the top: nil of none, a list of several. [-n, +1, may raise] */
void agenda_values_pack(lua_State *L, int n);

/* Pushes "<kind name at 0x...>"; `name` may be NULL. Returns 1. [-0, +1] */
int agenda_push_description(lua_State *L, const agenda_object *object, const char *name);

/* Pushes "file.lua:12" for the Lua function at `index`. [-0, +1] */
void agenda_push_definition(lua_State *L, int index);

/* Sends `message` and what the table at the top (or nil) holds to the running loop's exception
** handler, the warning handler, or stderr. Takes the table. [-1, +0] */
void agenda_warn(lua_State *L, const char *message);

#endif
