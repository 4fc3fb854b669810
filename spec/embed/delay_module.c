/*
** delay_module.c: a C module as others write them, loaded by Lua with local symbols: it has the
** functions of agenda.h by way of agenda_import.
*/
#define AGENDA_MODULE
#include <agenda.h>
#include <lauxlib.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct delay {
  agenda_loop *loop;
  useconds_t time;
  int future; /* registry reference; left there when the loop ends before its time */
} delay;

static void on_time(lua_State *L, void *ud)
{
  delay *d = ud;
  lua_rawgeti(L, LUA_REGISTRYINDEX, d->future);
  luaL_unref(L, LUA_REGISTRYINDEX, d->future);
  free(d);
  lua_pushliteral(L, "in time");
  agenda_future_resolve(L, -2, 1);
}

/* NB: what was posted belongs to the loop, unless it was refused. */
static void *wait_and_post(void *ud)
{
  delay *d = ud;
  agenda_loop *loop = d->loop;
  usleep(d->time);
  if (agenda_post(loop, on_time, d) != 0)
    free(d);
  agenda_release(loop);
  return NULL;
}

/* later(seconds): a Future that a thread finishes. */
static int l_later(lua_State *L)
{
  delay *d = calloc(1, sizeof *d);
  pthread_t thread;
  if (d == NULL)
    return luaL_error(L, "not enough memory");
  d->time = (useconds_t)(luaL_checknumber(L, 1) * 1e6);
  d->loop = agenda_attach(L, NULL, 0);
  if (d->loop == NULL)
    return lua_error(L);
  agenda_retain(d->loop);
  agenda_future_new(L);
  lua_pushvalue(L, -1);
  d->future = luaL_ref(L, LUA_REGISTRYINDEX);
  if (pthread_create(&thread, NULL, wait_and_post, d) != 0)
    return luaL_error(L, "no thread");
  pthread_detach(thread);
  return 1;
}

/* wait(awaitable): its results. */
static int l_wait(lua_State *L)
{
  return agenda_await(L, 1, 0, NULL);
}

/* cancel(future): whether it was pending. */
static int l_cancel(lua_State *L)
{
  lua_pushboolean(L, agenda_cancel(L, 1));
  return 1;
}

static const luaL_Reg functions[] = {
  {"cancel", l_cancel},
  {"later", l_later},
  {"wait", l_wait},
  {NULL, NULL}
};

int luaopen_embed_delay_module(lua_State *L);

int luaopen_embed_delay_module(lua_State *L)
{
  agenda_import(L);
  luaL_newlib(L, functions);
  return 1;
}
