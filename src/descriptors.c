/*
** descriptors.c: pairs of descriptors, their modes, closing them. All are closed in children.
*/
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "errors.h"

bool agenda_descriptor_set_nonblocking(int fd)
{
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0)
    return false;
  return (flags & O_NONBLOCK) != 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* NB: after EINTR Linux has closed it; a second close could hit another thread's descriptor. */
void agenda_descriptor_close(int fd)
{
  int saved = errno;
  close(fd);
  errno = saved;
}

/* ----- what Lua sees ------------------------------------------------------------------- */

static int push_pair(lua_State *L, const int ends[2])
{
  lua_pushinteger(L, ends[0]);
  lua_pushinteger(L, ends[1]);
  return 2;
}

/*** A pipe; both ends are closed in children and block.
@function pipe
@treturn integer the end to read from
@treturn integer the end to write to
@raise OSError */
static int l_pipe(lua_State *L)
{
  int ends[2];
  luaL_checkstack(L, 2, "pipe");
  if (pipe2(ends, O_CLOEXEC) != 0)
    return agenda_error_raise_os(L, errno, "pipe", NULL);
  return push_pair(L, ends);
}

/*** Two connected Unix stream sockets; both are closed in children and block.
@function socketpair
@treturn integer one
@treturn integer the other
@raise OSError */
static int l_socketpair(lua_State *L)
{
  int ends[2];
  luaL_checkstack(L, 2, "socketpair");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return agenda_error_raise_os(L, errno, "socketpair", NULL);
  return push_pair(L, ends);
}

/*** Closes a descriptor that no object owns.
@function close
@tparam integer fd the descriptor
@raise OSError EBADF when it is not open */
static int l_close(lua_State *L)
{
  int fd = (int)luaL_checkinteger(L, 1);
  if (fcntl(fd, F_GETFD) < 0)
    return agenda_error_raise_os(L, errno, "close", NULL);
  agenda_descriptor_close(fd);
  return 0;
}

static const luaL_Reg functions[] = {
  {"close", l_close},
  {"pipe", l_pipe},
  {"socketpair", l_socketpair},
  {NULL, NULL}
};

void agenda_open_descriptors(lua_State *L)
{
  agenda_functions_register(L, functions);
}
