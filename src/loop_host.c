/*
** loop_host.c: a loop that a host has attached to its own ev_loop, and runs with ev_run.
**
** There is a turn before libev polls, for what the host's callbacks have scheduled, and one after,
** for what has happened; each only if there is something to run. If after the first something is
** ready again, an idle watcher keeps the poll from blocking. None of the library's own watchers
** counts as active in the host's ev_loop; the loop counts once, as long as anything is left to do
** in it, so that ev_run returns when there is nothing.
**
**   ev_run:  prepare: turn, set timer | poll | callbacks, the host's first | check: turn
*/
#include <math.h>

#include "loop.h"

bool agenda_loop_is_pending(const agenda_event_loop *loop)
{
  const agenda_schedule *schedule = loop->schedule;
  return schedule->ready.count > 0 || !agenda_list_empty(&schedule->tasks) ||
         !agenda_list_empty(&loop->happened) || schedule->watching > 0 ||
         agenda_loop_next_deadline(loop) < INFINITY || atomic_load(&loop->woken);
}

/* ----- turns --------------------------------------------------------------------------- */

/* An interrupt, or an error of memory, has come out of a turn; there is no run for it to end. */
static int l_report_escaped(lua_State *L)
{
  agenda_event_loop *loop = lua_touserdata(L, 1);
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "exception");
  lua_pushliteral(L, "an error has come out of a turn of an attached event loop");
  lua_setfield(L, -2, "message");
  loop->schedule->report(L, loop->schedule);
  return 0;
}

/* NB: in the state's main thread, whose stack may be in use: the host may have called ev_run from
** a function that Lua called. */
static void take_turn(agenda_event_loop *loop)
{
  lua_State *L = loop->object.state->main;
  if (!lua_checkstack(L, LUA_MINSTACK))
    return;
  int top = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, loop);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
    lua_pushcfunction(L, l_report_escaped);
    lua_pushlightuserdata(L, loop);
    lua_rotate(L, -3, -1);
    lua_pcall(L, 2, 0, 0);
  }
  lua_settop(L, top);
}

void agenda_loop_host_turns(agenda_event_loop *loop, int most)
{
  while (most-- > 0 && agenda_loop_is_ready(loop))
    take_turn(loop);
}

/* ----- what counts as active ----------------------------------------------------------- */

static void hold(agenda_event_loop *loop, bool active)
{
  if (active == loop->held)
    return;
  loop->held = active;
  if (active)
    ev_ref(loop->ev);
  else
    ev_unref(loop->ev);
}

static void keep_from_blocking(agenda_event_loop *loop, bool busy)
{
  if (busy == (bool)ev_is_active(&loop->idle))
    return;
  if (busy) {
    ev_idle_start(loop->ev, &loop->idle);
    ev_unref(loop->ev);
  }
  else {
    ev_ref(loop->ev);
    ev_idle_stop(loop->ev, &loop->idle);
  }
}

void agenda_loop_host_notice(agenda_event_loop *loop)
{
  if (!loop->attached || loop->running)
    return;
  if (loop->between)
    keep_from_blocking(loop, true);
  hold(loop, true);
}

/* ----- libev's callbacks --------------------------------------------------------------- */

/* NB: the loop may be inside of a turn, or another one of this state's, which called something that
** called ev_run. Then nothing of Lua's can run, and what is due is not to end polls in vain. */
static void on_prepare(struct ev_loop *ev, ev_prepare *prepare, int revents)
{
  agenda_event_loop *loop = AGENDA_LIST_OWNER(prepare, agenda_event_loop, prepare);
  agenda_schedule *schedule = loop->schedule;
  bool can_run = loop->object.state->loop == NULL;
  (void)ev, (void)revents;
  if (can_run && agenda_loop_is_ready(loop))
    take_turn(loop);
  agenda_ready_queue_trim(loop->object.state->main, &schedule->ready);
  agenda_loop_arm(loop, can_run ? agenda_loop_next_deadline(loop) : INFINITY);
  keep_from_blocking(loop, can_run && agenda_loop_is_ready(loop));
  hold(loop, loop->holds || agenda_loop_is_pending(loop));
  loop->between = true;
}

static void on_check(struct ev_loop *ev, ev_check *check, int revents)
{
  agenda_event_loop *loop = AGENDA_LIST_OWNER(check, agenda_event_loop, check);
  (void)ev, (void)revents;
  loop->between = false;
  if (loop->object.state->loop == NULL && agenda_loop_is_ready(loop))
    take_turn(loop);
  hold(loop, loop->holds || agenda_loop_is_pending(loop));
}

static void on_idle(struct ev_loop *ev, ev_idle *idle, int revents)
{
  (void)ev, (void)idle, (void)revents;
}

/* ----- starting and stopping ----------------------------------------------------------- */

/* What the library itself has started in the ev_loop does not count as active, or counts again. */
static void uncount(agenda_event_loop *loop, void (*change)(struct ev_loop *))
{
  change(loop->ev); /* prepare */
  change(loop->ev); /* check */
  change(loop->ev); /* wake */
  if (loop->timer_fd >= 0)
    change(loop->ev);
}

void agenda_loop_host_start(lua_State *L, agenda_event_loop *loop, bool holds)
{
  agenda_state_push(L);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, agenda_loop_host_turn, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, loop);
  ev_prepare_init(&loop->prepare, on_prepare);
  ev_check_init(&loop->check, on_check);
  ev_idle_init(&loop->idle, on_idle);
  /* The host's own come first, so that what they schedule runs in the same turn. */
  ev_set_priority(&loop->prepare, EV_MINPRI);
  ev_set_priority(&loop->check, EV_MINPRI);
  ev_set_priority(&loop->idle, EV_MINPRI);
  ev_prepare_start(loop->ev, &loop->prepare);
  ev_check_start(loop->ev, &loop->check);
  loop->attached = true;
  loop->holds = holds;
  uncount(loop, ev_unref);
  hold(loop, loop->holds);
}

void agenda_loop_host_stop(lua_State *L, agenda_event_loop *loop)
{
  if (!loop->attached)
    return;
  hold(loop, false);
  keep_from_blocking(loop, false);
  uncount(loop, ev_ref);
  ev_prepare_stop(loop->ev, &loop->prepare);
  ev_check_stop(loop->ev, &loop->check);
  loop->attached = false;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, loop);
}
