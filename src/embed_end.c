/*
** embed_end.c: the part of the public C interface that ends it: shutdown and detach.
**
**   agenda_shutdown ---> tasks are cancelled, a task winds up ---its end, the deadline--->
**                        the loop closes, completions that were not called are called ---> closed
*/
#include "embed.h"

#include <math.h>

typedef struct winding_up {
  struct ev_loop *ev;
  const agenda_schedule *schedule;
  lua_Integer left; /* without the Lua layer no task winds up: the cancelled ones that go on */
  bool running;     /* the ev_run that is to be ended */
  bool finished, expired;
} winding_up;

static void finish(winding_up *end)
{
  end->finished = true;
  if (end->running)
    ev_break(end->ev, EVBREAK_ONE);
}

/* Calls back with the winding_up at index 1 when the future on the top is done. [-0, +0] */
static void add_callback(lua_State *L, lua_CFunction f)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, f, 2);
  agenda_future_add_callback(L, -2);
}

static int l_wound_up(lua_State *L)
{
  finish(lua_touserdata(L, lua_upvalueindex(2)));
  return 0;
}

static void on_deadline(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
  (void)revents;
  ((winding_up *)timer->data)->expired = true;
  ev_break(ev, EVBREAK_ONE);
}

static void cancel_all(lua_State *L);

/* A task that was cancelled has ended. Those that the cancelled ones began are cancelled then. */
static int l_cancelled(lua_State *L)
{
  winding_up *end = lua_touserdata(L, lua_upvalueindex(2));
  if (--end->left == 0) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(2));
    cancel_all(L);
  }
  return 0;
}

/* Without the Lua layer: cancels the tasks, until there is none; index 1 is the winding_up.
** [-0, +0] */
static void cancel_all(lua_State *L)
{
  winding_up *end = lua_touserdata(L, 1);
  agenda_task_push_all(L, end->schedule);
  while (lua_rawgeti(L, -1, end->left + 1) != LUA_TNIL) {
    end->left++;
    add_callback(L, l_cancelled);
    lua_pushnil(L);
    agenda_future_cancel(L, -2);
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
  if (end->left == 0)
    finish(end);
}

/* Cancels the tasks, and starts a task that does the rest; its end is noted in the winding_up that
** is the argument. Leaves the task, or nil without the Lua layer. */
int agenda_embed_wind_up(lua_State *L)
{
  const winding_up *end = lua_touserdata(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "agenda");
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
  luaopen_agenda_core(L);
  if (lua_getfield(L, -1, "_wind_up") != LUA_TFUNCTION) {
    cancel_all(L);
    lua_pushnil(L);
    return 1;
  }
  agenda_loop_push(L, end->schedule);
  lua_call(L, 1, 1);
  add_callback(L, l_wound_up);
  return 1;
}

/* Pushes a list of the unfinished tasks but for the one at index 1. [-0, +1] */
static void push_other_tasks(lua_State *L, const agenda_schedule *schedule)
{
  lua_Integer n = 0;
  lua_newtable(L);
  agenda_task_push_all(L, schedule);
  for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    if (lua_rawequal(L, -1, 1))
      lua_pop(L, 1);
    else
      lua_rawseti(L, -3, ++n);
  }
  lua_pop(L, 2);
}

/* The loop, and a list of tasks to report. */
static int l_close(lua_State *L)
{
  agenda_loop_close(L, 1);
  return 0;
}

/* Closes the loop that the state is attached to. The argument is the task that was to wind up, or
** nil. The error of an exception handler comes out once all is done; after one for want of memory
** the loop may still be open. */
int agenda_embed_detach(lua_State *L)
{
  enum { WINDER = 1, LOOP, COMPLETIONS };
  const agenda_embed *embed = agenda_embed_here(L);
  const agenda_event_loop *loop = embed->attached->loop;
  agenda_loop_push(L, loop->schedule);
  if (agenda_slot_push(L, AGENDA_SLOT_DEFAULT_LOOP) == LUA_TUSERDATA && lua_rawequal(L, LOOP, -1)) {
    lua_pushnil(L);
    agenda_slot_set(L, AGENDA_SLOT_DEFAULT_LOOP);
  }
  lua_settop(L, LOOP);
  agenda_embed_push_completions(L, loop->schedule);
  agenda_state_push(L);
  lua_pushcclosure(L, l_close, 1);
  lua_pushvalue(L, LOOP);
  push_other_tasks(L, loop->schedule);
  int status = lua_pcall(L, 2, 0, 0);
  if (embed->attached->loop == NULL) {
    lua_pushvalue(L, COMPLETIONS);
    agenda_embed_abandon_completions(L);
  }
  return status == LUA_OK ? 0 : lua_error(L);
}

/* Reports the error that is the argument. */
static int l_report(lua_State *L)
{
  lua_settop(L, 1);
  lua_createtable(L, 0, 1);
  lua_insert(L, 1);
  lua_setfield(L, 1, "exception");
  agenda_warn(L, "error in winding up an event loop");
  return 0;
}

/* Calls an entry with what is on the top, an argument; its error is reported, and gives nil.
** [-1, +1] */
static bool call_entry(lua_State *L, agenda_entry which)
{
  if (!agenda_embed_push(L, which))
    return false;
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK)
    return true;
  lua_pushcfunction(L, l_report);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
  lua_pushnil(L);
  return false;
}

static bool is_over(const agenda_loop *self, const winding_up *end)
{
  return end->finished || end->expired || self->loop == NULL;
}

/* Runs the host's loop until the task that winds up has ended, or time is over. NB: a host's
** callback may end this run by ev_break; it means its own, which then ends too. */
static void run_until_end(agenda_loop *self, winding_up *end, double deadline)
{
  struct ev_loop *ev = self->loop->ev;
  bool broken = false;
  ev_timer timer;
  ev_timer_init(&timer, on_deadline, deadline, 0);
  timer.data = end;
  if (deadline < INFINITY) {
    ev_now_update(ev);
    ev_timer_start(ev, &timer);
  }
  end->running = true;
  while (!is_over(self, end)) {
    ev_run(ev, 0);
    broken = broken || !is_over(self, end);
  }
  end->running = false;
  if (ev_is_active(&timer))
    ev_timer_stop(ev, &timer);
  if (broken)
    ev_break(ev, EVBREAK_ALL);
}

/* How many turns without waiting a cleanup is given when time is over. */
enum { LAST_TURNS = 1000 };

static int wind_up(lua_State *L, agenda_loop *self, double deadline)
{
  int top = lua_gettop(L);
  winding_up end = {.ev = self->loop->ev, .schedule = self->loop->schedule};
  agenda_retain(self);
  self->winding_up = true;
  lua_pushlightuserdata(L, &end);
  if (!call_entry(L, AGENDA_ENTRY_WIND_UP))
    end.expired = true;
  if (!end.expired && deadline > 0)
    run_until_end(self, &end, deadline);
  if (self->loop != NULL)
    agenda_loop_host_turns(self->loop, LAST_TURNS);
  for (int tries = 0; self->loop != NULL && tries < 2; tries++)
    call_entry(L, AGENDA_ENTRY_DETACH);
  if (self->loop != NULL)
    agenda_loop_abandon(L, self->loop);
  lua_settop(L, top);
  self->winding_up = false;
  agenda_release(self);
  return end.finished ? 0 : 1;
}

AGENDA_EXPORT int agenda_shutdown(lua_State *L, double deadline)
{
  if (!lua_checkstack(L, 2 * LUA_MINSTACK)) /* one for us, one for an entry */
    return -1;
  const agenda_embed *embed = agenda_embed_find(L);
  const agenda_api *other = agenda_embed_find_other(L);
  if (embed == NULL)
    return other != NULL ? other->shutdown(L, deadline) : 0;
  agenda_loop *self = embed->attached;
  if (embed->state->loop != NULL || (self != NULL && self->winding_up))
    return -1;
  return self == NULL || self->loop == NULL ? 0 : wind_up(L, self, deadline);
}

AGENDA_EXPORT int agenda_detach(lua_State *L)
{
  return agenda_shutdown(L, 0) < 0 ? -1 : 0;
}
