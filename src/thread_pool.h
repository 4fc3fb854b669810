/*
** thread_pool.h: work that would block the loop's thread, on threads of the loop's own.
*/
#ifndef AGENDA_THREAD_POOL_H
#define AGENDA_THREAD_POOL_H

#include "loop.h"

typedef struct agenda_job agenda_job;

/* Jobs of one strand run one after the other, in the order in which they were submitted; the next
** begins when the one before it has been delivered. Only the loop's thread looks at it. */
typedef struct agenda_strand {
  agenda_job *active;
  agenda_list waiting;
} agenda_strand;

/*
** A piece of work: a userdata that begins with this, made by agenda_job_new. `run` is called on a
** thread of the pool and must not touch any Lua state that the loop's thread uses; the other two
** are called on the loop's thread. A job that was cancelled in the queue is released only.
*/
struct agenda_job {
  void (*run)(agenda_job *job);
  int (*deliver)(lua_State *L, agenda_job *job);  /* the results: [-0, +n, may raise] */
  void (*release)(lua_State *L, agenda_job *job); /* NULL, or frees what run made; not to raise */
  bool (*at_once)(agenda_job *job); /* NULL, or does without a thread if it can; of a strand */
  agenda_strand *strand;            /* or NULL */
  bool certain;                     /* it runs even if it was cancelled in the queue */
  /* The pool's own. */
  struct agenda_thread_pool *pool; /* while it is submitted and not released */
  agenda_list link;                /* in the queue, the list of what is done, or the strand */
  agenda_list member;              /* in the list of all */
  uint32_t anchor;
  int wake_fd; /* ends agenda_job_wait; guarded by the pool's lock, as the next two are */
  uint8_t status;
  bool stopped;   /* it is not to wait any more */
  bool abandoned; /* nobody wants the result */
};

/* First user value of a job: its future. The second is for what the job needs kept alive. */
enum { AGENDA_JOB_FUTURE = 1, AGENDA_JOB_PAYLOAD, AGENDA_JOB_SLOTS = AGENDA_JOB_PAYLOAD };

/* A new job of `size` bytes, zeroed but for the two functions. [-0, +1, may raise] */
void *agenda_job_new(lua_State *L, size_t size, void (*run)(agenda_job *),
                     int (*deliver)(lua_State *, agenda_job *));

/* The running loop, for a call that is about to wait for a job; RuntimeError if nothing can wait
** here. `what` completes "cannot ...". */
agenda_event_loop *agenda_job_loop(lua_State *L, const char *what);

/* Gives the job on the top to the loop's pool; leaves the future of its results.
** [-1, +1, may raise] */
void agenda_job_submit(lua_State *L, agenda_event_loop *loop);

/* The same, and awaits the future; the last thing that a C function does, after agenda_job_loop:
** `return agenda_job_await(L, loop)`. */
int agenda_job_await(lua_State *L, agenda_event_loop *loop);

/* Whether the loop's pool takes no more jobs. [may raise] */
bool agenda_job_refused(lua_State *L, agenda_event_loop *loop);

/* Pushes what a submitted job keeps alive. [-0, +1] */
void agenda_job_push_payload(lua_State *L, const agenda_job *job);

/* Has a submitted job end its waiting, with ECANCELED. */
void agenda_job_stop(agenda_job *job);

/*
** On the job's thread: waits until something of `events` (as poll has them) holds of `fd`, or for
** `milliseconds` (-1: without end). 0, or an errno: ECANCELED when nobody wants the job any more,
** and where there is no job (NULL), on the loop's thread.
*/
int agenda_job_wait(agenda_job *job, int fd, short events, int milliseconds);

void agenda_open_thread_pool(lua_State *L);

#endif
