/*
** parcel.h: Lua values as bytes, on their way from one Lua state to another.
*/
#ifndef AGENDA_PARCEL_H
#define AGENDA_PARCEL_H

#include <stdbool.h>
#include <stddef.h>

#include "compat.h"

typedef struct agenda_parcel {
  char *data;
  size_t size, capacity;
  int box; /* of a parcel that is being packed into a userdata: its stack index, else 0 */
} agenda_parcel;

/*
** Packs the values at the stack indices from `first` to `last`. False for a value that cannot be
** copied: then the stack index of the value is in `*refused`, and what is wrong with it on the top.
** With `boxed` the bytes are in a userdata, which is left on the stack as well, below the text;
** else they come from malloc and are the caller's to free, also when this raises.
** [-0, +boxed, or +1 more, may raise]
*/
bool agenda_parcel_pack(lua_State *L, agenda_parcel *parcel, int first, int last, bool boxed,
                        int *refused);

/* Pushes the values; gives their number. [-0, +n, may raise] */
int agenda_parcel_unpack(lua_State *L, const agenda_parcel *parcel);

#endif
