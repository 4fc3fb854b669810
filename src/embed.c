/*
** embed.c: the part of the public C interface that attaches a Lua state to a host's loop and runs
** that; functions posted by other threads.
**
** What a host has of a loop, an agenda_loop, is memory of its own: it outlives the Lua state where
** somebody retains it. A lock guards what other threads touch: whether it is open, and the queue of
** what was posted.
**
**   agenda_attach ---> open ---agenda_detach, the loop closes---> closed
*/
#include "embed.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "awaitable.h"
#include "errors.h"

typedef struct agenda_embed_posted {
  struct agenda_embed_posted *next;
  agenda_posted fn;
  void *ud;
} posted;

/* ----- its memory ---------------------------------------------------------------------- */

static void free_posted(posted *first)
{
  while (first != NULL) {
    posted *next = first->next;
    free(first);
    first = next;
  }
}

static void free_unlocked(agenda_loop *self)
{
  bool last = self->retained == 0 && !self->owned;
  pthread_mutex_unlock(&self->lock);
  if (!last)
    return;
  free_posted(self->first);
  pthread_mutex_destroy(&self->lock);
  free(self);
}

/* The Lua state lets go of it. */
static void disown(agenda_loop *self)
{
  if (self == NULL)
    return;
  pthread_mutex_lock(&self->lock);
  self->owned = false;
  free_unlocked(self);
}

AGENDA_EXPORT agenda_loop *agenda_retain(agenda_loop *self)
{
  if (self == NULL)
    return NULL;
  if (self->api != &agenda_embed_api)
    return self->api->retain(self);
  pthread_mutex_lock(&self->lock);
  self->retained++;
  pthread_mutex_unlock(&self->lock);
  return self;
}

AGENDA_EXPORT void agenda_release(agenda_loop *self)
{
  if (self == NULL)
    return;
  if (self->api != &agenda_embed_api) {
    self->api->release(self);
    return;
  }
  pthread_mutex_lock(&self->lock);
  if (self->retained > 0)
    self->retained--;
  free_unlocked(self);
}

/* ----- posting ------------------------------------------------------------------------- */

AGENDA_EXPORT int agenda_post(agenda_loop *self, agenda_posted fn, void *ud)
{
  if (self == NULL)
    return -1;
  if (self->api != &agenda_embed_api)
    return self->api->post(self, fn, ud);
  posted *item = malloc(sizeof *item);
  if (item == NULL)
    return -1;
  *item = (posted){NULL, fn, ud};
  pthread_mutex_lock(&self->lock);
  bool open = self->open;
  if (open) {
    bool was_empty = self->first == NULL;
    *self->last = item;
    self->last = &item->next;
    if (was_empty)
      agenda_loop_wake(&self->loop->woken, self->loop->wake_fd);
  }
  pthread_mutex_unlock(&self->lock);
  if (!open)
    free(item);
  return open ? 0 : -1;
}

/* Takes the first, unless it was posted after `end`. NB: a post wakes the loop only if it finds the
** queue empty, so for what is left the loop has to be woken here. */
static bool take_posted(agenda_loop *self, posted **end, posted *taken)
{
  pthread_mutex_lock(&self->lock);
  posted *item = self->first;
  bool more = item != NULL && *end != NULL;
  if (more) {
    if (item == *end)
      *end = NULL;
    *taken = *item;
    self->first = item->next;
    if (self->first == NULL)
      self->last = &self->first;
    free(item);
  }
  else if (item != NULL)
    agenda_loop_wake(&self->loop->woken, self->loop->wake_fd);
  pthread_mutex_unlock(&self->lock);
  return more;
}

static int l_call_posted(lua_State *L)
{
  const posted item = *(const posted *)lua_touserdata(L, 1);
  lua_settop(L, 0);
  item.fn(L, item.ud);
  return 0;
}

/* Calls what was posted until now; that left over by an interrupt has its turn later. */
static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_loop *self = AGENDA_LIST_OWNER(watch, agenda_loop, watch);
  posted item;
  pthread_mutex_lock(&self->lock);
  posted *end = self->first == NULL ? NULL : AGENDA_LIST_OWNER(self->last, posted, next);
  pthread_mutex_unlock(&self->lock);
  luaL_checkstack(L, LUA_MINSTACK, "posted function");
  while (take_posted(self, &end, &item)) {
    lua_pushcfunction(L, l_call_posted);
    lua_pushlightuserdata(L, &item);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
      continue;
    if (agenda_error_is(L, -1, AGENDA_KEYBOARD_INTERRUPT)) {
      agenda_loop_wake(&loop->woken, loop->wake_fd);
      lua_error(L);
    }
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "exception");
    agenda_warn(L, "error in a posted function");
  }
}

/* The loop closes. */
static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_loop *self = AGENDA_LIST_OWNER(watch, agenda_loop, watch);
  (void)L, (void)loop;
  pthread_mutex_lock(&self->lock);
  posted *left = self->first;
  self->first = NULL;
  self->last = &self->first;
  self->open = false;
  self->loop = NULL;
  pthread_mutex_unlock(&self->lock);
  free_posted(left);
}

/* ----- what is in the registry --------------------------------------------------------- */

static const char keys[AGENDA_ENTRIES], EMBED_KEY;

bool agenda_embed_push(lua_State *L, agenda_entry which)
{
  luaL_checkstack(L, LUA_MINSTACK, "agenda");
  if (AGENDA_LIKELY(lua_rawgetp(L, LUA_REGISTRYINDEX, keys + which) == LUA_TFUNCTION))
    return true;
  lua_pop(L, 1);
  return false;
}

agenda_embed *agenda_embed_find(lua_State *L)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &EMBED_KEY);
  agenda_embed *embed = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return embed;
}

const agenda_api *agenda_embed_find_other(lua_State *L)
{
  lua_getfield(L, LUA_REGISTRYINDEX, AGENDA_API_KEY);
  const agenda_api *api = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return api;
}

const agenda_api *agenda_embed_other(lua_State *L)
{
  const agenda_api *api = agenda_embed_find_other(L);
  if (api == NULL)
    luaL_error(L, "agenda is not open in this Lua state");
  return api;
}

/* ----- attaching ----------------------------------------------------------------------- */

agenda_schedule *agenda_embed_schedule(const agenda_embed *embed)
{
  if (embed->state->schedule != NULL)
    return embed->state->schedule;
  if (embed->attached != NULL && embed->attached->loop != NULL)
    return embed->attached->loop->schedule;
  return NULL;
}

void agenda_embed_notice(const agenda_embed *embed)
{
  if (embed->attached != NULL && embed->attached->loop != NULL)
    agenda_loop_host_notice(embed->attached->loop);
}

/* Puts a new one, closed, in the place of an earlier one. */
static agenda_loop *replace(lua_State *L, agenda_loop **place)
{
  agenda_loop *self = calloc(1, sizeof *self);
  if (self == NULL)
    luaL_error(L, "not enough memory");
  self->api = &agenda_embed_api;
  self->last = &self->first;
  self->owned = true;
  self->process = (int)getpid();
  self->watch.happened = happened;
  self->watch.stop = stop;
  self->watch.wakeable = true;
  pthread_mutex_init(&self->lock, NULL);
  disown(*place);
  *place = self;
  return self;
}

/* `silent`: it is no reason for the loop to go on waiting. */
static void open_on(agenda_loop *self, agenda_event_loop *loop, bool silent)
{
  self->watch.silent = silent;
  agenda_loop_attach(loop, &self->watch);
  self->loop = loop;
  self->open = true;
}

/* Of a loop that runs, for a module that posts to it. */
static agenda_loop *borrow(lua_State *L, agenda_embed *embed)
{
  agenda_event_loop *loop = embed->state->loop;
  if (embed->attached != NULL && embed->attached->loop == loop)
    return embed->attached;
  if (embed->borrowed == NULL || embed->borrowed->loop != loop) {
    if (embed->borrowed != NULL && embed->borrowed->loop != NULL)
      agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                         "the Lua state is attached to another event loop, which is not closed");
    open_on(replace(L, &embed->borrowed), loop, false);
  }
  return embed->borrowed;
}

/* ev_loop, flags; gives the agenda_loop. */
static int l_attach(lua_State *L)
{
  agenda_embed *embed = agenda_embed_here(L);
  struct ev_loop *ev = lua_touserdata(L, 1);
  int flags = (int)lua_tointeger(L, 2);
  agenda_loop *attached = embed->attached;
  if (embed->state->loop != NULL && ev == NULL) {
    lua_pushlightuserdata(L, borrow(L, embed));
    return 1;
  }
  if (embed->state->loop != NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "cannot attach to a host's loop while an event loop is running");
  if (attached != NULL && attached->loop != NULL) {
    if (attached->process == (int)getpid())
      return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "the Lua state is attached already");
    pthread_mutex_init(&attached->lock, NULL); /* a thread may have held it that is not here */
    agenda_loop_push(L, attached->loop->schedule);
    lua_newtable(L); /* nobody is told of the tasks, which are the parent's */
    agenda_loop_close(L, lua_gettop(L) - 1);
  }
  attached = replace(L, &embed->attached);
  agenda_event_loop *loop = agenda_loop_new(L, embed->state, ev);
  int index = lua_gettop(L);
  loop->no_signals = (flags & AGENDA_SIGNALS) == 0;
  loop->no_children = (flags & AGENDA_CHILDREN) == 0;
  agenda_loop_host_start(L, loop, (flags & AGENDA_HOLD) != 0);
  open_on(attached, loop, true);
  if ((flags & AGENDA_DEFAULT_LOOP) != 0) {
    lua_pushvalue(L, index);
    agenda_slot_set(L, AGENDA_SLOT_DEFAULT_LOOP);
  }
  lua_pushlightuserdata(L, attached);
  return 1;
}

static int l_open(lua_State *L)
{
  luaL_requiref(L, "agenda.core", luaopen_agenda_core, 0);
  return 0;
}

AGENDA_EXPORT agenda_loop *agenda_attach(lua_State *L, struct ev_loop *ev, int flags)
{
  if (!lua_checkstack(L, LUA_MINSTACK))
    return NULL;
  lua_pushcfunction(L, l_open);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK)
    return NULL;
  if (!agenda_embed_push(L, AGENDA_ENTRY_ATTACH)) {
    const agenda_api *other = agenda_embed_find_other(L);
    if (other != NULL)
      return other->attach(L, ev, flags);
    lua_pushliteral(L, "package.loaded['agenda.core'] is something else");
    return NULL;
  }
  lua_pushlightuserdata(L, ev);
  lua_pushinteger(L, flags);
  if (lua_pcall(L, 2, 1, 0) != LUA_OK)
    return NULL;
  agenda_loop *self = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return self;
}

/* ----- running ------------------------------------------------------------------------- */

/* The loop that can take a turn now, or NULL. */
static agenda_event_loop *idle_loop(const agenda_loop *self)
{
  agenda_event_loop *loop = self->loop;
  return loop != NULL && loop->attached && loop->object.state->loop == NULL ? loop : NULL;
}

AGENDA_EXPORT int agenda_pending(agenda_loop *self)
{
  if (self == NULL)
    return 0;
  if (self->api != &agenda_embed_api)
    return self->api->pending(self);
  return self->loop != NULL && agenda_loop_is_pending(self->loop);
}

static void on_timeout(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
  (void)ev, (void)timer, (void)revents;
}

AGENDA_EXPORT int agenda_step(agenda_loop *self, double timeout)
{
  if (self == NULL)
    return -1;
  if (self->api != &agenda_embed_api)
    return self->api->step(self, timeout);
  agenda_event_loop *loop = idle_loop(self);
  if (loop == NULL)
    return -1;
  struct ev_loop *ev = loop->ev;
  ev_timer timer;
  ev_timer_init(&timer, on_timeout, timeout, 0);
  if (timeout > 0 && timeout < INFINITY) {
    ev_now_update(ev);
    ev_timer_start(ev, &timer);
  }
  agenda_retain(self);
  ev_run(ev, timeout == 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
  if (ev_is_active(&timer))
    ev_timer_stop(ev, &timer);
  int pending = agenda_pending(self);
  agenda_release(self);
  return pending;
}

/* ----- opening ------------------------------------------------------------------------- */

const agenda_api agenda_embed_api = {
  .version = AGENDA_API_VERSION,
  .size = sizeof(agenda_api),
  .attach = agenda_attach,
  .step = agenda_step,
  .pending = agenda_pending,
  .post = agenda_post,
  .retain = agenda_retain,
  .release = agenda_release,
  .shutdown = agenda_shutdown,
  .detach = agenda_detach,
  .spawn = agenda_spawn,
  .cancel = agenda_cancel,
  .future_new = agenda_future_new,
  .future_resolve = agenda_future_resolve,
  .future_reject = agenda_future_reject,
  .await = agenda_await,
};

static const lua_CFunction entries[AGENDA_ENTRIES] = {
  [AGENDA_ENTRY_ATTACH] = l_attach,
  [AGENDA_ENTRY_WIND_UP] = agenda_embed_wind_up,
  [AGENDA_ENTRY_DETACH] = agenda_embed_detach,
  [AGENDA_ENTRY_SPAWN] = agenda_embed_spawn,
  [AGENDA_ENTRY_CANCEL] = agenda_embed_cancel,
  [AGENDA_ENTRY_FUTURE_NEW] = agenda_embed_future_new,
  [AGENDA_ENTRY_FUTURE_RESOLVE] = agenda_embed_future_resolve,
  [AGENDA_ENTRY_FUTURE_REJECT] = agenda_embed_future_reject,
  [AGENDA_ENTRY_AWAIT] = agenda_awaitable_await,
};

/* The Lua state closes: the loops were finalized before, as they are younger. */
static int l_gc(lua_State *L)
{
  agenda_embed *embed = lua_touserdata(L, 1);
  disown(embed->attached);
  disown(embed->borrowed);
  embed->attached = embed->borrowed = NULL;
  return 0;
}

void agenda_open_embed(lua_State *L)
{
  agenda_embed *embed = lua_newuserdatauv(L, sizeof *embed, 0);
  *embed = (agenda_embed){.state = agenda_state_here(L)};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  for (int i = 0; i < AGENDA_ENTRIES; i++) {
    agenda_state_push(L);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, entries[i], 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, keys + i);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &EMBED_KEY);
  lua_pushlightuserdata(L, (void *)&agenda_embed_api);
  lua_setfield(L, LUA_REGISTRYINDEX, AGENDA_API_KEY);
}
