/*
** generator.c: generators, `yield` and `yield_from`.
**
** All routes into a body end in a receive function, which turns the body's outcome (a value, a
** return, an error) into what its consumer asked for: a loop's next values, StopIteration, the
** return values of a close.
*/
#include "generator.h"

#include <string.h>

#include "errors.h"

static int l_generator_close(lua_State *L);

const agenda_kind agenda_generator_kind = {"generator", "agenda.generator", NULL, NULL, false};

static const char WHAT[] = "generator";

static agenda_body *check_generator(lua_State *L, int index)
{
  return agenda_object_check(L, index, &agenda_generator_kind);
}

static int raise_executing(lua_State *L)
{
  return agenda_error_raise(L, AGENDA_VALUE_ERROR, "generator already executing");
}

static bool is_executing(const agenda_frame *frame)
{
  return frame->status == AGENDA_FRAME_RUNNING || frame->status == AGENDA_FRAME_WAITING;
}

/* ----- what consumers make of an outcome ----------------------------------------------- */

static int receive_iteration(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  (void)frame;
  if (AGENDA_LIKELY(what == AGENDA_VALUE)) {
    if (AGENDA_UNLIKELY(n == 0 || lua_isnil(L, -n)))
      return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                                "generator yielded a leading nil, which a loop takes for the end; "
                                "use next()");
    return n;
  }
  if (what == AGENDA_ERROR)
    return agenda_body_raise(L, WHAT, false);
  lua_pushnil(L);
  return 1;
}

static int receive_next(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  (void)frame;
  if (what == AGENDA_VALUE)
    return n;
  if (what == AGENDA_RETURN)
    return agenda_error_raise_stop(L, n);
  return agenda_body_raise(L, WHAT, false);
}

static int receive_close(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  (void)frame;
  if (what == AGENDA_RETURN)
    return n;
  if (what == AGENDA_VALUE)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "generator ignored GeneratorExit");
  if (agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT))
    return 0;
  return agenda_body_raise(L, WHAT, false);
}

/* ----- verbs --------------------------------------------------------------------------- */

/*** The next values, or nil at the end: what a `for` calls. May await if the body does.
@function generator:__call
@return the yielded values
@raise ValueError "generator already executing"; RuntimeError for a leading nil */
static int l_generator_call(lua_State *L)
{
  agenda_body *generator = agenda_object_quick(L, 1, &agenda_generator_kind);
  if (AGENDA_UNLIKELY(generator == NULL))
    generator = check_generator(L, 1);
  switch (generator->frame.status) {
    case AGENDA_FRAME_CREATED:
    case AGENDA_FRAME_SUSPENDED:
      return agenda_frame_call(L, &generator->frame, 0, false, receive_iteration);
    case AGENDA_FRAME_FINISHED:
      lua_pushnil(L);
      return 1;
    default:
      return raise_executing(L);
  }
}

/*** Sends values to the suspended yield; the next yielded values.
@function generator:send
@param ... the results of the suspended `yield`
@return the next yielded values
@raise StopIteration at the end (`value`, `values`); TypeError for a non-nil value to a
just-started generator; ValueError "generator already executing" */
static int l_generator_send(lua_State *L)
{
  agenda_body *generator = check_generator(L, 1);
  agenda_frame *frame = &generator->frame;
  int n = lua_gettop(L) - 1;
  if (is_executing(frame))
    return raise_executing(L);
  if (frame->status == AGENDA_FRAME_FINISHED)
    return agenda_error_raise_stop(L, 0);
  if (frame->status == AGENDA_FRAME_CREATED) {
    if (agenda_body_any_value(L, n))
      return agenda_error_raise(L, AGENDA_TYPE_ERROR,
                                "can't send non-nil value to a just-started generator");
    lua_settop(L, 1);
    n = 0;
  }
  return agenda_frame_call(L, frame, n, false, receive_next);
}

/*** The next yielded values.
@function generator:next
@return the values
@raise StopIteration at the end (`value`, `values`); ValueError "generator already executing" */
static int l_generator_next(lua_State *L)
{
  check_generator(L, 1);
  lua_settop(L, 1);
  return l_generator_send(L);
}

/*** Raises an error at the suspended yield; the next values if the body handles it.
@function generator:throw
@param err any error value, or an error class
@return the next yielded values
@raise the error, if the body lets it out; StopIteration at the end */
static int l_generator_throw(lua_State *L)
{
  agenda_body *generator = check_generator(L, 1);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  agenda_error_instance(L, 2);
  switch (generator->frame.status) {
    case AGENDA_FRAME_CREATED:
      agenda_frame_drop(L, &generator->frame);
      return lua_error(L);
    case AGENDA_FRAME_FINISHED:
      return lua_error(L);
    case AGENDA_FRAME_SUSPENDED:
      return agenda_frame_call(L, &generator->frame, 1, true, receive_next);
    default:
      return raise_executing(L);
  }
}

/*** Raises GeneratorExit at the suspended yield, so that the body's cleanup runs.
@function generator:close
@return the body's return values, if it returns
@raise RuntimeError "generator ignored GeneratorExit" if it yields; what the cleanup raises */
static int l_generator_close(lua_State *L)
{
  agenda_body *generator = check_generator(L, 1);
  agenda_frame *frame = &generator->frame;
  lua_settop(L, 1);
  if (agenda_body_abandoned(L, frame)) {
    int n;
    agenda_outcome what = agenda_frame_close_now(L, frame, &n);
    return receive_close(L, frame, what == AGENDA_WAIT ? AGENDA_VALUE : what, n);
  }
  switch (frame->status) {
    case AGENDA_FRAME_CREATED:
      agenda_frame_drop(L, frame);
      return 0;
    case AGENDA_FRAME_FINISHED:
      return 0;
    case AGENDA_FRAME_SUSPENDED:
      agenda_error_push(L, AGENDA_GENERATOR_EXIT, NULL);
      return agenda_frame_call(L, frame, 1, true, receive_close);
    default:
      return raise_executing(L);
  }
}

/*
** Collected while suspended: the body gets GeneratorExit. One that waits inside a chain is closed
** by the chain's outermost part, which is collected with it.
*/
static int l_generator_gc(lua_State *L)
{
  agenda_body *generator = agenda_object_test(L, 1, &agenda_generator_kind);
  if (generator == NULL)
    return 0;
  agenda_frame *frame = &generator->frame;
  if (frame->status == AGENDA_FRAME_CREATED)
    agenda_frame_drop(L, frame);
  if (frame->status == AGENDA_FRAME_FINISHED)
    return 0;
  if (frame->status == AGENDA_FRAME_WAITING && frame->caller != NULL) {
    agenda_body_rearm(L);
    return 0;
  }
  int n;
  agenda_outcome what = agenda_frame_close_now(L, frame, &n);
  if (what == AGENDA_VALUE || what == AGENDA_WAIT) {
    agenda_frame_drop(L, frame);
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "generator ignored GeneratorExit");
  }
  else if (what == AGENDA_RETURN || agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT))
    return 0;
  else if (frame->status != AGENDA_FRAME_FINISHED) {
    agenda_body_rearm(L); /* the C stack was used up: the next collection tries again */
    return 0;
  }
  agenda_body_warn_closing(L, WHAT, "generator");
  return 0;
}

/* ----- yield --------------------------------------------------------------------------- */

/* NB: the context is the state, which outlives every coroutine: cheaper than the upvalue. */
static int after_yield(lua_State *L, int status, lua_KContext context)
{
  agenda_state *state = (agenda_state *)context;
  agenda_frame *frame = state->current;
  (void)status;
  if (AGENDA_UNLIKELY(frame == NULL || frame->co != L || frame->throwing))
    agenda_frame_resumed(L, state);
  return lua_gettop(L);
}

static int refuse_yield(lua_State *L, agenda_state *state)
{
  const agenda_frame *frame = state->current;
  if (frame != NULL && frame->co == L && frame->yields != AGENDA_YIELDS_NOT && frame->scopes > 0)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "cannot yield a value inside an open %s scope of this body: the "
                              "scope could cancel the consumer",
                              frame->scopes & 0xff ? "timeout" : "taskgroup");
  if (frame != NULL && frame->co == L && frame->yields != AGENDA_YIELDS_NOT)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "cannot yield here: Lua cannot yield in a gsub or sort callback, a "
                              "metamethod or a finalizer");
  if (frame != NULL && frame->co != L)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "yield outside a generator: this plain coroutine is not the body of "
                              "one");
  return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "yield outside a generator");
}

/*** Hands the values to the consumer of the generator or async generator whose body this is.
@function yield
@param ... the values; nil is a value
@return what is sent
@raise RuntimeError outside a generator; what is thrown in */
static int l_yield(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  agenda_frame *frame = state->current;
  if (AGENDA_UNLIKELY(frame == NULL || frame->co != L || frame->yields == AGENDA_YIELDS_NOT ||
                      frame->scopes != 0 || !lua_isyieldable(L)))
    return refuse_yield(L, state);
  frame->tag = AGENDA_TAG_VALUE;
  return lua_yieldk(L, lua_gettop(L), (lua_KContext)state, after_yield);
}

/* ----- yield_from -------------------------------------------------------------------------

** The sub-generator stands at index 1 of the suspended call, where gi_yieldfrom finds it. What is
** sent or thrown in at the delegation goes on to it.
*/

static int after_delegated_yield(lua_State *L, int status, lua_KContext context);

static int receive_delegated(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  (void)frame;
  if (what == AGENDA_RETURN)
    return n;
  if (what == AGENDA_ERROR)
    return agenda_body_raise(L, WHAT, false);
  agenda_state *state = agenda_state_here(L);
  agenda_frame *delegating = state->current;
  if (delegating->scopes != 0 || !lua_isyieldable(L))
    return refuse_yield(L, state);
  delegating->tag = AGENDA_TAG_VALUE;
  return lua_yieldk(L, n, 0, after_delegated_yield);
}

/* The sub-generator was closed because the delegation was; index 2 holds that GeneratorExit. */
static int receive_delegated_close(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  (void)n;
  if (what == AGENDA_VALUE ||
      (what == AGENDA_ERROR && !agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT)))
    return receive_close(L, frame, what, n);
  lua_settop(L, 2);
  return agenda_error_propagate(L);
}

static int after_delegated_yield(lua_State *L, int status, lua_KContext context)
{
  agenda_state *state = agenda_state_here(L);
  agenda_frame *delegating = state->current;
  agenda_frame *frame = &((agenda_body *)lua_touserdata(L, 1))->frame;
  (void)status;
  (void)context;
  bool throwing = delegating != NULL && delegating->co == L && delegating->throwing;
  if (!throwing) {
    agenda_frame_resumed(L, state);
    if (frame->status == AGENDA_FRAME_FINISHED)
      return 0;
    if (is_executing(frame))
      return raise_executing(L);
    return agenda_frame_call(L, frame, lua_gettop(L) - 1, false, receive_delegated);
  }
  delegating->throwing = false;
  lua_settop(L, 2);
  if (frame->status == AGENDA_FRAME_FINISHED)
    return agenda_error_propagate(L);
  if (is_executing(frame))
    return raise_executing(L);
  if (!agenda_error_is(L, 2, AGENDA_GENERATOR_EXIT))
    return agenda_frame_call(L, frame, 1, true, receive_delegated);
  lua_pushvalue(L, 2);
  return agenda_frame_call(L, frame, 1, true, receive_delegated_close);
}

/* A plain iterator: function, state, control and closing value at 1 to 4. */
static int yield_items(lua_State *L, int status, lua_KContext asked);

static int after_item(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  agenda_frame_resumed(L, agenda_state_here(L));
  if (agenda_body_any_value(L, lua_gettop(L) - 4))
    return agenda_error_raise(L, AGENDA_TYPE_ERROR,
                              "can't send a non-nil value to a plain iterator");
  lua_settop(L, 4);
  return yield_items(L, LUA_OK, 0);
}

static int yield_items(lua_State *L, int status, lua_KContext asked)
{
  (void)status;
  if (!asked) {
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_callk(L, 2, LUA_MULTRET, 1, yield_items);
  }
  if (lua_gettop(L) == 4 || lua_isnil(L, 5))
    return 0;
  agenda_state *state = agenda_state_here(L);
  lua_copy(L, 5, 3);
  if (state->current->scopes != 0 || !lua_isyieldable(L))
    return refuse_yield(L, state);
  state->current->tag = AGENDA_TAG_VALUE;
  return lua_yieldk(L, lua_gettop(L) - 4, 0, after_item);
}

/*** Delegates to a generator, or to anything that a `for` accepts (PEP 380).
@function yield_from
@param ... a generator, or an iterator function, its state, control and closing value
@return the sub-generator's return values
@raise TypeError inside an async generator or for what cannot be iterated; RuntimeError outside a
generator */
static int l_yield_from(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  agenda_frame *frame = state->current;
  luaL_checkany(L, 1);
  if (frame != NULL && frame->co == L && frame->yields == AGENDA_YIELDS_ASYNC)
    return agenda_error_raise(L, AGENDA_TYPE_ERROR, "'yield_from' inside an async generator");
  if (frame == NULL || frame->co != L || frame->yields == AGENDA_YIELDS_NOT ||
      !lua_isyieldable(L))
    return refuse_yield(L, state);
  agenda_body *sub = agenda_object_test(L, 1, &agenda_generator_kind);
  if (sub != NULL) {
    lua_settop(L, 1);
    if (sub->frame.status == AGENDA_FRAME_FINISHED)
      return 0;
    if (is_executing(&sub->frame))
      return raise_executing(L);
    return agenda_frame_call(L, &sub->frame, 0, false, receive_delegated);
  }
  if (!lua_isfunction(L, 1)) {
    const agenda_kind *kind = agenda_object_kind(L, 1);
    if (luaL_getmetafield(L, 1, "__call") == LUA_TNIL)
      return agenda_error_raise(L, AGENDA_TYPE_ERROR, "'%s' is not iterable",
                                kind != NULL ? kind->name : luaL_typename(L, 1));
    lua_pop(L, 1);
  }
  lua_settop(L, 4);
  lua_toclose(L, 4);
  return yield_items(L, LUA_OK, 0);
}

/* ----- fields and class ---------------------------------------------------------------- */

/* Pushes what a suspended generator delegates to, or nil. */
static void push_yieldfrom(lua_State *L, const agenda_frame *frame)
{
  lua_Debug info;
  if (frame->status != AGENDA_FRAME_SUSPENDED || !lua_getstack(frame->co, 0, &info) ||
      !lua_getinfo(frame->co, "f", &info)) {
    lua_pushnil(L);
    return;
  }
  bool delegating = lua_tocfunction(frame->co, -1) == l_yield_from;
  lua_pop(frame->co, 1);
  if (!delegating || lua_getlocal(frame->co, &info, 1) == NULL)
    lua_pushnil(L);
  else
    lua_xmove(frame->co, L, 1);
}

static int l_generator_index(lua_State *L)
{
  if (agenda_class_method(L))
    return 1;
  agenda_body *generator = check_generator(L, 1);
  int n = agenda_body_field(L, "gi");
  if (n >= 0)
    return n;
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "gi_yieldfrom") == 0) {
    push_yieldfrom(L, &generator->frame);
    return 1;
  }
  return 0;
}

/* Only the name can be assigned. */
static int l_generator_newindex(lua_State *L)
{
  return agenda_body_assign(L, check_generator(L, 1), false);
}

/* <generator name at 0x...> */
static int l_generator_tostring(lua_State *L)
{
  return agenda_body_tostring(L, check_generator(L, 1));
}

static int make_generator(lua_State *L)
{
  agenda_body_new(L, &agenda_generator_kind, sizeof(agenda_body), AGENDA_BODY_SLOTS,
                  AGENDA_YIELDS_VALUES);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, 1);
  return 4;
}

/*** Makes a generator function (PEP 255). Calling it runs nothing and returns the generator, nil,
nil, the generator, so that a `for` over the call closes it when the loop is left.
@function generator
@tparam[opt="file.lua:12"] string name
@tparam function fn the body
@treturn function the generator function */
static int l_generator(lua_State *L)
{
  return agenda_body_factory(L, &agenda_generator_kind, make_generator);
}

static const luaL_Reg metamethods[] = {
  {"__call", l_generator_call},
  {"__close", l_generator_close},
  {"__gc", l_generator_gc},
  {"__newindex", l_generator_newindex},
  {"__tostring", l_generator_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"next", l_generator_next},
  {"send", l_generator_send},
  {"throw", l_generator_throw},
  {"close", l_generator_close},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"generator", l_generator},
  {"yield", l_yield},
  {"yield_from", l_yield_from},
  {NULL, NULL}
};

void agenda_open_generator(lua_State *L)
{
  agenda_class_register(L, &agenda_generator_kind, metamethods, methods, l_generator_index);
  agenda_functions_register(L, functions);
}
