/*
** agenda.h: the public C interface of agenda.
**
** A host attaches a Lua state to its own libev loop, starts tasks in it, and goes on running the
** loop with ev_run. A C module makes futures, waits, and is told of completions. Everything that
** the library keeps is in the Lua state: many states may live in one process, each used by one
** thread at a time, several of them on one loop if need be.
**
** Each function says its effect on the stack as Lua's manual does, [-taken, +left], and whether it
** may raise (a Lua error: protect the call as you would lua_newtable) or yield. Where not said
** otherwise a function is called by the thread that owns the Lua state, from any of its coroutines,
** inside and outside of tasks. "In a turn" means while tasks, callbacks, and the functions given to
** agenda_spawn and agenda_post run.
*/
#ifndef AGENDA_H
#define AGENDA_H

#ifdef __cplusplus
extern "C" {
#endif

#include <stddef.h>

#include <lua.h>

struct ev_loop; /* of libev */

/* A loop that a Lua state is attached to. Its memory is counted by reference and may outlive the
** Lua state: see agenda_retain. NULL will do for a loop that is closed. */
typedef struct agenda_loop agenda_loop;

/* What agenda_attach may take of the process; 0 is nothing. */
enum {
  AGENDA_SIGNALS = 1,      /* loop:add_signal_handler and agenda.signals may install handlers */
  AGENDA_CHILDREN = 2,     /* children may be reaped by way of SIGCHLD, where there is no other */
  AGENDA_DEFAULT_LOOP = 4, /* agenda.get_event_loop() gives this loop outside of tasks, too */
  AGENDA_HOLD = 8          /* ev_run does not return while the state is attached */
};

/* Called once when a task has ended: with LUA_OK and its `nresults` results, or with LUA_ERRRUN and
** the error (a CancelledError for a cancelled one), alone on the stack; what it leaves there is
** dropped. In a turn. May raise: that goes to the exception handler. Must not yield. */
typedef void (*agenda_done)(lua_State *L, int status, int nresults, void *ud);

/* What agenda_post has called, with an empty stack; otherwise as agenda_done. */
typedef void (*agenda_posted)(lua_State *L, void *ud);

/* ----- opening ------------------------------------------------------------------------- */

/* Opens the library in the state and leaves the module `agenda.core`, as `require` does; the same
** table each time. A host that links the library statically need not call it: agenda_attach does,
** and makes it known to `require`. [-0, +1, may raise] */
int luaopen_agenda_core(lua_State *L);

/* The module `agenda.tls`, in libagenda_tls.a. A host that links it statically, and OpenSSL
** (-lssl -lcrypto), makes it known after agenda_attach, by
** luaL_requiref(L, "agenda.tls", luaopen_agenda_tls, 0). Others need not: Lua loads it when TLS is
** asked for. [-0, +1, may raise] */
int luaopen_agenda_tls(lua_State *L);

/* ----- the loop ------------------------------------------------------------------------ */

/*
** Attaches the state to a loop of the host's: its tasks run in the turns of that loop, which the
** host owns and runs with ev_run. ev_run returns when neither the host nor the state has anything
** left to do (or see AGENDA_HOLD). Takes no signal and no default loop unless a flag asks for it.
**
** With NULL for the loop: inside agenda.run, the loop that runs, so that a C module can post to
** it; elsewhere a loop of the library's own, which agenda_step runs.
**
** The loop given back lives as long as the Lua state; who needs it for longer calls agenda_retain.
** NULL, with the error left on the stack, when the state is attached already, in a turn of another
** loop, or without memory or descriptors. After fork the child calls ev_loop_fork, then attaches
** anew, which drops what it has inherited: the tasks are its parent's.
** Never in a turn, but for NULL. [-0, +(0|1)]
*/
agenda_loop *agenda_attach(lua_State *L, struct ev_loop *ev, int flags);

/*
** For a host whose outer loop is not libev: runs what is ready, or waits up to `timeout` seconds
** (0: not at all; less: without limit) for what comes and runs that. 1 if something is left to do,
** 0 if nothing is, -1 in a turn and after agenda_detach. Errors go to the exception handler.
** [-0, +0]
*/
int agenda_step(agenda_loop *loop, double timeout);

/* Whether anything is left to do: unfinished tasks, callbacks, timers, watched descriptors, posted
** functions. 0 after agenda_detach. [-0, +0] */
int agenda_pending(agenda_loop *loop);

/*
** From any thread: has fn(L, ud) called in the loop's next turn, in order. 0; or -1 when the state
** has been detached or closed, or there is no memory: then fn is never called. What was posted and
** has not run is dropped by agenda_detach. The caller holds a reference (agenda_retain) unless it
** knows the state to be open. Needs no Lua state; not for signal handlers.
*/
int agenda_post(agenda_loop *loop, agenda_posted fn, void *ud);

/* From any thread: keeps the loop's memory, also beyond the life of the Lua state, until as many
** calls of agenda_release; gives the loop back. */
agenda_loop *agenda_retain(agenda_loop *loop);
void agenda_release(agenda_loop *loop);

/*
** Winds up and detaches: cancels the tasks and waits until they have ended, closes the async
** generators that are open, for `deadline` seconds at most; what is left then is reported and
** dropped. Runs the host's loop meanwhile, inside of its ev_run too. Tasks with an agenda_done that
** did not end have it called with a CancelledError. 0 if all ended in time, 1 if not, -1 in a turn.
** Does nothing, and gives 0, if the state is not attached. [-0, +0]
*/
int agenda_shutdown(lua_State *L, double deadline);

/*
** The same without waiting: tasks are cancelled and run as far as they come without an event. Then
** lua_close is safe; it is safe without this call too, as long as the host's loop still exists, but
** runs no agenda_done. Comes before ev_loop_destroy. 0, or -1 in a turn. [-0, +0]
*/
int agenda_detach(lua_State *L);

/* ----- tasks --------------------------------------------------------------------------- */

/*
** Starts a task of the function (or awaitable) and its `nargs` arguments on the top; it first runs
** in the next turn of the loop that runs, else of the one that the state is attached to. Leaves the
** Task. `done` may be NULL: then errors go to the exception handler when the task is collected.
** Else the task is kept until it has ended, and done(L, status, nresults, ud) is called.
** RuntimeError if there is no loop; TypeError if it is neither function nor awaitable.
** [-(nargs+1), +1, may raise]
*/
void agenda_spawn(lua_State *L, int nargs, agenda_done done, void *ud);

/* Requests that the Task or Future at `idx` be cancelled. 1, or 0 if it was done or dropped. An
** argument error for other values. [-0, +0, may raise] */
int agenda_cancel(lua_State *L, int idx);

/* ----- awaitables ---------------------------------------------------------------------- */

/* Leaves a pending Future of the loop that runs, else of the attached one, else of the loop that
** first waits for it. [-0, +1, may raise] */
void agenda_future_new(lua_State *L);

/* Finishes the Future at `idx` with the `nresults` values on the top, or with the error on the top,
** and wakes who waits, unless the state was detached meanwhile. 1, or 0 if it was done already
** (cancelled, say). An argument error for other values and Tasks.
** [-nresults, +0, may raise] / [-1, +0, may raise] */
int agenda_future_resolve(lua_State *L, int idx, int nresults);
int agenda_future_reject(lua_State *L, int idx);

/*
** Waits for the awaitable at `idx`, as the last thing that a C function does:
** `return agenda_await(L, idx, ctx, k)`. Calls k(L, status, ctx) with the results on the top of
** what was on the stack; status is LUA_YIELD, or LUA_OK if there was nothing to wait for. With NULL
** for k the results are those of the C function. The awaitable's error is raised. Inside of tasks;
** RuntimeError where nothing can wait. [-0, +results, may raise, may yield]
*/
int agenda_await(lua_State *L, int idx, lua_KContext ctx, lua_KFunction k);

/* ----- for other C modules ------------------------------------------------------------- */

/*
** Lua loads C modules with local symbols, so one module cannot link with another. agenda_import
** fetches the functions above from the registry, where the library has put them. A module that
** defines AGENDA_MODULE before it includes this header may then call them by their names in that
** file: `#define AGENDA_MODULE`, and agenda_import(L) in luaopen_*.
*/
#define AGENDA_API_VERSION 1
#define AGENDA_API_KEY "agenda.api"

/* Later versions only add at the end; `size` tells what is there. */
typedef struct agenda_api {
  int version; /* AGENDA_API_VERSION; another one is another table */
  size_t size; /* of the table */
  agenda_loop *(*attach)(lua_State *L, struct ev_loop *ev, int flags);
  int (*step)(agenda_loop *loop, double timeout);
  int (*pending)(agenda_loop *loop);
  int (*post)(agenda_loop *loop, agenda_posted fn, void *ud);
  agenda_loop *(*retain)(agenda_loop *loop);
  void (*release)(agenda_loop *loop);
  int (*shutdown)(lua_State *L, double deadline);
  int (*detach)(lua_State *L);
  void (*spawn)(lua_State *L, int nargs, agenda_done done, void *ud);
  int (*cancel)(lua_State *L, int idx);
  void (*future_new)(lua_State *L);
  int (*future_resolve)(lua_State *L, int idx, int nresults);
  int (*future_reject)(lua_State *L, int idx);
  int (*await)(lua_State *L, int idx, lua_KContext ctx, lua_KFunction k);
} agenda_api;

#if defined(AGENDA_MODULE)
static const agenda_api *agenda_imported; /* the same for all states of the process */
#define agenda_attach         (agenda_imported->attach)
#define agenda_step           (agenda_imported->step)
#define agenda_pending        (agenda_imported->pending)
#define agenda_post           (agenda_imported->post)
#define agenda_retain         (agenda_imported->retain)
#define agenda_release        (agenda_imported->release)
#define agenda_shutdown       (agenda_imported->shutdown)
#define agenda_detach         (agenda_imported->detach)
#define agenda_spawn          (agenda_imported->spawn)
#define agenda_cancel         (agenda_imported->cancel)
#define agenda_future_new     (agenda_imported->future_new)
#define agenda_future_resolve (agenda_imported->future_resolve)
#define agenda_future_reject  (agenda_imported->future_reject)
#define agenda_await          (agenda_imported->await)
#endif

/* The functions above, of the copy of the library that this Lua state uses; requires `agenda.core`
** first where that was not done. Raises if it cannot be loaded or has another version.
** [-0, +0, may raise] */
static inline const agenda_api *agenda_import(lua_State *L)
{
  const agenda_api *api;
  if (lua_getfield(L, LUA_REGISTRYINDEX, AGENDA_API_KEY) != LUA_TLIGHTUSERDATA) {
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "agenda.core");
    lua_call(L, 1, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, AGENDA_API_KEY);
  }
  api = (const agenda_api *)lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (api == NULL || api->version != AGENDA_API_VERSION || api->size < sizeof *api) {
    lua_pushliteral(L, "agenda.core has another version than this module was compiled for");
    lua_error(L);
  }
#if defined(AGENDA_MODULE)
  agenda_imported = api;
#endif
  return api;
}

#ifdef __cplusplus
}
#endif

#endif
