/*
** signal_names.c: signals by name and by number.
*/
#include "signal_names.h"

#include <stdlib.h>
#include <string.h>

#include "errors.h"

static const struct {
  const char *name;
  int number;
} names[] = {
#define NAMED(s) {#s, s}
  NAMED(SIGHUP), NAMED(SIGINT), NAMED(SIGQUIT), NAMED(SIGILL), NAMED(SIGTRAP), NAMED(SIGABRT),
  NAMED(SIGBUS), NAMED(SIGFPE), NAMED(SIGKILL), NAMED(SIGUSR1), NAMED(SIGSEGV), NAMED(SIGUSR2),
  NAMED(SIGPIPE), NAMED(SIGALRM), NAMED(SIGTERM), NAMED(SIGCHLD), NAMED(SIGCONT), NAMED(SIGSTOP),
  NAMED(SIGTSTP), NAMED(SIGTTIN), NAMED(SIGTTOU), NAMED(SIGURG), NAMED(SIGXCPU), NAMED(SIGXFSZ),
  NAMED(SIGVTALRM), NAMED(SIGPROF), NAMED(SIGSYS),
#ifdef SIGWINCH
  NAMED(SIGWINCH),
#endif
#ifdef SIGIO
  NAMED(SIGIO),
#endif
#ifdef SIGPWR
  NAMED(SIGPWR),
#endif
#ifdef SIGSTKFLT
  NAMED(SIGSTKFLT),
#endif
#undef NAMED
  {NULL, 0}
};

/* "SIGRTMIN", "SIGRTMIN+3" and "SIGRTMAX"; 0 for other names. */
static int real_time_number(const char *name)
{
#ifdef SIGRTMIN
  static const char base[] = "SIGRTMIN";
  enum { LENGTH = sizeof base - 1 };
  char *end;
  if (strcmp(name, "SIGRTMAX") == 0)
    return SIGRTMAX;
  if (strncmp(name, base, LENGTH) != 0)
    return 0;
  if (name[LENGTH] == '\0')
    return SIGRTMIN;
  if (name[LENGTH] != '+' || name[LENGTH + 1] < '0' || name[LENGTH + 1] > '9')
    return 0;
  unsigned long offset = strtoul(name + LENGTH + 1, &end, 10);
  if (*end == '\0' && offset <= (unsigned long)(SIGRTMAX - SIGRTMIN))
    return SIGRTMIN + (int)offset;
#else
  (void)name;
#endif
  return 0;
}

static int number_of(const char *name)
{
  for (int i = 0; names[i].name != NULL; i++)
    if (strcmp(names[i].name, name) == 0)
      return names[i].number;
  return real_time_number(name);
}

int agenda_signal_number(lua_State *L, int index)
{
  lua_Integer number = 0;
  if (lua_type(L, index) == LUA_TNUMBER)
    number = luaL_checkinteger(L, index);
  else if (lua_type(L, index) == LUA_TSTRING)
    number = number_of(lua_tostring(L, index));
  else
    return luaL_typeerror(L, index, "signal's name or number");
  if (number < 1 || number >= NSIG)
    return agenda_error_raise(L, AGENDA_VALUE_ERROR, "unknown signal %s",
                              luaL_tolstring(L, index, NULL));
  return (int)number;
}

void agenda_signal_push_name(lua_State *L, int number)
{
  for (int i = 0; names[i].name != NULL; i++) {
    if (names[i].number == number) {
      lua_pushstring(L, names[i].name);
      return;
    }
  }
#ifdef SIGRTMIN
  if (number >= SIGRTMIN && number <= SIGRTMAX) {
    lua_pushfstring(L, number == SIGRTMIN ? "SIGRTMIN" : "SIGRTMIN+%d", number - SIGRTMIN);
    return;
  }
#endif
  lua_pushfstring(L, "SIG%d", number);
}
