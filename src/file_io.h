/*
** file_io.h: an open file with its buffers, for the threads that work on it.
**
** Nothing here knows of Lua. Functions that may block take the job in which they run, give 0 or an
** errno, and leave the name of what failed in `failed`.
*/
#ifndef AGENDA_FILE_IO_H
#define AGENDA_FILE_IO_H

#include <sys/types.h>
#include <sys/uio.h>

#include "thread_pool.h"

enum { AGENDA_FILE_CHUNK = 1 << 16 };

typedef enum {
  AGENDA_READ_SOME,  /* what is there, at least a byte */
  AGENDA_READ_COUNT, /* so many bytes, fewer at the end */
  AGENDA_READ_LINE,  /* without its newline */
  AGENDA_READ_WHOLE_LINE,
  AGENDA_READ_ALL
} agenda_read_kind;

typedef struct agenda_file_io {
  int fd;       /* -1 when it is not open */
  bool regular; /* writes are gathered */
  bool fifo;
  char *in; /* what was read ahead: from `start` to `end` */
  size_t start, end, in_size;
  size_t scanned; /* no newline before here, counted from `start` */
  char *out;      /* what was written and has not gone to the system; AGENDA_FILE_CHUNK bytes */
  size_t pending;
  const char *failed; /* the system call that did */
} agenda_file_io;

/* Opens the file; `flags` as open(2) has them. */
int agenda_file_io_open(agenda_job *job, agenda_file_io *io, const char *path, int flags);

/* Reads until there is what is asked for; `*at_end` tells that there will be no more. */
int agenda_file_io_fill(agenda_job *job, agenda_file_io *io, agenda_read_kind kind, size_t count,
                        bool *at_end);

/* Whether what is asked for has been read, and how many bytes it takes. */
bool agenda_file_io_ready(agenda_file_io *io, agenda_read_kind kind, size_t count, size_t *size);

/* So many bytes were taken. */
void agenda_file_io_take(agenda_file_io *io, size_t size);

/* Gathers the parts if there is room and nothing stands in the way; never blocks. */
bool agenda_file_io_gather(agenda_file_io *io, const struct iovec *parts, int n);

int agenda_file_io_write(agenda_job *job, agenda_file_io *io, const struct iovec *parts, int n);
int agenda_file_io_flush(agenda_job *job, agenda_file_io *io);

/* As lseek(2); blocks only if there is something to flush. */
int agenda_file_io_seek(agenda_job *job, agenda_file_io *io, off_t offset, int whence,
                        off_t *position);

/* Flushes, closes, frees the buffers; all of it also when something fails. Idempotent. */
int agenda_file_io_close(agenda_job *job, agenda_file_io *io);

#endif
