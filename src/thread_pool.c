/*
** thread_pool.c: the threads of a loop.
**
**   NEW --> WAITING (for its strand) --> QUEUED --> RUNNING --> DONE --> released
**                   \                       \ cancelled                    ^
**                    \-----------------------\-----------------------------/
**
** A pool belongs to one loop, is made by its first job, and starts threads as there is work for
** them; they last until the pool is shut down or the loop is closed. A thread puts what is done
** into a list and wakes the loop; the loop's thread takes it from there. What the threads and the
** loop share stands under one lock; `link` and `status` of a job belong to it too.
**
** Cancelling the future of a running job abandons its result and not the thread, which goes on;
** only a wait for a descriptor (agenda_job_wait) ends at once, so that nobody hangs in a FIFO.
*/
#include "thread_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "frame.h"

enum { LEAST_THREADS = 4, DEFAULT_MOST_THREADS = 32, MOST_THREADS = 64, MORE_THAN_CORES = 4 };
enum { STACK_SIZE = 1 << 20 }; /* Lua allows some 200 nested C calls, resolvers use a lot */

typedef enum { JOB_NEW, JOB_WAITING, JOB_QUEUED, JOB_RUNNING, JOB_DONE } job_status;

typedef struct agenda_thread_pool {
  agenda_watch watch;
  agenda_event_loop *loop;
  agenda_list members; /* every job that was submitted and not released */
  agenda_list taken;   /* done, and on their way to their futures */
  int jobs;            /* how many members */
  uint32_t drained;    /* anchor of the future of a shutdown, or 0 */
  bool open;           /* the lock and the condition are there */
  bool shut;           /* takes no more jobs */
  int limit;           /* of threads that do not wait */
  pid_t process;       /* whose threads they are; a fork has none */
  pthread_mutex_t lock;
  pthread_cond_t work; /* something is in the queue, or `ending` */
  agenda_list queue, done;
  int queued, idle, waiting, count;
  bool ending;
  pthread_t threads[MOST_THREADS];
} agenda_thread_pool;

static const char POOL_KEY[] = "threads"; /* in the loop's table of watchers */

/* ----- threads ------------------------------------------------------------------------- */

static void *work(void *argument)
{
  agenda_thread_pool *pool = argument;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    while (pool->queued == 0 && !pool->ending) {
      pool->idle++;
      pthread_cond_wait(&pool->work, &pool->lock);
      pool->idle--;
    }
    if (pool->queued == 0)
      break;
    agenda_job *job = AGENDA_LIST_OWNER(pool->queue.next, agenda_job, link);
    agenda_list_unlink(&job->link);
    pool->queued--;
    job->status = JOB_RUNNING;
    pthread_mutex_unlock(&pool->lock);
    job->run(job);
    pthread_mutex_lock(&pool->lock);
    job->status = JOB_DONE;
    bool first = agenda_list_empty(&pool->done);
    agenda_list_append(&pool->done, &job->link);
    if (first)
      agenda_loop_wake(&pool->loop->woken, pool->loop->wake_fd);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* Signals are for the loop's thread; but those that a fault raises cannot be put off. */
static void block_signals(sigset_t *earlier)
{
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  sigset_t all;
  sigfillset(&all);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_SETMASK, &all, earlier);
}

/* Starts a thread if there is more in the queue than idle threads, and room for one: those that
** wait for a descriptor do not count. 0, or an errno. The lock is held. */
static int start_thread(agenda_thread_pool *pool)
{
  int most = pool->limit + pool->waiting;
  if (pool->ending || pool->queued <= pool->idle ||
      pool->count >= (most < MOST_THREADS ? most : MOST_THREADS))
    return 0;
  pthread_attr_t attributes;
  int number = pthread_attr_init(&attributes);
  if (number != 0)
    return number;
  sigset_t earlier;
  pthread_attr_setstacksize(&attributes, STACK_SIZE);
  block_signals(&earlier);
  number = pthread_create(&pool->threads[pool->count], &attributes, work, pool);
  pthread_sigmask(SIG_SETMASK, &earlier, NULL);
  pthread_attr_destroy(&attributes);
  if (number == 0)
    pool->count++;
  return number;
}

/* Waits for the threads to end, which they do when the queue is empty. */
static void join_threads(agenda_thread_pool *pool)
{
  if (pool->process != getpid())
    return;
  pthread_mutex_lock(&pool->lock);
  pool->ending = true;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (int i = 0; i < pool->count; i++)
    pthread_join(pool->threads[i], NULL);
  pool->count = 0;
}

/* ----- on the job's thread ------------------------------------------------------------- */

int agenda_job_wait(agenda_job *job, int fd, short events, int milliseconds)
{
  agenda_thread_pool *pool = job != NULL ? job->pool : NULL;
  int ends[2], number = 0;
  if (pool == NULL) /* it runs on the loop's thread */
    return ECANCELED;
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    return errno;
  pthread_mutex_lock(&pool->lock);
  bool stopped = job->stopped;
  job->wake_fd = ends[1];
  pool->waiting++;
  start_thread(pool); /* in the place of this one */
  pthread_mutex_unlock(&pool->lock);
  if (!stopped) {
    struct pollfd fds[] = {{fd, events, 0}, {ends[0], POLLIN, 0}};
    if (poll(fds, 2, milliseconds) < 0 && errno != EINTR)
      number = errno;
  }
  pthread_mutex_lock(&pool->lock);
  pool->waiting--;
  job->wake_fd = -1;
  if (job->stopped)
    number = ECANCELED;
  pthread_mutex_unlock(&pool->lock);
  close(ends[0]);
  close(ends[1]);
  return number;
}

/* ----- jobs on the loop's thread ------------------------------------------------------- */

void *agenda_job_new(lua_State *L, size_t size, void (*run)(agenda_job *),
                     int (*deliver)(lua_State *, agenda_job *))
{
  AGENDA_TORTURE(L);
  agenda_job *job = lua_newuserdatauv(L, size, AGENDA_JOB_SLOTS);
  memset(job, 0, size);
  job->run = run;
  job->deliver = deliver;
  job->wake_fd = -1;
  agenda_list_init(&job->link);
  agenda_list_init(&job->member);
  return job;
}

/* Puts a job into the queue; an errno if there is no thread for it, and it is not there. */
static int enqueue(agenda_thread_pool *pool, agenda_job *job)
{
  pthread_mutex_lock(&pool->lock);
  agenda_list_append(&pool->queue, &job->link);
  pool->queued++;
  job->status = JOB_QUEUED;
  int number = start_thread(pool);
  if (pool->count > 0) {
    number = 0;
    pthread_cond_signal(&pool->work);
  }
  else {
    agenda_list_unlink(&job->link);
    pool->queued--;
    job->status = JOB_NEW;
  }
  pthread_mutex_unlock(&pool->lock);
  return number;
}

static void wake_job(agenda_job *job)
{
  job->stopped = true;
  if (job->wake_fd >= 0 && write(job->wake_fd, "", 1) < 0)
    AGENDA_ASSERT(errno == EAGAIN);
}

void agenda_job_stop(agenda_job *job)
{
  agenda_thread_pool *pool = job->pool;
  pthread_mutex_lock(&pool->lock);
  wake_job(job);
  pthread_mutex_unlock(&pool->lock);
}

/* The next of the strand goes to the queue, or where the done ones go if it needs no thread. NB:
** where there was a thread there still is one. */
static void advance_strand(agenda_thread_pool *pool, const agenda_job *job)
{
  agenda_strand *strand = job->strand;
  if (strand == NULL || strand->active != job)
    return;
  strand->active = NULL;
  if (agenda_list_empty(&strand->waiting) || pool->process != getpid())
    return;
  agenda_job *next = AGENDA_LIST_OWNER(strand->waiting.next, agenda_job, link);
  agenda_list_unlink(&next->link);
  strand->active = next;
  if (next->at_once == NULL || !next->at_once(next)) {
    enqueue(pool, next);
    return;
  }
  next->status = JOB_DONE;
  agenda_list_append(&pool->taken, &next->link);
  agenda_loop_happened(&pool->watch);
}

/* The job is in no list any more: lets go of it. [-0, +0] */
static void release(lua_State *L, agenda_job *job)
{
  agenda_thread_pool *pool = job->pool;
  agenda_schedule *schedule = pool->loop->schedule;
  agenda_list_unlink(&job->member);
  pool->jobs--;
  if (!job->abandoned)
    schedule->watching--;
  job->pool = NULL;
  if (job->release != NULL && job->status != JOB_RUNNING) /* in a fork it never ends */
    job->release(L, job);
  advance_strand(pool, job);
  agenda_schedule_push(L, schedule, job->anchor);
  for (int i = 1; i <= AGENDA_JOB_SLOTS; i++) {
    lua_pushnil(L);
    lua_setiuservalue(L, -2, i);
  }
  agenda_schedule_unanchor(L, schedule, job->anchor);
  lua_pop(L, 1);
}

/* Nobody wants the result any more. [-0, +0] */
static void abandon(lua_State *L, agenda_job *job)
{
  agenda_thread_pool *pool = job->pool;
  if (pool == NULL || job->abandoned)
    return;
  pthread_mutex_lock(&pool->lock);
  bool taken = !job->certain && (job->status == JOB_QUEUED || job->status == JOB_WAITING);
  if (taken) {
    agenda_list_unlink(&job->link);
    pool->queued -= job->status == JOB_QUEUED;
  }
  else
    wake_job(job);
  pthread_mutex_unlock(&pool->lock);
  job->abandoned = true;
  pool->loop->schedule->watching--;
  if (taken)
    release(L, job);
}

/* A future's canceller: future, message. */
static int l_cancel(lua_State *L)
{
  agenda_job *job = lua_touserdata(L, lua_upvalueindex(2));
  bool cancelled = agenda_future_cancel_now(L, 1);
  abandon(L, job);
  lua_pushboolean(L, cancelled);
  return 1;
}

/* Finishes a future with what its job has to deliver: future, job. */
static int l_deliver(lua_State *L)
{
  agenda_job *job = lua_touserdata(L, 2);
  int n = job->deliver(L, job);
  agenda_future_finish(L, 1, n);
  return 0;
}

/*
** The job is done: its future is, too. A memory error that comes before the call of its `deliver`
** leaves everything as it was; one that comes when the future is done already, so that who waits
** was not woken, comes out of the run. Uses less than LUA_MINSTACK. [-0, +0, may raise]
*/
static void deliver(lua_State *L, agenda_job *job)
{
  int top = lua_gettop(L);
  bool failed = false;
  agenda_schedule_push(L, job->pool->loop->schedule, job->anchor);
  lua_getiuservalue(L, -1, AGENDA_JOB_FUTURE);
  const agenda_future *future = lua_touserdata(L, -1);
  if (!job->abandoned && future->status == AGENDA_FUTURE_PENDING) {
    agenda_ready_queue_grow(L, &job->pool->loop->schedule->ready);
    agenda_state_push(L);
    lua_pushcclosure(L, l_deliver, 1);
    lua_pushvalue(L, top + 2);
    lua_pushvalue(L, top + 1);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
      lua_pushvalue(L, -1);
      failed = !agenda_future_fail(L, top + 2);
    }
  }
  agenda_list_unlink(&job->link);
  release(L, job);
  if (failed)
    lua_error(L);
  lua_settop(L, top);
}

/* Ends a shutdown, once there are no more jobs. [-0, +0, may raise] */
static void finish_shutdown(lua_State *L, agenda_thread_pool *pool)
{
  agenda_schedule *schedule = pool->loop->schedule;
  if (pool->drained == 0 || pool->jobs > 0)
    return;
  join_threads(pool);
  agenda_schedule_push(L, schedule, pool->drained);
  agenda_schedule_unanchor(L, schedule, pool->drained);
  pool->drained = 0;
  schedule->watching--;
  agenda_future_finish(L, -1, 0);
  lua_pop(L, 1);
}

/* NB: should one delivery fail for want of memory, the source is asked again in the next turn. */
static void happened(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_thread_pool *pool = AGENDA_LIST_OWNER(watch, agenda_thread_pool, watch);
  (void)loop;
  pthread_mutex_lock(&pool->lock);
  while (!agenda_list_empty(&pool->done)) {
    agenda_list *node = pool->done.next;
    agenda_list_unlink(node);
    agenda_list_append(&pool->taken, node);
  }
  pthread_mutex_unlock(&pool->lock);
  agenda_loop_happened(watch);
  while (!agenda_list_empty(&pool->taken))
    deliver(L, AGENDA_LIST_OWNER(pool->taken.next, agenda_job, link));
  finish_shutdown(L, pool);
  agenda_list_unlink(&watch->event);
}

/* The loop closes: what is queued never runs, what runs is waited for. NB: in a fork the threads
** that held the lock, or for which destroying the condition would wait, are no more. */
static void stop(lua_State *L, agenda_event_loop *loop, agenda_watch *watch)
{
  agenda_thread_pool *pool = AGENDA_LIST_OWNER(watch, agenda_thread_pool, watch);
  bool ours = pool->process == getpid();
  (void)loop;
  if (ours) {
    pthread_mutex_lock(&pool->lock);
    for (agenda_list *node = pool->members.next; node != &pool->members; node = node->next) {
      agenda_job *job = AGENDA_LIST_OWNER(node, agenda_job, member);
      if (job->status == JOB_RUNNING)
        wake_job(job);
      else
        agenda_list_unlink(&job->link);
    }
    pool->queued = 0;
    pthread_mutex_unlock(&pool->lock);
    join_threads(pool);
  }
  while (!agenda_list_empty(&pool->members)) {
    agenda_job *job = AGENDA_LIST_OWNER(pool->members.next, agenda_job, member);
    agenda_list_unlink(&job->link);
    job->strand = NULL;
    release(L, job);
  }
  if (ours) {
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
  }
}

/* ----- the pool ------------------------------------------------------------------------ */

static int thread_limit(void)
{
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  long limit = (cores > 0 ? cores : 1) + MORE_THAN_CORES;
  if (limit > DEFAULT_MOST_THREADS)
    limit = DEFAULT_MOST_THREADS;
  return limit < LEAST_THREADS ? LEAST_THREADS : (int)limit;
}

/* The pool of an open loop, made where there is none. [-0, +0, may raise] */
static agenda_thread_pool *get_pool(lua_State *L, agenda_event_loop *loop)
{
  agenda_loop_push(L, loop->schedule);
  lua_getiuservalue(L, -1, AGENDA_LOOP_WATCHERS);
  lua_getfield(L, -1, POOL_KEY);
  agenda_thread_pool *pool = lua_touserdata(L, -1);
  if (pool == NULL) {
    pool = lua_newuserdatauv(L, sizeof *pool, 0);
    memset(pool, 0, sizeof *pool);
    lua_setfield(L, -3, POOL_KEY);
    pool->loop = loop;
    pool->limit = thread_limit();
    pool->process = getpid();
    agenda_list_init(&pool->members);
    agenda_list_init(&pool->taken);
    agenda_list_init(&pool->queue);
    agenda_list_init(&pool->done);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pool->watch.happened = happened;
    pool->watch.stop = stop;
    pool->watch.wakeable = pool->watch.silent = true;
    agenda_loop_attach(loop, &pool->watch);
  }
  lua_pop(L, 3);
  return pool;
}

agenda_event_loop *agenda_job_loop(lua_State *L, const char *what)
{
  agenda_state *state = agenda_state_here(L);
  const char *why = agenda_frame_cannot_wait(L, state, true);
  if (why != NULL)
    agenda_frame_refuse_wait(L, state, what, why);
  if (state->loop == NULL)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "no running event loop");
  return state->loop;
}

/* The future of the job on the top: cancelling it abandons the job. [-0, +1, may raise] */
static void push_future(lua_State *L, agenda_schedule *schedule)
{
  agenda_future *future = agenda_future_create(L, schedule->state, schedule);
  agenda_state_push(L);
  lua_pushvalue(L, -3);
  lua_pushcclosure(L, l_cancel, 2);
  agenda_future_set_extra(L, -2, AGENDA_EXTRA_CANCELLER);
  future->has_canceller = true;
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, -3, AGENDA_JOB_FUTURE);
}

void agenda_job_submit(lua_State *L, agenda_event_loop *loop)
{
  agenda_job *job = lua_touserdata(L, -1);
  agenda_schedule *schedule = loop->schedule;
  agenda_thread_pool *pool = get_pool(L, loop);
  if (pool->shut)
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "Executor shutdown has been called");
  push_future(L, schedule);
  job->anchor = agenda_schedule_anchor(L, schedule, -2);
  job->pool = pool;
  agenda_list_append(&pool->members, &job->member);
  pool->jobs++;
  schedule->watching++;
  lua_remove(L, -2);
  if (job->strand != NULL && job->strand->active != NULL) {
    job->status = JOB_WAITING;
    agenda_list_append(&job->strand->waiting, &job->link);
    return;
  }
  int number = enqueue(pool, job);
  if (number != 0) {
    release(L, job);
    agenda_error_raise_os(L, number, "pthread_create", NULL);
  }
  if (job->strand != NULL)
    job->strand->active = job;
}

bool agenda_job_refused(lua_State *L, agenda_event_loop *loop)
{
  return get_pool(L, loop)->shut;
}

void agenda_job_push_payload(lua_State *L, const agenda_job *job)
{
  agenda_schedule_push(L, job->pool->loop->schedule, job->anchor);
  lua_getiuservalue(L, -1, AGENDA_JOB_PAYLOAD);
  lua_remove(L, -2);
}

/* NB: a job of a task that is to be cancelled at this await does not begin. */
int agenda_job_await(lua_State *L, agenda_event_loop *loop)
{
  agenda_state *state = agenda_state_here(L);
  const agenda_job *job = lua_touserdata(L, -1);
  const agenda_task *task = state->runner->kind == AGENDA_RUNNER_TASK ? state->runner->task : NULL;
  if (task != NULL && task->must_cancel && !job->certain)
    agenda_future_create(L, state, loop->schedule);
  else
    agenda_job_submit(L, loop);
  lua_insert(L, 1);
  lua_settop(L, 1);
  return agenda_future_await(L);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/*** Takes no more jobs; those that are there go on.
@function loop:_shut_threads
@treturn future done when all jobs are and the threads have ended */
static int l_shut_threads(lua_State *L)
{
  agenda_event_loop *loop = agenda_loop_check(L, 1, true);
  agenda_thread_pool *pool = get_pool(L, loop);
  lua_settop(L, 1);
  pool->shut = true;
  if (pool->drained == 0) {
    agenda_future_create(L, loop->object.state, loop->schedule);
    pool->drained = agenda_schedule_anchor(L, loop->schedule, -1);
    loop->schedule->watching++;
  }
  else
    agenda_schedule_push(L, loop->schedule, pool->drained);
  finish_shutdown(L, pool);
  return 1;
}

static const luaL_Reg loop_methods[] = {
  {"_shut_threads", l_shut_threads},
  {NULL, NULL}
};

void agenda_open_thread_pool(lua_State *L)
{
  agenda_loop_push_methods(L);
  agenda_functions_register(L, loop_methods);
  lua_pop(L, 1);
}
