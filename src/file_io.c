/*
** file_io.c: reading and writing a file, with a buffer for each.
**
** Descriptors are opened with O_NONBLOCK, which makes no difference for files on a disk. Where it
** does (FIFOs, terminals), a wait is one for the descriptor and for the job's cancellation, and
** what was read stays in the buffer; so a cancelled read loses nothing and holds no thread.
**
** Reading ahead puts the system's position before that of the file: who writes or seeks goes back.
*/
#include "file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CREATION_MODE = 0666, LONGEST_NAP = 50 /* milliseconds */ };

static int failed(agenda_file_io *io, const char *call, int number)
{
  io->failed = call;
  return number;
}

/* ----- opening ------------------------------------------------------------------------- */

static bool is_fifo(const char *path)
{
  struct stat info;
  return stat(path, &info) == 0 && S_ISFIFO(info.st_mode);
}

/* NB: opening a FIFO for writing fails as long as nobody reads, and there is nothing to wait for
** but time. For reading it succeeds at once; then the first read waits for a writer. */
static int open_patiently(agenda_job *job, const char *path, int flags, int *fd)
{
  for (int nap = 1;; nap = nap < LONGEST_NAP ? 2 * nap : LONGEST_NAP) {
    *fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, CREATION_MODE);
    if (*fd >= 0)
      return 0;
    int number = errno;
    if (number == ENXIO && is_fifo(path))
      number = agenda_job_wait(job, -1, 0, nap);
    else if (number == EINTR)
      number = 0;
    if (number != 0)
      return number;
  }
}

int agenda_file_io_open(agenda_job *job, agenda_file_io *io, const char *path, int flags)
{
  struct stat info;
  int number = open_patiently(job, path, flags, &io->fd);
  if (number != 0)
    return failed(io, "open", number);
  if (fstat(io->fd, &info) != 0)
    number = errno;
  else if (S_ISDIR(info.st_mode))
    number = EISDIR;
  if (number != 0) {
    close(io->fd);
    io->fd = -1;
    return failed(io, "open", number);
  }
  io->regular = S_ISREG(info.st_mode);
  io->fifo = S_ISFIFO(info.st_mode);
  return 0;
}

/* ----- reading ------------------------------------------------------------------------- */

/* Room for `more` bytes behind what was read. */
static int reserve(agenda_file_io *io, size_t more)
{
  if (io->in_size - io->end >= more)
    return 0;
  if (io->start > 0) {
    memmove(io->in, io->in + io->start, io->end - io->start);
    io->end -= io->start;
    io->start = 0;
  }
  if (io->in_size - io->end >= more)
    return 0;
  size_t size = 2 * io->in_size;
  if (more > SIZE_MAX - io->end)
    return failed(io, "read", ENOMEM);
  if (size < io->end + more)
    size = io->end + more;
  char *in = realloc(io->in, size);
  if (in == NULL)
    return failed(io, "read", ENOMEM);
  io->in = in;
  io->in_size = size;
  return 0;
}

/* How much is worth reading at once: all that is asked for, where the file says that it has it. */
static size_t chunk_size(const agenda_file_io *io, agenda_read_kind kind, size_t count)
{
  size_t had = io->end - io->start, wanted = AGENDA_FILE_CHUNK;
  if (!io->regular || (kind != AGENDA_READ_ALL && kind != AGENDA_READ_COUNT))
    return wanted;
  struct stat info;
  off_t at = lseek(io->fd, 0, SEEK_CUR);
  if (at < 0 || fstat(io->fd, &info) != 0 || info.st_size <= at)
    return wanted;
  size_t rest = (size_t)(info.st_size - at) + 1; /* one more, to see the end */
  if (kind == AGENDA_READ_COUNT && rest > count - had)
    rest = count - had;
  return rest > wanted ? rest : wanted;
}

/* A FIFO that nobody has opened for writing yet reads like one at its end, but does not poll so. */
static bool has_hung_up(int fd)
{
  struct pollfd one = {fd, POLLIN, 0};
  return poll(&one, 1, 0) > 0 && (one.revents & POLLHUP) != 0;
}

/* Reads once, waits as long as there is nothing. `*got` is 0 at the end. */
static int read_once(agenda_job *job, agenda_file_io *io, size_t *got)
{
  for (;;) {
    ssize_t n = read(io->fd, io->in + io->end, io->in_size - io->end);
    if (n > 0 || (n == 0 && (!io->fifo || has_hung_up(io->fd)))) {
      *got = (size_t)n;
      io->end += *got;
      return 0;
    }
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno != EAGAIN)
      return failed(io, "read", errno);
    int number = agenda_job_wait(job, io->fd, POLLIN, -1);
    if (number != 0)
      return failed(io, "read", number);
  }
}

int agenda_file_io_fill(agenda_job *job, agenda_file_io *io, agenda_read_kind kind, size_t count,
                        bool *at_end)
{
  size_t size, got = 0;
  int number = agenda_file_io_flush(job, io);
  while (number == 0 && !agenda_file_io_ready(io, kind, count, &size)) {
    number = reserve(io, chunk_size(io, kind, count));
    if (number == 0)
      number = read_once(job, io, &got);
    if (number == 0 && got == 0) {
      *at_end = true;
      break;
    }
  }
  return number;
}

bool agenda_file_io_ready(agenda_file_io *io, agenda_read_kind kind, size_t count, size_t *size)
{
  size_t had = io->end - io->start;
  const char *newline;
  *size = had;
  switch (kind) {
    case AGENDA_READ_SOME:
      return had > 0;
    case AGENDA_READ_COUNT:
      if (had >= count)
        *size = count;
      return had >= count;
    case AGENDA_READ_LINE:
    case AGENDA_READ_WHOLE_LINE:
      if (had == 0)
        return false;
      newline = memchr(io->in + io->start + io->scanned, '\n', had - io->scanned);
      if (newline != NULL)
        *size = (size_t)(newline - (io->in + io->start)) + 1;
      else
        io->scanned = had;
      return newline != NULL;
    default:
      return false;
  }
}

void agenda_file_io_take(agenda_file_io *io, size_t size)
{
  io->start += size;
  io->scanned = 0;
  if (io->start < io->end)
    return;
  io->start = io->end = 0;
  if (io->in_size > AGENDA_FILE_CHUNK) {
    free(io->in);
    io->in = NULL;
    io->in_size = 0;
  }
}

/* ----- writing ------------------------------------------------------------------------- */

static int write_all(agenda_job *job, agenda_file_io *io, const char *data, size_t size,
                     size_t *written)
{
  for (*written = 0; *written < size;) {
    ssize_t n = write(io->fd, data + *written, size - *written);
    if (n >= 0)
      *written += (size_t)n;
    else if (errno == EAGAIN) {
      int number = agenda_job_wait(job, io->fd, POLLOUT, -1);
      if (number != 0)
        return failed(io, "write", number);
    }
    else if (errno != EINTR)
      return failed(io, "write", errno);
  }
  return 0;
}

/* What could not be written stays. */
int agenda_file_io_flush(agenda_job *job, agenda_file_io *io)
{
  if (io->pending == 0)
    return 0;
  size_t written;
  int number = write_all(job, io, io->out, io->pending, &written);
  io->pending -= written;
  if (io->pending > 0 && written > 0)
    memmove(io->out, io->out + written, io->pending);
  return number;
}

/* Goes back to where the reader is. */
static int drop_input(agenda_file_io *io)
{
  off_t ahead = (off_t)(io->end - io->start);
  if (ahead == 0 || !io->regular)
    return 0;
  if (lseek(io->fd, -ahead, SEEK_CUR) < 0)
    return failed(io, "lseek", errno);
  agenda_file_io_take(io, (size_t)ahead);
  return 0;
}

static bool gather(agenda_file_io *io, const void *data, size_t size)
{
  if (size == 0)
    return true;
  if (!io->regular || size > AGENDA_FILE_CHUNK - io->pending)
    return false;
  if (io->out == NULL)
    io->out = malloc(AGENDA_FILE_CHUNK);
  if (io->out == NULL)
    return false;
  memcpy(io->out + io->pending, data, size);
  io->pending += size;
  return true;
}

bool agenda_file_io_gather(agenda_file_io *io, const struct iovec *parts, int n)
{
  size_t room = AGENDA_FILE_CHUNK - io->pending;
  if (!io->regular || io->start < io->end)
    return false;
  for (int i = 0; i < n; i++) {
    if (parts[i].iov_len > room)
      return false;
    room -= parts[i].iov_len;
  }
  for (int i = 0; i < n; i++)
    if (!gather(io, parts[i].iov_base, parts[i].iov_len))
      return false; /* NB: for want of memory, so it is the first that is not empty */
  return true;
}

int agenda_file_io_write(agenda_job *job, agenda_file_io *io, const struct iovec *parts, int n)
{
  int number = drop_input(io);
  size_t written;
  for (int i = 0; i < n && number == 0; i++) {
    if (gather(io, parts[i].iov_base, parts[i].iov_len))
      continue;
    number = agenda_file_io_flush(job, io);
    if (number == 0 && !gather(io, parts[i].iov_base, parts[i].iov_len))
      number = write_all(job, io, parts[i].iov_base, parts[i].iov_len, &written);
  }
  return number;
}

/* ----- the rest ------------------------------------------------------------------------ */

int agenda_file_io_seek(agenda_job *job, agenda_file_io *io, off_t offset, int whence,
                        off_t *position)
{
  int number = agenda_file_io_flush(job, io);
  if (number != 0)
    return number;
  size_t ahead = io->end - io->start;
  *position = lseek(io->fd, whence == SEEK_CUR ? offset - (off_t)ahead : offset, whence);
  if (*position < 0)
    return failed(io, "lseek", errno);
  agenda_file_io_take(io, ahead);
  return 0;
}

int agenda_file_io_close(agenda_job *job, agenda_file_io *io)
{
  if (io->fd < 0)
    return 0;
  int number = agenda_file_io_flush(job, io);
  if (close(io->fd) != 0 && errno != EINTR && number == 0)
    number = failed(io, "close", errno);
  io->fd = -1;
  free(io->in);
  free(io->out);
  io->in = io->out = NULL;
  io->start = io->end = io->in_size = io->pending = io->scanned = 0;
  return number;
}
