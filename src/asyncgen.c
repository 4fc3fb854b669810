/*
** asyncgen.c: async generators: iteration, closing, collection.
**
** A generator is in flight while its frame runs or waits: then another call of it is refused.
** The loop's call of the generator (`for v in g`) is the fast road: no awaitable is made for it.
**
** Collected while suspended, a generator goes to its finalizer, alive again; where a host (a
** running loop) adopted it, the host starts its cleanup as a task; with neither, GeneratorExit is
** thrown in at once.
*/
#include "asyncgen.h"

#include <string.h>

#include "errors.h"
#include "list.h"

const agenda_kind agenda_asyncgen_kind = {"async_generator", "agenda.asyncgen", NULL, NULL, false};

static const char WHAT[] = "async generator";

static agenda_asyncgen *check_asyncgen(lua_State *L, int index)
{
  return agenda_object_check(L, index, &agenda_asyncgen_kind);
}

int agenda_asyncgen_raise_running(lua_State *L)
{
  return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                            "asynchronous generator is already running");
}

/* A finished generator has no need of its host any more. */
static void settle(lua_State *L, agenda_asyncgen *generator)
{
  agenda_host *host = generator->host;
  generator->host = NULL;
  if (host != NULL)
    host->release(L, host);
}

static agenda_asyncgen *of_frame(agenda_frame *frame)
{
  return AGENDA_LIST_OWNER(frame, agenda_asyncgen, body.frame);
}

/* ----- what consumers make of an outcome ----------------------------------------------- */

/* A body that returned values, or raised: the errors that PEP 525 makes of it. */
static int raise_end(lua_State *L, agenda_outcome what, int n)
{
  if (what == AGENDA_ERROR)
    return agenda_body_raise(L, WHAT, true);
  (void)n;
  return agenda_error_raise(L, AGENDA_TYPE_ERROR, "async generator returned a value");
}

static int receive_iteration(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  if (AGENDA_LIKELY(what == AGENDA_VALUE)) {
    if (AGENDA_UNLIKELY(n == 0 || lua_isnil(L, -n)))
      return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                                "async generator yielded a leading nil, which a loop takes for the "
                                "end; use await(g:anext())");
    agenda_asyncgen_suspended(L, of_frame(frame), 1);
    return n;
  }
  if (frame->status == AGENDA_FRAME_FINISHED)
    settle(L, of_frame(frame));
  if (what == AGENDA_ERROR || agenda_body_any_value(L, n))
    return raise_end(L, what, n);
  lua_pushnil(L);
  return 1;
}

int agenda_asyncgen_receive_next(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  if (what == AGENDA_VALUE) {
    agenda_asyncgen_suspended(L, of_frame(frame), 2);
    return n;
  }
  if (frame->status == AGENDA_FRAME_FINISHED)
    settle(L, of_frame(frame));
  if (what == AGENDA_ERROR || agenda_body_any_value(L, n))
    return raise_end(L, what, n);
  return agenda_error_raise(L, AGENDA_STOP_ASYNC_ITERATION, NULL);
}

int agenda_asyncgen_receive_close(lua_State *L, agenda_frame *frame, agenda_outcome what, int n)
{
  if (what == AGENDA_VALUE || what == AGENDA_WAIT)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "async generator ignored GeneratorExit");
  if (frame->status == AGENDA_FRAME_FINISHED)
    settle(L, of_frame(frame));
  if (what == AGENDA_ERROR && agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT))
    return 0;
  if (what == AGENDA_ERROR || agenda_body_any_value(L, n))
    return raise_end(L, what, n);
  return 0;
}

/* ----- iteration ----------------------------------------------------------------------- */

/* Calls the hooks before the first step; the generator keeps the finalizer in force now. */
void agenda_asyncgen_begin(lua_State *L, agenda_asyncgen *generator, int index)
{
  if (AGENDA_LIKELY(generator->begun))
    return;
  index = lua_absindex(L, index);
  luaL_checkstack(L, 8, "async generator hooks");
  generator->begun = true;
  agenda_hooks_first(L, generator->body.object.state, &generator->host, index);
  if (lua_isnil(L, -1))
    lua_pop(L, 1);
  else
    agenda_body_set_extra(L, index, AGENDA_EXTRA_FINALIZER);
}

void agenda_asyncgen_set_at_hand(agenda_state *state, agenda_asyncgen_at_hand at_hand, void *source)
{
  agenda_asyncgen *generator = of_frame(state->current);
  generator->at_hand = at_hand;
  generator->source = source;
}

static int iterate_at_hand(lua_State *L, agenda_asyncgen *generator)
{
  int n = generator->at_hand(L, generator->source);
  return n > 0 ? n : agenda_frame_call(L, &generator->body.frame, 0, false, receive_iteration);
}

/*** The next values, or nil at the end: what a `for` calls. Awaits.
@function asyncgen:__call
@return the yielded values
@raise RuntimeError "asynchronous generator is already running", and for a leading nil */
static int l_asyncgen_call(lua_State *L)
{
  agenda_asyncgen *generator = agenda_object_quick(L, 1, &agenda_asyncgen_kind);
  if (AGENDA_UNLIKELY(generator == NULL))
    generator = check_asyncgen(L, 1);
  agenda_frame *frame = &generator->body.frame;
  switch (frame->status) {
    case AGENDA_FRAME_CREATED:
      lua_settop(L, 1);
      agenda_asyncgen_begin(L, generator, 1);
      if (frame->status != AGENDA_FRAME_CREATED)
        return l_asyncgen_call(L); /* the hook has iterated it */
      /* FALLTHROUGH */
    case AGENDA_FRAME_SUSPENDED:
      if (AGENDA_UNLIKELY(generator->at_hand != NULL))
        return iterate_at_hand(L, generator);
      return agenda_frame_call(L, frame, 0, false, receive_iteration);
    case AGENDA_FRAME_FINISHED:
      lua_pushnil(L);
      return 1;
    default:
      return agenda_asyncgen_raise_running(L);
  }
}

/*** An awaitable of the next values (PEP 525).
@function asyncgen:anext
@treturn awaitable it ends with StopAsyncIteration at the end */
static int l_asyncgen_anext(lua_State *L)
{
  check_asyncgen(L, 1);
  agenda_asyncgen_new_call(L, 1, AGENDA_ANEXT, 0);
  return 1;
}

/*** An awaitable that sends values to the suspended yield and gives the next values (PEP 525).
@function asyncgen:asend
@param ... the results of the suspended `yield`; nothing but nil at the start
@treturn awaitable it ends with StopAsyncIteration at the end */
static int l_asyncgen_asend(lua_State *L)
{
  check_asyncgen(L, 1);
  agenda_asyncgen_new_call(L, 1, AGENDA_ASEND, lua_gettop(L) - 1);
  return 1;
}

/*** An awaitable that raises an error at the suspended yield and gives the next values (PEP 525).
@function asyncgen:athrow
@param err any error value, or an error class
@treturn awaitable it raises the error if the body lets it out */
static int l_asyncgen_athrow(lua_State *L)
{
  check_asyncgen(L, 1);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  agenda_error_instance(L, 2);
  agenda_asyncgen_new_call(L, 1, AGENDA_ATHROW, 1);
  return 1;
}

/*** An awaitable that raises GeneratorExit at the suspended yield and runs the cleanup (PEP 525).
@function asyncgen:aclose
@treturn awaitable it raises RuntimeError if the body yields again */
static int l_asyncgen_aclose(lua_State *L)
{
  check_asyncgen(L, 1);
  agenda_asyncgen_new_call(L, 1, AGENDA_ACLOSE, 0);
  return 1;
}

/* ----- closing ------------------------------------------------------------------------- */

/*
** Closes where nothing can wait: the running loop goes on with the cleanup from its first pending
** await; without a loop the cleanup must do without waiting.
*/
static int close_without_waiting(lua_State *L, agenda_asyncgen *generator)
{
  agenda_frame *frame = &generator->body.frame;
  agenda_state *state = generator->body.object.state;
  agenda_host *host = state->host;
  int n;
  if (frame->status == AGENDA_FRAME_SUSPENDED && host != NULL && host->close(L, host, 1))
    return 0;
  state->refusal = NULL;
  agenda_outcome what = agenda_frame_close_now(L, frame, &n);
  bool refused = what == AGENDA_ERROR && lua_istable(L, -1) &&
                 lua_topointer(L, -1) == state->refusal;
  if (what == AGENDA_WAIT || refused) {
    const char *reason = what == AGENDA_WAIT ? "it waits" : luaL_tolstring(L, -1, NULL);
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "%s cannot finish its cleanup here, and no loop runs to do so: %s",
                              luaL_tolstring(L, 1, NULL), reason);
  }
  return agenda_asyncgen_receive_close(L, frame, what, n);
}

/*
** The end of a loop or block that owns the generator: aclose, awaited in place. One that another
** cleanup closes already is waited for.
*/
static int l_asyncgen_close(lua_State *L)
{
  agenda_asyncgen *generator = check_asyncgen(L, 1);
  agenda_frame *frame = &generator->body.frame;
  agenda_state *state = agenda_state_here(L);
  lua_settop(L, 1);
  switch (frame->status) {
    case AGENDA_FRAME_CREATED:
      agenda_frame_drop(L, frame);
      return 0;
    case AGENDA_FRAME_FINISHED:
      return 0;
    case AGENDA_FRAME_SUSPENDED:
      if (agenda_frame_cannot_wait(L, state, false) != NULL ||
          (!agenda_frame_here(state, L) && state->host != NULL))
        return close_without_waiting(L, generator);
      agenda_error_push(L, AGENDA_GENERATOR_EXIT, NULL);
      return agenda_frame_call(L, frame, 1, true, agenda_asyncgen_receive_close);
    default:
      if (agenda_body_abandoned(L, frame))
        return close_without_waiting(L, generator);
      if (agenda_body_push_extra(L, 1, AGENDA_EXTRA_CLOSER) != LUA_TNIL) {
        const agenda_kind *closer = agenda_object_kind(L, 2);
        if (agenda_frame_cannot_wait(L, state, true) != NULL)
          return 0;
        lua_replace(L, 1);
        return closer->await(L);
      }
      return agenda_asyncgen_raise_running(L);
  }
}

/* ----- the collector ------------------------------------------------------------------- */

static void report_collected(lua_State *L)
{
  const char *name = agenda_body_push_name(L, 1);
  agenda_body_push_extra(L, 1, AGENDA_EXTRA_MADE);
  const char *made = lua_tostring(L, -1);
  const char *message = lua_pushfstring(
    L, "async generator '%s' was collected while suspended (made at %s); close it, or iterate over "
    "the call itself", name, made != NULL && *made != '\0' ? made : "?");
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "asyncgen");
  agenda_warn(L, message);
  lua_settop(L, 1);
}

/* With nobody to hand it to: GeneratorExit at once. A cleanup that waits fails, and is told of. */
static void close_collected(lua_State *L, agenda_asyncgen *generator)
{
  agenda_frame *frame = &generator->body.frame;
  int n;
  agenda_outcome what = agenda_frame_close_now(L, frame, &n);
  if (what == AGENDA_VALUE || what == AGENDA_WAIT) {
    agenda_frame_drop(L, frame);
    agenda_error_push(L, AGENDA_RUNTIME_ERROR, "async generator ignored GeneratorExit");
  }
  else if (what == AGENDA_RETURN || agenda_error_is(L, -1, AGENDA_GENERATOR_EXIT)) {
    settle(L, generator);
    return;
  }
  else if (frame->status != AGENDA_FRAME_FINISHED) {
    agenda_body_rearm(L); /* the C stack was used up: the next collection tries again */
    return;
  }
  settle(L, generator);
  agenda_body_warn_closing(L, WHAT, "asyncgen");
}

/* To the host, the finalizer, or GeneratorExit at once: see the top of the file. */
int agenda_asyncgen_gc(lua_State *L)
{
  agenda_asyncgen *generator = agenda_object_test(L, 1, &agenda_asyncgen_kind);
  if (generator == NULL)
    return 0;
  agenda_frame *frame = &generator->body.frame;
  if (generator->guarded) {
    generator->guarded = false;
    agenda_body_rearm(L);
    return 0;
  }
  if (frame->status == AGENDA_FRAME_CREATED)
    agenda_frame_drop(L, frame);
  if (frame->status == AGENDA_FRAME_FINISHED) {
    settle(L, generator);
    return 0;
  }
  if (frame->status == AGENDA_FRAME_WAITING && frame->caller != NULL) {
    agenda_body_rearm(L); /* closed by the chain's outermost part, collected with it */
    return 0;
  }
  if (generator->body.object.state->debug && frame->status == AGENDA_FRAME_SUSPENDED)
    report_collected(L);
  if (frame->status != AGENDA_FRAME_SUSPENDED || generator->dead) {
    close_collected(L, generator);
    return 0;
  }
  agenda_body_rearm(L);
  agenda_host *host = generator->host;
  if (host != NULL && host->close(L, host, 1))
    return 0;
  if (agenda_body_push_extra(L, 1, AGENDA_EXTRA_FINALIZER) == LUA_TNIL) {
    lua_settop(L, 1);
    close_collected(L, generator);
    return 0;
  }
  generator->dead = true; /* collected again, it is not handed out a second time */
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    agenda_body_warn(L, "error in the finalizer of an async generator", "asyncgen");
  return 0;
}

/* ----- fields and class ---------------------------------------------------------------- */

static int l_asyncgen_index(lua_State *L)
{
  if (agenda_class_method(L))
    return 1;
  agenda_asyncgen *generator = check_asyncgen(L, 1);
  const agenda_frame *frame = &generator->body.frame;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "ag_running") == 0)
    lua_pushboolean(L, frame->status == AGENDA_FRAME_RUNNING ||
                         frame->status == AGENDA_FRAME_WAITING);
  else if (strcmp(key, "ag_await") == 0)
    agenda_body_push_awaited(L, frame);
  else if (strcmp(key, "qualname") == 0) {
    if (agenda_body_push_extra(L, 1, AGENDA_EXTRA_QUALNAME) == LUA_TNIL)
      agenda_body_push_name(L, 1);
  }
  else {
    int n = agenda_body_field(L, "ag");
    return n < 0 ? 0 : n;
  }
  return 1;
}

/* Only the names can be assigned. */
static int l_asyncgen_newindex(lua_State *L)
{
  return agenda_body_assign(L, &check_asyncgen(L, 1)->body, true);
}

/* <async_generator name at 0x...> */
static int l_asyncgen_tostring(lua_State *L)
{
  return agenda_body_tostring(L, &check_asyncgen(L, 1)->body);
}

static int make_asyncgen(lua_State *L)
{
  agenda_body_new(L, &agenda_asyncgen_kind, sizeof(agenda_asyncgen), AGENDA_ASYNCGEN_GUARD,
                  AGENDA_YIELDS_ASYNC);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, 1);
  return 4;
}

/*** Makes an async generator function (PEP 525). Calling it runs nothing and returns the async
generator, nil, nil, the async generator, so that a `for` over the call owns it: leaving the loop
awaits its `aclose()`.
@function asyncgen
@tparam[opt="file.lua:12"] string name
@tparam function fn the body
@treturn function the async generator function */
static int l_asyncgen(lua_State *L)
{
  return agenda_body_factory(L, &agenda_asyncgen_kind, make_asyncgen);
}

static const luaL_Reg metamethods[] = {
  {"__call", l_asyncgen_call},
  {"__close", l_asyncgen_close},
  {"__gc", agenda_asyncgen_gc},
  {"__newindex", l_asyncgen_newindex},
  {"__tostring", l_asyncgen_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"anext", l_asyncgen_anext},
  {"asend", l_asyncgen_asend},
  {"athrow", l_asyncgen_athrow},
  {"aclose", l_asyncgen_aclose},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"asyncgen", l_asyncgen},
  {NULL, NULL}
};

void agenda_open_asyncgen(lua_State *L)
{
  agenda_class_register(L, &agenda_asyncgen_kind, metamethods, methods, l_asyncgen_index);
  agenda_functions_register(L, functions);
}
