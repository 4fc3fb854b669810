/*
** stream_output.h: sending, between stream_output.c and the verbs of stream_write.c.
*/
#ifndef AGENDA_STREAM_OUTPUT_H
#define AGENDA_STREAM_OUTPUT_H

#include <sys/uio.h>

#include "stream.h"

enum { AGENDA_STREAM_PARTS = 64 }; /* of one system call */

/* One system call: how many bytes it took, or -1 with errno set. Never a SIGPIPE. */
ssize_t agenda_stream_send(agenda_stream *stream, struct iovec *parts, int n);

/* Appends the `n` strings from stack index `first` on, less the `sent` first bytes, to what is
** unsent. All or, with a memory error, none. The stream's userdata is at `index`, absolute.
** [-0, +0, may raise] */
void agenda_stream_append(lua_State *L, agenda_stream *stream, int index, int first, int n,
                          size_t sent);

/* The next strings of the queue, which is on the top; gives how many. */
int agenda_stream_gather(lua_State *L, const agenda_stream_output *output, struct iovec *parts);

/* `n` bytes of the queue on the top are sent. */
void agenda_stream_consume(lua_State *L, agenda_stream_output *output, size_t n);

/* Sending has failed with `number`: nothing more can be sent. */
void agenda_stream_fail_output(lua_State *L, agenda_stream *stream, int index, int number);

/* After sending: watches the descriptor or not, wakes who waits, closes what is to be closed.
** [-0, +0, may raise] */
void agenda_stream_settle_output(lua_State *L, agenda_stream *stream, int index);

#endif
