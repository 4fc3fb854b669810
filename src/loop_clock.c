/*
** loop_clock.c: the loop's clock, and what ends a poll that blocks: a deadline, a wake-up.
**
** libev rounds what it waits for up to a millisecond (epoll knows no finer time), so on Linux a
** timerfd ends the poll. It takes absolute times of the same clock that loop:time() reads, so a
** wait costs one system call to set it, and none when the nearest deadline has not changed.
*/
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#endif

double agenda_loop_real_time(agenda_schedule *schedule)
{
  struct timespec now;
  (void)schedule;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double agenda_loop_virtual_time(agenda_schedule *schedule)
{
  return schedule->virtual_now;
}

/* ----- wake-ups ------------------------------------------------------------------------ */

static void drain(int fd)
{
  char buffer[64];
  while (read(fd, buffer, sizeof buffer) == (ssize_t)sizeof buffer)
    continue;
}

static void on_wake(struct ev_loop *ev, ev_io *io, int revents)
{
  (void)ev, (void)revents;
  drain(io->fd);
}

/* NB: errno is kept, since a signal handler calls this. A full pipe wakes as well as one more
** byte in it would. */
void agenda_loop_wake(atomic_bool *woken, int wake_fd)
{
  atomic_store(woken, true);
  static const uint64_t one = 1;
  int saved = errno;
  ssize_t written = write(wake_fd, &one, sizeof one);
  (void)written;
  errno = saved;
}

static bool open_wake(agenda_event_loop *loop)
{
#ifdef __linux__
  loop->wake_fd = loop->wake_end = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return loop->wake_fd >= 0;
#else
  int ends[2];
  if (pipe(ends) != 0)
    return false;
  for (int i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    fcntl(ends[i], F_SETFL, fcntl(ends[i], F_GETFL) | O_NONBLOCK);
  }
  loop->wake_end = ends[0];
  loop->wake_fd = ends[1];
  return true;
#endif
}

/* ----- the timer ----------------------------------------------------------------------- */

#ifdef __linux__

static void on_timer_fd(struct ev_loop *ev, ev_io *io, int revents)
{
  agenda_event_loop *loop = AGENDA_LIST_OWNER(io, agenda_event_loop, timer_io);
  (void)ev, (void)revents;
  drain(io->fd);
  loop->rang = loop->armed;
  loop->armed = INFINITY;
}

static bool open_timer(agenda_event_loop *loop)
{
  loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (loop->timer_fd < 0)
    return false;
  ev_io_init(&loop->timer_io, on_timer_fd, loop->timer_fd, EV_READ);
  ev_io_start(loop->ev, &loop->timer_io);
  return true;
}

/* A time before the clock's beginning is one nanosecond after it: zero would disarm. */
static void set_timer(agenda_event_loop *loop, double when)
{
  enum { NANOSECONDS = 1000000000 };
  const double longest = 1e9; /* some thirty years; the turn looks at the clock again */
  struct itimerspec spec = {{0, 0}, {0, 0}};
  if (when < INFINITY) {
    double whole = floor(when < longest ? when : longest);
    double part = when < longest ? ceil((when - whole) * 1e9) : 0;
    spec.it_value.tv_sec = whole > 0 ? (time_t)whole : 0;
    spec.it_value.tv_nsec = whole >= 0 ? (long)part : 1;
    if (spec.it_value.tv_nsec >= NANOSECONDS) {
      spec.it_value.tv_nsec = 0;
      spec.it_value.tv_sec++;
    }
    if (spec.it_value.tv_sec == 0 && spec.it_value.tv_nsec == 0)
      spec.it_value.tv_nsec = 1;
  }
  timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

#else

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
  agenda_event_loop *loop = AGENDA_LIST_OWNER(timer, agenda_event_loop, timer);
  (void)ev, (void)revents;
  loop->rang = loop->armed;
  loop->armed = INFINITY;
}

static bool open_timer(agenda_event_loop *loop)
{
  ev_timer_init(&loop->timer, on_timer, 0, 0);
  return true;
}

static void set_timer(agenda_event_loop *loop, double when)
{
  ev_timer_stop(loop->ev, &loop->timer);
  if (when == INFINITY)
    return;
  ev_now_update(loop->ev);
  double delay = when - agenda_loop_real_time(loop->schedule);
  ev_timer_set(&loop->timer, delay > 0 ? delay : 0, 0);
  ev_timer_start(loop->ev, &loop->timer);
}

#endif

/*
** A poll that the timer ends costs some microseconds. Where so many deadlines wait that they come
** in crowds, those within half a millisecond of the last one are taken together.
*/
void agenda_loop_arm(agenda_event_loop *loop, double when)
{
  enum { CROWD = 256 };
  static const double SPACING = 5e-4;
  if (loop->schedule->deadlines.count >= CROWD && when < loop->rang + SPACING)
    when = loop->rang + SPACING;
  if (when == loop->armed)
    return;
  set_timer(loop, when);
  loop->armed = when;
}

/* ----- opening and closing ------------------------------------------------------------- */

bool agenda_loop_open_wakers(agenda_event_loop *loop)
{
  loop->armed = INFINITY;
  loop->rang = -INFINITY;
  if (!open_wake(loop))
    return false;
  ev_io_init(&loop->wake, on_wake, loop->wake_end, EV_READ);
  ev_io_start(loop->ev, &loop->wake);
  return open_timer(loop);
}

void agenda_loop_close_wakers(agenda_event_loop *loop)
{
  if (loop->timer_fd >= 0) {
    ev_io_stop(loop->ev, &loop->timer_io);
    close(loop->timer_fd);
  }
  if (loop->wake_fd >= 0) {
    ev_io_stop(loop->ev, &loop->wake);
    close(loop->wake_end);
    if (loop->wake_fd != loop->wake_end)
      close(loop->wake_fd);
  }
  loop->timer_fd = loop->wake_fd = loop->wake_end = -1;
}
