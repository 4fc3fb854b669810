/*
** stream.h: duplex byte streams over a descriptor.
**
** Two objects: the stream, which the loop holds as long as its descriptor is open, and the handle,
** which is what Lua has. A handle that is collected closes its stream; if its finalizer is lost
** for want of memory, the loop's end does.
*/
#ifndef AGENDA_STREAM_H
#define AGENDA_STREAM_H

#include "loop.h"

typedef enum {
  AGENDA_STREAM_OPEN,
  AGENDA_STREAM_CLOSING, /* what is unsent is on its way; nothing else can be done with it */
  AGENDA_STREAM_CLOSED
} agenda_stream_status;

typedef enum {
  AGENDA_MEDIUM_SOCKET,
  AGENDA_MEDIUM_PIPE,
  AGENDA_MEDIUM_OTHER /* terminals; files and /dev/null, which are always ready */
} agenda_stream_medium;

/* In place of an errno: the filter failed, and knows why. */
#define AGENDA_STREAM_BAD_FILTER (-1)

/* In place of a number of results: more input is needed. */
#define AGENDA_STREAM_WAIT (-1)

struct agenda_filter;

enum {
  AGENDA_STREAM_CHUNK = 64 * 1024,     /* at most so much is read at once */
  AGENDA_STREAM_HIGH_WATER = 64 * 1024,
  AGENDA_STREAM_LIMIT = 64 * 1024,     /* the default */
  AGENDA_STREAM_ROW = 128              /* calls that complete at once before a turn is taken */
};

typedef struct agenda_stream agenda_stream;

/* Bytes that were read and not yet taken: data[start] to data[end - 1]. */
typedef struct agenda_stream_input {
  char *data;     /* the shared chunk, or memory of Lua's allocator, or NULL */
  size_t size;
  size_t start, end;
  size_t scanned; /* bytes from `start` on that the call under way has seen no separator in */
} agenda_stream_input;

/*
** What all streams of a Lua state share: a block to read into. The stream that has data in it
** borrows it, until another one needs it; so one that waits with nothing buffered has no memory.
*/
typedef struct agenda_stream_shared {
  agenda_stream *borrower; /* or NULL */
  uint32_t step;           /* the schedule's when `row` was counted */
  int row;                 /* calls that completed at once, one after the other */
  agenda_stream_input kept; /* what standard input had read when its loop closed */
  char chunk[AGENDA_STREAM_CHUNK];
} agenda_stream_shared;

/* Strings that are not sent yet: from `first` to `last` of a table. */
typedef struct agenda_stream_output {
  lua_Integer first, last;
  size_t sent;   /* of the first */
  size_t unsent; /* bytes in all */
} agenda_stream_output;

/* User values of a stream. */
enum {
  AGENDA_STREAM_READER = 1, /* the future of a reader that is driven by hand, used again */
  AGENDA_STREAM_QUEUE,      /* table of strings, or nil */
  AGENDA_STREAM_ROOM,       /* list of futures: who waits for less than the high-water mark */
  AGENDA_STREAM_SENT,       /* likewise for nothing unsent */
  AGENDA_STREAM_GONE,       /* likewise for the descriptor to be closed */
  AGENDA_STREAM_NAME,       /* for messages, or nil */
  AGENDA_STREAM_PEERNAME,   /* {host, port} or path, or nil */
  AGENDA_STREAM_SOCKNAME,
  AGENDA_STREAM_OPENED,     /* debug: where */
  AGENDA_STREAM_FILTER,     /* nil, or the filter's userdata */
  AGENDA_STREAM_SLOTS = AGENDA_STREAM_FILTER
};

/* NB: what a read that waits and a write that is sent at once use comes first, close together. */
struct agenda_stream {
  ev_io reading;
  agenda_event_loop *loop;  /* NULL once closed */
  agenda_park reader;       /* the task that waits for input, but for one that is driven by hand */
  agenda_stream_shared *shared;
  agenda_stream_input input;
  size_t limit;
  size_t wanted;            /* of the read under way: its n */
  struct agenda_filter *filter; /* user value AGENDA_STREAM_FILTER, or NULL */
  agenda_stream_output output;
  int fd;                   /* -1 once closed, also by write_eof */
  int read_error;           /* an errno that comes after the data, or 0 */
  int write_error;          /* an errno, for good, or 0 */
  uint32_t drained_step;    /* the schedule's, when `drained` was so */
  uint8_t status;           /* agenda_stream_status */
  uint8_t medium;           /* agenda_stream_medium */
  uint8_t events;           /* of libev, since the last turn */
  bool readable, writable;  /* what it was opened for */
  bool at_end;              /* the input has ended */
  bool woken;               /* the read under way has waited */
  bool drained;             /* it took all that the poll had told of: the next one waits at once */
  bool reset;               /* by the peer: an end of input now is an error */
  bool read_under_way;      /* a task waits in a read */
  bool watching_input;      /* counted as something that can wake the loop; likewise next */
  bool watching_output;
  bool ended;               /* write_eof was called */
  bool end_sent;            /* and what it does was done */
  bool error_told;          /* somebody got write_error */
  bool aborted;             /* what was unsent then will never be sent */
  bool handshaking;         /* the filter is not ready for data */
  bool keeps_input;         /* for the next stream, when the loop closes: standard input */
  bool standard;            /* a standard stream, which nobody needs to close */
  bool shared_file;         /* and others have its open file: see stream_standard.c */
  agenda_watch watch;
  ev_io writing;
  char *wire;               /* what came out of the filter and is not sent, or NULL */
  uint32_t wire_size, wire_sent; /* counted in `output.unsent` */
  uint32_t anchor;
};

/* What Lua has. */
typedef struct agenda_stream_handle {
  agenda_object object;
  agenda_stream *stream; /* user value 1, or NULL if it could not be opened */
  bool doomed;           /* it was collected once, when something might have needed it */
} agenda_stream_handle;

extern const agenda_kind agenda_stream_kind;

/* ----- stream.c */

/* The stream of the handle at index 1, which must be open. [may raise] */
agenda_stream *agenda_stream_check_open(lua_State *L);

/* Pushes what messages call the stream of the handle at `index`. [-0, +1] */
const char *agenda_stream_push_name(lua_State *L, int index);

/* Raises the RuntimeError of a closed stream, whose handle is at `index`. */
int agenda_stream_raise_closed(lua_State *L, int index);

/* Pushes the stream's userdata; of the handle at `index`, or while it is open. [-0, +1] */
void agenda_stream_push(lua_State *L, int index);
void agenda_stream_push_open(lua_State *L, const agenda_stream *stream);

/* Closes the descriptor if it is open, and stops watching it. */
void agenda_stream_close_descriptor(agenda_stream *stream);

/* Closes the descriptor and lets go of everything, without waking anybody. [-0, +0] */
void agenda_stream_release(lua_State *L, agenda_stream *stream);

/* The same, and wakes who waits; the stream's userdata is at `index`. [-0, +0, may raise] */
void agenda_stream_finish(lua_State *L, agenda_stream *stream, int index);

/* Debug mode: warns that an open stream was not closed. [-0, +0] */
void agenda_stream_report(lua_State *L, const agenda_stream *stream, const char *how);

/* ----- stream_wait.c */

/* Initializes what is watched. */
void agenda_stream_watch(agenda_stream *stream);

/* Starts and stops counting, and watching, for input or output; idempotent. */
void agenda_stream_await_input(agenda_stream *stream, bool on);
void agenda_stream_await_output(agenda_stream *stream, bool on);

/* Wakes the reader. The stream is at `index`. [-0, +0, may raise] */
void agenda_stream_wake_reader(lua_State *L, agenda_stream *stream, int index);

/* Wakes all in a list of futures. [-0, +0, may raise] */
void agenda_stream_wake_all(lua_State *L, int index, int slot);

/* Waits for input; the handle is at index 1, where it is again after `agenda_stream_read_resumed`
** at the beginning of the continuation. `return ...` [may raise, may yield] */
int agenda_stream_wait_input(lua_State *L, agenda_stream *stream, lua_KContext context,
                             lua_KFunction k);
agenda_stream *agenda_stream_read_resumed(lua_State *L);

/* Waits in one of the lists of futures; the same for `agenda_stream_wait_over`. */
int agenda_stream_wait_listed(lua_State *L, int slot, const char *what, lua_KFunction k);
agenda_stream *agenda_stream_wait_over(lua_State *L);

/* Counts a call that may complete at once; true if it is to take a turn. Then
** `return agenda_stream_take_turn(...)`, and agenda_frame_resumed in the continuation. */
bool agenda_stream_turn_due(lua_State *L, agenda_stream *stream);
int agenda_stream_take_turn(lua_State *L, lua_KContext context, lua_KFunction k);

/* ----- stream_input.c */

/* Pushes `size` bytes of the input and takes them out. [-0, +1, may raise] */
void agenda_stream_take(lua_State *L, agenda_stream *stream, size_t size);

/* Takes them out without pushing. [-0, +0] */
void agenda_stream_skip(lua_State *L, agenda_stream *stream, size_t size);

/* Keeps the input for the next stream of its kind; gives such a one what was kept. */
void agenda_stream_keep_input(lua_State *L, agenda_stream *stream);
void agenda_stream_adopt_input(agenda_stream *stream);

/* Drops the input. */
void agenda_stream_drop_input(lua_State *L, agenda_stream *stream);

/* Makes room for some more; false if there is no memory. */
bool agenda_stream_reserve(lua_State *L, agenda_stream *stream);

/* One read of the descriptor into `buffer`: a count, 0 at the end, or -1 with errno set. */
ssize_t agenda_stream_receive(agenda_stream *stream, char *buffer, size_t size);

/* Reads once; false if it would block. The end and errors are noted. [may raise memory error] */
bool agenda_stream_fill(lua_State *L, agenda_stream *stream);

/* ----- stream_output.c */

/* Sends what can be sent now; then whatever waited for that. The stream's userdata is at `index`,
** absolute. [-0, +0, may raise] */
void agenda_stream_flush(lua_State *L, agenda_stream *stream, int index);

/* Drops what is unsent. The stream's userdata is at `index`. [-0, +0] */
void agenda_stream_drop_output(lua_State *L, agenda_stream *stream, int index);

/* Raises the stream's write error; its handle is at `index`. */
int agenda_stream_raise_write_error(lua_State *L, agenda_stream *stream, int index);

/* ----- stream_filtered.c: for a stream with a filter */

/* In place of agenda_stream_fill. */
bool agenda_stream_fill_filtered(lua_State *L, agenda_stream *stream);

/* Sends what can be sent now; false with errno set when it fails. The stream's userdata is at
** `index`. [-0, +0, may raise] */
bool agenda_stream_send_filtered(lua_State *L, agenda_stream *stream, int index);

/* Begins to use the filter at index 2, with what was read so far; the handle is at index 1 and is
** left alone there. [may raise] */
void agenda_stream_set_filter(lua_State *L, agenda_stream *stream);

/* One step of the handshake: true, or AGENDA_STREAM_WAIT. The handle is at index 1.
** [-0, +1, may raise] */
int agenda_stream_shake_hands(lua_State *L, agenda_stream *stream);

/* Raises why the filter failed; the handle is at `index`. */
int agenda_stream_raise_filter(lua_State *L, const agenda_stream *stream, int index);

/* Reads and drops what has come, before the descriptor is closed. */
void agenda_stream_discard_input(agenda_stream *stream);

/* Drops what came out of the filter; the filter, too. [-0, +0] */
void agenda_stream_drop_wire(lua_State *L, agenda_stream *stream);
void agenda_stream_release_filter(lua_State *L, agenda_stream *stream);

/* ----- stream_standard.c */

/* A standard stream whose file is others', too, is opened (before O_NONBLOCK is set), is closed. */
void agenda_stream_share(void);
void agenda_stream_unshare(void);

/* ----- the methods, into the table on the top */

/* The core's own table is at `core`. */
void agenda_open_stream_read(lua_State *L, int core);
void agenda_open_stream_describe(lua_State *L); /* adds to the methods on the top */
void agenda_open_stream_write(lua_State *L);

void agenda_open_stream(lua_State *L);
void agenda_open_stream_standard(lua_State *L);

#endif
