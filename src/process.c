/*
** process.c: starts a program as a child process.
**
** The child is made by vfork, which costs the same however large the process is: it borrows the
** memory of the calling thread until it has become the program. So it does nothing but system calls
** with what was prepared before, all signals blocked. What fails there comes back through a pipe
** that is closed when the program begins (vfork may be a fork, and then no memory is shared).
**
** Nothing can raise between the birth and the moment when the loop watches the child.
*/
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child_watch.h"
#include "errors.h"
#include "fd_watch.h"
#include "loop.h"

#ifndef NSIG
#define NSIG 65
#endif

enum { STDIO = 3, EXIT_NOT_BORN = 127 };

static const char *const stdio_names[STDIO] = {"stdin", "stdout", "stderr"};

typedef enum {
  STDIO_INHERIT,
  STDIO_PIPE,
  STDIO_NULL,
  STDIO_STDOUT, /* the same as its standard output */
  STDIO_DESCRIPTOR
} stdio_mode;

/* What failed in the child. */
typedef enum { STAGE_STDIO, STAGE_CWD, STAGE_EXEC } stage;

typedef struct report {
  int stage, number; /* an errno */
} report;

typedef struct plan {
  char **paths;       /* what the command may be, NULL at the end */
  char **arguments, **environment;
  const char *cwd;    /* or NULL */
  stdio_mode modes[STDIO];
  int from[STDIO];    /* what becomes the child's descriptors 0 to 2 */
  int parents[STDIO]; /* our ends of its pipes, or -1 */
  int opened[STDIO];  /* what is to be closed once it was born */
  int opened_count;
  int report;         /* the pipe's end that the child writes to */
} plan;

/* ----- in the child -------------------------------------------------------------------- */

static _Noreturn void give_up(const plan *p, stage failed)
{
  report r = {failed, errno};
  ssize_t written = write(p->report, &r, sizeof r);
  (void)written;
  _exit(EXIT_NOT_BORN);
}

/*
** NB: handlers, too, before the mask is opened: they would run here, in the parent's memory. libc
** keeps its own signals from sigaction, and a program that was started by it may have them ignored;
** all zero is the default to the kernel.
*/
static void reset_signals(void)
{
#ifdef SYS_rt_sigaction
  static const long zero[16];
  for (int number = 1; number < NSIG; number++)
    syscall(SYS_rt_sigaction, number, zero, NULL, (size_t)(NSIG - 1) / 8);
#else
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; number++)
    sigaction(number, &action, NULL);
#endif
}

/* Those that stand in each other's places are moved out of the way first. */
static void take_stdio(const plan *p)
{
  int from[STDIO];
  for (int i = 0; i < STDIO; i++) {
    from[i] = p->from[i];
    if (from[i] < STDIO && from[i] != i && (from[i] = fcntl(from[i], F_DUPFD, STDIO)) < 0)
      give_up(p, STAGE_STDIO);
  }
  for (int i = 0; i < STDIO; i++) {
    if (from[i] == i)
      fcntl(i, F_SETFD, 0); /* one that is closed stays closed */
    else if (dup2(from[i], i) < 0)
      give_up(p, STAGE_STDIO);
  }
}

static void close_range_of(unsigned first, unsigned last)
{
  if (first > last)
    return;
#ifdef SYS_close_range
  if (syscall(SYS_close_range, first, last, 0) == 0)
    return;
#endif
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
    limit.rlim_cur = INT_MAX;
  for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++)
    close((int)fd);
}

/* As a shell does: the first that can be run; EACCES if one could not, ENOENT if there is none. */
static void run_first(const plan *p)
{
  bool denied = false;
  for (char **path = p->paths; *path != NULL; path++) {
    execve(*path, p->arguments, p->environment);
    if (errno == EACCES)
      denied = true;
    else if (errno != ENOENT && errno != ENOTDIR)
      return;
  }
  errno = denied ? EACCES : p->paths[1] == NULL ? errno : ENOENT;
}

static _Noreturn void become(const plan *p)
{
  sigset_t none;
  reset_signals();
  take_stdio(p);
  if (p->cwd != NULL && chdir(p->cwd) != 0)
    give_up(p, STAGE_CWD);
  close_range_of(STDIO, (unsigned)p->report - 1);
  close_range_of((unsigned)p->report + 1, UINT_MAX);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  run_first(p);
  give_up(p, STAGE_EXEC);
}

/* ----- in the parent ------------------------------------------------------------------- */

/* NB: a function of its own, as the two returns of vfork share its variables. */
static __attribute__((noinline)) pid_t bear(const plan *p)
{
  pid_t pid = vfork();
  if (pid == 0)
    become(p);
  return pid;
}

/* The report pipe, above the standard descriptors even where those are closed. */
static bool open_report(int ends[2])
{
  if (pipe2(ends, O_CLOEXEC) != 0)
    return false;
  for (int i = 0; i < 2; i++) {
    if (ends[i] >= STDIO)
      continue;
    int moved = fcntl(ends[i], F_DUPFD_CLOEXEC, STDIO);
    int number = errno;
    close(ends[i]);
    ends[i] = moved;
    if (moved < 0) {
      close(ends[1 - i]);
      errno = number;
      return false;
    }
  }
  return true;
}

/* The child's number; or -1, and what failed. */
static pid_t start(plan *p, report *failed)
{
  int ends[2];
  sigset_t all, earlier;
  *failed = (report){STAGE_EXEC, 0};
  if (!open_report(ends)) {
    failed->number = errno;
    return -1;
  }
  p->report = ends[1];
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &earlier);
  pid_t pid = bear(p);
  int number = errno;
  pthread_sigmask(SIG_SETMASK, &earlier, NULL);
  close(ends[1]);
  ssize_t got;
  do
    got = pid < 0 ? 0 : read(ends[0], failed, sizeof *failed);
  while (got < 0 && errno == EINTR);
  close(ends[0]);
  if (pid < 0)
    failed->number = number;
  else if (got == (ssize_t)sizeof *failed) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
      continue;
    pid = -1;
  }
  return pid;
}

/* ----- standard descriptors ------------------------------------------------------------ */

static void close_opened(plan *p)
{
  for (int i = 0; i < p->opened_count; i++)
    close(p->opened[i]);
  p->opened_count = 0;
}

static int abandon(lua_State *L, plan *p, int number, const char *syscall_name, const char *what)
{
  close_opened(p);
  for (int i = 0; i < STDIO; i++)
    if (p->parents[i] >= 0)
      close(p->parents[i]);
  return agenda_error_raise_os(L, number, syscall_name, what);
}

/* A pipe whose one end the child gets. */
static bool open_pipe(plan *p, int i)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return false;
  int ours = ends[i == 0], theirs = ends[i != 0];
  p->parents[i] = ours;
  p->from[i] = p->opened[p->opened_count++] = theirs;
  return true;
}

/*
** Programs do not expect a descriptor that does not block, as those of a stream are; but the flag
** belongs to what both share. So the child gets a pipe or a terminal opened anew; where that cannot
** be it gets the descriptor as it is.
*/
static void make_blocking(plan *p, int i)
{
  int fd = p->from[i], flags = fcntl(fd, F_GETFL);
  struct stat about;
  if (flags < 0 || (flags & O_NONBLOCK) == 0 || fstat(fd, &about) != 0)
    return;
  if (!S_ISFIFO(about.st_mode) && !S_ISCHR(about.st_mode))
    return;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int again = open(path, (flags & (O_ACCMODE | O_APPEND)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (again < 0)
    return;
  fcntl(again, F_SETFL, fcntl(again, F_GETFL) & ~O_NONBLOCK);
  p->from[i] = p->opened[p->opened_count++] = again;
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/* Arguments of `spawn_child`. */
enum {
  ARG_PATHS = 1,
  ARG_ARGUMENTS,
  ARG_ENVIRONMENT,
  ARG_CWD,
  ARG_STDIO,
  ARG_BY_SIGNAL = ARG_STDIO + STDIO,
  ARG_COUNT = ARG_BY_SIGNAL
};

/* The strings of the list at `index` as C wants them, in a userdata that is left. [-0, +1] */
static char **push_strings(lua_State *L, int index)
{
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  char **strings = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *strings, 0);
  for (lua_Integer i = 0; i < n; i++) {
    lua_rawgeti(L, index, i + 1);
    strings[i] = (char *)(uintptr_t)luaL_checkstring(L, -1); /* execve does not write to it */
    lua_pop(L, 1);
  }
  strings[n] = NULL;
  return strings;
}

/* Reads what the child is to get as its descriptor i. [-0, +0, may raise] */
static void check_stdio(lua_State *L, plan *p, int i)
{
  static const char *const modes[] = {"inherit", "pipe", "null", "stdout", NULL};
  int index = ARG_STDIO + i;
  p->parents[i] = -1;
  p->modes[i] = STDIO_DESCRIPTOR;
  if (lua_type(L, index) == LUA_TSTRING) {
    p->modes[i] = (stdio_mode)luaL_checkoption(L, index, NULL, modes);
    return;
  }
  p->from[i] = agenda_fd_check(L, index);
}

/* Gets it. 0, or an errno. */
static int open_stdio(plan *p, int i)
{
  switch (p->modes[i]) {
    case STDIO_DESCRIPTOR:
      if (fcntl(p->from[i], F_GETFD) < 0)
        return EBADF;
      make_blocking(p, i);
      break;
    case STDIO_INHERIT:
      p->from[i] = i;
      make_blocking(p, i);
      break;
    case STDIO_PIPE:
      return open_pipe(p, i) ? 0 : errno;
    case STDIO_NULL:
      p->from[i] = open("/dev/null", (i == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
      if (p->from[i] < 0)
        return errno;
      p->opened[p->opened_count++] = p->from[i];
      break;
    case STDIO_STDOUT:
      p->from[i] = p->from[1];
      break;
  }
  return 0;
}

static int raise_failure(lua_State *L, plan *p, const report *failed)
{
  switch (failed->stage) {
    case STAGE_STDIO:
      return abandon(L, p, failed->number, "dup2", p->arguments[0]);
    case STAGE_CWD:
      return abandon(L, p, failed->number, "chdir", p->cwd);
    default:
      return abandon(L, p, failed->number, "exec", p->arguments[0]);
  }
}

/* spawn_child(paths, arguments, environment or nil, cwd or nil, stdin, stdout, stderr, by_signal)
** -> the child, and our ends of its pipes or nil. `paths` are tried in turn. Each of the standard
** descriptors is a number, a Lua file, "inherit", "pipe", "null" or "stdout". Raises OSError;
** RuntimeError "no running event loop" */
static int l_spawn_child(lua_State *L)
{
  agenda_state *state = agenda_state_here(L);
  plan p = {.report = -1};
  report failed;
  lua_settop(L, ARG_COUNT);
  if (state->loop == NULL)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  p.paths = push_strings(L, ARG_PATHS);
  p.arguments = push_strings(L, ARG_ARGUMENTS);
  p.environment = lua_isnil(L, ARG_ENVIRONMENT) ? environ : push_strings(L, ARG_ENVIRONMENT);
  p.cwd = luaL_optstring(L, ARG_CWD, NULL);
  for (int i = 0; i < STDIO; i++)
    check_stdio(L, &p, i);
  agenda_slot_push(L, AGENDA_SLOT_LOOP);
  agenda_child *child = agenda_child_new(L, lua_gettop(L), lua_toboolean(L, ARG_BY_SIGNAL));
  for (int i = 0; i < STDIO; i++) {
    int number = open_stdio(&p, i);
    if (number == 0)
      continue;
    agenda_child_drop(L, child);
    return abandon(L, &p, number, "subprocess", stdio_names[i]);
  }
  pid_t pid = start(&p, &failed);
  if (pid < 0) {
    agenda_child_drop(L, child);
    return raise_failure(L, &p, &failed);
  }
  int number = agenda_child_begin(L, child, pid);
  if (number != 0)
    return abandon(L, &p, number, "SIGCHLD", p.arguments[0]);
  close_opened(&p);
  for (int i = 0; i < STDIO; i++) {
    if (p.parents[i] >= 0)
      lua_pushinteger(L, p.parents[i]);
    else
      lua_pushnil(L);
  }
  return 1 + STDIO;
}

static const luaL_Reg functions[] = {
  {"spawn_child", l_spawn_child},
  {NULL, NULL}
};

void agenda_open_process(lua_State *L)
{
  agenda_functions_register(L, functions);
}
