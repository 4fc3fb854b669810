/*
** signal_table.c: the dispositions that the library has taken over, and who is told.
**
** Dispositions belong to the process, so this is the one place with static data. The handler walks
** a table of fixed size with atomic fields and takes no lock. Whoever changes the table holds one,
** and waits until no handler, which may run in another thread, still looks at what was taken out.
*/
#include "signal_table.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "loop.h"

#ifndef NSIG
#define NSIG 65
#endif

enum { SLOTS = 64 };

struct agenda_signal_slot {
  bool used;
  atomic_bool watched[NSIG], pending[NSIG];
  atomic_bool *woken;
  int wake_fd;
};

static agenda_signal_slot slots[SLOTS];

static struct {
  int users; /* slots, and for SIGINT whoever claimed the interrupts */
  struct sigaction earlier;
} dispositions[NSIG];

static void (*_Atomic on_interrupt)(void);
static atomic_int handlers_under_way;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ----- in signal context --------------------------------------------------------------- */

static void on_signal(int number)
{
  int saved = errno;
  bool told = false;
  atomic_fetch_add(&handlers_under_way, 1);
  for (int i = 0; i < SLOTS; i++) {
    agenda_signal_slot *slot = &slots[i];
    if (!atomic_load(&slot->watched[number]))
      continue;
    atomic_store(&slot->pending[number], true);
    agenda_loop_wake(slot->woken, slot->wake_fd);
    told = true;
  }
  void (*interrupt)(void) = atomic_load(&on_interrupt);
  if (!told && number == SIGINT && interrupt != NULL)
    interrupt();
  atomic_fetch_sub(&handlers_under_way, 1);
  errno = saved;
}

/* ----- changing the table -------------------------------------------------------------- */

static void wait_for_handlers(void)
{
  while (atomic_load(&handlers_under_way) > 0)
    sched_yield();
}

/* 0, or an errno. The lock is held. */
static int acquire(int number)
{
  if (dispositions[number].users == 0) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, &dispositions[number].earlier) != 0)
      return errno;
  }
  dispositions[number].users++;
  return 0;
}

/* NB: what somebody else has installed in the meantime stays. */
static void release(int number)
{
  struct sigaction now;
  if (--dispositions[number].users > 0)
    return;
  if (sigaction(number, NULL, &now) == 0 && now.sa_handler == on_signal)
    sigaction(number, &dispositions[number].earlier, NULL);
}

agenda_signal_slot *agenda_signal_slot_take(atomic_bool *woken, int wake_fd)
{
  agenda_signal_slot *slot = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < SLOTS && slot == NULL; i++)
    if (!slots[i].used)
      slot = &slots[i];
  if (slot != NULL) {
    slot->used = true;
    slot->woken = woken;
    slot->wake_fd = wake_fd;
  }
  pthread_mutex_unlock(&lock);
  return slot;
}

void agenda_signal_slot_release(agenda_signal_slot *slot)
{
  pthread_mutex_lock(&lock);
  wait_for_handlers();
  slot->used = false;
  pthread_mutex_unlock(&lock);
}

int agenda_signal_slot_watch(agenda_signal_slot *slot, int number)
{
  pthread_mutex_lock(&lock);
  atomic_store(&slot->pending[number], false);
  atomic_store(&slot->watched[number], true);
  int failure = acquire(number);
  if (failure != 0)
    atomic_store(&slot->watched[number], false);
  pthread_mutex_unlock(&lock);
  return failure;
}

void agenda_signal_slot_unwatch(agenda_signal_slot *slot, int number)
{
  pthread_mutex_lock(&lock);
  atomic_store(&slot->watched[number], false);
  release(number);
  pthread_mutex_unlock(&lock);
}

bool agenda_signal_slot_pending(const agenda_signal_slot *slot, int number)
{
  return atomic_load(&slot->pending[number]);
}

void agenda_signal_slot_clear(agenda_signal_slot *slot, int number)
{
  atomic_store(&slot->pending[number], false);
}

bool agenda_signal_claim_interrupts(void (*interrupt)(void))
{
  struct sigaction now;
  pthread_mutex_lock(&lock);
  bool claimed = sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler != SIG_IGN &&
                 dispositions[SIGINT].users == 0;
  if (claimed) {
    atomic_store(&on_interrupt, interrupt);
    claimed = acquire(SIGINT) == 0;
  }
  pthread_mutex_unlock(&lock);
  return claimed;
}

void agenda_signal_release_interrupts(void)
{
  pthread_mutex_lock(&lock);
  release(SIGINT);
  atomic_store(&on_interrupt, NULL);
  wait_for_handlers();
  pthread_mutex_unlock(&lock);
}
