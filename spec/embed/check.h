/*
** check.h: what the programs in C that test agenda.h demand.
*/
#ifndef AGENDA_SPEC_CHECK_H
#define AGENDA_SPEC_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition);              \
      exit(1);                                                             \
    }                                                                      \
  } while (0)

#endif
