/*
** libev_timers.c: the yardstick for sleeping tasks: a bare ev_timer and a bare coroutine for
** each sleeper, and nothing else. The coroutine's body calls `sleep`, which starts the timer
** and yields; the timer's callback resumes the coroutine.
**
**   timers.start(f, seconds)  makes a coroutine and runs f(seconds) in it
**   timers.sleep(seconds)     in such a coroutine
**   timers.run()              until no timer is left
*/
#include <ev.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

int luaopen_libev_timers(lua_State *L);

typedef struct {
  ev_timer timer;
  lua_State *co;
  int anchor; /* registry reference of the coroutine */
} Sleeper;

static struct ev_loop *loop;
static lua_State *main_state;

static void step(lua_State *co, int anchor, int nargs)
{
  int results;
  int status = lua_resume(co, main_state, nargs, &results);
  if (status == LUA_YIELD) {
    Sleeper *sleeper = lua_touserdata(co, -1);
    sleeper->anchor = anchor;
    lua_pop(co, results);
    return;
  }
  luaL_unref(main_state, LUA_REGISTRYINDEX, anchor);
  if (status != LUA_OK) abort();
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
  Sleeper *sleeper = (Sleeper *)timer;
  (void)ev;
  (void)events;
  step(sleeper->co, sleeper->anchor, 0);
}

static int l_start(lua_State *L)
{
  lua_settop(L, 2);
  lua_State *co = lua_newthread(L);
  int anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_xmove(L, co, 2);
  step(co, anchor, 1);
  return 0;
}

/* The userdata stays on the coroutine's stack for as long as the timer is active. */
static int l_sleep(lua_State *L)
{
  double seconds = luaL_checknumber(L, 1);
  Sleeper *sleeper = lua_newuserdatauv(L, sizeof *sleeper, 0);
  sleeper->co = L;
  ev_timer_init(&sleeper->timer, on_timer, seconds, 0.);
  ev_timer_start(loop, &sleeper->timer);
  lua_pushlightuserdata(L, sleeper);
  return lua_yield(L, 1);
}

static int l_run(lua_State *L)
{
  (void)L;
  ev_run(loop, 0);
  return 0;
}

static const luaL_Reg functions[] = {
  {"start", l_start},
  {"sleep", l_sleep},
  {"run", l_run},
  {NULL, NULL}
};

int luaopen_libev_timers(lua_State *L)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  main_state = lua_tothread(L, -1);
  loop = ev_loop_new(EVFLAG_AUTO);
  if (loop == NULL) return luaL_error(L, "no libev loop");
  luaL_newlib(L, functions);
  return 1;
}
