/*
** coroutine.c: lazy awaitable values, awaited once or driven by hand.
*/
#include "coroutine.h"

#include <string.h>

#include "errors.h"

static int await_coroutine(lua_State *L);

const agenda_kind agenda_coroutine_kind = {"coroutine", "agenda.coroutine", NULL,
                                           await_coroutine, false};

static const char WHAT[] = "coroutine";

static agenda_coroutine *check_coroutine(lua_State *L, int index)
{
  return agenda_object_check(L, index, &agenda_coroutine_kind);
}

/* Whether it is suspended, and not in a step, and it was driven to there by hand. */
static bool is_in_hand(const agenda_coroutine *coroutine)
{
  const agenda_frame *frame = &coroutine->body.frame;
  return frame->status == AGENDA_FRAME_WAITING && frame->leaf != NULL && frame->caller == NULL &&
         frame->foreign == NULL && !coroutine->owned;
}

void agenda_coroutine_check_unused(lua_State *L, const agenda_coroutine *coroutine)
{
  const agenda_frame *frame = &coroutine->body.frame;
  if (frame->status == AGENDA_FRAME_FINISHED)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "cannot reuse already awaited coroutine");
  if (!coroutine->owned && agenda_frame_is_executing(frame))
    agenda_error_raise(L, AGENDA_VALUE_ERROR, "coroutine already executing");
  if (frame->status != AGENDA_FRAME_CREATED || coroutine->owned)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "coroutine is being awaited already");
}

/* ----- awaiting ------------------------------------------------------------------------ */

static int receive_await(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  (void)frame;
  if (what == AGENDA_ERROR)
    return agenda_body_raise(L, WHAT, false);
  return n;
}

static int await_coroutine(lua_State *L)
{
  agenda_coroutine *coroutine = check_coroutine(L, 1);
  agenda_coroutine_check_unused(L, coroutine);
  coroutine->touched = true;
  return agenda_frame_call(L, &coroutine->body.frame, 0, false, receive_await);
}

/* ----- driving by hand ----------------------------------------------------------------- */

static int finish_step(lua_State *L, agenda_outcome what, int n)
{
  if (what == AGENDA_WAIT)
    return n;
  if (what == AGENDA_RETURN)
    return agenda_error_raise_stop(L, n);
  return agenda_body_raise(L, WHAT, false);
}

static void check_can_drive(lua_State *L, const agenda_coroutine *coroutine)
{
  const agenda_frame *frame = &coroutine->body.frame;
  if (agenda_frame_is_executing(frame))
    agenda_error_raise(L, AGENDA_VALUE_ERROR, "coroutine already executing");
  if (frame->status == AGENDA_FRAME_FINISHED)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "cannot reuse already awaited coroutine");
  if (coroutine->owned)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "coroutine belongs to a task");
  if (frame->status == AGENDA_FRAME_WAITING && !is_in_hand(coroutine))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "coroutine is being awaited already");
}

/*** Drives the coroutine to its next wait, with no loop (PEP 492).
@function coroutine:send
@param ... what the wait gives; nothing but nil at the start
@return what it is blocked on: a pending Future, or the values of `suspend`
@raise StopIteration at the end (`value`, `values`); TypeError, ValueError or
RuntimeError for misuse */
static int l_coroutine_send(lua_State *L)
{
  agenda_coroutine *coroutine = check_coroutine(L, 1);
  int n = lua_gettop(L) - 1;
  check_can_drive(L, coroutine);
  if (coroutine->body.frame.status == AGENDA_FRAME_CREATED) {
    if (agenda_body_any_value(L, n))
      return agenda_error_raise(L, AGENDA_TYPE_ERROR,
                                "can't send non-nil value to a just-started coroutine");
    lua_settop(L, 1);
    n = 0;
  }
  coroutine->touched = true;
  agenda_outcome what = agenda_body_hand(L, &coroutine->body.frame, n, false, &n);
  return finish_step(L, what, n);
}

/*** Raises an error where the coroutine waits, and drives it on.
@function coroutine:throw
@param err any error value, or an error class
@return what it is blocked on next
@raise the error, if it is not handled; StopIteration at the end */
static int l_coroutine_throw(lua_State *L)
{
  agenda_coroutine *coroutine = check_coroutine(L, 1);
  int n;
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  check_can_drive(L, coroutine);
  agenda_error_instance(L, 2);
  coroutine->touched = true;
  if (coroutine->body.frame.status == AGENDA_FRAME_CREATED) {
    agenda_frame_drop(L, &coroutine->body.frame);
    return lua_error(L);
  }
  agenda_outcome what = agenda_body_hand(L, &coroutine->body.frame, 1, true, &n);
  return finish_step(L, what, n);
}

/*** Closes the coroutine: GeneratorExit where it waits, so that its cleanup runs.
@function coroutine:close
@return what its function returns, if it handles GeneratorExit and returns
@raise RuntimeError "coroutine ignored GeneratorExit" if it waits again; what the cleanup raises */
static int l_coroutine_close(lua_State *L)
{
  agenda_coroutine *coroutine = check_coroutine(L, 1);
  agenda_frame *frame = &coroutine->body.frame;
  int n;
  lua_settop(L, 1);
  if (frame->status == AGENDA_FRAME_FINISHED)
    return 0;
  bool abandoned = agenda_body_abandoned(L, frame);
  if (!abandoned)
    check_can_drive(L, coroutine);
  coroutine->touched = true;
  if (frame->status == AGENDA_FRAME_CREATED) {
    agenda_frame_drop(L, frame);
    return 0;
  }
  agenda_outcome what;
  if (abandoned)
    what = agenda_frame_close_now(L, frame, &n);
  else {
    agenda_error_push(L, AGENDA_GENERATOR_EXIT, NULL);
    what = agenda_body_hand(L, frame, 1, true, &n);
  }
  if (what == AGENDA_WAIT)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "coroutine ignored GeneratorExit");
  if (what == AGENDA_ERROR && !agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT))
    return agenda_body_raise(L, WHAT, false);
  return what == AGENDA_RETURN ? n : 0;
}

/*** Awaits the coroutine; the same as `agenda.await(co)`. Awaits.
@function coroutine:await
@return what its function returns
@raise what it raises; RuntimeError if it was awaited before */
static int l_coroutine_await(lua_State *L)
{
  check_coroutine(L, 1);
  lua_settop(L, 1);
  agenda_state *state = agenda_state_here(L);
  const char *why =
    agenda_frame_here(state, L) ? NULL : agenda_frame_cannot_wait(L, state, false);
  if (why != NULL)
    return agenda_frame_refuse_wait(L, state, "await", why);
  return await_coroutine(L);
}

/* ----- the collector ------------------------------------------------------------------- */

static void warn_never_awaited(lua_State *L)
{
  const char *name = agenda_body_push_name(L, 1);
  const char *message = lua_pushfstring(L, "coroutine '%s' was never awaited", name);
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "coroutine");
  if (agenda_body_push_extra(L, 1, AGENDA_EXTRA_MADE) == LUA_TSTRING && lua_rawlen(L, -1) > 0) {
    message = lua_pushfstring(L, "%s (made at %s)", message, lua_tostring(L, -1));
    lua_insert(L, -3);
  }
  lua_pop(L, 1);
  agenda_warn(L, message);
}

/* Never awaited: a warning. Suspended: GeneratorExit, so that its cleanup runs. */
static int l_coroutine_gc(lua_State *L)
{
  agenda_coroutine *coroutine = agenda_object_test(L, 1, &agenda_coroutine_kind);
  if (coroutine == NULL)
    return 0;
  agenda_frame *frame = &coroutine->body.frame;
  if (frame->status == AGENDA_FRAME_CREATED) {
    agenda_frame_drop(L, frame);
    if (!coroutine->touched && !coroutine->owned)
      warn_never_awaited(L);
    return 0;
  }
  if (frame->status == AGENDA_FRAME_FINISHED)
    return 0;
  if (frame->caller != NULL || coroutine->owned) {
    agenda_body_rearm(L); /* closed by what drives it, which is collected with it */
    return 0;
  }
  int n;
  agenda_outcome what = agenda_frame_close_now(L, frame, &n);
  if (what == AGENDA_WAIT) {
    agenda_frame_drop(L, frame);
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "coroutine ignored GeneratorExit");
  }
  else if (what != AGENDA_ERROR || agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT))
    return 0;
  else if (frame->status != AGENDA_FRAME_FINISHED) {
    agenda_body_rearm(L);
    return 0;
  }
  agenda_body_warn_closing(L, WHAT, "coroutine");
  return 0;
}

/* ----- fields and class ---------------------------------------------------------------- */

static int l_coroutine_index(lua_State *L)
{
  if (agenda_class_method(L))
    return 1;
  agenda_coroutine *coroutine = check_coroutine(L, 1);
  int n = agenda_body_field(L, "cr");
  if (n >= 0)
    return n;
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "cr_await") == 0) {
    agenda_body_push_awaited(L, &coroutine->body.frame);
    return 1;
  }
  return 0;
}

/* Only the name can be assigned. */
static int l_coroutine_newindex(lua_State *L)
{
  return agenda_body_assign(L, &check_coroutine(L, 1)->body, false);
}

/* <coroutine name at 0x...> */
static int l_coroutine_tostring(lua_State *L)
{
  return agenda_body_tostring(L, &check_coroutine(L, 1)->body);
}

static int make_coroutine(lua_State *L)
{
  agenda_body_new(L, &agenda_coroutine_kind, sizeof(agenda_coroutine), AGENDA_BODY_SLOTS,
                  AGENDA_YIELDS_NOT);
  return 1;
}

/*** Makes a coroutine function: calling it returns a coroutine object and runs nothing (PEP 492).
@function async
@tparam[opt="file.lua:12"] string name
@tparam function fn the body
@treturn function the coroutine function */
static int l_async(lua_State *L)
{
  return agenda_body_factory(L, &agenda_coroutine_kind, make_coroutine);
}

static const luaL_Reg metamethods[] = {
  {"__close", l_coroutine_close},
  {"__gc", l_coroutine_gc},
  {"__newindex", l_coroutine_newindex},
  {"__tostring", l_coroutine_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"send", l_coroutine_send},
  {"throw", l_coroutine_throw},
  {"close", l_coroutine_close},
  {"await", l_coroutine_await},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"async", l_async},
  {NULL, NULL}
};

void agenda_open_coroutine(lua_State *L)
{
  agenda_class_register(L, &agenda_coroutine_kind, metamethods, methods, l_coroutine_index);
  agenda_functions_register(L, functions);
}
