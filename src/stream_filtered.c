/*
** stream_filtered.c: a stream whose bytes go through a filter on their way: TLS.
**
** What the peer sent is fed to the filter when somebody reads. What is written stays in the queue
** as it is and is given to the filter as fast as the descriptor takes what comes out, so the
** high-water mark counts for both. The handshake is a read that gives no bytes.
*/
#include <errno.h>
#include <string.h>

#include "errors.h"
#include "stream_filter.h"
#include "stream_output.h"

enum {
  RECORD = 16 * 1024, /* what TLS puts together at most */
  WIRE = RECORD + 1024
};

static const agenda_filter_class *class_of(const agenda_stream *stream)
{
  return stream->filter->class;
}

/* ----- input --------------------------------------------------------------------------- */

/* Feeds the filter once; false if it would block. */
static bool feed(lua_State *L, agenda_stream *stream)
{
  char wire[WIRE];
  ssize_t n = agenda_stream_receive(stream, wire, sizeof wire);
  if (n < 0 && errno == EAGAIN)
    return false;
  if (n < 0)
    stream->read_error = errno;
  else if (n == 0 && stream->reset)
    stream->read_error = ECONNRESET;
  else if (n == 0)
    class_of(stream)->feed_end(stream->filter);
  else if (class_of(stream)->feed(stream->filter, wire, (size_t)n) != 0)
    luaL_error(L, "not enough memory");
  return true;
}

/* Sends what the filter has to say by itself. */
static void send_own(lua_State *L, agenda_stream *stream)
{
  if (stream->write_error != 0)
    return;
  luaL_checkstack(L, 10, "stream");
  agenda_stream_push_open(L, stream);
  agenda_stream_flush(L, stream, lua_gettop(L));
  lua_pop(L, 1);
}

bool agenda_stream_fill_filtered(lua_State *L, agenda_stream *stream)
{
  agenda_stream_input *input = &stream->input;
  if (stream->handshaking)
    return feed(L, stream);
  for (;;) {
    if (!agenda_stream_reserve(L, stream))
      luaL_error(L, "not enough memory");
    ssize_t n =
      class_of(stream)->read(stream->filter, input->data + input->end, input->size - input->end);
    if (n > 0) {
      input->end += (size_t)n;
      return true;
    }
    if (input->start == input->end)
      agenda_stream_drop_input(L, stream);
    send_own(L, stream);
    if (n == AGENDA_FILTER_MEMORY)
      luaL_error(L, "not enough memory");
    if (n == AGENDA_FILTER_END)
      stream->at_end = true;
    else if (n != AGENDA_FILTER_WANT)
      stream->read_error = AGENDA_STREAM_BAD_FILTER;
    else if (!feed(L, stream))
      return false;
    else if (stream->read_error == 0)
      continue;
    return true;
  }
}

int agenda_stream_raise_filter(lua_State *L, const agenda_stream *stream, int index)
{
  const char *reason = class_of(stream)->reason(stream->filter);
  if (stream->handshaking) /* who opens it says with whom */
    agenda_error_push(L, AGENDA_TLS_ERROR, "%s", reason);
  else
    agenda_error_push(L, AGENDA_TLS_ERROR, "%s: %s", agenda_stream_push_name(L, index), reason);
  lua_pushstring(L, reason);
  lua_setfield(L, -2, "reason");
  return lua_error(L);
}

/* ----- output -------------------------------------------------------------------------- */

static ssize_t send_bytes(agenda_stream *stream, char *data, size_t size)
{
  struct iovec part = {.iov_base = data, .iov_len = size};
  return agenda_stream_send(stream, &part, 1);
}

/* Keeps what the descriptor did not take. */
static bool keep(lua_State *L, agenda_stream *stream, const char *data, size_t size)
{
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  stream->wire = allocate(ud, NULL, 0, size);
  if (stream->wire == NULL) {
    errno = ENOMEM;
    return false;
  }
  memcpy(stream->wire, data, size);
  stream->wire_sent = 0;
  stream->wire_size = (uint32_t)size;
  stream->output.unsent += size;
  return true;
}

void agenda_stream_drop_wire(lua_State *L, agenda_stream *stream)
{
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  if (stream->wire != NULL)
    allocate(ud, stream->wire, stream->wire_size, 0);
  stream->wire = NULL;
}

/* Sends what was kept; false with errno set if some is left. */
static bool send_kept(lua_State *L, agenda_stream *stream)
{
  while (stream->wire != NULL) {
    ssize_t sent =
      send_bytes(stream, stream->wire + stream->wire_sent, stream->wire_size - stream->wire_sent);
    if (sent < 0)
      return false;
    stream->wire_sent += (uint32_t)sent;
    stream->output.unsent -= (size_t)sent;
    if (stream->wire_sent == stream->wire_size)
      agenda_stream_drop_wire(L, stream);
  }
  return true;
}

/* Gives the filter the beginning of the queue, at most a record; short strings go together. */
static bool encrypt(lua_State *L, agenda_stream *stream, int index)
{
  struct iovec parts[AGENDA_STREAM_PARTS];
  char joined[RECORD];
  lua_getiuservalue(L, index, AGENDA_STREAM_QUEUE);
  int n = agenda_stream_gather(L, &stream->output, parts);
  const char *data = parts[0].iov_base;
  size_t size = parts[0].iov_len;
  if (n > 1 && size < RECORD) {
    size = 0;
    for (int i = 0; i < n && size < RECORD; i++) {
      size_t rest = RECORD - size, length = parts[i].iov_len < rest ? parts[i].iov_len : rest;
      memcpy(joined + size, parts[i].iov_base, length);
      size += length;
    }
    data = joined;
  }
  ssize_t taken = size == 0 ? 0 : class_of(stream)->write(stream->filter, data, size);
  if (taken >= 0)
    agenda_stream_consume(L, &stream->output, (size_t)taken);
  else
    errno = taken == AGENDA_FILTER_MEMORY ? ENOMEM : AGENDA_STREAM_BAD_FILTER;
  lua_pop(L, 1);
  return taken >= 0;
}

/* Whether the peer is to be told now that no more comes. */
static bool end_is_due(const agenda_stream *stream)
{
  return (stream->ended || stream->status == AGENDA_STREAM_CLOSING) && !stream->end_sent;
}

bool agenda_stream_send_filtered(lua_State *L, agenda_stream *stream, int index)
{
  char wire[WIRE];
  for (;;) {
    if (!send_kept(L, stream))
      return errno == EAGAIN;
    size_t size = class_of(stream)->take(stream->filter, wire, sizeof wire);
    if (size > 0) {
      ssize_t sent = send_bytes(stream, wire, size);
      if (sent < 0 && errno != EAGAIN)
        return false;
      if (sent < 0)
        sent = 0;
      if ((size_t)sent < size && !keep(L, stream, wire + sent, size - (size_t)sent))
        return false;
    }
    else if (stream->output.first <= stream->output.last) {
      if (!encrypt(L, stream, index))
        return false;
    }
    else if (end_is_due(stream)) {
      stream->end_sent = true;
      class_of(stream)->write_end(stream->filter);
    }
    else
      return true;
  }
}

/* NB: a socket that is closed with input unread is reset, and what the peer has not got yet is
** lost; a server may have sent something that nobody asked for (tickets). */
void agenda_stream_discard_input(agenda_stream *stream)
{
  char wire[WIRE];
  for (int i = 0; i < 16 && agenda_stream_receive(stream, wire, sizeof wire) > 0; i++)
    continue;
}

/* ----- the handshake ------------------------------------------------------------------- */

int agenda_stream_shake_hands(lua_State *L, agenda_stream *stream)
{
  int outcome = class_of(stream)->handshake(stream->filter);
  send_own(L, stream);
  switch (outcome) {
    case 0:
      stream->handshaking = false;
      lua_pushboolean(L, 1);
      return 1;
    case AGENDA_FILTER_WANT:
      return AGENDA_STREAM_WAIT;
    case AGENDA_FILTER_MEMORY:
      return luaL_error(L, "not enough memory");
    default:
      return agenda_stream_raise_filter(L, stream, 1);
  }
}

/* The filter at `index`, or an argument error. */
static agenda_filter *check_filter(lua_State *L, int index)
{
  const char *name =
    luaL_getmetafield(L, index, "__name") == LUA_TSTRING ? lua_tostring(L, -1) : "";
  agenda_filter *filter = lua_touserdata(L, index);
  if (filter == NULL || strncmp(name, "agenda.filter.", 14) != 0)
    luaL_typeerror(L, index, "filter");
  luaL_argcheck(L, filter->class->version == AGENDA_FILTER_VERSION && !filter->held, index,
                "a filter of another version, or of another stream");
  return filter;
}

void agenda_stream_set_filter(lua_State *L, agenda_stream *stream)
{
  agenda_filter *filter = check_filter(L, 2);
  agenda_state *state = agenda_state_here(L);
  const char *why = agenda_frame_cannot_wait(L, state, true);
  if (why != NULL)
    agenda_frame_refuse_wait(L, state, "start TLS", why);
  if (stream->filter != NULL)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: the stream speaks TLS already",
                       agenda_stream_push_name(L, 1));
  agenda_stream_input *input = &stream->input;
  if (input->end > input->start &&
      filter->class->feed(filter, input->data + input->start, input->end - input->start) != 0)
    luaL_error(L, "not enough memory");
  agenda_stream_drop_input(L, stream);
  if (stream->at_end)
    filter->class->feed_end(filter);
  stream->at_end = false;
  agenda_stream_push(L, 1);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, AGENDA_STREAM_FILTER);
  filter->held = true;
  stream->filter = filter;
  stream->handshaking = true;
  lua_settop(L, 1);
}

void agenda_stream_release_filter(lua_State *L, agenda_stream *stream)
{
  agenda_stream_drop_wire(L, stream);
  if (stream->filter != NULL)
    class_of(stream)->release(stream->filter);
}
