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
  bool bare;    /* without the Lua layer: no task does it */
  bool running; /* the ev_run that is to be ended */
  bool finished, expired;
} winding_up;

static int l_wound_up(lua_State *L)
{
  winding_up *end = lua_touserdata(L, lua_upvalueindex(2));
  end->finished = true;
  if (end->running)
    ev_break(end->ev, EVBREAK_ONE);
  return 0;
}

static void on_deadline(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
  (void)revents;
  ((winding_up *)timer->data)->expired = true;
  ev_break(ev, EVBREAK_ONE);
}

/* Without the Lua layer: cancels the tasks of the list on the top. Leaves nil. */
static int cancel_all(lua_State *L, winding_up *end)
{
  int list = lua_gettop(L);
  end->bare = true;
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    lua_pushnil(L);
    agenda_future_cancel(L, -2);
    lua_pop(L, 1);
  }
  return 1;
}

/* Cancels the tasks, and starts a task that does the rest; its end is noted in the winding_up that
** is the argument. Leaves the task, or nil without the Lua layer. */
int agenda_embed_wind_up(lua_State *L)
{
  const agenda_embed *embed = agenda_embed_here(L);
  const agenda_schedule *schedule = embed->attached->loop->schedule;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "agenda");
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
  luaopen_agenda_core(L);
  if (lua_getfield(L, -1, "_wind_up") != LUA_TFUNCTION) {
    agenda_task_push_all(L, schedule);
    return cancel_all(L, lua_touserdata(L, 1));
  }
  agenda_loop_push(L, schedule);
  lua_call(L, 1, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, l_wound_up, 2);
  agenda_future_add_callback(L, -2);
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

/* Closes the loop that the state is attached to. The argument is the task that was to wind up, or
** nil. */
int agenda_embed_detach(lua_State *L)
{
  enum { WINDER = 1, LOOP };
  const agenda_embed *embed = agenda_embed_here(L);
  const agenda_event_loop *loop = embed->attached->loop;
  agenda_loop_push(L, loop->schedule);
  if (agenda_slot_push(L, AGENDA_SLOT_DEFAULT_LOOP) == LUA_TUSERDATA && lua_rawequal(L, LOOP, -1)) {
    lua_pushnil(L);
    agenda_slot_set(L, AGENDA_SLOT_DEFAULT_LOOP);
  }
  lua_settop(L, LOOP);
  agenda_embed_push_completions(L, loop->schedule);
  push_other_tasks(L, loop->schedule);
  agenda_loop_close(L, LOOP);
  agenda_embed_abandon_completions(L);
  return 0;
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

static bool is_over(const agenda_loop *self, winding_up *end)
{
  if (end->bare && self->loop != NULL)
    end->finished = agenda_list_empty(&self->loop->schedule->tasks);
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
    ev_run(ev, end->bare ? EVRUN_ONCE : 0);
    broken = broken || (!end->bare && !is_over(self, end));
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
  winding_up end = {.ev = self->loop->ev};
  agenda_retain(self);
  self->winding_up = true;
  lua_pushlightuserdata(L, &end);
  if (!call_entry(L, AGENDA_ENTRY_WIND_UP))
    end.expired = true;
  if (!end.expired && deadline > 0)
    run_until_end(self, &end, deadline);
  if (self->loop != NULL)
    agenda_loop_host_turns(self->loop, LAST_TURNS);
  is_over(self, &end);
  if (self->loop != NULL)
    call_entry(L, AGENDA_ENTRY_DETACH);
  lua_settop(L, top);
  self->winding_up = false;
  agenda_release(self);
  return end.finished ? 0 : 1;
}

AGENDA_EXPORT int agenda_shutdown(lua_State *L, double deadline)
{
  if (!lua_checkstack(L, LUA_MINSTACK))
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
