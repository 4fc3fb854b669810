/*
** stream_write.c: writing.
**
** What is written is sent at once if nothing is before it; the rest is queued, and so stays whole
** and in order, whatever becomes of the task that wrote it.
*/
#include <errno.h>

#include "errors.h"
#include "stream_output.h"

enum { FEW = 64 }; /* strings of a list that are not joined */

static agenda_stream *check_writable(lua_State *L)
{
  agenda_stream *stream = agenda_stream_check_open(L);
  if (AGENDA_UNLIKELY(!stream->writable))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: the stream is not open for writing",
                       agenda_stream_push_name(L, 1));
  if (AGENDA_UNLIKELY(stream->ended))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: cannot write after write_eof",
                       agenda_stream_push_name(L, 1));
  if (AGENDA_UNLIKELY(stream->handshaking))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: cannot write before the handshake is complete",
                       agenda_stream_push_name(L, 1));
  return stream;
}

/* ----- arguments ----------------------------------------------------------------------- */

/* Puts the strings of the list at `index` in its place, joined if they are many; gives how many
** there are. */
static int expand_list(lua_State *L, int index)
{
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  if (!lua_checkstack(L, FEW + 8))
    luaL_error(L, "not enough memory");
  for (lua_Integer i = 1; i <= n; i++) {
    int type = lua_rawgeti(L, index, i);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
      luaL_argerror(L, index,
                    lua_pushfstring(L, "string expected at index %I, got %s", i,
                                    luaL_typename(L, -1)));
    lua_pop(L, 1);
  }
  if (n > FEW) {
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, index, i);
      luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
    lua_replace(L, index);
    return 1;
  }
  for (lua_Integer i = n; i > 0; i--) {
    lua_rawgeti(L, index, i);
    lua_tostring(L, -1);
    lua_insert(L, index + 1);
  }
  lua_remove(L, index);
  return (int)n;
}

/* Makes the arguments from index 2 on strings; gives how many bytes they have. */
static size_t check_data(lua_State *L)
{
  size_t size = 0, length;
  if (AGENDA_LIKELY(lua_gettop(L) == 2 && lua_type(L, 2) == LUA_TSTRING))
    return lua_rawlen(L, 2);
  luaL_checkany(L, 2);
  for (int i = 2; i <= lua_gettop(L); i++)
    if (lua_type(L, i) != LUA_TTABLE)
      luaL_checkstring(L, i);
  for (int i = 2; i <= lua_gettop(L); i++)
    if (lua_type(L, i) == LUA_TTABLE)
      i += expand_list(L, i) - 1;
  for (int i = 2; i <= lua_gettop(L); i++) {
    lua_tolstring(L, i, &length);
    size += length;
  }
  return size;
}

/* ----- write --------------------------------------------------------------------------- */

/* Sends the strings from index 2 on, of `size` bytes in all, as far as possible, and queues the
** rest. */
static void send_or_queue(lua_State *L, agenda_stream *stream, size_t size)
{
  struct iovec parts[AGENDA_STREAM_PARTS];
  int n = lua_gettop(L) - 1, first = 2;
  size_t sent = 0;
  if (stream->output.unsent == 0 && n <= AGENDA_STREAM_PARTS && stream->filter == NULL) {
    for (int i = 0; i < n; i++)
      parts[i].iov_base = (char *)lua_tolstring(L, 2 + i, &parts[i].iov_len);
    ssize_t done = agenda_stream_send(stream, parts, n);
    if (AGENDA_LIKELY(done == (ssize_t)size))
      return;
    int number = errno;
    agenda_stream_push(L, 1);
    if (done < 0 && number != EAGAIN) {
      agenda_stream_fail_output(L, stream, lua_gettop(L), number);
      agenda_stream_raise_write_error(L, stream, 1);
    }
    sent = done < 0 ? 0 : (size_t)done;
    for (; n > 0 && sent >= parts[first - 2].iov_len; n--)
      sent -= parts[first++ - 2].iov_len;
    agenda_stream_append(L, stream, lua_gettop(L), first, n, sent);
    agenda_stream_await_output(stream, true);
    return;
  }
  luaL_checkstack(L, 8, "write");
  agenda_stream_push(L, 1);
  bool idle = stream->output.unsent == 0;
  agenda_stream_append(L, stream, lua_gettop(L), first, n, 0);
  if (idle)
    agenda_stream_flush(L, stream, lua_gettop(L));
}

static int after_room(lua_State *L, int status, lua_KContext context);

/* Waits until no more than the high-water mark is unsent. */
static int wait_for_room(lua_State *L, agenda_stream *stream)
{
  if (AGENDA_UNLIKELY(stream->aborted))
    return agenda_stream_raise_closed(L, 1);
  if (AGENDA_UNLIKELY(stream->write_error != 0))
    return agenda_stream_raise_write_error(L, stream, 1);
  if (stream->output.unsent <= AGENDA_STREAM_HIGH_WATER)
    return 0;
  return agenda_stream_wait_listed(L, AGENDA_STREAM_ROOM, "write", after_room);
}

static int after_room(lua_State *L, int status, lua_KContext context)
{
  (void)status, (void)context;
  return wait_for_room(L, agenda_stream_wait_over(L));
}

static int after_turn(lua_State *L, int status, lua_KContext context)
{
  (void)status, (void)context;
  agenda_frame_resumed(L, agenda_state_here(L));
  return 0;
}

/*** Writes strings, in order and each call's whole. Awaits while more than 64 KiB are unsent. What
a cancelled call was given is sent all the same.
@function stream:write
@tparam string|{string,...} data
@param ... more of them
@raise RuntimeError when the stream is closed, or aborted meanwhile, or after write_eof; OSError,
EPIPE for a peer that has gone */
static int l_write(lua_State *L)
{
  agenda_stream *stream = check_writable(L);
  size_t size = check_data(L);
  if (AGENDA_UNLIKELY(stream->write_error != 0))
    return agenda_stream_raise_write_error(L, stream, 1);
  if (AGENDA_UNLIKELY(stream->output.unsent > AGENDA_STREAM_HIGH_WATER)) {
    agenda_state *state = agenda_state_here(L);
    const char *why = agenda_frame_cannot_wait(L, state, true);
    if (why != NULL)
      return agenda_frame_refuse_wait(L, state, "write", why);
  }
  if (size > 0)
    send_or_queue(L, stream, size);
  if (AGENDA_UNLIKELY(stream->output.unsent > AGENDA_STREAM_HIGH_WATER ||
                      stream->write_error != 0)) {
    if (stream->write_error == 0 && agenda_frame_cannot_wait(L, agenda_state_here(L), true) != NULL)
      return 0; /* a callback may write, but it is not held up */
    return wait_for_room(L, stream);
  }
  if (AGENDA_UNLIKELY(agenda_stream_turn_due(L, stream))) {
    lua_settop(L, 1);
    return agenda_stream_take_turn(L, 0, after_turn);
  }
  return 0;
}

/* ----- drain, write_eof ---------------------------------------------------------------- */

static int after_sent(lua_State *L, int status, lua_KContext context);

static int wait_for_sent(lua_State *L, agenda_stream *stream)
{
  if (AGENDA_UNLIKELY(stream->aborted))
    return agenda_stream_raise_closed(L, 1);
  if (AGENDA_UNLIKELY(stream->write_error != 0))
    return agenda_stream_raise_write_error(L, stream, 1);
  if (stream->output.unsent == 0)
    return 0;
  return agenda_stream_wait_listed(L, AGENDA_STREAM_SENT, "drain", after_sent);
}

static int after_sent(lua_State *L, int status, lua_KContext context)
{
  (void)status, (void)context;
  return wait_for_sent(L, agenda_stream_wait_over(L));
}

/*** Waits until the system has taken all that was written. Awaits, unless it has.
@function stream:drain
@raise RuntimeError when the stream is closed, or aborted meanwhile; OSError when sending failed */
static int l_drain(lua_State *L)
{
  agenda_stream *stream = agenda_stream_check_open(L);
  lua_settop(L, 1);
  return wait_for_sent(L, stream);
}

/*** Ends the output, after all that was written: half-closes a socket, closes a pipe that is only
written. The input stays. A second call does nothing. Does not wait. As in asyncio.
@function stream:write_eof
@raise RuntimeError when the stream is closed or not open for writing */
static int l_write_eof(lua_State *L)
{
  agenda_stream *stream = agenda_stream_check_open(L);
  lua_settop(L, 1);
  if (stream->ended)
    return 0;
  check_writable(L);
  stream->ended = true;
  agenda_stream_push(L, 1);
  if (stream->filter != NULL)
    agenda_stream_flush(L, stream, 2);
  else if (stream->output.unsent == 0)
    agenda_stream_settle_output(L, stream, 2);
  return 0;
}

static const luaL_Reg methods[] = {
  {"drain", l_drain},
  {"write", l_write},
  {"write_eof", l_write_eof},
  {NULL, NULL}
};

void agenda_open_stream_write(lua_State *L)
{
  agenda_functions_register(L, methods);
}
