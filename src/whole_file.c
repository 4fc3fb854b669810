/*
** whole_file.c: files that are read or written as a whole, each in one job.
*/
#include <fcntl.h>
#include <string.h>

#include "errors.h"
#include "file.h"
#include "file_io.h"

typedef struct whole_file {
  agenda_job job;
  agenda_file_io io;
  struct iovec data; /* what is to be written, which the payload keeps */
  int number;        /* an errno */
  char path[];
} whole_file;

static void run_read(agenda_job *job)
{
  whole_file *self = (whole_file *)job;
  bool at_end;
  self->number = agenda_file_io_open(job, &self->io, self->path, O_RDONLY);
  if (self->number == 0)
    self->number = agenda_file_io_fill(job, &self->io, AGENDA_READ_ALL, 0, &at_end);
}

static int deliver_read(lua_State *L, agenda_job *job)
{
  const whole_file *self = (const whole_file *)job;
  if (self->number != 0)
    return agenda_error_raise_os(L, self->number, self->io.failed, self->path);
  lua_pushlstring(L, self->io.end > 0 ? self->io.in : "", self->io.end);
  return 1;
}

static void run_write(agenda_job *job)
{
  whole_file *self = (whole_file *)job;
  self->number = agenda_file_io_open(job, &self->io, self->path, O_WRONLY | O_CREAT | O_TRUNC);
  if (self->number == 0)
    self->number = agenda_file_io_write(job, &self->io, &self->data, 1);
  int number = agenda_file_io_close(job, &self->io);
  if (self->number == 0)
    self->number = number;
}

static int deliver_write(lua_State *L, agenda_job *job)
{
  const whole_file *self = (const whole_file *)job;
  if (self->number != 0)
    return agenda_error_raise_os(L, self->number, self->io.failed, self->path);
  return 0;
}

static void release(lua_State *L, agenda_job *job)
{
  (void)L;
  agenda_file_io_close(NULL, &((whole_file *)job)->io);
}

/* Leaves a new job. [-0, +1, may raise] */
static whole_file *new_job(lua_State *L, const char *path, void (*run)(agenda_job *),
                           int (*deliver)(lua_State *, agenda_job *))
{
  size_t size = strlen(path) + 1;
  whole_file *self = agenda_job_new(L, sizeof *self + size, run, deliver);
  self->job.release = release;
  self->io.fd = -1;
  memcpy(self->path, path, size);
  return self;
}

/*** Reads a whole file on a thread; FIFOs, until their writers are gone, and /proc as well. Awaits.
@function read_file
@tparam string path
@treturn string
@raise OSError; RuntimeError where nothing can wait */
static int l_read_file(lua_State *L)
{
  const char *path = agenda_file_check_path(L, 1);
  agenda_event_loop *loop = agenda_job_loop(L, "read a file");
  new_job(L, path, run_read, deliver_read);
  return agenda_job_await(L, loop);
}

/*** Makes a file of the data, in the place of one that is there, on a thread. Awaits. Cancelled
before it begins, it does nothing; later it goes on.
@function write_file
@tparam string path
@tparam string data
@raise OSError; RuntimeError where nothing can wait */
static int l_write_file(lua_State *L)
{
  const char *path = agenda_file_check_path(L, 1);
  struct iovec data;
  data.iov_base = (void *)luaL_checklstring(L, 2, &data.iov_len);
  agenda_event_loop *loop = agenda_job_loop(L, "write a file");
  whole_file *self = new_job(L, path, run_write, deliver_write);
  self->data = data;
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, AGENDA_JOB_PAYLOAD);
  return agenda_job_await(L, loop);
}

static const luaL_Reg functions[] = {
  {"read_file", l_read_file},
  {"write_file", l_write_file},
  {NULL, NULL}
};

void agenda_open_whole_file(lua_State *L)
{
  agenda_functions_register(L, functions);
}
