/*
** stream_standard.c: descriptors for the standard streams, which the process shares with others.
**
** O_NONBLOCK belongs to the open file and not to the descriptor, so setting it on standard input
** would change the terminal of the shell, and what children inherit. Where it can be (terminals and
** pipes of Linux) the file is opened anew: then nothing is shared. Else it is set while a stream is
** open and taken back then, or at the end of the process. What a terminal was set to is put back at
** that end, too.
**
** NB: the only data of the process, and not of a Lua state, that streams have: descriptors 0 to 2
** are the process's.
*/
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "errors.h"
#include "stream.h"

enum { STANDARD = 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int shared_streams;          /* open ones whose file is not opened anew */
static bool was_blocking[STANDARD]; /* before the first of them */
static bool is_terminal[STANDARD];  /* `terminal` is known */
static struct termios terminal[STANDARD];

/* ----- putting back -------------------------------------------------------------------- */

static void restore_blocking(void)
{
  for (int fd = 0; fd < STANDARD; fd++)
    if (was_blocking[fd]) {
      int flags = fcntl(fd, F_GETFL);
      if (flags >= 0 && (flags & O_NONBLOCK) != 0)
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
      was_blocking[fd] = false;
    }
}

/* NB: setting a terminal stops a process in the background by SIGTTOU, unless that is blocked. */
static void restore_terminal(int fd)
{
  struct termios now;
  sigset_t stopping, earlier;
  if (!is_terminal[fd] || tcgetattr(fd, &now) != 0 ||
      memcmp(&now, &terminal[fd], sizeof now) == 0)
    return;
  sigemptyset(&stopping);
  sigaddset(&stopping, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &stopping, &earlier);
  tcsetattr(fd, TCSADRAIN, &terminal[fd]);
  pthread_sigmask(SIG_SETMASK, &earlier, NULL);
}

static void at_end_of_process(void)
{
  restore_blocking();
  for (int fd = 0; fd < STANDARD; fd++)
    restore_terminal(fd);
}

/* ----- opening ------------------------------------------------------------------------- */

/* A file opened anew, or -1: only terminals and pipes, since a regular file would have another
** position. */
static int open_anew(int fd, const struct stat *status)
{
  char path[32];
  if (!S_ISFIFO(status->st_mode) && !isatty(fd))
    return -1;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, (fd == 0 ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void remember(int fd)
{
  static bool registered;
  if (!registered)
    registered = atexit(at_end_of_process) == 0;
  if (!is_terminal[fd])
    is_terminal[fd] = tcgetattr(fd, &terminal[fd]) == 0;
}

/* Whether the number is that of a standard descriptor. NB: where one is closed, the next file that
** is opened gets its number; the library's are closed on exec, which no standard one has been. */
static bool is_standard(int fd)
{
  int flags = fcntl(fd, F_GETFD);
  if (flags >= 0 && (flags & FD_CLOEXEC) == 0)
    return true;
  errno = EBADF;
  return false;
}

/*** A descriptor for a standard stream, which is the caller's.
@function _open_standard
@tparam integer n 0, 1 or 2
@treturn integer descriptor
@treturn boolean whether the stream is to be given `shared = true`
@raise OSError EBADF when it is closed */
static int l_open_standard(lua_State *L)
{
  static const char *const names[] = {"stdin", "stdout", "stderr"};
  int fd = (int)luaL_checkinteger(L, 1);
  struct stat status;
  luaL_argcheck(L, fd >= 0 && fd < STANDARD, 1, "0, 1 or 2 expected");
  luaL_checkstack(L, 2, "standard stream");
  if (!is_standard(fd) || fstat(fd, &status) != 0)
    return agenda_error_raise_os(L, errno, "open", names[fd]);
  pthread_mutex_lock(&lock);
  remember(fd);
  pthread_mutex_unlock(&lock);
  int own = open_anew(fd, &status);
  bool shared = own < 0;
  if (shared)
    own = fcntl(fd, F_DUPFD_CLOEXEC, STANDARD);
  if (own < 0)
    return agenda_error_raise_os(L, errno, "open", names[fd]);
  lua_pushinteger(L, own);
  lua_pushboolean(L, shared && !S_ISREG(status.st_mode));
  return 2;
}

void agenda_stream_share(void)
{
  pthread_mutex_lock(&lock);
  if (shared_streams++ == 0)
    for (int fd = 0; fd < STANDARD; fd++) {
      int flags = fcntl(fd, F_GETFL);
      was_blocking[fd] = flags >= 0 && (flags & O_NONBLOCK) == 0;
    }
  pthread_mutex_unlock(&lock);
}

void agenda_stream_unshare(void)
{
  pthread_mutex_lock(&lock);
  if (--shared_streams == 0)
    restore_blocking();
  pthread_mutex_unlock(&lock);
}

static const luaL_Reg functions[] = {
  {"_open_standard", l_open_standard},
  {NULL, NULL}
};

void agenda_open_stream_standard(lua_State *L)
{
  agenda_functions_register(L, functions);
}
