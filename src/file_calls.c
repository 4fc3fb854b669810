/*
** file_calls.c: reading, writing, flushing, seeking.
**
** A thread only fills or empties the buffers; what is read leaves them when it is delivered, so a
** cancelled read loses nothing. While no job is under way the buffers belong to the loop's thread,
** and what can be done with them alone is done without a job.
*/
#include <errno.h>

#include "errors.h"
#include "file.h"

/* ----- jobs ---------------------------------------------------------------------------- */

static void run_read(agenda_job *job)
{
  agenda_file_job *self = (agenda_file_job *)job;
  self->number = agenda_file_io_fill(job, &self->core->io, self->kind, self->count, &self->at_end);
}

/* What one call read ahead may do for the next. */
static bool read_at_once(agenda_job *job)
{
  agenda_file_job *self = (agenda_file_job *)job;
  size_t size;
  return self->core->io.pending == 0 &&
         agenda_file_io_ready(&self->core->io, self->kind, self->count, &size);
}

/* Pushes what a read gives, once it is there or the file is at its end. [-0, +1, may raise] */
static int take(lua_State *L, agenda_file_io *io, agenda_read_kind kind, size_t size)
{
  if (size == 0 && kind != AGENDA_READ_ALL) {
    lua_pushnil(L);
    return 1;
  }
  const char *data = io->in + io->start;
  bool newline = size > 0 && data[size - 1] == '\n';
  if (size == 0)
    lua_pushliteral(L, "");
  else
    lua_pushlstring(L, data, size - (newline && kind == AGENDA_READ_LINE));
  agenda_file_io_take(io, size);
  return 1;
}

static int deliver_read(lua_State *L, agenda_job *job)
{
  agenda_file_job *self = (agenda_file_job *)job;
  size_t size;
  if (self->number != 0)
    return agenda_file_raise_failure(L, self);
  agenda_file_io_ready(&self->core->io, self->kind, self->count, &size);
  return take(L, &self->core->io, self->kind, size);
}

static void run_write(agenda_job *job)
{
  agenda_file_job *self = (agenda_file_job *)job;
  self->number = agenda_file_io_write(job, &self->core->io, self->parts, self->part_count);
}

static void run_flush(agenda_job *job)
{
  agenda_file_job *self = (agenda_file_job *)job;
  self->number = agenda_file_io_flush(job, &self->core->io);
}

/* Gives the file, as Lua's own do. */
static int deliver_file(lua_State *L, agenda_job *job)
{
  const agenda_file_job *self = (const agenda_file_job *)job;
  if (self->number != 0)
    return agenda_file_raise_failure(L, self);
  agenda_job_push_payload(L, job);
  if (lua_istable(L, -1))
    lua_rawgeti(L, -1, 0);
  return 1;
}

static void run_seek(agenda_job *job)
{
  agenda_file_job *self = (agenda_file_job *)job;
  self->number =
    agenda_file_io_seek(job, &self->core->io, self->offset, self->whence, &self->offset);
}

static int deliver_seek(lua_State *L, agenda_job *job)
{
  const agenda_file_job *self = (const agenda_file_job *)job;
  if (self->number != 0)
    return agenda_file_raise_failure(L, self);
  lua_pushinteger(L, self->offset);
  return 1;
}

/* ----- calls --------------------------------------------------------------------------- */

static agenda_event_loop *check_loop(lua_State *L, const agenda_file_core *core)
{
  agenda_event_loop *loop = agenda_job_loop(L, "wait for a file");
  if (loop != core->loop)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "the file belongs to a different event loop");
  return loop;
}

static int read_file(lua_State *L, agenda_read_kind kind, size_t count)
{
  agenda_file_core *core = agenda_file_check_open(L);
  size_t size;
  if (!core->readable)
    return agenda_error_raise_os(L, EBADF, "read", core->path);
  if (kind == AGENDA_READ_COUNT && count == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  if (agenda_file_is_idle(core) && core->io.pending == 0 &&
      agenda_file_io_ready(&core->io, kind, count, &size))
    return take(L, &core->io, kind, size);
  agenda_event_loop *loop = check_loop(L, core);
  agenda_file_job *self = agenda_file_new_job(L, core, 0, run_read, deliver_read);
  self->job.at_once = read_at_once;
  self->kind = kind;
  self->count = count;
  return agenda_job_await(L, loop);
}

/*** Reads. Awaits, unless what is asked for was read ahead. A cancelled read has taken nothing.
@function file:read
@tparam[opt] integer|string what a number of bytes, of which fewer come only at the end; "a": all
that is left, "" at the end; "l": a line; "L": a line with its newline; nothing: what is there, at
least a byte
@treturn ?string nil at the end
@raise OSError; ValueError when the file is closed, also meanwhile */
static int l_read(lua_State *L)
{
  agenda_file_check_open(L);
  if (lua_isnoneornil(L, 2))
    return read_file(L, AGENDA_READ_SOME, 0);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_argcheck(L, count >= 0, 2, "must not be negative");
    return read_file(L, AGENDA_READ_COUNT, (size_t)count);
  }
  const char *format = luaL_checkstring(L, 2);
  format += *format == '*';
  switch (*format) {
    case 'a':
      return read_file(L, AGENDA_READ_ALL, 0);
    case 'l':
      return read_file(L, AGENDA_READ_LINE, 0);
    case 'L':
      return read_file(L, AGENDA_READ_WHOLE_LINE, 0);
    default:
      return luaL_argerror(L, 2, "invalid format");
  }
}

/*** Reads a line, without its newline; the last one may have none. Awaits, unless it was read
ahead.
@function file:readline
@treturn ?string nil at the end
@raise OSError; ValueError when the file is closed, also meanwhile */
static int l_readline(lua_State *L)
{
  return read_file(L, AGENDA_READ_LINE, 0);
}

/* Leaves a table of the file and of what is to be written, at index 2: the arguments, or the list
** that is the only one. */
static int collect_parts(lua_State *L)
{
  int n = lua_gettop(L) - 1;
  bool list = n == 1 && lua_istable(L, 2);
  if (list)
    n = (int)luaL_len(L, 2);
  lua_createtable(L, n, 1);
  int parts = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    if (list)
      lua_geti(L, 2, i);
    else
      lua_pushvalue(L, i + 1);
    if (!lua_isstring(L, -1)) {
      if (!list)
        luaL_typeerror(L, i + 1, "string");
      luaL_argerror(
        L, 2,
        lua_pushfstring(L, "string expected in the list at %d, got %s", i, luaL_typename(L, -1)));
    }
    lua_tolstring(L, -1, NULL);
    lua_rawseti(L, parts, i);
  }
  lua_pushvalue(L, 1);
  lua_rawseti(L, parts, 0);
  lua_replace(L, 2);
  lua_settop(L, 2);
  return n;
}

/* Writes strings that fit into the buffer, without a job; false if that is not so, or there is
** something to wait for. */
static bool write_at_once(lua_State *L, agenda_file_core *core)
{
  enum { FEW = 8 };
  int n = lua_gettop(L) - 1;
  struct iovec parts[FEW];
  if (n > FEW || !agenda_file_is_idle(core))
    return false;
  for (int i = 0; i < n; i++) {
    if (!lua_isstring(L, i + 2))
      return false;
    parts[i].iov_base = (void *)lua_tolstring(L, i + 2, &parts[i].iov_len);
  }
  return agenda_file_io_gather(&core->io, parts, n);
}

/*** Writes strings or numbers, or a list of them, as a whole. Gathers them until there is a lot,
and awaits only then; FIFOs and terminals get them at once. Cancelled in the queue, it writes
nothing; later it may write a part.
@function file:write
@param ... strings or numbers, or one list
@treturn file
@raise OSError, also of what was written earlier; ValueError when the file is closed */
static int l_write(lua_State *L)
{
  agenda_file_core *core = agenda_file_check_open(L);
  if (!core->writable)
    return agenda_error_raise_os(L, EBADF, "write", core->path);
  if (write_at_once(L, core)) {
    lua_settop(L, 1);
    return 1;
  }
  int n = collect_parts(L);
  agenda_file_job *self = agenda_file_new_job(L, core, n, run_write, deliver_file);
  self->part_count = n;
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 2, i + 1);
    self->parts[i].iov_base = (void *)lua_tolstring(L, -1, &self->parts[i].iov_len);
    lua_pop(L, 1);
  }
  if (agenda_file_is_idle(core) && agenda_file_io_gather(&core->io, self->parts, n)) {
    lua_settop(L, 1);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, AGENDA_JOB_PAYLOAD);
  return agenda_job_await(L, check_loop(L, core));
}

/*** Hands what was written to the system. Awaits, unless there is nothing.
@function file:flush
@treturn file
@raise OSError; ValueError when the file is closed */
static int l_flush(lua_State *L)
{
  agenda_file_core *core = agenda_file_check_open(L);
  lua_settop(L, 1);
  if (agenda_file_is_idle(core) && core->io.pending == 0)
    return 1;
  agenda_event_loop *loop = check_loop(L, core);
  agenda_file_new_job(L, core, 0, run_flush, deliver_file);
  return agenda_job_await(L, loop);
}

/*** Sets and gets the position, as in Lua. Awaits, unless nothing is to be written first.
@function file:seek
@tparam[opt="cur"] string whence "set", "cur" or "end"
@tparam[opt=0] integer offset bytes from there
@treturn integer bytes from the beginning
@raise OSError, ESPIPE where there are no positions; ValueError when the file is closed */
static int l_seek(lua_State *L)
{
  static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
  static const char *const names[] = {"set", "cur", "end", NULL};
  agenda_file_core *core = agenda_file_check_open(L);
  int whence = whences[luaL_checkoption(L, 2, "cur", names)];
  lua_Integer offset = luaL_optinteger(L, 3, 0);
  luaL_argcheck(L, (off_t)offset == offset, 3, "not an integer in proper range");
  bool at_once = agenda_file_is_idle(core) && core->io.pending == 0;
  agenda_event_loop *loop = at_once ? NULL : check_loop(L, core);
  agenda_file_job *self = agenda_file_new_job(L, core, 0, run_seek, deliver_seek);
  self->offset = (off_t)offset;
  self->whence = whence;
  if (!at_once)
    return agenda_job_await(L, loop);
  run_seek(&self->job);
  return deliver_seek(L, &self->job);
}

const luaL_Reg agenda_file_methods[] = {
  {"flush", l_flush},
  {"read", l_read},
  {"readline", l_readline},
  {"seek", l_seek},
  {"write", l_write},
  {NULL, NULL}
};
