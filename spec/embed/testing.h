/*
** testing.h: what the programs in C that test agenda.h share: a state attached to a loop, and a
** list of tests to be run by their names.
*/
#ifndef AGENDA_SPEC_TESTING_H
#define AGENDA_SPEC_TESTING_H

#include <agenda.h>
#include <ev.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* ----- what the tests share ------------------------------------------------------------ */

static lua_State *L;
static struct ev_loop *ev;
static agenda_loop *loop;

static inline lua_State *new_state(void)
{
  lua_State *state = luaL_newstate();
  CHECK(state != NULL);
  luaL_openlibs(state);
  return state;
}

static inline void attach(int flags)
{
  L = new_state();
  loop = agenda_attach(L, ev, flags);
  CHECK(loop != NULL && lua_gettop(L) == 0);
  CHECK(luaL_dostring(L, "agenda = require 'agenda' log = {}") == LUA_OK);
}

static inline void begin(int flags)
{
  ev = ev_loop_new(EVFLAG_AUTO);
  attach(flags);
}

static inline void end(void)
{
  CHECK(agenda_detach(L) == 0);
  CHECK(lua_gettop(L) == 0);
  lua_close(L);
  ev_loop_destroy(ev);
}

/* Runs a chunk, which is not to fail. */
static inline void run(lua_State *state, const char *chunk)
{
  if (luaL_dostring(state, chunk) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(state, -1));
    exit(1);
  }
}

/* Pushes a function whose body is the text. */
static inline void push(lua_State *state, const char *body)
{
  CHECK(luaL_loadstring(state, body) == LUA_OK);
}

/* What a completion was called with. */
typedef struct outcome {
  int calls, status, n, top;
  lua_Integer first;
  char text[256];
} outcome;

static inline void on_done(lua_State *state, int status, int n, void *ud)
{
  outcome *o = ud;
  o->calls++;
  o->status = status;
  o->n = n;
  o->top = lua_gettop(state);
  o->first = n > 0 ? lua_tointeger(state, 1) : 0;
  snprintf(o->text, sizeof o->text, "%s", n > 0 ? luaL_tolstring(state, 1, NULL) : "");
}

static inline void spawn(const char *body, outcome *o)
{
  push(L, body);
  agenda_spawn(L, 0, o != NULL ? on_done : NULL, o);
  lua_pop(L, 1);
}

static inline void break_loop(struct ev_loop *l, ev_timer *timer, int revents)
{
  (void)timer, (void)revents;
  ev_break(l, EVBREAK_ALL);
}

/* To be posted in vain. */
static inline void on_never(lua_State *state, void *ud)
{
  (void)state, (void)ud;
  CHECK(!"this is never called");
}

/* ----- running them -------------------------------------------------------------------- */

typedef struct test {
  const char *name;
  void (*function)(void);
} test;

#define TEST(name) {#name, test_##name}

static inline int run_tests(const test *tests, size_t n, int argc, char **argv)
{
  for (size_t i = 0; i < n; i++) {
    if (argc < 2)
      puts(tests[i].name);
    else if (strcmp(argv[1], tests[i].name) == 0) {
      tests[i].function();
      return 0;
    }
  }
  return argc < 2 ? 0 : 2;
}

#endif
