/*
** signal_table.h: which loops of the process are told of which signals. Knows no Lua.
*/
#ifndef AGENDA_SIGNAL_TABLE_H
#define AGENDA_SIGNAL_TABLE_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

/* One loop's place in the table. */
typedef struct agenda_signal_slot agenda_signal_slot;

/* A place for the loop that agenda_loop_wake wakes with these; NULL when there is none left. */
agenda_signal_slot *agenda_signal_slot_take(atomic_bool *woken, int wake_fd);

/* Gives it back; nothing may be watched any more. */
void agenda_signal_slot_release(agenda_signal_slot *slot);

/* Begins and ends to catch a signal for the loop; the earlier disposition comes back with the
** last one. 0, or an errno. */
int agenda_signal_slot_watch(agenda_signal_slot *slot, int number);
void agenda_signal_slot_unwatch(agenda_signal_slot *slot, int number);

/* Whether the signal came since it was last cleared. */
bool agenda_signal_slot_pending(const agenda_signal_slot *slot, int number);
void agenda_signal_slot_clear(agenda_signal_slot *slot, int number);

/* Has SIGINT call `interrupt`, in signal context, where no loop watches it. False if it is caught
** by the library already, or ignored by whoever started the process. */
bool agenda_signal_claim_interrupts(void (*interrupt)(void));
void agenda_signal_release_interrupts(void);

#endif
