/*
** alone.c: preloaded after a sanitizer's runtime, keeps it from the programs that the process
** starts: the shell, for one, crashes under that of ThreadSanitizer. Interpreters that a spec
** starts find it in AGENDA_PRELOAD.
*/
#include <stdlib.h>

__attribute__((constructor)) static void forget_preload(void)
{
  const char *preload = getenv("LD_PRELOAD");
  if (preload != NULL)
    setenv("AGENDA_PRELOAD", preload, 1);
  unsetenv("LD_PRELOAD");
}
