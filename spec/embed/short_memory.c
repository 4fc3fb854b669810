/*
** short_memory.c: a host whose n-th allocation of Lua's is refused, for n = 1, 2, ... until a run
** needs no more: first once, so that Lua collects and asks again, then also when it asks again,
** then with all that follow. spec/embed/short_memory_spec.lua runs it. A run may fail, but only by
** saying so; it ends, and leaves nothing in the host's loop.
*/
#include <agenda.h>
#include <ev.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      printf("allocation %ld, line %d: %s\n", refused, __LINE__, #condition);   \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

static long refused, allocations; /* which one is, and how many there were */
static enum { ONCE, TWICE, FOR_GOOD, MODES } mode;
static bool again;
static bool counting;
static int completions, posts;

static void *allocate(void *ud, void *block, size_t old_size, size_t size)
{
  (void)ud, (void)old_size;
  if (size == 0) {
    free(block);
    return NULL;
  }
  if (counting && (block == NULL || size > old_size)) {
    bool refuse = again || ++allocations == refused;
    again = refuse && (mode == FOR_GOOD || (mode == TWICE && !again));
    if (refuse)
      return NULL;
  }
  return realloc(block, size);
}

static void on_done(lua_State *L, int status, int n, void *ud)
{
  (void)L, (void)status, (void)n, (void)ud;
  completions++;
}

static void on_posted(lua_State *L, void *ud)
{
  lua_newtable(L);
  agenda_future_new(L);
  agenda_cancel(L, -1);
  posts++;
  (void)ud;
}

/* The function of the tasks is the argument. Counts those that have begun at upvalue 1. */
static int l_spawn(lua_State *L)
{
  int *spawned = lua_touserdata(L, lua_upvalueindex(1));
  for (int i = 0; i < 3; i++) {
    agenda_future_new(L);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    agenda_spawn(L, 1, on_done, NULL);
    ++*spawned;
    lua_pop(L, 1);
    lua_pushinteger(L, i);
    agenda_future_resolve(L, -2, 1);
    lua_pop(L, 1);
  }
  return 0;
}

static const char program[] =
  "local agenda = require 'agenda'\n"
  "local rows = agenda.asyncgen(function()\n"
  "  for i = 1, 2 do agenda.yield(i) agenda.sleep(0) end\n"
  "end)\n"
  "return function(future)\n"
  "  local sum = future:await()\n"
  "  for i in rows() do sum = sum + i end\n"
  "  agenda.sleep(0.0001)\n"
  "  if twice and sum == 4 then error('failed') end\n"
  "  if twice and sum == 5 then pcall(agenda.sleep, 100) agenda.sleep(100) end\n"
  "  return sum\n"
  "end\n";

static void on_guard(struct ev_loop *ev, ev_timer *timer, int revents)
{
  (void)timer, (void)revents;
  ev_break(ev, EVBREAK_ALL);
}

static void run_once(void)
{
  struct ev_loop *ev = ev_loop_new(EVFLAG_AUTO);
  lua_State *L = lua_newstate(allocate, NULL);
  int spawned = 0;
  completions = 0;
  luaL_openlibs(L);
  CHECK(luaL_dostring(L, program) == LUA_OK);
  lua_pushboolean(L, mode == TWICE);
  lua_setglobal(L, "twice");
  lua_pushlightuserdata(L, &spawned);
  lua_pushcclosure(L, l_spawn, 1);
  counting = true;
  agenda_loop *loop = agenda_attach(L, ev, 0);
  if (loop == NULL)
    CHECK(strstr(luaL_tolstring(L, -1, NULL), "not enough memory") != NULL);
  else {
    ev_timer guard;
    ev_timer_init(&guard, on_guard, mode == ONCE ? 0.05 : 0.005, 0);
    lua_insert(L, 1);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
      lua_pop(L, 1);
    agenda_post(loop, on_posted, NULL);
    ev_timer_start(ev, &guard);
    ev_run(ev, 0);
    ev_timer_stop(ev, &guard);
    agenda_shutdown(L, mode == ONCE ? 1 : 0.005);
    CHECK(agenda_pending(loop) == 0 && agenda_step(loop, 0) == -1);
    CHECK((completions >= spawned || mode == FOR_GOOD) && completions <= spawned + 1);
  }
  counting = false;
  lua_close(L);
  ev_run(ev, 0);
  ev_loop_destroy(ev);
}

int main(void)
{
  setvbuf(stdout, NULL, _IOLBF, 0);
  static const int steps[MODES] = {1, 2, 7}; /* the last take long */
  long fewest = 100;
  for (mode = ONCE; mode < MODES; mode++) {
    refused = 0;
    do {
      refused += steps[mode];
      allocations = 0;
      again = false;
      run_once();
    } while (allocations >= refused);
    CHECK(completions == 3);
    if (refused < fewest)
      fewest = refused;
  }
  printf("%s\n", fewest == 100 ? "ok" : "too few allocations");
  return 0;
}
