/*
** asyncgen_call.c: the awaitables of anext, asend, athrow and aclose: awaited, or driven by hand.
**
**           await: to the end
**     NEW ---------------------> SPENT
**      |                           ^
**      | send, throw by hand       | value, end, error, close
**      +-------> STEPPING ---------+
**                 |    ^ send, throw: waits again
**                 +----+
*/
#include "asyncgen.h"
#include "errors.h"

static int await_call(lua_State *L);

const agenda_kind agenda_asend_kind = {"async_generator_asend", "agenda.asyncgen_asend", NULL,
                                       await_call, false};
const agenda_kind agenda_athrow_kind = {"async_generator_athrow", "agenda.asyncgen_athrow", NULL,
                                        await_call, false};

enum { CALL_GENERATOR = 1, CALL_VALUES, CALL_SLOTS = CALL_VALUES };

static agenda_asyncgen_call *check_call(lua_State *L)
{
  agenda_asyncgen_call *call = agenda_object_test(L, 1, &agenda_asend_kind);
  return call != NULL ? call : agenda_object_check(L, 1, &agenda_athrow_kind);
}

agenda_asyncgen_call *agenda_asyncgen_new_call(lua_State *L, int index, agenda_asyncgen_verb verb,
                                               int n)
{
  agenda_asyncgen *generator = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  if (n != 1)
    agenda_values_pack(L, n);
  agenda_asyncgen_call *call =
    agenda_object_new(L, generator->body.object.state,
                      verb <= AGENDA_ASEND ? &agenda_asend_kind : &agenda_athrow_kind,
                      sizeof *call, CALL_SLOTS);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, CALL_VALUES);
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, CALL_GENERATOR);
  call->generator = generator;
  call->values = n;
  call->verb = (uint8_t)verb;
  return call;
}

/* Pushes the call's values, n of them. */
static int push_values(lua_State *L, const agenda_asyncgen_call *call)
{
  int n = call->values;
  if (n == 0)
    return 0;
  lua_getiuservalue(L, 1, CALL_VALUES);
  if (n == 1)
    return 1;
  luaL_checkstack(L, n, "too many values to send");
  int list = lua_gettop(L);
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, list, i);
  lua_remove(L, list);
  return n;
}

static int raise_spent(lua_State *L, const agenda_asyncgen_call *call)
{
  return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "cannot reuse already awaited %s",
                            call->verb <= AGENDA_ASEND ? "anext()/asend()" : "athrow()/aclose()");
}

/* What a call does with the generator as it stands. */
typedef enum {
  STEP_SEND,   /* resume it with the values on the top */
  STEP_THROW,  /* raise the error on the top in it */
  STEP_NOTHING /* the call is over: nothing to close */
} step;

static void check_not_running(lua_State *L, const agenda_frame *frame)
{
  if (frame->status == AGENDA_FRAME_RUNNING || frame->status == AGENDA_FRAME_WAITING)
    agenda_asyncgen_raise_running(L);
}

/*
** Readies a new call, which is spent from here on: leaves what to resume with on the top; values
** that the first step by hand brings take the place of the call's own, as in CPython. The
** generator stands under it, so that it lives until the outcome.
*/
static step ready(lua_State *L, agenda_asyncgen_call *call, int *n)
{
  bool brought = call->verb <= AGENDA_ASEND && agenda_body_any_value(L, lua_gettop(L) - 1);
  agenda_asyncgen *generator = call->generator;
  agenda_frame *frame = &generator->body.frame;
  *n = 0;
  call->status = AGENDA_CALL_SPENT;
  check_not_running(L, frame);
  if (!brought)
    lua_settop(L, 1);
  lua_getiuservalue(L, 1, CALL_GENERATOR);
  lua_insert(L, 2);
  bool fresh = frame->status == AGENDA_FRAME_CREATED;
  bool finished = frame->status == AGENDA_FRAME_FINISHED;
  switch (call->verb) {
    case AGENDA_ANEXT:
    case AGENDA_ASEND:
      if (finished)
        agenda_error_raise(L, AGENDA_STOP_ASYNC_ITERATION, NULL);
      *n = brought ? lua_gettop(L) - 2 : push_values(L, call);
      if (fresh && agenda_body_any_value(L, *n))
        agenda_error_raise(L, AGENDA_TYPE_ERROR,
                           "can't send non-nil value to a just-started async generator");
      if (fresh) {
        lua_settop(L, 2);
        *n = 0;
        agenda_asyncgen_begin(L, generator, 2);
        check_not_running(L, frame); /* the hook may have used it */
        if (frame->status == AGENDA_FRAME_FINISHED)
          agenda_error_raise(L, AGENDA_STOP_ASYNC_ITERATION, NULL);
      }
      return STEP_SEND;
    case AGENDA_ATHROW:
      *n = push_values(L, call);
      if (fresh)
        agenda_frame_drop(L, frame);
      if (fresh || finished)
        lua_error(L);
      return STEP_THROW;
    default:
      if (fresh)
        agenda_frame_drop(L, frame);
      if (fresh || finished)
        return STEP_NOTHING;
      agenda_error_push(L, AGENDA_GENERATOR_EXIT, NULL);
      *n = 1;
      return STEP_THROW;
  }
}

static agenda_receive receive_of(const agenda_asyncgen_call *call)
{
  return call->verb == AGENDA_ACLOSE ? agenda_asyncgen_receive_close
                                     : agenda_asyncgen_receive_next;
}

static int await_call(lua_State *L)
{
  agenda_asyncgen_call *call = check_call(L);
  int n;
  if (call->status != AGENDA_CALL_NEW)
    return raise_spent(L, call);
  step what = ready(L, call, &n);
  if (what == STEP_NOTHING)
    return 0;
  return agenda_frame_call(L, &call->generator->body.frame, n, what == STEP_THROW,
                           receive_of(call));
}

/* Spends a new call for the error on the top, which is raised at once unless the generator is
** suspended at a yield. False if the call is over: GeneratorExit ends an aclose().
** [-0, +0, may raise] */
static bool ready_throw(lua_State *L, agenda_asyncgen_call *call)
{
  agenda_frame *frame = &call->generator->body.frame;
  call->status = AGENDA_CALL_SPENT;
  check_not_running(L, frame);
  if (frame->status == AGENDA_FRAME_CREATED)
    agenda_frame_drop(L, frame);
  if (frame->status != AGENDA_FRAME_FINISHED)
    return true;
  if (call->verb != AGENDA_ACLOSE || !agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT))
    lua_error(L);
  return false;
}

int agenda_asyncgen_call_throw(lua_State *L)
{
  agenda_asyncgen_call *call = check_call(L);
  if (call->status != AGENDA_CALL_NEW)
    return raise_spent(L, call);
  if (!ready_throw(L, call))
    return 0;
  lua_getiuservalue(L, 1, CALL_GENERATOR);
  lua_insert(L, 2);
  return agenda_frame_call(L, &call->generator->body.frame, 1, true, receive_of(call));
}

/* ----- by hand ------------------------------------------------------------------------- */

/* Whether a call that is between two steps can have its next: none of them is under way. */
static bool can_step(const agenda_frame *frame)
{
  return frame->status == AGENDA_FRAME_WAITING && frame->caller == NULL && frame->leaf != NULL;
}

/* The end of a step by hand: waits come out as values, the end as StopIteration. */
static int finish_step(lua_State *L, agenda_asyncgen_call *call, agenda_outcome what, int n)
{
  if (what == AGENDA_WAIT) {
    call->status = AGENDA_CALL_STEPPING;
    return n;
  }
  call->status = AGENDA_CALL_SPENT;
  lua_getiuservalue(L, 1, CALL_GENERATOR);
  lua_insert(L, 2);
  n = receive_of(call)(L, &call->generator->body.frame, what, n);
  return agenda_error_raise_stop(L, n);
}

/*** Drives the call to its next wait, with no loop (PEP 525).
@function asyncgen_call:send
@param ... what the wait gives; nothing at the first step
@return what it is blocked on: a pending Future, or the values of `suspend`
@raise StopIteration with the yielded values; StopAsyncIteration at the end */
static int l_call_send(lua_State *L)
{
  agenda_asyncgen_call *call = check_call(L);
  agenda_frame *frame = &call->generator->body.frame;
  int n = lua_gettop(L) - 1;
  agenda_outcome what;
  switch (call->status) {
    case AGENDA_CALL_NEW: {
      if (call->verb > AGENDA_ASEND && agenda_body_any_value(L, n))
        return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                                  "can't send non-nil value to a just-started coroutine");
      step first = ready(L, call, &n);
      if (first == STEP_NOTHING)
        return agenda_error_raise_stop(L, 0);
      what = agenda_body_hand(L, frame, n, first == STEP_THROW, &n);
      return finish_step(L, call, what, n);
    }
    case AGENDA_CALL_STEPPING:
      if (!can_step(frame))
        return agenda_asyncgen_raise_running(L);
      what = agenda_body_hand(L, frame, n, false, &n);
      return finish_step(L, call, what, n);
    default:
      return raise_spent(L, call);
  }
}

/*** Raises an error where the call waits; before its first step, at the generator's yield.
@function asyncgen_call:throw
@param err any error value, or an error class
@return what it is blocked on next
@raise the error if it is not handled; StopIteration, StopAsyncIteration as `send` */
static int l_call_throw(lua_State *L)
{
  agenda_asyncgen_call *call = check_call(L);
  agenda_frame *frame = &call->generator->body.frame;
  int n;
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  agenda_error_instance(L, 2);
  if (call->status == AGENDA_CALL_SPENT)
    return raise_spent(L, call);
  if (call->status == AGENDA_CALL_NEW) {
    if (!ready_throw(L, call))
      return agenda_error_raise_stop(L, 0);
  }
  else if (!can_step(frame))
    return agenda_asyncgen_raise_running(L);
  agenda_outcome what = agenda_body_hand(L, frame, 1, true, &n);
  return finish_step(L, call, what, n);
}

/*** Gives the call up. In flight, the body gets GeneratorExit and the generator is finished.
@function asyncgen_call:close
@raise RuntimeError "async generator ignored GeneratorExit" if the body suspends again (where it
waits, the call is still in flight), "asynchronous generator is already running" from within it */
static int l_call_close(lua_State *L)
{
  agenda_asyncgen_call *call = check_call(L);
  agenda_frame *frame = &call->generator->body.frame;
  int n;
  lua_settop(L, 1);
  bool stepping =
    call->status == AGENDA_CALL_STEPPING && frame->status != AGENDA_FRAME_FINISHED;
  if (stepping && !can_step(frame))
    return agenda_asyncgen_raise_running(L);
  call->status = AGENDA_CALL_SPENT;
  if (!stepping)
    return 0;
  agenda_error_push(L, AGENDA_GENERATOR_EXIT, NULL);
  agenda_outcome what = agenda_body_hand(L, frame, 1, true, &n);
  if (what == AGENDA_WAIT)
    call->status = AGENDA_CALL_STEPPING;
  return agenda_asyncgen_receive_close(L, frame, what, n);
}

/*** Awaits the call; the same as `agenda.await(call)`. Awaits.
@function asyncgen_call:await
@return the yielded values
@raise StopAsyncIteration at the end; RuntimeError if it was awaited before */
static int l_call_await(lua_State *L)
{
  check_call(L);
  lua_settop(L, 1);
  agenda_state *state = agenda_state_here(L);
  const char *why =
    agenda_frame_here(state, L) ? NULL : agenda_frame_cannot_wait(L, state, false);
  if (why != NULL)
    return agenda_frame_refuse_wait(L, state, "await", why);
  return await_call(L);
}

/* <async_generator_asend anext of name at 0x...> */
static int l_call_tostring(lua_State *L)
{
  agenda_asyncgen_call *call = check_call(L);
  static const char *const verbs[] = {"anext", "asend", "athrow", "aclose"};
  lua_getiuservalue(L, 1, CALL_GENERATOR);
  lua_pushfstring(L, "%s of %s", verbs[call->verb], agenda_body_push_name(L, 2));
  return agenda_push_description(L, &call->object, lua_tostring(L, -1));
}

/* No __gc: of a call that is dropped between two steps the generator has the rest to do. */
static const luaL_Reg metamethods[] = {
  {"__tostring", l_call_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"send", l_call_send},
  {"throw", l_call_throw},
  {"close", l_call_close},
  {"await", l_call_await},
  {NULL, NULL}
};

void agenda_open_asyncgen_call(lua_State *L)
{
  agenda_class_register(L, &agenda_asend_kind, metamethods, methods, NULL);
  agenda_class_register(L, &agenda_athrow_kind, metamethods, methods, NULL);
}
