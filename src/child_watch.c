/*
** child_watch.c: children from their birth to their end.
**
**                begin                 reaped
**   UNBORN ---------------> RUNNING ---------------> ENDED
**      \------------------------------------ drop ----^
**
** While a child runs it is anchored in its loop, whatever becomes of the process object that stands
** for it in Lua: so its end is noticed and nothing is left of it in the system. Only its own number
** is waited for, never any child; what somebody else has waited for counts as ended with 255.
**
** The end is told by a pidfd, which the kernel makes readable. Where there is none, a source for
** each loop has the library's table of signals tell it of SIGCHLD, and asks for each child.
*/
#include "child_watch.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "errors.h"
#include "loop.h"
#include "signal_names.h"
#include "signal_table.h"

typedef enum { CHILD_UNBORN, CHILD_RUNNING, CHILD_ENDED } child_status;

/* User values of a child. */
enum {
  CHILD_WAITERS = 1, /* a list of futures, or nil */
  CHILD_ORIGIN,      /* in debug mode what it is and where it was made, else nil */
  CHILD_SLOTS = CHILD_ORIGIN
};

enum { CODE_UNKNOWN = 255 };

typedef struct child_source {
  agenda_watch watch;
  agenda_signal_slot *slot; /* NULL while it has no children */
  agenda_list children;
  bool no_pidfds;           /* the kernel said so */
} child_source;

struct agenda_child {
  agenda_object object;
  agenda_watch watch;
  ev_io io;                /* on `pidfd` */
  agenda_list link;        /* in the source's children, where there is no pidfd */
  agenda_event_loop *loop; /* while it is anchored there, else NULL */
  child_source *source;    /* the loop's */
  uint32_t anchor;
  pid_t pid;
  pid_t parent; /* who may wait for it: not a fork of that */
  int pidfd;
  int code; /* once ended: what it exited with, or the signal that ended it, negative */
  child_status status;
  bool lost; /* somebody else has waited for it */
};

static const agenda_kind child_kind = {.name = "child", .metatable = "agenda.child"};

/* The source's key in the loop's table of watchers. */
static const char SOURCE_KEY[] = "children";

static agenda_child *check_child(lua_State *L)
{
  return agenda_object_check(L, 1, &child_kind);
}

/* ----- the system ---------------------------------------------------------------------- */

static int open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
  return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
#else
  (void)pid;
  errno = ENOSYS;
  return -1;
#endif
}

/* NB: a number may belong to another process once somebody else has waited for the child; a pidfd
** never does. */
static int send_signal(const agenda_child *child, int number)
{
#ifdef SYS_pidfd_send_signal
  if (child->pidfd >= 0)
    return (int)syscall(SYS_pidfd_send_signal, child->pidfd, number, NULL, 0);
#endif
  return kill(child->pid, number);
}

/* Asks whether the child has ended, and takes note if it has. */
static bool reap(agenda_child *child)
{
  int status;
  if (child->parent != getpid())
    return false;
  pid_t found = waitpid(child->pid, &status, WNOHANG);
  if (found == 0 || (found < 0 && errno == EINTR))
    return false;
  child->status = CHILD_ENDED;
  child->lost = found < 0;
  if (child->lost)
    child->code = CODE_UNKNOWN;
  else
    child->code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

/* Kills the child and waits for its end: a moment, unless it is one that cannot be killed. */
static void kill_and_reap(agenda_child *child)
{
  enum { SHORT = 100000, LONG = 10000000, PATIENCE = 1000000000 }; /* nanoseconds */
  if (send_signal(child, SIGKILL) != 0 && errno == EPERM && !reap(child))
    return;
  long pause = SHORT;
  for (long waited = 0; child->status == CHILD_RUNNING && !reap(child); waited += pause) {
    if (waited >= PATIENCE)
      return;
    pause = pause < LONG ? 2 * pause : pause;
    nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
  }
}

/* ----- the end ------------------------------------------------------------------------- */

static void release_source(agenda_event_loop *loop, child_source *source)
{
  if (source->slot == NULL || !agenda_list_empty(&source->children))
    return;
  agenda_loop_detach(loop, &source->watch);
  agenda_signal_slot_unwatch(source->slot, SIGCHLD);
  agenda_signal_slot_release(source->slot);
  source->slot = NULL;
}

/* The loop has nothing more to do with the child. [-0, +0] */
static void let_go(lua_State *L, agenda_child *child)
{
  agenda_event_loop *loop = child->loop;
  if (loop == NULL)
    return;
  child->loop = NULL;
  child->status = CHILD_ENDED;
  agenda_loop_detach(loop, &child->watch);
  if (child->pidfd >= 0) {
    ev_io_stop(loop->ev, &child->io);
    close(child->pidfd);
    child->pidfd = -1;
  }
  agenda_list_unlink(&child->link);
  release_source(loop, child->source);
  agenda_schedule_unanchor(L, loop->schedule, child->anchor);
}

/* NB: done without allocating, but for the queue, which gets its room before. */
static void wake_waiters(lua_State *L, agenda_child *child)
{
  agenda_schedule *schedule = child->loop->schedule;
  agenda_schedule_push(L, schedule, child->anchor);
  if (lua_getiuservalue(L, -1, CHILD_WAITERS) == LUA_TTABLE) {
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
      agenda_ready_queue_grow(L, &schedule->ready);
      agenda_future_finish(L, -1, 0);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_setiuservalue(L, -2, CHILD_WAITERS);
  lua_pop(L, 1);
}

static void warn_of_loss(lua_State *L, const agenda_child *child)
{
  lua_pushnil(L);
  lua_pushfstring(L, "process %d was waited for by somebody else; its exit code is unknown",
                  (int)child->pid);
  lua_insert(L, -2);
  agenda_warn(L, lua_tostring(L, -2));
  lua_pop(L, 1);
}

/* NB: if there is no memory to wake who waits, the child is asked again in the next turn. */
static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_child *child = AGENDA_LIST_OWNER(watch, agenda_child, watch);
  (void)loop;
  if (child->status == CHILD_RUNNING && !reap(child))
    return;
  agenda_loop_happened(watch);
  if (child->lost)
    warn_of_loss(L, child);
  child->lost = false;
  wake_waiters(L, child);
  let_go(L, child);
}

static void on_exit(struct ev_loop *ev, ev_io *io, int revents)
{
  (void)ev, (void)revents;
  agenda_loop_happened(&AGENDA_LIST_OWNER(io, agenda_child, io)->watch);
}

static int l_report_killing(lua_State *L)
{
  agenda_child *child = lua_touserdata(L, 1);
  agenda_schedule *schedule = child->loop->schedule;
  agenda_schedule_push(L, schedule, child->anchor);
  if (lua_getiuservalue(L, -1, CHILD_ORIGIN) != LUA_TSTRING)
    return 0;
  lua_pushfstring(L, "process %d (%s) was killed because its loop closes", (int)child->pid,
                  lua_tostring(L, -1));
  lua_newtable(L);
  agenda_future_report(L, schedule, lua_tostring(L, -2));
  return 0;
}

/* Debug mode: the child is one that was never ended. [-0, +0] */
static void report_killing(lua_State *L, agenda_child *child)
{
  if (!lua_checkstack(L, LUA_MINSTACK))
    return;
  lua_pushcfunction(L, l_report_killing);
  lua_pushlightuserdata(L, child);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
}

/* The loop closes. */
static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_child *child = AGENDA_LIST_OWNER(watch, agenda_child, watch);
  (void)loop;
  if (child->status == CHILD_RUNNING && child->parent == getpid()) {
    report_killing(L, child);
    kill_and_reap(child);
  }
  if (child->status == CHILD_RUNNING)
    child->code = CODE_UNKNOWN;
  let_go(L, child);
}

/* ----- SIGCHLD ------------------------------------------------------------------------- */

static void source_happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  child_source *source = AGENDA_LIST_OWNER(watch, child_source, watch);
  const agenda_list *head = &source->children;
  (void)L, (void)loop;
  if (!agenda_signal_slot_pending(source->slot, SIGCHLD))
    return;
  agenda_signal_slot_clear(source->slot, SIGCHLD);
  for (agenda_list *node = head->next; node != head; node = node->next)
    agenda_loop_happened(&AGENDA_LIST_OWNER(node, agenda_child, link)->watch);
}

static void source_stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  child_source *source = AGENDA_LIST_OWNER(watch, child_source, watch);
  while (!agenda_list_empty(&source->children))
    stop(L, loop, &AGENDA_LIST_OWNER(source->children.next, agenda_child, link)->watch);
  release_source(loop, source);
}

/* The source of the loop at `index`, which has no children at first. [-0, +0, may raise] */
static child_source *find_source(lua_State *L, int index)
{
  lua_getiuservalue(L, index, AGENDA_LOOP_WATCHERS);
  lua_getfield(L, -1, SOURCE_KEY);
  child_source *source = lua_touserdata(L, -1);
  if (source == NULL) {
    source = lua_newuserdatauv(L, sizeof *source, 0);
    *source = (child_source){.watch = {.happened = source_happened, .stop = source_stop}};
    source->watch.silent = source->watch.wakeable = true;
    agenda_list_init(&source->children);
    lua_setfield(L, -3, SOURCE_KEY);
  }
  lua_pop(L, 2);
  return source;
}

/* Begins to catch SIGCHLD. 0, or an errno. */
static int open_source(agenda_event_loop *loop, child_source *source)
{
  if (source->slot != NULL)
    return 0;
  source->slot = agenda_signal_slot_take(&loop->woken, loop->wake_fd);
  if (source->slot == NULL)
    return EAGAIN;
  int failure = agenda_signal_slot_watch(source->slot, SIGCHLD);
  if (failure != 0) {
    agenda_signal_slot_release(source->slot);
    source->slot = NULL;
    return failure;
  }
  agenda_loop_attach(loop, &source->watch);
  return 0;
}

/* ----- the beginning ------------------------------------------------------------------- */

/*
** NB: SIGCHLD is caught before the child is born: a host that ignores the signal would have the
** kernel throw its exit code away.
*/
agenda_child *agenda_child_new(lua_State *L, int index, bool by_signal)
{
  agenda_event_loop *loop = agenda_loop_check(L, index, true);
  child_source *source = find_source(L, index);
  by_signal = by_signal || source->no_pidfds;
  if (by_signal && loop->no_children)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                       "the host keeps SIGCHLD to itself: it attached the loop without "
                       "AGENDA_CHILDREN");
  agenda_child *child =
    agenda_object_new(L, loop->object.state, &child_kind, sizeof *child, CHILD_SLOTS);
  child->watch.happened = happened;
  child->watch.stop = stop;
  child->pidfd = -1;
  agenda_list_init(&child->link);
  agenda_list_init(&child->watch.link);
  agenda_list_init(&child->watch.event);
  child->source = source;
  child->anchor = agenda_schedule_anchor(L, loop->schedule, -1);
  child->loop = loop;
  if (by_signal && open_source(loop, source) == 0)
    agenda_list_append(&source->children, &child->link);
  return child;
}

/* NB: it may have ended before the first SIGCHLD was caught, so it is asked once in any case. */
int agenda_child_begin(lua_State *L, agenda_child *child, pid_t pid)
{
  agenda_event_loop *loop = child->loop;
  child->pid = pid;
  child->parent = getpid();
  child->status = CHILD_RUNNING;
  if (agenda_list_empty(&child->link)) {
    child->pidfd = open_pidfd(pid);
    child->source->no_pidfds = child->pidfd < 0 && errno == ENOSYS;
  }
  if (child->pidfd >= 0) {
    child->watch.polled = true;
    agenda_loop_attach(loop, &child->watch);
    ev_io_init(&child->io, on_exit, child->pidfd, EV_READ);
    ev_io_start(loop->ev, &child->io);
    return 0;
  }
  int failure = open_source(loop, child->source);
  if (failure != 0) {
    kill_and_reap(child);
    let_go(L, child);
    return failure;
  }
  agenda_list_unlink(&child->link);
  agenda_list_append(&child->source->children, &child->link);
  agenda_loop_attach(loop, &child->watch);
  agenda_loop_happened(&child->watch);
  return 0;
}

void agenda_child_drop(lua_State *L, agenda_child *child)
{
  let_go(L, child);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/* child:pid() -> integer: the number of the process, also when it has ended */
static int l_pid(lua_State *L)
{
  lua_pushinteger(L, check_child(L)->pid);
  return 1;
}

/* child:returncode() -> nil while it runs, what it exited with, or minus the number of the signal
** that ended it; as far as the loop has noticed */
static int l_returncode(lua_State *L)
{
  const agenda_child *child = check_child(L);
  if (child->status == CHILD_ENDED)
    lua_pushinteger(L, child->code);
  else
    lua_pushnil(L);
  return 1;
}

/* child:poll() -> the same, but asks the system */
static int l_poll(lua_State *L)
{
  agenda_child *child = check_child(L);
  if (child->status == CHILD_RUNNING && reap(child))
    agenda_loop_happened(&child->watch);
  return l_returncode(L);
}

/* child:outcome() -> the exit code of one that has ended; or nil and the signal's name */
static int l_outcome(lua_State *L)
{
  const agenda_child *child = check_child(L);
  if (child->code >= 0) {
    lua_pushinteger(L, child->code);
    return 1;
  }
  lua_pushnil(L);
  agenda_signal_push_name(L, -child->code);
  return 2;
}

/* Takes futures that are done, because they were cancelled, out of the list on the top. */
static void compact(lua_State *L)
{
  lua_Integer kept = 0, n = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    const agenda_future *future = lua_touserdata(L, -1);
    if (future->status == AGENDA_FUTURE_PENDING)
      lua_rawseti(L, -2, ++kept);
    else
      lua_pop(L, 1);
  }
  for (lua_Integer i = n; i > kept; i--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
}

/* child:set_origin(text): what the debug mode says of it */
static int l_set_origin(lua_State *L)
{
  check_child(L);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, CHILD_ORIGIN);
  return 0;
}

/* child:ended() -> a new future that is done when the child, which runs, has ended */
static int l_ended(lua_State *L)
{
  enum { CROWD = 8 };
  agenda_child *child = check_child(L);
  if (child->loop == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Event loop is closed");
  if (lua_getiuservalue(L, 1, CHILD_WAITERS) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, CHILD_WAITERS);
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  if (n >= CROWD && (n & (n - 1)) == 0) /* now and then: at 8, 16, 32 ... */
    compact(L);
  n = (lua_Integer)lua_rawlen(L, -1);
  agenda_future_create(L, child->object.state, child->loop->schedule);
  lua_pushvalue(L, -1);
  lua_rawseti(L, -3, n + 1);
  return 1;
}

/* child:signal(name or number): nothing happens to one that has ended. Raises ValueError for an
** unknown signal, OSError EPERM */
static int l_signal(lua_State *L)
{
  const agenda_child *child = check_child(L);
  int number = agenda_signal_number(L, 2);
  if (child->status != CHILD_RUNNING || send_signal(child, number) == 0 || errno == ESRCH)
    return 0;
  lua_pushfstring(L, "process %d", (int)child->pid);
  return agenda_error_raise_os(L, errno, "kill", lua_tostring(L, -1));
}

/* "<child 1234 at 0x...>" */
static int l_tostring(lua_State *L)
{
  const agenda_child *child = check_child(L);
  lua_pushfstring(L, "%d", (int)child->pid);
  return agenda_push_description(L, &child->object, lua_tostring(L, -1));
}

static const luaL_Reg metamethods[] = {
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg verbs[] = {
  {"ended", l_ended},
  {"outcome", l_outcome},
  {"pid", l_pid},
  {"poll", l_poll},
  {"returncode", l_returncode},
  {"set_origin", l_set_origin},
  {"signal", l_signal},
  {NULL, NULL}
};

void agenda_open_child_watch(lua_State *L)
{
  agenda_class_register(L, &child_kind, metamethods, verbs, NULL);
}
