/*
** signal_watch.c: callbacks for signals.
**
** A watcher begins with a handle, which is queued when its signal came. One source for each loop
** stands between them and the table of the process: it is attached while the loop has watchers.
*/
#include "signal_watch.h"

#include <string.h>

#include "errors.h"
#include "loop.h"
#include "signal_names.h"
#include "signal_table.h"

typedef struct signal_watch {
  agenda_handle handle;
  agenda_watch watch;
  struct signal_source *source;
  int number;
} signal_watch;

typedef struct signal_source {
  agenda_watch watch;
  agenda_signal_slot *slot; /* NULL while there is nothing to watch */
  int count;
  signal_watch *watches[NSIG];
} signal_source;

/* Not a kind of handle: cancel() would leave the signal caught. */
static const agenda_kind signal_watch_kind = {.name = "signal_watch",
                                              .metatable = "agenda.signal_watch"};

/* The source's key in the loop's table of watchers. */
static const char SOURCE_KEY[] = "signals";

/* ----- arguments ----------------------------------------------------------------------- */

/* The signal that the argument names: one that can be caught, else ValueError. */
static int check_signal(lua_State *L, int index)
{
  int number = agenda_signal_number(L, index);
  if (number == SIGKILL || number == SIGSTOP)
    agenda_error_raise(L, AGENDA_VALUE_ERROR, "signal %s cannot be caught",
                       luaL_tolstring(L, index, NULL));
  return number;
}

/* ----- the source ---------------------------------------------------------------------- */

/* NB: a signal is cleared once its handle is in the queue, which may fail for want of memory;
** then the source is asked again in the next turn. */
static void source_happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  signal_source *source = AGENDA_LIST_OWNER(watch, signal_source, watch);
  (void)loop;
  for (int number = 1; number < NSIG; number++) {
    if (!agenda_signal_slot_pending(source->slot, number))
      continue;
    if (source->watches[number] != NULL) {
      agenda_loop_happened(watch);
      agenda_handle_queue(L, &source->watches[number]->handle);
      agenda_list_unlink(&watch->event);
    }
    agenda_signal_slot_clear(source->slot, number);
  }
}

static void release_source(agenda_event_loop *loop, signal_source *source)
{
  agenda_loop_detach(loop, &source->watch);
  agenda_signal_slot_release(source->slot);
  source->slot = NULL;
}

/* The loop closes: the watchers go first, the last of them takes the source with it. */
static void source_stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  signal_source *source = AGENDA_LIST_OWNER(watch, signal_source, watch);
  for (int number = 1; number < NSIG; number++) {
    signal_watch *self = source->watches[number];
    if (self != NULL)
      self->watch.stop(L, loop, &self->watch);
  }
}

/* The source of the loop, whose table of watchers is on the top; made and attached as needed. */
static signal_source *open_source(lua_State *L, agenda_event_loop *loop)
{
  lua_getfield(L, -1, SOURCE_KEY);
  signal_source *source = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (source == NULL) {
    source = lua_newuserdatauv(L, sizeof *source, 0);
    memset(source, 0, sizeof *source);
    source->watch.happened = source_happened;
    source->watch.stop = source_stop;
    source->watch.silent = source->watch.wakeable = true;
    lua_setfield(L, -2, SOURCE_KEY);
  }
  if (source->slot == NULL) {
    source->slot = agenda_signal_slot_take(&loop->woken, loop->wake_fd);
    if (source->slot == NULL)
      agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "too many event loops watch signals");
    agenda_loop_attach(loop, &source->watch);
  }
  return source;
}

/* ----- watchers ------------------------------------------------------------------------ */

static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  signal_watch *self = AGENDA_LIST_OWNER(watch, signal_watch, watch);
  signal_source *source = self->source;
  agenda_loop_detach(loop, watch);
  if (source->watches[self->number] == self) {
    source->watches[self->number] = NULL;
    agenda_signal_slot_unwatch(source->slot, self->number);
    if (--source->count == 0)
      release_source(loop, source);
  }
  agenda_handle_cancel(L, &self->handle);
}

/* NB: never called: what happens, happens to the source. */
static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)L, (void)loop, (void)watch;
}

/* The new watcher takes the place of an earlier one without letting the signal go in between. */
static void replace(lua_State *L, agenda_event_loop *loop, signal_source *source,
                    signal_watch *self)
{
  signal_watch *earlier = source->watches[self->number];
  source->watches[self->number] = self;
  if (earlier != NULL) {
    earlier->watch.stop(L, loop, &earlier->watch);
    return;
  }
  source->count++;
}

/* loop, signal, function, arguments */
static int add(lua_State *L, bool silent)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  if (loop->no_signals)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                              "the host keeps its signals to itself: it attached the loop without "
                              "AGENDA_SIGNALS");
  int number = check_signal(L, 2);
  agenda_handle_check_callback(L, 3);
  agenda_handle_refuse_coroutine(L, 3, "add_signal_handler");
  int n = lua_gettop(L) - 3;
  luaL_checkstack(L, 8, "watcher");
  signal_watch *self = agenda_object_new(L, loop->object.state, &signal_watch_kind, sizeof *self,
                                         AGENDA_HANDLE_SLOTS);
  self->number = number;
  self->watch.happened = happened;
  self->watch.stop = stop;
  self->watch.silent = silent;
  lua_pushvalue(L, -1);
  lua_rotate(L, 3, 2); /* the watcher, twice, below the function */
  agenda_handle_prepare(L, &self->handle, loop->schedule, n);
  lua_getiuservalue(L, 1, AGENDA_LOOP_WATCHERS);
  signal_source *source = self->source = open_source(L, loop);
  lua_pushvalue(L, 3);
  int failure = source->watches[number] != NULL ? 0
                                                : agenda_signal_slot_watch(source->slot, number);
  if (failure != 0) {
    if (source->count == 0)
      release_source(loop, source);
    agenda_handle_cancel(L, &self->handle);
    return agenda_error_raise(L, AGENDA_VALUE_ERROR, "signal %d cannot be caught: %s", number,
                              strerror(failure));
  }
  replace(L, loop, source, self);
  agenda_loop_attach(loop, &self->watch);
  return 0;
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** Calls a function when the process gets a signal. Takes the place of an earlier handler of the
same signal on this loop; several loops may each have one. As in asyncio.
@function loop:add_signal_handler
@tparam string|integer sig such as "SIGTERM", or the number
@tparam function f the callback, which runs in a turn of the loop, outside of any task
@param ... its arguments
@raise ValueError for an unknown signal, and for SIGKILL and SIGSTOP; TypeError for a coroutine
function; RuntimeError when the loop is closed, and when a host has attached it without giving it
signals */
static int l_add_signal_handler(lua_State *L)
{
  return add(L, false);
}

/*** The same, but it is no reason to go on waiting: a run in which nothing but this can happen is a
deadlock.
@function _add_silent_signal_handler
@tparam event_loop loop
@tparam string|integer sig the signal
@tparam function f the callback
@param ... its arguments
@raise what add_signal_handler raises */
static int l_add_silent(lua_State *L)
{
  return add(L, true);
}

/*** Stops catching a signal; with the last handler the earlier disposition comes back.
As in asyncio.
@function loop:remove_signal_handler
@tparam string|integer sig such as "SIGTERM", or the number
@treturn boolean whether the loop had a handler for it
@raise ValueError for an unknown signal */
static int l_remove_signal_handler(lua_State *L)
{
  agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  int number = agenda_signal_number(L, 2);
  lua_getiuservalue(L, 1, AGENDA_LOOP_WATCHERS);
  lua_getfield(L, -1, SOURCE_KEY);
  const signal_source *source = lua_touserdata(L, -1);
  signal_watch *self = source == NULL ? NULL : source->watches[number];
  if (self != NULL)
    stop(L, loop, &self->watch);
  lua_pushboolean(L, self != NULL);
  return 1;
}

/* What the exception handler shows of a failed callback's watcher. */
static int l_tostring(lua_State *L)
{
  agenda_object_check(L, 1, &signal_watch_kind);
  agenda_handle_push_text(L, 1);
  return 1;
}

static const luaL_Reg metamethods[] = {
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg loop_methods[] = {
  {"add_signal_handler", l_add_signal_handler},
  {"remove_signal_handler", l_remove_signal_handler},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"_add_silent_signal_handler", l_add_silent},
  {NULL, NULL}
};

void agenda_open_signal_watch(lua_State *L)
{
  agenda_class_register(L, &signal_watch_kind, metamethods, NULL, NULL);
  agenda_functions_register(L, functions);
  agenda_loop_push_methods(L);
  agenda_functions_register(L, loop_methods);
  lua_pop(L, 1);
  agenda_open_interrupt(L);
}
