/*
** interrupt.c: what Ctrl-C does to agenda.run.
**
**   SIGINT, the first   the loop is woken and cancels the main task, once, so that cleanup runs
**           the second  KeyboardInterrupt in whatever Lua code runs now, else out of the loop
**           the third   before that was noticed (C code is busy): the process is ended by it
**
** A debug hook that fires at the next instruction raises the error in code that never waits.
** lua_sethook is what a signal handler may call. Hooks belong to coroutines, so it is set on the
** one of the current frame and on the one that runs the loop. SIGINT belongs to the process: one
** run at a time catches it, and the others leave it alone.
*/
#include <pthread.h>

#include "errors.h"
#include "loop.h"
#include "signal_table.h"
#include "signal_watch.h"

enum { HOOKED_THREADS = 2 };

static struct {
  agenda_watch watch;
  agenda_event_loop *loop; /* NULL while nobody catches */
  agenda_task *task;
  lua_State *runner;       /* where the loop runs */
  pthread_t thread;
  atomic_bool *woken;
  int wake_fd;
  atomic_int count;        /* interrupts not dealt with, and 1 once the task is cancelled */
  atomic_bool hooked;      /* the hook is set and has not fired */
  atomic_bool ready;       /* all of this is filled in: a signal may come */
  bool cancelled;          /* the task was cancelled */
  struct {
    lua_State *L; /* NULL: free. NB: only to be compared; the coroutine may be gone */
    lua_Hook hook;
    int mask, count;
  } saved[HOOKED_THREADS];
} catcher;

/* ----- the hook ------------------------------------------------------------------------ */

static void restore_hook(lua_State *L)
{
  for (int i = 0; i < HOOKED_THREADS; i++) {
    if (catcher.saved[i].L != L)
      continue;
    catcher.saved[i].L = NULL;
    lua_sethook(L, catcher.saved[i].hook, catcher.saved[i].mask, catcher.saved[i].count);
    return;
  }
  lua_sethook(L, NULL, 0, 0);
}

/* NB: one that is left over, after the loop has raised the error itself, only goes away. */
static void on_hook(lua_State *L, lua_Debug *info)
{
  (void)info;
  restore_hook(L);
  if (atomic_exchange(&catcher.hooked, false)) {
    catcher.cancelled = true; /* more than that: the loop has nothing left to do about it */
    atomic_store(&catcher.count, 1);
    agenda_error_raise(L, AGENDA_KEYBOARD_INTERRUPT, NULL);
  }
}

static void set_hook(lua_State *L)
{
  if (L == NULL || lua_gethook(L) == on_hook)
    return;
  for (int i = 0; i < HOOKED_THREADS; i++) {
    if (catcher.saved[i].L != NULL && catcher.saved[i].L != L)
      continue;
    catcher.saved[i].hook = lua_gethook(L);
    catcher.saved[i].mask = lua_gethookmask(L);
    catcher.saved[i].count = lua_gethookcount(L);
    catcher.saved[i].L = L;
    break;
  }
  lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
}

/* ----- the signal ---------------------------------------------------------------------- */

/* In signal context. The handler may run in any thread, but only the loop's own may touch Lua. */
static void on_interrupt(void)
{
  if (!atomic_load(&catcher.ready))
    return;
  if (!pthread_equal(pthread_self(), catcher.thread)) {
    pthread_kill(catcher.thread, SIGINT);
    return;
  }
  int count = atomic_fetch_add(&catcher.count, 1) + 1;
  if (count > 1 && atomic_exchange(&catcher.hooked, true)) {
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
    return;
  }
  if (count > 1) {
    const agenda_frame *current = catcher.loop->object.state->current;
    set_hook(catcher.runner);
    if (current != NULL)
      set_hook(current->co);
  }
  agenda_loop_wake(catcher.woken, catcher.wake_fd);
}

/* In the loop's turn, outside of any task. */
static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)loop, (void)watch;
  int count = atomic_load(&catcher.count) - catcher.cancelled;
  if (count <= 0)
    return;
  bool done = catcher.task->future.status != AGENDA_FUTURE_PENDING;
  if (!catcher.cancelled && !done && count == 1) {
    catcher.cancelled = true;
    agenda_task_push(L, catcher.task);
    lua_pushnil(L);
    agenda_future_cancel(L, -2);
    lua_pop(L, 1);
    return;
  }
  catcher.cancelled = true;
  atomic_store(&catcher.count, 1);
  atomic_store(&catcher.hooked, false);
  if (lua_gethook(L) == on_hook)
    restore_hook(L);
  agenda_error_raise(L, AGENDA_KEYBOARD_INTERRUPT, NULL);
}

static void release(lua_State *L)
{
  atomic_store(&catcher.ready, false);
  agenda_signal_release_interrupts();
  atomic_store(&catcher.hooked, false);
  if (lua_gethook(L) == on_hook)
    restore_hook(L);
  agenda_loop_detach(catcher.loop, &catcher.watch);
  catcher.loop = NULL;
}

/* The loop closes first: a run that failed midway. */
static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)loop, (void)watch;
  release(L);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** Has Ctrl-C cancel a task once, and interrupt whatever runs at the second time. Leaves SIGINT
alone where it is ignored, or caught by the library already.
@function _catch_interrupts
@tparam event_loop loop the one that is about to run, in the calling coroutine
@tparam task task to be cancelled; the caller keeps it alive until _release_interrupts
@treturn boolean whether SIGINT is caught now */
static int l_catch(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  agenda_task *task = agenda_object_check(L, 2, &agenda_task_kind);
  bool caught = agenda_signal_claim_interrupts(on_interrupt);
  lua_pushboolean(L, caught);
  if (!caught)
    return 1;
  catcher.loop = loop;
  catcher.task = task;
  catcher.runner = L;
  catcher.thread = pthread_self();
  catcher.woken = &loop->woken;
  catcher.wake_fd = loop->wake_fd;
  atomic_store(&catcher.count, 0);
  atomic_store(&catcher.hooked, false);
  catcher.cancelled = false;
  catcher.watch = (agenda_watch){
    .happened = happened, .stop = stop, .silent = true, .wakeable = true};
  agenda_loop_attach(loop, &catcher.watch);
  atomic_store(&catcher.ready, true);
  return 1;
}

/*** Ends what _catch_interrupts began; the earlier disposition comes back.
@function _release_interrupts
@tparam event_loop loop
@treturn boolean whether there was an interrupt; false too when none were caught on this loop */
static int l_release(lua_State *L)
{
  const agenda_event_loop *loop = agenda_object_check(L, 1, &agenda_loop_kind);
  bool mine = catcher.loop == loop && loop->ev != NULL;
  if (mine)
    release(L);
  lua_pushboolean(L, mine && catcher.cancelled);
  return 1;
}

/*** Whether a loop's Ctrl-C has cancelled its task.
@function _interrupted
@tparam event_loop loop one that _catch_interrupts was called for
@treturn boolean */
static int l_interrupted(lua_State *L)
{
  lua_pushboolean(L, catcher.loop == agenda_object_check(L, 1, &agenda_loop_kind) &&
                       catcher.cancelled);
  return 1;
}

static const luaL_Reg functions[] = {
  {"_catch_interrupts", l_catch},
  {"_interrupted", l_interrupted},
  {"_release_interrupts", l_release},
  {NULL, NULL}
};

void agenda_open_interrupt(lua_State *L)
{
  agenda_functions_register(L, functions);
}
