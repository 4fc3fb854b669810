/*
** stream_filter.h: what stands between a stream and its descriptor: TLS.
**
** A filter works on memory only. The stream reads and writes the descriptor, and does all the
** waiting; a filter lives in a module of its own (agenda.tls), so it is called through a table of
** functions, and it calls nothing of ours. None of them may raise or touch Lua.
*/
#ifndef AGENDA_STREAM_FILTER_H
#define AGENDA_STREAM_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What `handshake`, `read` and `write` return in place of a count. */
enum {
  AGENDA_FILTER_WANT = -1,   /* more input from the peer is needed first */
  AGENDA_FILTER_END = -2,    /* read: the peer ended the data in good order */
  AGENDA_FILTER_FAILED = -3, /* for good; `reason` says why */
  AGENDA_FILTER_MEMORY = -4
};

struct agenda_filter;

typedef struct agenda_filter_class {
  int version; /* AGENDA_FILTER_VERSION */
  /* 0 when it is complete, else WANT, FAILED or MEMORY. What it has to send is in `take`, also
  ** after FAILED (an alert for the peer). */
  int (*handshake)(struct agenda_filter *filter);
  /* Takes bytes that came from the peer: all of them (0), or MEMORY. */
  int (*feed)(struct agenda_filter *filter, const char *data, size_t size);
  /* The peer's end of input has come; what was fed before can still be read. */
  void (*feed_end)(struct agenda_filter *filter);
  /* Gives data of the peer: a count > 0, WANT, END or FAILED (an end without notice is FAILED). */
  ssize_t (*read)(struct agenda_filter *filter, char *buffer, size_t size);
  /* Takes data for the peer: a count > 0 (perhaps part of it), WANT, FAILED or MEMORY. */
  ssize_t (*write)(struct agenda_filter *filter, const char *data, size_t size);
  /* No more will be written: prepares the notice of the end. */
  void (*write_end)(struct agenda_filter *filter);
  /* Moves bytes to be sent to the peer into `buffer`: a count, 0 when there are none. */
  size_t (*take)(struct agenda_filter *filter, char *buffer, size_t size);
  /* Why it failed, for humans: "self-signed certificate". Never NULL after FAILED. */
  const char *(*reason)(struct agenda_filter *filter);
  /* Its stream is closed: gives back what it holds, which Lua's collector knows nothing of.
  ** What is called afterwards fails, and `take` has nothing. */
  void (*release)(struct agenda_filter *filter);
} agenda_filter_class;

#define AGENDA_FILTER_VERSION 1

/* The head of the userdata of a filter, whose metatable's __name is "agenda.filter.NAME". The
** stream keeps it as a user value for as long as it needs it.
** NB: both may be collected in one cycle, and the stream be in use by a cleanup that was started
** then; so the filter's __gc does nothing while `held`, which the stream sets when it takes the
** filter, and the stream calls `release`. */
typedef struct agenda_filter {
  const agenda_filter_class *class;
  bool held;
} agenda_filter;

#endif
