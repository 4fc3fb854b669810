/*
** spawn_wait.c: the yardstick for subprocesses: posix_spawn and waitpid of `true`, N times one
** after the other. Prints the microseconds of one.
**
**   spawn_wait N
*/
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
  int n = argc > 1 ? atoi(argv[1]) : 1000;
  char name[] = "true", *arguments[] = {name, NULL};
  double start = seconds();
  for (int i = 0; i < n; i++) {
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, name, NULL, NULL, arguments, environ) != 0)
      return 1;
    if (waitpid(pid, &status, 0) != pid || status != 0)
      return 1;
  }
  printf("%.3f\n", (seconds() - start) / n * 1e6);
  return 0;
}
