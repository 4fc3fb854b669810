/*
** threads.c: a Lua state and a loop in each of four threads, which post to each other all the time;
** spec/embed/threads_spec.lua runs it, also under ThreadSanitizer.
*/
#include <agenda.h>
#include <ev.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>

#include "check.h"

enum { THREADS = 4, POSTS = 500, TASKS = 50 };

typedef struct worker {
  pthread_t thread;
  struct ev_loop *ev;
  agenda_loop *loop;
  int got;   /* posts; touched by its own thread only */
  int ended; /* tasks; likewise */
} worker;

static worker workers[THREADS];
static pthread_barrier_t all;

static void on_post(lua_State *L, void *ud)
{
  worker *w = ud;
  CHECK(L != NULL && pthread_equal(w->thread, pthread_self()));
  w->got++;
}

static void on_done(lua_State *L, int status, int n, void *ud)
{
  worker *w = ud;
  CHECK(status == LUA_OK && n == 1 && lua_tointeger(L, 1) == 1);
  w->ended++;
}

/* post(): to all the others. */
static int l_post(lua_State *L)
{
  const worker *self = lua_touserdata(L, lua_upvalueindex(1));
  for (int i = 0; i < THREADS; i++)
    if (&workers[i] != self && agenda_post(workers[i].loop, on_post, &workers[i]) != 0)
      return luaL_error(L, "not posted");
  return 0;
}

static const char program[] =
  "local post, tasks, posts = ...\n"
  "local agenda = require 'agenda'\n"
  "local rows = agenda.asyncgen(function()\n"
  "  for i = 1, posts // tasks do agenda.yield(i) agenda.sleep(i % 3 * 0.0005) end\n"
  "end)\n"
  "return function() for _ in rows() do post() end return 1 end\n";

static void *work(void *ud)
{
  worker *w = ud;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  w->ev = ev_loop_new(EVFLAG_AUTO);
  w->loop = agenda_attach(L, w->ev, 0);
  CHECK(w->loop != NULL);
  CHECK(luaL_loadstring(L, program) == LUA_OK);
  lua_pushlightuserdata(L, w);
  lua_pushcclosure(L, l_post, 1);
  lua_pushinteger(L, TASKS);
  lua_pushinteger(L, POSTS);
  CHECK(lua_pcall(L, 3, 1, 0) == LUA_OK);
  pthread_barrier_wait(&all);
  for (int i = 0; i < TASKS; i++) {
    lua_pushvalue(L, 1);
    agenda_spawn(L, 0, on_done, w);
    lua_pop(L, 1);
  }
  while (w->ended < TASKS || w->got < (THREADS - 1) * POSTS)
    CHECK(agenda_step(w->loop, 5) >= 0);
  agenda_retain(w->loop);
  CHECK(agenda_shutdown(L, 5) == 0);
  lua_close(L);
  ev_loop_destroy(w->ev);
  /* The others may still be there: what they post goes nowhere. */
  for (int i = 0; i < THREADS; i++)
    CHECK(agenda_post(w->loop, on_post, w) == -1);
  pthread_barrier_wait(&all);
  agenda_release(w->loop);
  return NULL;
}

int main(void)
{
  pthread_barrier_init(&all, NULL, THREADS);
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(workers[i].thread, NULL);
  for (int i = 0; i < THREADS; i++)
    CHECK(workers[i].got == (THREADS - 1) * POSTS);
  return 0;
}
