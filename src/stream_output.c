/*
** stream_output.c: what is not sent yet: strings in a table, gathered into few system calls. Who
** waits for them to be sent is woken as they go.
*/
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "errors.h"
#include "stream_output.h"

/* ----- sending ------------------------------------------------------------------------- */

/*
** A pipe has no MSG_NOSIGNAL: SIGPIPE is blocked in this thread meanwhile, and one that comes of
** this write is taken. One that was pending before stays.
*/
static ssize_t write_pipe(int fd, const struct iovec *parts, int n)
{
  static const struct timespec at_once = {0, 0};
  sigset_t pipe_signal, earlier, pending;
  sigemptyset(&pipe_signal);
  sigemptyset(&pending);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &earlier);
  if (sigismember(&earlier, SIGPIPE))
    sigpending(&pending);
  ssize_t written = writev(fd, parts, n);
  int number = errno;
  if (written < 0 && number == EPIPE && !sigismember(&pending, SIGPIPE))
    while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR)
      continue;
  pthread_sigmask(SIG_SETMASK, &earlier, NULL);
  errno = number;
  return written;
}

ssize_t agenda_stream_send(agenda_stream *stream, struct iovec *parts, int n)
{
  ssize_t sent;
  do
    switch (stream->medium) {
      case AGENDA_MEDIUM_SOCKET: {
        if (AGENDA_LIKELY(n == 1)) {
          sent = send(stream->fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL);
          break;
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
        sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
        break;
      }
      case AGENDA_MEDIUM_PIPE:
        sent = write_pipe(stream->fd, parts, n);
        break;
      default:
        sent = writev(stream->fd, parts, n);
    }
  while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno == EWOULDBLOCK)
    errno = EAGAIN;
  return sent;
}

/* ----- the queue ----------------------------------------------------------------------- */

void agenda_stream_drop_output(lua_State *L, agenda_stream *stream, int index)
{
  lua_pushnil(L);
  lua_setiuservalue(L, index, AGENDA_STREAM_QUEUE);
  agenda_stream_drop_wire(L, stream);
  stream->output = (agenda_stream_output){.first = 1};
}

void agenda_stream_append(lua_State *L, agenda_stream *stream, int index, int first, int n,
                          size_t sent)
{
  agenda_stream_output *output = &stream->output;
  size_t size = 0;
  if (lua_getiuservalue(L, index, AGENDA_STREAM_QUEUE) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, n, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, AGENDA_STREAM_QUEUE);
    output->first = 1;
    output->last = 0;
    output->sent = 0;
  }
  for (int i = 0; i < n; i++) {
    size += lua_rawlen(L, first + i);
    lua_pushvalue(L, first + i);
    lua_rawseti(L, -2, output->last + 1 + i);
  }
  lua_pop(L, 1);
  if (output->last < output->first)
    output->sent = sent;
  output->last += n;
  output->unsent += size - sent;
}

int agenda_stream_gather(lua_State *L, const agenda_stream_output *output, struct iovec *parts)
{
  int n = 0;
  for (lua_Integer i = output->first; i <= output->last && n < AGENDA_STREAM_PARTS; i++, n++) {
    size_t size;
    lua_rawgeti(L, -1, i);
    const char *data = lua_tolstring(L, -1, &size); /* which the queue keeps */
    lua_pop(L, 1);
    size_t skip = n == 0 ? output->sent : 0;
    parts[n].iov_base = (char *)data + skip;
    parts[n].iov_len = size - skip;
  }
  return n;
}

void agenda_stream_consume(lua_State *L, agenda_stream_output *output, size_t n)
{
  output->unsent -= n;
  n += output->sent;
  while (output->first <= output->last) {
    lua_rawgeti(L, -1, output->first);
    size_t size = lua_rawlen(L, -1);
    lua_pop(L, 1);
    if (n < size)
      break;
    n -= size;
    lua_pushboolean(L, 0); /* NB: not nil, or the table could be rehashed */
    lua_rawseti(L, -2, output->first++);
  }
  output->sent = n;
}

/* Sends until it would block; false with errno set when it fails. */
static bool send_queue(lua_State *L, agenda_stream *stream, int index)
{
  struct iovec parts[AGENDA_STREAM_PARTS];
  agenda_stream_output *output = &stream->output;
  bool good = true;
  lua_getiuservalue(L, index, AGENDA_STREAM_QUEUE);
  while (output->first <= output->last) {
    ssize_t sent = agenda_stream_send(stream, parts, agenda_stream_gather(L, output, parts));
    if (sent < 0) {
      good = errno == EAGAIN;
      break;
    }
    agenda_stream_consume(L, output, (size_t)sent);
  }
  lua_pop(L, 1);
  return good;
}

/* ----- what comes of it ---------------------------------------------------------------- */

void agenda_stream_fail_output(lua_State *L, agenda_stream *stream, int index, int number)
{
  if (number == ECONNRESET) {
    stream->reset = true; /* the error is not reported again to a reader */
    stream->drained = false;
    number = EPIPE;
  }
  stream->write_error = number;
  agenda_stream_drop_output(L, stream, index);
}

/* What write_eof is for. A terminal that is open both ways has no half that could be closed. NB: a
** peer that is gone already is no error here. */
static void shut_down(agenda_stream *stream)
{
  stream->end_sent = true;
  if (stream->medium == AGENDA_MEDIUM_SOCKET)
    shutdown(stream->fd, SHUT_WR);
  else if (!stream->readable)
    agenda_stream_close_descriptor(stream);
}

void agenda_stream_settle_output(lua_State *L, agenda_stream *stream, int index)
{
  bool empty = stream->output.unsent == 0;
  if (!empty)
    agenda_stream_await_output(stream, true);
  else {
    agenda_stream_await_output(stream, false);
    agenda_stream_drop_output(L, stream, index);
    if (stream->ended && !stream->end_sent && stream->filter == NULL)
      shut_down(stream);
  }
  if (stream->output.unsent <= AGENDA_STREAM_HIGH_WATER)
    agenda_stream_wake_all(L, index, AGENDA_STREAM_ROOM);
  if (!empty)
    return;
  agenda_stream_wake_all(L, index, AGENDA_STREAM_SENT);
  if (stream->status == AGENDA_STREAM_CLOSING)
    agenda_stream_finish(L, stream, index);
}

void agenda_stream_flush(lua_State *L, agenda_stream *stream, int index)
{
  if (stream->status == AGENDA_STREAM_CLOSED)
    return;
  bool good = stream->filter != NULL ? agenda_stream_send_filtered(L, stream, index)
                                     : send_queue(L, stream, index);
  if (!good)
    agenda_stream_fail_output(L, stream, index, errno);
  agenda_stream_settle_output(L, stream, index);
}

int agenda_stream_raise_write_error(lua_State *L, agenda_stream *stream, int index)
{
  stream->error_told = true;
  if (stream->write_error == AGENDA_STREAM_BAD_FILTER)
    return agenda_stream_raise_filter(L, stream, index);
  return agenda_error_raise_os(L, stream->write_error, "write",
                               agenda_stream_push_name(L, index));
}
