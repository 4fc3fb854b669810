/*
** stream_input.c: the bytes that were read and not yet taken.
**
** They are read straight to where they stay: into the chunk that all streams share, which the
** stream then borrows. Another stream that needs the chunk moves what is left there into memory of
** its owner's own, just large enough. What does not fit the chunk (a `read("a")`) gets memory that
** doubles. So there is no memory where nothing is buffered, and a stream that is read alone never
** copies.
*/
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"

enum { LEAST_ROOM = 4096 };

static void *reallocate(lua_State *L, void *block, size_t old_size, size_t size)
{
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  return allocate(ud, block, old_size, size);
}

static size_t length_of(const agenda_stream_input *input)
{
  return input->end - input->start;
}

/* Gives back the memory, wherever it is. */
static void release(lua_State *L, agenda_stream *stream)
{
  agenda_stream_input *input = &stream->input;
  if (input->data == stream->shared->chunk)
    stream->shared->borrower = NULL;
  else if (input->data != NULL)
    reallocate(L, input->data, input->size, 0);
  input->data = NULL;
  input->size = 0;
}

/* Moves the input into memory of its own of `size` bytes; false if there is none. */
static bool move_out(lua_State *L, agenda_stream *stream, size_t size)
{
  agenda_stream_input *input = &stream->input;
  size_t length = length_of(input);
  char *data = reallocate(L, NULL, 0, size);
  if (data == NULL)
    return false;
  memcpy(data, input->data + input->start, length);
  release(L, stream);
  input->data = data;
  input->size = size;
  input->start = 0;
  input->end = length;
  return true;
}

/* Makes the stream the borrower of the chunk, with its input there; false if there is no memory to
** move that of another one away. */
static bool borrow(lua_State *L, agenda_stream *stream)
{
  agenda_stream_shared *shared = stream->shared;
  agenda_stream_input *input = &stream->input;
  if (shared->borrower != NULL &&
      !move_out(L, shared->borrower, length_of(&shared->borrower->input)))
    return false;
  size_t length = length_of(input);
  if (length > 0)
    memcpy(shared->chunk, input->data + input->start, length);
  release(L, stream);
  shared->borrower = stream;
  input->data = shared->chunk;
  input->size = AGENDA_STREAM_CHUNK;
  input->start = 0;
  input->end = length;
  return true;
}

bool agenda_stream_reserve(lua_State *L, agenda_stream *stream)
{
  agenda_stream_input *input = &stream->input;
  size_t length = length_of(input);
  if (AGENDA_LIKELY(input->data == NULL))
    return borrow(L, stream);
  if (input->start > 0 && input->size - input->end < input->size / 2) {
    memmove(input->data, input->data + input->start, length);
    input->start = 0;
    input->end = length;
  }
  if (input->size - input->end >= LEAST_ROOM)
    return true;
  if (input->data != stream->shared->chunk && length + LEAST_ROOM <= AGENDA_STREAM_CHUNK)
    return borrow(L, stream);
  size_t size = 2 * input->size;
  if (input->data == stream->shared->chunk || input->start > 0)
    return move_out(L, stream, size);
  char *data = reallocate(L, input->data, input->size, size);
  if (data == NULL)
    return false;
  input->data = data;
  input->size = size;
  return true;
}

void agenda_stream_drop_input(lua_State *L, agenda_stream *stream)
{
  release(L, stream);
  stream->input.start = stream->input.end = stream->input.scanned = 0;
}

void agenda_stream_keep_input(lua_State *L, agenda_stream *stream)
{
  agenda_stream_shared *shared = stream->shared;
  agenda_stream_input *input = &stream->input;
  size_t length = length_of(input);
  if (length == 0 || shared->kept.data != NULL || !move_out(L, stream, length))
    return;
  shared->kept = *input;
  *input = (agenda_stream_input){0};
}

void agenda_stream_adopt_input(agenda_stream *stream)
{
  stream->input = stream->shared->kept;
  stream->shared->kept = (agenda_stream_input){0};
}

void agenda_stream_take(lua_State *L, agenda_stream *stream, size_t size)
{
  agenda_stream_input *input = &stream->input;
  lua_pushlstring(L, input->data + input->start, size);
  agenda_stream_skip(L, stream, size);
}

void agenda_stream_skip(lua_State *L, agenda_stream *stream, size_t size)
{
  agenda_stream_input *input = &stream->input;
  input->start += size;
  input->scanned = 0;
  if (input->start == input->end)
    agenda_stream_drop_input(L, stream);
}

ssize_t agenda_stream_receive(agenda_stream *stream, char *buffer, size_t size)
{
  ssize_t n;
  do
    n = stream->medium == AGENDA_MEDIUM_SOCKET ? recv(stream->fd, buffer, size, 0)
                                               : read(stream->fd, buffer, size);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EWOULDBLOCK)
    errno = EAGAIN;
  return n;
}

/* After a read that took less than there was room for, a socket or a pipe is empty. Then a task
** that goes from one wait to the next is spared a system call; the poll tells of what comes. */
static void note_drained(agenda_stream *stream)
{
  stream->drained = stream->medium != AGENDA_MEDIUM_OTHER;
  stream->drained_step = stream->loop->schedule->steps;
}

bool agenda_stream_fill(lua_State *L, agenda_stream *stream)
{
  agenda_stream_input *input = &stream->input;
  if (AGENDA_UNLIKELY(stream->filter != NULL))
    return agenda_stream_fill_filtered(L, stream);
  if (stream->drained && stream->drained_step == stream->loop->schedule->steps)
    return false;
  if (AGENDA_UNLIKELY(!agenda_stream_reserve(L, stream)))
    luaL_error(L, "not enough memory");
  size_t room = input->size - input->end;
  ssize_t n = agenda_stream_receive(stream, input->data + input->end, room);
  if (AGENDA_LIKELY(n > 0)) {
    input->end += (size_t)n;
    stream->drained = false;
    if (stream->woken && (size_t)n < room)
      note_drained(stream);
    return true;
  }
  int number = errno;
  if (length_of(input) == 0)
    agenda_stream_drop_input(L, stream);
  if (n < 0 && number == EAGAIN)
    return false;
  if (n == 0 && !stream->reset)
    stream->at_end = true;
  else
    stream->read_error = n == 0 ? ECONNRESET : number;
  return true;
}
