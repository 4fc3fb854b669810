/*
** file.h: files whose calls wait for a thread, in place of the loop.
*/
#ifndef AGENDA_FILE_H
#define AGENDA_FILE_H

#include "file_io.h"

typedef struct agenda_file_core {
  agenda_watch watch;
  agenda_event_loop *loop;
  agenda_strand strand;
  agenda_file_io io;
  uint32_t anchor;
  bool readable, writable;
  bool closing; /* close() was called: only what was asked for before it goes on */
  bool closed;
  char path[];
} agenda_file_core;

typedef struct agenda_file {
  agenda_object object;
  agenda_file_core *core; /* NULL before it is open */
  bool doomed;            /* it was collected once */
} agenda_file;

/* A call of a file. Its payload is the file; of a write, a table of the file and the strings. */
typedef struct agenda_file_job {
  agenda_job job;
  agenda_file_core *core;
  agenda_read_kind kind; /* of a read; likewise the next two */
  size_t count;
  bool at_end;
  off_t offset; /* of a seek; afterwards the position */
  int whence;
  int number;     /* an errno */
  bool quiet;     /* its error is not to be raised */
  int part_count; /* of a write */
  struct iovec parts[];
} agenda_file_job;

extern const agenda_kind agenda_file_kind;

/* The path at `index`: a string without zeros. */
const char *agenda_file_check_path(lua_State *L, int index);

/* The core of the file at index 1; ValueError if it is closed. */
agenda_file_core *agenda_file_check_open(lua_State *L);

/* Whether no call of it is under way, so that the buffers belong to the loop's thread. */
#define agenda_file_is_idle(core) ((core)->strand.active == NULL)

/* Leaves a job for the file at index 1, with room for so many parts of a write. [-0, +1] */
agenda_file_job *agenda_file_new_job(lua_State *L, agenda_file_core *core, int parts,
                                     void (*run)(agenda_job *),
                                     int (*deliver)(lua_State *, agenda_job *));

/* Raises what made the job fail. */
int agenda_file_raise_failure(lua_State *L, const agenda_file_job *job);

/* ----- file_calls.c */

/* Those that read, write and seek. */
extern const luaL_Reg agenda_file_methods[];

void agenda_open_file(lua_State *L);
void agenda_open_whole_file(lua_State *L);

#endif
