/*
** loop.h: the event loop on libev, and how higher rooms attach sources of events to it.
*/
#ifndef AGENDA_LOOP_H
#define AGENDA_LOOP_H

#include <ev.h>
#include <stdatomic.h>

#include "future.h"
#include "handle.h"
#include "hooks.h"
#include "list.h"
#include "schedule.h"
#include "task.h"

/* User values of a loop. */
enum {
  AGENDA_LOOP_HANDLER = 1,       /* the exception handler, or nil for the default */
  AGENDA_LOOP_INTERRUPT,         /* an error that is to come out of the run, or nil */
  AGENDA_LOOP_WATCHERS,          /* descriptor and direction, or signal -> watcher */
  AGENDA_LOOP_GENERATORS,        /* weak keys: async generators that came through a Lua hook */
  AGENDA_LOOP_FIRSTITER,         /* its hooks as functions, made when they are asked for */
  AGENDA_LOOP_FINALIZER,
  AGENDA_LOOP_EARLIER_FIRSTITER, /* those that were there before */
  AGENDA_LOOP_EARLIER_FINALIZER,
  AGENDA_LOOP_EXTRA,             /* nil, or a table for the Lua layer (the executor) */
  AGENDA_LOOP_SLOTS = AGENDA_LOOP_EXTRA
};

typedef struct agenda_event_loop agenda_event_loop;

/*
** A source of events (a descriptor, a signal ...). Its libev callback only calls
** agenda_loop_happened, which cannot fail; after the poll, where Lua errors are caught, the loop
** calls `happened` for each, with room in the ready queue for one entry.
*/
typedef struct agenda_watch {
  struct agenda_event_loop *loop; /* NB: a host's ev_loop may serve several loops */
  agenda_list link;  /* in the loop's list of watches */
  agenda_list event; /* in its list of what happened */
  void (*happened)(lua_State *L, agenda_event_loop *loop, struct agenda_watch *watch);
  /* The loop closes: stops watching and lets go; must not raise. */
  void (*stop)(lua_State *L, agenda_event_loop *loop, struct agenda_watch *watch);
  bool silent;   /* it is no reason to go on waiting: a deadlock is one in spite of it */
  bool polled;   /* libev has to be asked even when something is ready */
  bool wakeable; /* something happened to it when the loop was woken */
} agenda_watch;

struct agenda_event_loop {
  agenda_object object;
  agenda_schedule *schedule;
  struct ev_loop *ev;        /* NULL once closed */
  agenda_list watches;       /* all sources */
  agenda_list happened;      /* those that something happened to */
  int polled;                /* sources that need a poll each turn */
  ev_io wake;                /* on `wake_fd` */
  int wake_fd, wake_end;     /* what another thread or a signal handler writes to; its reader */
  atomic_bool woken;         /* by a signal handler or a thread, since the last turn */
  struct ev_timer timer;     /* of the nearest deadline, where there is no timerfd */
  ev_io timer_io;            /* on `timer_fd` */
  int timer_fd;
  double armed;              /* what the timer is set to, or infinity */
  double rang;               /* when the timer last ended a poll */
  double slow;               /* slow_callback_duration, seconds */
  struct agenda_frame *frame; /* the state's, while it runs; likewise the next two */
  struct agenda_runner *runner;
  bool earlier_debug;
  bool running, stopping;
  bool attached;             /* a host runs it: see loop_host.c */
  bool owns_ev;              /* `ev` is destroyed with it */
  bool holds;                /* it counts as active in the host's ev_loop also when idle */
  bool held;                 /* it counts as active in the host's ev_loop */
  bool between;              /* `prepare` has run and `check` has not */
  bool no_signals;           /* the host has not given it any */
  bool no_children;          /* nor SIGCHLD */
  ev_prepare prepare;
  ev_check check;
  ev_idle idle;
  bool virtual_clock;        /* time jumps to the next deadline when all are blocked */
  bool interrupted;          /* AGENDA_LOOP_INTERRUPT is set */
  bool hooks_shown;          /* its hooks are there as functions */
  bool reports_failures;     /* AGENDA_DEBUG=1: of tasks, at the end of the turn */
};

extern const agenda_kind agenda_loop_kind;

/* ----- loop.c */

/* A new loop, on an ev_loop of the host's or (NULL) one of its own. [-0, +1, may raise] */
agenda_event_loop *agenda_loop_new(lua_State *L, agenda_state *state, struct ev_loop *ev);

/* The loop at `index`, or an argument error; with `open`, RuntimeError if it is closed. */
agenda_event_loop *agenda_loop_check(lua_State *L, int index, bool open);

/* Pushes the userdata of the loop that has this schedule, or nil if it is gone. [-0, +1] */
void agenda_loop_push(lua_State *L, const agenda_schedule *schedule);

/* Closes the open loop at `index`: stops and lets go of everything; then reports the pending tasks
** of the list on the top as destroyed. [-1, +0, may raise once it is closed, or for want of memory
** before] */
void agenda_loop_close(lua_State *L, int index);

/* The same without reports; takes no memory. [-0, +0] */
void agenda_loop_abandon(lua_State *L, agenda_event_loop *loop);

/* Pushes the table of the loop's methods, for rooms that add to it. [-0, +1] */
void agenda_loop_push_methods(lua_State *L);

/* Attaches a source and takes it off again (idempotent); neither can fail. */
void agenda_loop_attach(agenda_event_loop *loop, agenda_watch *watch);
void agenda_loop_detach(agenda_event_loop *loop, agenda_watch *watch);

/* From a libev callback: something happened to the source. */
void agenda_loop_happened(agenda_watch *watch);

void agenda_open_loop(lua_State *L);

/* ----- loop_clock.c */

double agenda_loop_real_time(struct agenda_schedule *schedule);

/* Opens and closes what wakes the loop: at a time, and from signal handlers and threads.
** False with errno set when it fails. */
bool agenda_loop_open_wakers(agenda_event_loop *loop);
void agenda_loop_close_wakers(agenda_event_loop *loop);

/* Sets the timer to a time of the real clock, or to none (infinity). */
void agenda_loop_arm(agenda_event_loop *loop, double when);

/* What schedule->now is with a virtual clock. */
double agenda_loop_virtual_time(struct agenda_schedule *schedule);

/* Wakes the loop that has these two, so that its wakeable sources look what happened; safe in
** signal handlers and from any thread. */
void agenda_loop_wake(atomic_bool *woken, int wake_fd);

/* ----- loop_run.c */

/* Runs an entry that was taken from the queue. [-0, +0, may raise] */
static inline void agenda_loop_run_item(lua_State *L, agenda_ready entry)
{
  if (entry.kind == AGENDA_ITEM_TASK)
    agenda_task_step(L, entry.item);
  else
    agenda_handle_run(L, entry.item);
}

/* Whether something waits to be run in the next turn, or a deadline is due. */
bool agenda_loop_is_ready(const agenda_event_loop *loop);

/* When the nearest deadline is due, or infinity. */
double agenda_loop_next_deadline(const agenda_event_loop *loop);

/* A turn that does not poll, of the loop at upvalue 2. [-0, +0, may raise as a run does] */
int agenda_loop_host_turn(lua_State *L);

/* Registers methods into the table on the top. */
void agenda_open_loop_run(lua_State *L);

/* ----- loop_host.c */

/* Has the host's ev_loop run the new loop on the top, and keeps that alive; if it `holds`, ev_run
** does not return meanwhile. [-0, +0, may raise] */
void agenda_loop_host_start(lua_State *L, agenda_event_loop *loop, bool holds);

/* The loop closes. [-0, +0] */
void agenda_loop_host_stop(lua_State *L, agenda_event_loop *loop);

/* Runs turns, without waiting, as long as something is ready, but no more than `most`. [-0, +0] */
void agenda_loop_host_turns(agenda_event_loop *loop, int most);

/* Whether anything is left to do. */
bool agenda_loop_is_pending(const agenda_event_loop *loop);

/* Something was scheduled from outside of a turn: ev_run is to see it. */
void agenda_loop_host_notice(agenda_event_loop *loop);

/* ----- loop_debug.c */

/* The same in debug mode, with a stop-watch. Tasks other than `main` (or NULL) that fail with
** nobody waiting are noted in a list at stack index `failed`, nil at first. [-0, +0, may raise] */
void agenda_loop_run_timed(lua_State *L, agenda_event_loop *loop, const agenda_future *main,
                           int failed, agenda_ready entry);

/* Reports those in the list whose error nobody has asked for; leaves nil there. */
void agenda_loop_report_failures(lua_State *L, int failed);

/* ----- loop_calls.c, loop_state.c */

void agenda_open_loop_calls(lua_State *L);
void agenda_open_loop_state(lua_State *L);

/* ----- loop_reports.c */

/* Hands the context table on the top to the exception handler of the loop at `index`, which is
** absolute. True if it raised KeyboardInterrupt, which is then on the top. [-1, +(0|1)] */
bool agenda_loop_handle_error(lua_State *L, int index);

/* The report function of the state while a loop runs. [-1, +0] */
void agenda_loop_report(lua_State *L, agenda_state *state);

/* The report function of a loop's schedule. [-1, +0] */
void agenda_loop_report_stopped(lua_State *L, agenda_schedule *schedule);

/* Pushes a text of every unfinished task, with what it awaits and where. [-0, +1, may raise] */
void agenda_loop_push_tasks(lua_State *L, const agenda_schedule *schedule);

/* Registers methods into the table on the top. */
void agenda_open_loop_reports(lua_State *L);

/* ----- loop_hooks.c */

/* The loop serves async generators as their host, and no longer; then the hooks are again what they
** were before. The loop is at `index`. */
void agenda_loop_enter_hooks(agenda_event_loop *loop);
void agenda_loop_leave_hooks(lua_State *L, agenda_event_loop *loop, int index);

/* Prepares a new loop for that. */
void agenda_loop_init_hooks(agenda_event_loop *loop);

void agenda_open_loop_hooks(lua_State *L);

#endif
