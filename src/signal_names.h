/*
** signal_names.h: signals by name and by number.
*/
#ifndef AGENDA_SIGNAL_NAMES_H
#define AGENDA_SIGNAL_NAMES_H

#include <signal.h>

#include "support.h"

#ifndef NSIG
#define NSIG 65
#endif

/* The signal that the argument names: "SIGTERM", "SIGRTMIN+3" or a number. Raises ValueError for
** one that there is not, an argument error for another type. */
int agenda_signal_number(lua_State *L, int index);

/* Pushes "SIGTERM", for one of the real time "SIGRTMIN+3". [-0, +1] */
void agenda_signal_push_name(lua_State *L, int number);

#endif
