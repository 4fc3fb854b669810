/*
** stream_describe.c: what can be asked of a stream.
*/
#include <poll.h>
#include <sys/ioctl.h>

#include "stream.h"

/* Pushes the elements of a list {host, port}, or the path. */
static int push_address(lua_State *L, int slot)
{
  agenda_stream_check_open(L);
  agenda_stream_push(L, 1);
  if (lua_getiuservalue(L, -1, slot) != LUA_TTABLE)
    return 1;
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  return 2;
}

/*** The address at the other end.
@function stream:peername
@treturn ?string host, or path; nil where there is none
@treturn ?integer port
@raise RuntimeError when the stream is closed */
static int l_peername(lua_State *L)
{
  return push_address(L, AGENDA_STREAM_PEERNAME);
}

/*** The address at this end.
@function stream:sockname
@treturn ?string host, or path; nil where there is none
@treturn ?integer port
@raise RuntimeError when the stream is closed */
static int l_sockname(lua_State *L)
{
  return push_address(L, AGENDA_STREAM_SOCKNAME);
}

/*** The descriptor, which stays the stream's.
@function stream:fileno
@treturn integer
@raise RuntimeError when the stream is closed, or was by write_eof */
static int l_fileno(lua_State *L)
{
  const agenda_stream *stream = agenda_stream_check_open(L);
  if (stream->fd < 0)
    return agenda_stream_raise_closed(L, 1);
  lua_pushinteger(L, stream->fd);
  return 1;
}

/* Whether the input has ended though nobody has read the end yet; takes nothing out. */
static bool end_is_there(const agenda_stream *stream)
{
  struct pollfd request = {.fd = stream->fd, .events = POLLIN};
  int available = 0;
  if (stream->medium == AGENDA_MEDIUM_OTHER || stream->fd < 0 || stream->reset)
    return false;
  if (poll(&request, 1, 0) != 1 || (request.revents & POLLERR) != 0)
    return false;
  return ioctl(stream->fd, FIONREAD, &available) == 0 && available == 0;
}

/*** Whether the input has ended and all of it was read. As in asyncio.
@function stream:at_eof
@treturn boolean
@raise RuntimeError when the stream is closed */
static int l_at_eof(lua_State *L)
{
  agenda_stream *stream = agenda_stream_check_open(L);
  if (stream->filter != NULL) { /* it alone knows */
    if (stream->input.start == stream->input.end && !stream->at_end && !stream->read_under_way &&
        stream->read_error == 0)
      agenda_stream_fill(L, stream);
    lua_pushboolean(L, stream->input.start == stream->input.end && stream->at_end);
    return 1;
  }
  lua_pushboolean(L, stream->input.start == stream->input.end &&
                       (stream->at_end || (stream->readable && end_is_there(stream))));
  return 1;
}

static const luaL_Reg methods[] = {
  {"at_eof", l_at_eof},
  {"fileno", l_fileno},
  {"peername", l_peername},
  {"sockname", l_sockname},
  {NULL, NULL}
};

void agenda_open_stream_describe(lua_State *L)
{
  agenda_functions_register(L, methods);
}
