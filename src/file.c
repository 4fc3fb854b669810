/*
** file.c: files as objects.
**
**   OPEN ----close()----> CLOSING ----its job, or at once----> CLOSED
**      \------- collected, or the loop closes ----------------/
**
** Two userdata: the file that the user has, and its core, with the descriptor and the buffers. The
** core is a source of events of the loop, which closes it at the loop's end; so it is anchored
** until then, and a finalizer of the file that Lua drops costs nothing but time.
**
** The calls of one file are jobs of one strand, so they take effect in their order; what they do
** stands in file_calls.c.
*/
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "body.h"
#include "errors.h"

enum { FILE_CORE = 1, FILE_OPENED, FILE_SLOTS = FILE_OPENED }; /* where, in debug mode */

const agenda_kind agenda_file_kind = {.name = "file", .metatable = "agenda.file"};

/* ----- jobs ---------------------------------------------------------------------------- */

static int raise_closed(lua_State *L)
{
  return agenda_error_raise(L, AGENDA_VALUE_ERROR, "I/O operation on closed file");
}

int agenda_file_raise_failure(lua_State *L, const agenda_file_job *self)
{
  if (self->number == ECANCELED)
    return raise_closed(L);
  return agenda_error_raise_os(L, self->number, self->core->io.failed, self->core->path);
}

static agenda_file *check_file(lua_State *L)
{
  return agenda_object_check(L, 1, &agenda_file_kind);
}

agenda_file_core *agenda_file_check_open(lua_State *L)
{
  agenda_file_core *core = check_file(L)->core;
  if (core == NULL || core->closing)
    raise_closed(L);
  return core;
}

agenda_file_job *agenda_file_new_job(lua_State *L, agenda_file_core *core, int parts,
                                     void (*run)(agenda_job *),
                                     int (*deliver)(lua_State *, agenda_job *))
{
  agenda_file_job *self =
    agenda_job_new(L, sizeof *self + (size_t)parts * sizeof *self->parts, run, deliver);
  self->job.strand = &core->strand;
  self->core = core;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, AGENDA_JOB_PAYLOAD);
  return self;
}

static void run_close(agenda_job *job)
{
  agenda_file_job *self = (agenda_file_job *)job;
  self->number = agenda_file_io_close(job, &self->core->io);
}

static int deliver_close(lua_State *L, agenda_job *job)
{
  const agenda_file_job *self = (const agenda_file_job *)job;
  if (self->number != 0 && !self->quiet)
    agenda_error_raise_os(L, self->number, self->core->io.failed, self->core->path);
  return 0;
}

/* ----- the core ------------------------------------------------------------------------ */

/* Closes what is still open and lets the core go; 0 or an errno. No job is under way. [-0, +0] */
static int dispose(lua_State *L, agenda_file_core *core)
{
  int number = agenda_file_io_close(NULL, &core->io);
  if (!core->closed) {
    core->closed = core->closing = true;
    agenda_loop_detach(core->loop, &core->watch);
    agenda_schedule_unanchor(L, core->loop->schedule, core->anchor);
    core->loop = NULL;
  }
  return number;
}

static void release_close(lua_State *L, agenda_job *job)
{
  dispose(L, ((agenda_file_job *)job)->core);
}

/* NB: never called: nothing happens to the source. */
static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)L, (void)loop, (void)watch;
}

static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  (void)loop;
  dispose(L, AGENDA_LIST_OWNER(watch, agenda_file_core, watch));
}

/* ----- opening ------------------------------------------------------------------------- */

typedef struct open_job {
  agenda_job job;
  agenda_file_io io;
  agenda_event_loop *loop;
  int flags, number;
  char path[];
} open_job;

static void run_open(agenda_job *job)
{
  open_job *self = (open_job *)job;
  self->number = agenda_file_io_open(job, &self->io, self->path, self->flags);
}

static void release_open(lua_State *L, agenda_job *job)
{
  (void)L;
  agenda_file_io_close(NULL, &((open_job *)job)->io);
}

/* The file comes first, harmless, then the core, then the descriptor. */
static int deliver_open(lua_State *L, agenda_job *job)
{
  open_job *self = (open_job *)job;
  if (self->number != 0)
    return agenda_error_raise_os(L, self->number, self->io.failed, self->path);
  agenda_file *f =
    agenda_object_new(L, agenda_state_get(L), &agenda_file_kind, sizeof *f, FILE_SLOTS);
  size_t path_size = strlen(self->path) + 1;
  agenda_file_core *core = lua_newuserdatauv(L, sizeof *core + path_size, 0);
  memset(core, 0, sizeof *core);
  memcpy(core->path, self->path, path_size);
  agenda_list_init(&core->strand.waiting);
  int mode = self->flags & O_ACCMODE;
  core->readable = mode != O_WRONLY;
  core->writable = mode != O_RDONLY;
  core->watch.happened = happened;
  core->watch.stop = stop;
  core->watch.silent = true;
  core->anchor = agenda_schedule_anchor(L, self->loop->schedule, -1);
  lua_setiuservalue(L, -2, FILE_CORE);
  agenda_job_push_payload(L, job);
  lua_setiuservalue(L, -2, FILE_OPENED);
  core->loop = self->loop;
  core->io = self->io;
  self->io.fd = -1;
  agenda_loop_attach(core->loop, &core->watch);
  f->core = core;
  return 1;
}

/* The flags of open(2) for a mode of fopen's at index 2; an argument error for others. */
static int check_mode(lua_State *L)
{
  const char *mode = luaL_optstring(L, 2, "r");
  static const char letters[] = "rwa";
  static const int flags[] = {0, O_CREAT | O_TRUNC, O_CREAT | O_APPEND};
  const char *letter = *mode != '\0' ? strchr(letters, *mode) : NULL;
  bool plus = letter != NULL && mode[1] == '+';
  luaL_argcheck(L, letter != NULL && mode[1 + plus + strspn(mode + 1 + plus, "b")] == '\0', 2,
                "invalid mode");
  int access = plus ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
  return access | flags[letter - letters];
}

const char *agenda_file_check_path(lua_State *L, int index)
{
  size_t length;
  const char *path = luaL_checklstring(L, index, &length);
  luaL_argcheck(L, strlen(path) == length, index, "path contains zeros");
  return path;
}

/*** Opens a file. Awaits, and with a FIFO to write to until somebody reads it.
@function open
@tparam string path
@tparam[opt="r"] string mode as io.open has them: "r", "w", "a", "r+", "w+", "a+", with "b" or not
@treturn file
@raise OSError, a folder's EISDIR among them; RuntimeError where nothing can wait */
static int l_open(lua_State *L)
{
  const char *path = agenda_file_check_path(L, 1);
  int flags = check_mode(L);
  agenda_event_loop *loop = agenda_job_loop(L, "open a file");
  size_t path_size = strlen(path) + 1;
  open_job *self = agenda_job_new(L, sizeof *self + path_size, run_open, deliver_open);
  self->job.release = release_open;
  self->io.fd = -1;
  self->loop = loop;
  self->flags = flags;
  memcpy(self->path, path, path_size);
  if (loop->schedule->debug) {
    luaL_where(L, 1); /* "file.lua:12: " */
    lua_Integer size = luaL_len(L, -1);
    lua_pushlstring(L, lua_tostring(L, -1), size > 2 ? (size_t)size - 2 : 0);
    lua_replace(L, -2);
    lua_setiuservalue(L, -2, AGENDA_JOB_PAYLOAD);
  }
  return agenda_job_await(L, loop);
}

/* ----- closing ------------------------------------------------------------------------- */

/* What waits for a FIFO or a terminal ends with an error. */
static void interrupt_jobs(agenda_file_core *core)
{
  agenda_strand *strand = &core->strand;
  if (strand->active != NULL)
    agenda_job_stop(strand->active);
  for (agenda_list *node = strand->waiting.next; node != &strand->waiting; node = node->next)
    agenda_job_stop(AGENDA_LIST_OWNER(node, agenda_job, link));
}

/*
** Closes the file at index 1, which is alone on the stack: at once if no other call is under way
** and nothing is to be written or nobody can wait for that.
*/
static int close_file(lua_State *L, bool quiet)
{
  agenda_file_core *core = check_file(L)->core;
  if (core == NULL || core->closing)
    return 0;
  agenda_state *state = agenda_state_here(L);
  bool waits = state->loop == core->loop && agenda_frame_cannot_wait(L, state, true) == NULL;
  if (agenda_file_is_idle(core) &&
      (core->io.pending == 0 || !waits || agenda_job_refused(L, core->loop))) {
    int number = dispose(L, core);
    if (number != 0 && !quiet)
      return agenda_error_raise_os(L, number, core->io.failed, core->path);
    return 0;
  }
  agenda_file_job *self = agenda_file_new_job(L, core, 0, run_close, deliver_close);
  self->job.release = release_close;
  self->job.certain = true;
  self->quiet = quiet;
  agenda_event_loop *loop = core->loop;
  if (!waits) {
    agenda_job_submit(L, loop);
    core->closing = true;
    interrupt_jobs(core);
    return 0;
  }
  core->closing = true;
  interrupt_jobs(core);
  return agenda_job_await(L, loop);
}

/*** Closes the file: calls that are under way are finished first, but those that wait for a FIFO or
a terminal raise ValueError. Awaits, unless there is nothing to wait for. Does nothing the second
time. Cancelled, it goes on by itself.
@function file:close
@raise OSError when what was written earlier could not be handed over; the file is closed then */
static int l_close(lua_State *L)
{
  lua_settop(L, 1);
  return close_file(L, false);
}

/* Closes the file; an error on the way out of the block is the one that counts. Awaits. */
static int l_close_block(lua_State *L)
{
  bool quiet = !lua_isnoneornil(L, 2);
  lua_settop(L, 1);
  return close_file(L, quiet);
}

/* ----- the collector ------------------------------------------------------------------- */

static void report_unclosed(lua_State *L, const agenda_file_core *core)
{
  lua_createtable(L, 0, 1);
  lua_getiuservalue(L, 1, FILE_OPENED);
  const char *where = lua_tostring(L, -1);
  lua_pushfstring(L, "unclosed file '%s'%s%s", core->path, where != NULL ? ", opened at " : "",
                  where != NULL ? where : "");
  lua_replace(L, -2);
  lua_insert(L, -2);
  agenda_warn(L, lua_tostring(L, -2));
  lua_pop(L, 1);
}

/* NB: what is collected with it, an older generator whose cleanup uses it, is finalized later; so
** it is closed when it is collected for the second time. */
static int l_gc(lua_State *L)
{
  agenda_file *f = lua_touserdata(L, 1);
  agenda_file_core *core = f->core;
  if (core == NULL || core->closed)
    return 0;
  if (!f->doomed) {
    f->doomed = true;
    agenda_body_rearm(L);
    return 0;
  }
  if (core->loop->schedule->debug)
    report_unclosed(L, core);
  if (agenda_file_is_idle(core))
    dispose(L, core);
  return 0;
}

/* "<file path at 0x...>" */
static int l_tostring(lua_State *L)
{
  const agenda_file *f = check_file(L);
  bool closed = f->core == NULL || f->core->closed;
  return agenda_push_description(L, &f->object, closed ? "closed" : f->core->path);
}

static const luaL_Reg metamethods[] = {
  {"__close", l_close_block},
  {"__gc", l_gc},
  {"__tostring", l_tostring},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"close", l_close},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"open", l_open},
  {NULL, NULL}
};

void agenda_open_file(lua_State *L)
{
  agenda_class_register(L, &agenda_file_kind, metamethods, methods, NULL);
  agenda_functions_register(L, functions);
  agenda_class_push(L, &agenda_file_kind);
  lua_getfield(L, -1, "__index");
  agenda_functions_register(L, agenda_file_methods);
  lua_setfield(L, -3, "_file_methods"); /* for methods that are written in Lua */
  lua_pop(L, 1);
  agenda_open_whole_file(L);
}
