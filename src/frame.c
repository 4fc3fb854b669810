/*
** frame.c: a coroutine that agenda drives, and the routing of its yields.
**
** A frame yields for two reasons. A value-yield (AGENDA_TAG_VALUE) ends the call of its consumer.
** An await-yield (AGENDA_TAG_WAIT, or a bare coroutine.yield: AGENDA_TAG_FOREIGN) goes outward:
** each consumer on the way yields too (AGENDA_TAG_RELAY), until the runner has it. The runner
** remembers the leaf, where it came from, and resumes that one directly when the wait is over;
** when the leaf then yields a value or ends, the runner resumes the leaf's caller with it. So a
** wake-up costs the same at any depth.
**
** A consumer's call nests one lua_resume. Past a small number of nested calls it does not nest
** but asks the runner (AGENDA_CALL) to start the callee, so that depth is bounded by memory.
**
**             init            call             value-yield
**   (none) ---------> CREATED ------> RUNNING <-----------> SUSPENDED
**                        |             |   ^
**                   drop |  return,    |   | await-yield, call of a callee
**                        v  error      v   v
**                     FINISHED <-------+  WAITING
**
** The coroutine's stack begins with frame_main, the owner of the frame (so that the owner lives
** as long as its coroutine does) and the message handler. The body runs under a protected call,
** so that its pending to-be-closed variables are closed where they may wait, and so that the
** trace is taken where the error was raised.
*/
#include "frame.h"

#include "errors.h"

enum { MAX_NESTING = 16 };

/* So many values fit on any C function's stack beside what the library has there. */
enum { FEW_VALUES = 8 };

/* ----- the base of each coroutine ------------------------------------------------------ */

/*
** Gives back the owner and the results: agenda_frame_take finds the owner below them and lets
** the coroutine go.
*/
static int finish_main(lua_State *L, int status, lua_KContext context)
{
  agenda_frame *frame = (agenda_frame *)context;
  if (AGENDA_UNLIKELY(status != LUA_OK && status != LUA_YIELD)) {
    frame->failed = true;
    lua_copy(L, -1, 3);
    lua_settop(L, 3);
  }
  lua_copy(L, 1, 2);
  return lua_gettop(L) - 1;
}

/* Stack: owner, message handler, body's function, arguments. The frame's address is its context. */
static int frame_main(lua_State *L)
{
  lua_KContext context = (lua_KContext)lua_touserdata(L, -1);
  lua_pop(L, 1);
  int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, context, finish_main);
  return finish_main(L, status, context);
}

void agenda_frame_init(lua_State *L, agenda_state *state, agenda_frame *frame, int owner,
                       int nargs, agenda_yields yields)
{
  AGENDA_TORTURE(L);
  frame->state = state;
  lua_State *co = lua_newthread(L);
  lua_setiuservalue(L, owner, AGENDA_FRAME_THREAD);
  if (nargs > LUA_MINSTACK - 6)
    luaL_checkstack(co, nargs + 6, "too many arguments");
  lua_pushcfunction(co, frame_main);
  lua_pushvalue(L, owner);
  lua_xmove(L, co, 1);
  lua_pushcfunction(co, agenda_error_on_raise);
  lua_xmove(L, co, nargs + 1);
  lua_pushlightuserdata(co, frame);
  frame->co = co;
  frame->yields = (uint8_t)yields;
  frame->status = AGENDA_FRAME_CREATED;
}

/* NB: the frame's address stays on the top, where frame_main takes it from. */
void agenda_frame_add_argument(lua_State *L, agenda_frame *frame)
{
  lua_pop(frame->co, 1);
  lua_xmove(L, frame->co, 1);
  lua_pushlightuserdata(frame->co, frame);
}

/* ----- resuming ------------------------------------------------------------------------ */

/*
** NB: lua_resume may refuse without running anything (the C stack is used up, or somebody else
** finished the coroutine with coroutine.resume); the coroutine's status tells. A frame that was
** refused for want of C stack goes on unless its arguments, now lost, were those of its start.
*/
static agenda_outcome resume_failed(agenda_frame *frame, uint8_t tag, int *n)
{
  lua_State *co = frame->co;
  *n = 1;
  if (lua_status(co) == LUA_YIELD) {
    frame->status = tag == AGENDA_TAG_VALUE ? AGENDA_FRAME_SUSPENDED : AGENDA_FRAME_WAITING;
    frame->tag = tag;
    frame->throwing = false;
    return AGENDA_ERROR;
  }
  frame->status = AGENDA_FRAME_FINISHED;
  frame->state->live.count[AGENDA_LIVE_FRAMES]--;
  frame->failed = true;
  return AGENDA_ERROR;
}

/* Runs the frame with the `nargs` values on its coroutine's stack, until its next yield or end.
** A call of it would be two per cent of what a loop over a generator takes. */
static inline __attribute__((always_inline)) agenda_outcome
resume(lua_State *from, agenda_state *state, agenda_frame *frame, int nargs, int *n)
{
  agenda_frame *previous = state->current;
  lua_State *co = frame->co;
  uint8_t tag = frame->tag;
  if (frame->status == AGENDA_FRAME_CREATED) {
    nargs = lua_gettop(co) - 1;
    state->live.count[AGENDA_LIVE_FRAMES]++;
  }
  state->current = frame;
  frame->status = AGENDA_FRAME_RUNNING;
  frame->tag = AGENDA_TAG_FOREIGN;
  int status = lua_resume(co, from, nargs, n);
  state->current = previous;
  if (AGENDA_LIKELY(status == LUA_YIELD)) {
    if (frame->tag == AGENDA_TAG_VALUE) {
      frame->status = AGENDA_FRAME_SUSPENDED;
      return AGENDA_VALUE;
    }
    frame->status = AGENDA_FRAME_WAITING;
    if (frame->tag == AGENDA_TAG_FOREIGN) {
      state->leaf = frame;
      state->leaf_values = *n;
      state->outward = AGENDA_WAIT;
    }
    return (agenda_outcome)state->outward;
  }
  if (AGENDA_UNLIKELY(status != LUA_OK))
    return resume_failed(frame, tag, n);
  frame->status = AGENDA_FRAME_FINISHED;
  state->live.count[AGENDA_LIVE_FRAMES]--;
  *n -= 1; /* the owner lies below */
  return frame->failed ? AGENDA_ERROR : AGENDA_RETURN;
}

static bool is_terminal(agenda_outcome what)
{
  return what <= AGENDA_ERROR;
}

/* Lets a finished frame's coroutine go; its stack holds the owner if the base returned. */
static void release(agenda_frame *frame)
{
  lua_State *co = frame->co;
  frame->co = NULL;
  if (lua_status(co) == LUA_OK && lua_gettop(co) >= 1 && lua_isuserdata(co, 1)) {
    bool shared = lua_getiuservalue(co, 1, AGENDA_FRAME_THREAD) == LUA_TTABLE;
    lua_pushnil(co);
    if (AGENDA_UNLIKELY(shared))
      lua_rawseti(co, -2, 0);
    else
      lua_setiuservalue(co, 1, AGENDA_FRAME_THREAD);
    lua_settop(co, 1);
  }
}

/* Moves outcome values without raising; false if there is no room. */
static bool move(lua_State *L, agenda_frame *frame, lua_State *where, int n)
{
  if (AGENDA_UNLIKELY(n > FEW_VALUES && !lua_checkstack(L, n + LUA_MINSTACK))) {
    lua_pop(where, n);
    return false;
  }
  lua_xmove(where, L, n);
  if (frame->status == AGENDA_FRAME_FINISHED && frame->co != NULL)
    release(frame);
  return true;
}

void agenda_frame_take(lua_State *L, agenda_frame *frame, lua_State *where, int n)
{
  if (AGENDA_UNLIKELY(n > 2))
    luaL_checkstack(L, 4, "values of a coroutine");
  if (!move(L, frame, where, n))
    luaL_error(L, "stack overflow (too many values from a coroutine)");
}

void agenda_frame_drop(lua_State *L, agenda_frame *frame)
{
  lua_State *co = frame->co;
  if (frame->status != AGENDA_FRAME_FINISHED) {
    if (frame->status != AGENDA_FRAME_CREATED)
      frame->state->live.count[AGENDA_LIVE_FRAMES]--;
    frame->status = AGENDA_FRAME_FINISHED;
  }
  frame->co = NULL;
  if (co != NULL && (lua_status(co) != LUA_OK || lua_gettop(co) > 0))
    agenda_compat_closethread(co, L);
}

/* ----- throwing ------------------------------------------------------------------------ */

/*
** In a bare coroutine.yield there is no continuation of ours to raise an error. This hook raises
** it as that yield returns (an event that also sees `pcall(coroutine.yield)`), or at the next
** instruction, and puts the user's own hook back.
*/
static void on_throw(lua_State *L, lua_Debug *info)
{
  agenda_state *state = agenda_state_get(L);
  (void)info;
  lua_sethook(L, state->saved_hook, state->saved_mask, state->saved_count);
  agenda_slot_push_slow(L, AGENDA_SLOT_THROWN);
  lua_pushnil(L);
  agenda_slot_set_slow(L, AGENDA_SLOT_THROWN);
  agenda_error_propagate(L);
}

/*
** Hands the `nargs` values on the top of L to the frame; gives the number to resume it with.
** An error goes to the continuation of its yield, or by the hook into a bare yield.
*/
static int give(lua_State *L, agenda_frame *frame, int nargs, bool throw)
{
  lua_State *co = frame->co;
  if (AGENDA_UNLIKELY(throw && frame->tag == AGENDA_TAG_FOREIGN)) {
    agenda_state *state = frame->state;
    agenda_slot_set_slow(L, AGENDA_SLOT_THROWN);
    state->saved_hook = lua_gethook(co);
    state->saved_mask = lua_gethookmask(co);
    state->saved_count = lua_gethookcount(co);
    lua_sethook(co, on_throw, LUA_MASKRET | LUA_MASKCOUNT, 1);
    return 0;
  }
  if (nargs > 0) {
    if (nargs > FEW_VALUES && !lua_checkstack(co, nargs + LUA_MINSTACK))
      luaL_error(L, "stack overflow (too many values for a coroutine)");
    lua_xmove(L, co, nargs);
  }
  frame->throwing = throw;
  return nargs;
}

void agenda_frame_resumed(lua_State *L, agenda_state *state)
{
  agenda_frame *frame = state->current;
  if (AGENDA_UNLIKELY(frame == NULL || frame->co != L))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                       "a coroutine of agenda's was resumed from outside");
  if (AGENDA_UNLIKELY(frame->throwing)) {
    frame->throwing = false;
    agenda_error_propagate(L);
  }
}

/* ----- waiting ------------------------------------------------------------------------- */

/*
** Whether each consumer between the frame and its runner's base can yield, for a wait goes out by
** way of them. Those that have yielded already stand beyond: a runner resumed the frame directly.
*/
static bool can_relay(lua_State *L, const agenda_frame *frame)
{
  if (!lua_isyieldable(L))
    return false;
  for (frame = frame->caller; frame != NULL && frame->status == AGENDA_FRAME_RUNNING;
       frame = frame->caller)
    if (!lua_isyieldable(frame->co))
      return false;
  return true;
}

const char *agenda_frame_cannot_wait(lua_State *L, agenda_state *state, bool future)
{
  agenda_frame *frame = state->current;
  if (frame == NULL || frame->co != L) {
    bool main_thread = lua_pushthread(L);
    lua_pop(L, 1);
    if (main_thread)
      return "there is no coroutine to suspend here; use agenda.run";
    if (!lua_isyieldable(L))
      return "Lua cannot yield here (in a gsub or sort callback, a metamethod or a finalizer)";
    if (!future)
      return NULL;
    if (frame != NULL)
      return "a plain coroutine stands between the await and its task; use agenda.generator "
             "instead of coroutine.wrap, waits pass through it";
    return "agenda does not drive this coroutine; use agenda.run and agenda.spawn";
  }
  if (!can_relay(L, frame))
    return "Lua cannot yield here (in a gsub or sort callback, a metamethod or a finalizer)";
  const agenda_runner *runner = state->runner;
  if (!runner->can_wait)
    return "nothing can wait here (in the main program, a gsub or sort callback, a metamethod or "
           "a finalizer)";
  if (future && runner->kind == AGENDA_RUNNER_FOREIGN) {
    for (const agenda_runner *outer = runner->outer; outer != NULL; outer = outer->outer)
      if (outer->kind == AGENDA_RUNNER_TASK)
        return "a plain coroutine stands between the await and its task; use agenda.generator "
               "instead of coroutine.wrap, waits pass through it";
    return "agenda does not drive this coroutine; use agenda.run and agenda.spawn";
  }
  return NULL;
}

int agenda_frame_wait(lua_State *L, agenda_state *state, int n, lua_KContext ctx,
                      lua_KFunction k)
{
  agenda_frame *frame = state->current;
  frame->tag = AGENDA_TAG_WAIT;
  state->leaf = frame;
  state->leaf_values = n;
  state->outward = AGENDA_WAIT;
  return lua_yieldk(L, n, ctx, k);
}

bool agenda_frame_is_executing(const agenda_frame *frame)
{
  if (frame->leaf != NULL)
    return false;
  while (frame->status == AGENDA_FRAME_WAITING && frame->callee != NULL)
    frame = frame->callee;
  return frame->status == AGENDA_FRAME_RUNNING;
}

/* ----- runners ------------------------------------------------------------------------- */

/* Undoes the link between a callee and the frame that waits on it. */
static void detach(agenda_frame *frame)
{
  if (frame->caller != NULL) {
    frame->caller->callee = NULL;
    frame->caller = NULL;
  }
}

/*
** NB: nothing in the loop raises, because the runner lives on this C stack and must be taken off
** the state's list. A delivery for which there is no room is marked by a negative count.
*/
agenda_outcome agenda_frame_drive(lua_State *from, agenda_runner *runner, agenda_frame *base,
                                  int nargs, bool throw, lua_State **where, int *n)
{
  agenda_state *state = base->state;
  agenda_frame *frame = base->leaf != NULL ? base->leaf : base;
  nargs = give(from, frame, nargs, throw);
  base->leaf = NULL;
  state->propagating = NULL;
  runner->base = base;
  runner->outer = state->runner;
  state->runner = runner;
  agenda_outcome what;
  for (;;) {
    what = resume(from, state, frame, nargs, n);
    if (is_terminal(what)) {
      agenda_frame *caller = frame->caller;
      if (frame == base || caller == NULL || caller->co == NULL)
        break;
      bool moved = move(caller->co, frame, frame->co, *n);
      caller->delivery = (uint8_t)what;
      caller->delivered = moved ? *n : -1;
      nargs = moved ? *n : 0;
      frame = caller;
    }
    else if (what == AGENDA_CALL) {
      frame = state->leaf;
      nargs = state->leaf_values;
    }
    else {
      base->leaf = frame = state->leaf;
      *n = state->leaf_values;
      break;
    }
  }
  state->runner = runner->outer;
  *where = frame->co;
  return what;
}

/* A callee's outcome has come to the consumer that yielded for it; see agenda_frame_call. */
static int on_delivery(lua_State *L, int status, lua_KContext context)
{
  agenda_state *state = agenda_state_here(L);
  agenda_frame *caller = state->current;
  (void)status;
  (void)context;
  if (caller == NULL || caller->co != L || caller->callee == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "a coroutine of agenda's was resumed from outside");
  agenda_frame *frame = caller->callee;
  detach(frame);
  if (caller->delivered < 0)
    return luaL_error(L, "stack overflow (too many values from a coroutine)");
  return frame->receive(L, frame, (agenda_outcome)caller->delivery, caller->delivered);
}

static int on_foreign_resume(lua_State *L, int status, lua_KContext context);

/*
** Drives the frame for a coroutine that agenda does not drive: what waits goes to whoever
** resumes that coroutine, with the values of the yield and no others, and what it is resumed
** with goes back to the leaf.
*/
static int drive_foreign(lua_State *L, agenda_frame *frame, int nargs, bool throw)
{
  lua_State *where;
  int n;
  agenda_runner runner = {.kind = AGENDA_RUNNER_FOREIGN, .can_wait = lua_isyieldable(L)};
  for (;;) {
    agenda_outcome what = agenda_frame_drive(L, &runner, frame, nargs, throw, &where, &n);
    if (is_terminal(what)) {
      frame->foreign = NULL;
      agenda_frame_take(L, frame, where, n);
      return frame->receive(L, frame, what, n);
    }
    if (runner.can_wait)
      break;
    lua_pop(where, n); /* a bare coroutine.yield that nobody can carry on */
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "%s",
                      "there is no coroutine to suspend here: nothing can wait in the main "
                      "program or in a callback that Lua cannot yield from");
    nargs = 1;
    throw = true;
  }
  frame->foreign = L;
  frame->foreign_top = (uint16_t)lua_gettop(L);
  agenda_frame_take(L, frame, where, n);
  return lua_yieldk(L, n, (lua_KContext)frame, on_foreign_resume);
}

/*
** NB: the frame of the context is alive, since its object stands on this function's stack.
*/
static int on_foreign_resume(lua_State *L, int status, lua_KContext context)
{
  agenda_frame *frame = (agenda_frame *)context;
  (void)status;
  if (frame->foreign != L || frame->leaf == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "the coroutine that this call waited for is gone");
  return drive_foreign(L, frame, lua_gettop(L) - frame->foreign_top, false);
}

int agenda_frame_call(lua_State *L, agenda_frame *frame, int nargs, bool throw,
                      agenda_receive receive)
{
  agenda_state *state = frame->state;
  agenda_frame *caller = state->current;
  frame->receive = receive;
  if (caller == NULL || caller->co != L)
    return drive_foreign(L, frame, nargs, throw);
  if (nargs > 0)
    nargs = give(L, frame, nargs, throw);
  frame->caller = caller;
  caller->callee = frame;
  if (state->nesting >= MAX_NESTING && can_relay(L, caller)) {
    caller->tag = AGENDA_TAG_RELAY;
    state->leaf = frame;
    state->leaf_values = nargs;
    state->outward = AGENDA_CALL;
    return lua_yieldk(L, 0, 0, on_delivery);
  }
  for (;;) {
    int n;
    state->nesting++;
    agenda_outcome what = resume(L, state, frame, nargs, &n);
    state->nesting--;
    if (AGENDA_LIKELY(what == AGENDA_VALUE && n <= FEW_VALUES)) {
      frame->caller = NULL;
      caller->callee = NULL;
      lua_xmove(frame->co, L, n);
      return receive(L, frame, what, n);
    }
    if (is_terminal(what)) {
      detach(frame);
      agenda_frame_take(L, frame, frame->co, n);
      return receive(L, frame, what, n);
    }
    if (can_relay(L, caller)) {
      caller->tag = AGENDA_TAG_RELAY;
      return lua_yieldk(L, 0, 0, on_delivery);
    }
    /* A bare coroutine.yield below, and Lua cannot yield here: the error goes in there. */
    agenda_frame *leaf = state->leaf;
    lua_pop(leaf->co, state->leaf_values);
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "%s",
                      "Lua cannot yield here (in a gsub or sort callback, a metamethod or a "
                      "finalizer)");
    nargs = give(L, leaf, 1, true);
    AGENDA_ASSERT(leaf == frame);
  }
}

/* ----- closing at once ----------------------------------------------------------------- */

agenda_outcome agenda_frame_close_now(lua_State *L, agenda_frame *frame, int *n)
{
  lua_State *where;
  agenda_runner runner = {.kind = AGENDA_RUNNER_HAND, .can_wait = false};
  luaL_checkstack(L, 8, "closing a coroutine");
  detach(frame);
  frame->foreign = NULL;
  agenda_error_push(L, AGENDA_GENERATOR_EXIT, NULL);
  agenda_outcome what = agenda_frame_drive(L, &runner, frame, 1, true, &where, n);
  agenda_frame_take(L, frame, where, *n);
  return what;
}

/* ----- suspend ------------------------------------------------------------------------- */

static int after_suspend(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  agenda_frame_resumed(L, agenda_state_here(L));
  return lua_gettop(L);
}

static int after_plain_yield(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L);
}

int agenda_frame_refuse_wait(lua_State *L, agenda_state *state, const char *what, const char *why)
{
  agenda_error_push(L, AGENDA_RUNTIME_ERROR, "cannot %s: %s", what, why);
  state->refusal = lua_topointer(L, -1);
  return lua_error(L);
}

/*** The lowest-level await-yield: hands the values outward, past every generator, to what drives
the outermost coroutine. Under a task, with no values, lets the loop take one turn. Awaits.
@function suspend
@param ... what the driver gets
@return what the driver resumes with
@raise RuntimeError where nothing can be suspended; what the driver throws in */
static int l_suspend(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  const char *why = agenda_frame_cannot_wait(L, state, false);
  if (why != NULL)
    return agenda_frame_refuse_wait(L, state, "suspend", why);
  if (!agenda_frame_here(state, L))
    return lua_yieldk(L, lua_gettop(L), 0, after_plain_yield);
  return agenda_frame_wait(L, state, lua_gettop(L), 0, after_suspend);
}

static const luaL_Reg functions[] = {
  {"suspend", l_suspend},
  {NULL, NULL}
};

void agenda_open_frame(lua_State *L)
{
  agenda_functions_register(L, functions);
}
