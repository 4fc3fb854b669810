/*
** frame.h: a coroutine that agenda drives. See frame.c for the routing of yields.
*/
#ifndef AGENDA_FRAME_H
#define AGENDA_FRAME_H

#include "support.h"

typedef struct agenda_frame agenda_frame;

/* What running a frame led to. The first three are terminal for the consumer's call. */
typedef enum {
  AGENDA_VALUE,  /* it yielded values to its consumer */
  AGENDA_RETURN, /* its body returned */
  AGENDA_ERROR,  /* its body raised: one value */
  AGENDA_WAIT,   /* something below waits: values belong to the driver */
  AGENDA_CALL    /* something below asks its runner to start another frame */
} agenda_outcome;

typedef enum {
  AGENDA_FRAME_CREATED,
  AGENDA_FRAME_RUNNING,
  AGENDA_FRAME_SUSPENDED, /* at a value-yield */
  AGENDA_FRAME_WAITING,   /* at an await-yield, or its callee is */
  AGENDA_FRAME_FINISHED
} agenda_frame_status;

/* The tag of a frame's last yield. */
typedef enum {
  AGENDA_TAG_FOREIGN, /* a bare coroutine.yield */
  AGENDA_TAG_VALUE,
  AGENDA_TAG_WAIT,
  AGENDA_TAG_RELAY    /* a callee's wait or call on its way outward */
} agenda_tag;

/* Which value-yields a body may make. */
typedef enum { AGENDA_YIELDS_NOT, AGENDA_YIELDS_VALUES, AGENDA_YIELDS_ASYNC } agenda_yields;

/*
** What the consumer does with a terminal outcome: `n` values are on the top of L, the
** consumer's C function is the running one (or its continuation), and the result is
** that function's result. May yield, by returning lua_yieldk or agenda_frame_call.
*/
typedef int (*agenda_receive)(lua_State *L, agenda_frame *frame, agenda_outcome what, int n);

/* First user value of each object that holds a frame. */
enum { AGENDA_FRAME_THREAD = 1 }; /* the coroutine, or a table of the owner's that has it at 0 */

/* What stands on a new coroutine's stack up to the body's function. */
enum { AGENDA_BASE_FUNCTION = 1, AGENDA_BASE_OWNER, AGENDA_BASE_HANDLER, AGENDA_BASE_BODY };

struct agenda_frame {
  agenda_state *state;
  lua_State *co;            /* NULL once finished */
  agenda_frame *caller;     /* the frame that waits on this one */
  agenda_frame *callee;     /* the frame that this one waits on */
  agenda_frame *leaf;       /* of a parked base: the frame to resume when the wait is over */
  agenda_receive receive;   /* of the consumer's call under way */
  lua_State *foreign;       /* the foreign coroutine whose call of this base is under way */
  int delivered;            /* number of values delivered by a callee */
  uint16_t foreign_top;     /* stack height of that foreign call */
  uint8_t status;           /* agenda_frame_status */
  uint8_t tag;              /* agenda_tag */
  uint8_t yields;           /* agenda_yields */
  uint8_t delivery;         /* agenda_outcome that a callee delivered */
  bool throwing;            /* the next resume raises its argument */
  bool failed;              /* the body ended by an error */
  bool scopes_exempt;       /* its values go to no loop: a context manager's body */
  uint16_t scopes;          /* open scopes of this body (PEP 789): timeouts, and 256 x groups */
};

typedef enum {
  AGENDA_RUNNER_TASK,   /* a task's step: waits on futures go to the loop */
  AGENDA_RUNNER_HAND,   /* send, throw, close by hand: waits come out as values */
  AGENDA_RUNNER_FOREIGN /* a call from a coroutine that agenda does not drive */
} agenda_runner_kind;

/* Drives a base frame and all that it waits on. Lives on the C stack for one run. */
typedef struct agenda_runner {
  struct agenda_runner *outer;
  agenda_frame *base;
  void *task;              /* the task of an AGENDA_RUNNER_TASK */
  uint8_t kind;            /* agenda_runner_kind */
  bool can_wait;           /* what waits may be carried outward */
} agenda_runner;

/*
** Gives the frame a coroutine for the function and its `nargs` arguments on the top of L.
** `owner` is the absolute index of the userdata that holds the frame. [-(nargs+1), +0, may raise]
*/
void agenda_frame_init(lua_State *L, agenda_state *state, agenda_frame *frame, int owner,
                       int nargs, agenda_yields yields);

/* One more argument, from the top of L, for a frame that has not begun. [-1, +0] */
void agenda_frame_add_argument(lua_State *L, agenda_frame *frame);

/*
** A consumer's call: runs the frame with the `nargs` values on the top until a terminal
** outcome, then gives it to `receive`. Must be the last thing that a C function does:
** `return agenda_frame_call(...)`. The object must stay on the stack below the values.
** With `throw`, nargs is 1 and the value is raised at the frame's yield. [may raise, may yield]
*/
int agenda_frame_call(lua_State *L, agenda_frame *frame, int nargs, bool throw,
                      agenda_receive receive);

/*
** Drives `base` as the runner describes (kind, task, can_wait are set by the caller): takes the
** `nargs` values on the top of `from`, hands them to the leaf (the base itself if it is not
** parked), runs until a terminal outcome of the base or AGENDA_WAIT. Then `*n` values are on
** the stack of `*where`: move them with agenda_frame_take. [-nargs, +0]
*/
agenda_outcome agenda_frame_drive(lua_State *from, agenda_runner *runner, agenda_frame *base,
                                  int nargs, bool throw, lua_State **where, int *n);

/* Moves the `n` outcome values of `frame` to L; lets a finished frame's coroutine go.
** [-0, +n, may raise] */
void agenda_frame_take(lua_State *L, agenda_frame *frame, lua_State *where, int n);

/* Whether L is the coroutine of the frame that runs now. */
#define agenda_frame_here(state, L) ((state)->current != NULL && (state)->current->co == (L))

/* Whether the frame runs, or what it waits on does: a runner resumes a leaf directly. */
bool agenda_frame_is_executing(const agenda_frame *frame);

/* Why the running code of L cannot wait, as a message, or NULL if it can. A foreign runner may
** carry `suspend` but no wait on a future. */
const char *agenda_frame_cannot_wait(lua_State *L, agenda_state *state, bool future);

/* Raises RuntimeError "cannot WHAT: WHY", with what agenda_frame_cannot_wait said, and notes in the
** state that it did. */
int agenda_frame_refuse_wait(lua_State *L, agenda_state *state, const char *what, const char *why);

/* Await-yield of the current frame with the `n` values on the top. Call as
** `return agenda_frame_wait(...)` after agenda_frame_cannot_wait said NULL. */
int agenda_frame_wait(lua_State *L, agenda_state *state, int n, lua_KContext ctx,
                      lua_KFunction k);

/* At the beginning of a continuation: raises the error that was thrown in, if any, and
** RuntimeError if somebody else resumed the coroutine. */
void agenda_frame_resumed(lua_State *L, agenda_state *state);

/* Ends a frame that never ran, or whose coroutine is beyond use. */
void agenda_frame_drop(lua_State *L, agenda_frame *frame);

/* Raises GeneratorExit in a suspended frame, where nothing may wait, and gives the outcome with
** its values on L: AGENDA_WAIT means that it went on waiting. [-0, +n] */
agenda_outcome agenda_frame_close_now(lua_State *L, agenda_frame *frame, int *n);

/* Pushes {source=, currentline=, name=} for a frame, or nil once it is finished. [-0, +1] */
void agenda_frame_push_info(lua_State *L, const agenda_frame *frame, const char *name);

/* Pushes a traceback of the frame and of those that it waits on. [-0, +1, may raise] */
void agenda_frame_push_stack(lua_State *L, const agenda_frame *frame);

void agenda_open_frame(lua_State *L);

#endif
