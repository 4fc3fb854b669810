/*
** A host whose allocator fails: runs a scenario again and again, with the first, the
** second, the third ... allocation refused, until it gets through without meeting a
** refusal. After each run the state is closed and everything must have been given back.
**
**   host scenario.lua ...        (through script/run_oom, which sets the paths)
**
** A scenario is a Lua chunk that runs to its end. Only the chunk is subjected to
** failures: the libraries and `agenda` are loaded before. What a refused allocation
** may lead to is an error that says "not enough memory", or nothing if the scenario or
** the library can do without.
**
** Lua answers a refusal with an emergency collection and asks once more, so there are
** three ways to refuse:
**
**   collect  the n-th request is refused, the second attempt is granted: an emergency
**            collection at each allocation
**   once     the n-th request is refused in both attempts, later ones are granted
**   rest     the n-th request and all after it are refused until the chunk has ended
**
** A scenario that begins with "-- slack N" uses a library whose caches come and go: up to N
** bytes of malloc may be in use that were not at first.
**
** OOM_STEP=k tries only every k-th n (for slow builds).
*/

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

enum { SECONDS_PER_SCENARIO = 600, WARM_UP_RUNS = 3, MAX_MESSAGE = 4096 };

typedef enum { MODE_COLLECT, MODE_ONCE, MODE_REST, MODE_COUNT } Mode;

static const char *const mode_names[MODE_COUNT] = {"collect", "once", "rest"};

/* ---- The allocator --------------------------------------------------------- */

typedef struct {
  size_t bytes; /* in use */
  bool armed;   /* whether requests are counted */
  Mode mode;
  long countdown; /* requests to grant before the refusal */
  long requests;  /* counted while armed */
  long refused;
  int again; /* further refusals for the attempt that follows */
} Allocator;

/* Whether this request is the one to refuse. */
static bool refuses(Allocator *a)
{
  if (!a->armed) return false;
  if (a->again > 0) {
    a->again--;
    a->refused++;
    return true;
  }
  if (a->mode == MODE_REST && a->refused > 0) {
    a->refused++;
    return true;
  }
  a->requests++;
  if (a->refused > 0 || a->countdown-- > 0) return false;
  a->refused++;
  a->again = a->mode == MODE_ONCE ? 1 : 0;
  return true;
}

/* Lua relies on it that giving memory back and shrinking do not fail. */
static void *allocate(void *ud, void *block, size_t old_size, size_t new_size)
{
  Allocator *a = ud;
  size_t held = block != NULL ? old_size : 0;
  if (new_size == 0) {
    a->bytes -= held;
    free(block);
    return NULL;
  }
  if (new_size > held && refuses(a)) return NULL;
  void *moved = realloc(block, new_size);
  if (moved == NULL) return NULL;
  a->bytes = a->bytes - held + new_size;
  return moved;
}

/* ---- One run --------------------------------------------------------------- */

/* What the process that runs a scenario tells its parent, in shared memory. */
typedef struct {
  Mode mode;
  long n; /* the request that is refused, from 1; 0: the loading */
  long runs[MODE_COUNT];
  long failed;
  char message[MAX_MESSAGE];
} Report;

static Report *report;

static void fail(const char *what, const char *detail)
{
  report->failed = 1;
  snprintf(report->message, sizeof report->message, "%s%s%s", what, detail[0] ? ": " : "", detail);
  exit(EXIT_FAILURE);
}

static int open_descriptors(void)
{
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

/* What C code holds from malloc. 0 where the sanitizers have replaced it. */
static size_t malloc_in_use(void)
{
#if defined(__SANITIZE_ADDRESS__)
  return 0;
#else
  return mallinfo2().uordblks;
#endif
}

/* Opens the libraries and agenda, and leaves the scenario's function on the stack. */
static int prepare(lua_State *L)
{
  const char *path = lua_touserdata(L, 1);
  luaL_openlibs(L);
  lua_settop(L, 0);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "agenda");
  lua_call(L, 1, 0);
  if (luaL_loadfile(L, path) != LUA_OK) return lua_error(L);
  lua_gc(L, LUA_GCCOLLECT);
  return 1;
}

/* Runs the scenario once with the n-th request refused. Returns whether it was met. */
static bool run_once(const char *path, Mode mode, long n)
{
  Allocator allocator = {.mode = mode, .countdown = n - 1};
  lua_State *L = lua_newstate(allocate, &allocator);
  if (L == NULL) fail("no Lua state", "");

  lua_pushcfunction(L, prepare);
  lua_pushlightuserdata(L, (void *)path);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) fail("cannot load", luaL_tolstring(L, -1, NULL));

  allocator.armed = true;
  int status = lua_pcall(L, 0, 0, 0);
  allocator.armed = false;

  if (status != LUA_OK) {
    const char *text = luaL_tolstring(L, -1, NULL);
    if (allocator.refused == 0) fail("the scenario fails by itself", text);
    if (status != LUA_ERRMEM && strstr(text, "not enough memory") == NULL)
      fail("an error that is not about memory", text);
  }
  lua_close(L);

  if (allocator.bytes != 0) {
    char bytes[64];
    snprintf(bytes, sizeof bytes, "%zu bytes", allocator.bytes);
    fail("not given back by lua_close", bytes);
  }
  return allocator.refused > 0;
}

static size_t slack_of(const char *path)
{
  size_t slack = 0;
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  if (fscanf(file, "-- slack %zu", &slack) != 1) slack = 0;
  fclose(file);
  return slack;
}

/* Runs a scenario in all modes, for all n. Does not return on failure. */
static void run_scenario(const char *path, long step)
{
  size_t slack = slack_of(path);
  int descriptors = open_descriptors();
  for (Mode mode = 0; mode < MODE_COUNT; mode++) {
    report->mode = mode;
    size_t in_use = 0;
    for (long n = 1;; n += step) {
      report->n = n;
      bool met = run_once(path, mode, n);
      report->runs[mode]++;

      int now_open = open_descriptors();
      if (now_open != descriptors) {
        char text[64];
        snprintf(text, sizeof text, "%d, were %d", now_open, descriptors);
        fail("descriptors left open", text);
      }
      /* The first runs fill caches of libc and libev; after them nothing may grow. */
      size_t now_in_use = malloc_in_use();
      if (report->runs[mode] <= WARM_UP_RUNS) {
        in_use = now_in_use;
      } else if (now_in_use > in_use + slack) {
        char text[64];
        snprintf(text, sizeof text, "%zu bytes", now_in_use - in_use);
        fail("memory of malloc not given back", text);
      } else if (now_in_use < in_use || slack == 0) {
        in_use = now_in_use;
      }
      if (!met) break;
    }
  }
}

/* ---- All of them ----------------------------------------------------------- */

/* Prints the end of what the scenario's process wrote to stderr. */
static void print_log(FILE *log)
{
  char tail[4001];
  fseek(log, 0, SEEK_END);
  long size = ftell(log);
  long want = size < 4000 ? size : 4000;
  fseek(log, size - want, SEEK_SET);
  size_t got = fread(tail, 1, (size_t)want, log);
  tail[got] = '\0';
  if (got > 0) fprintf(stderr, "  its stderr ends with:\n%s\n", tail);
}

/*
** Runs one scenario in a process of its own, so that a crash is reported with the mode
** and the n that led to it.
*/
static bool supervise(const char *path, long step)
{
  memset(report, 0, sizeof *report);
  FILE *log = tmpfile();
  if (log == NULL) {
    perror("tmpfile");
    exit(EXIT_FAILURE);
  }
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) {
    perror("fork");
    exit(EXIT_FAILURE);
  }
  if (child == 0) {
    /* The library reports what it cannot raise on stderr; here that is expected. */
    dup2(fileno(log), STDERR_FILENO);
    alarm(SECONDS_PER_SCENARIO);
    run_scenario(path, step);
    exit(EXIT_SUCCESS);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;

  bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0 && !report->failed;
  if (ok) {
    printf("ok      %s (%ld + %ld + %ld runs)\n", path, report->runs[MODE_COLLECT],
           report->runs[MODE_ONCE], report->runs[MODE_REST]);
  } else {
    printf("FAILED  %s, mode %s, n = %ld: ", path, mode_names[report->mode], report->n);
    if (report->failed)
      printf("%s\n", report->message);
    else if (WIFSIGNALED(status))
      printf("killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
      printf("the process ended with %d\n", WEXITSTATUS(status));
    fflush(stdout);
    print_log(log);
  }
  fclose(log);
  return ok;
}

int main(int argc, char **argv)
{
  const char *step_text = getenv("OOM_STEP");
  long step = step_text != NULL ? strtol(step_text, NULL, 10) : 1;
  if (step < 1) step = 1;

  report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (report == MAP_FAILED) {
    perror("mmap");
    return EXIT_FAILURE;
  }
  long runs = 0;
  int passed = 0;
  int failed = 0;
  for (int i = 1; i < argc; i++) {
    if (supervise(argv[i], step))
      passed++;
    else
      failed++;
    for (Mode mode = 0; mode < MODE_COUNT; mode++) runs += report->runs[mode];
  }
  printf("oom: %d scenarios passed, %d failed, %ld runs\n", passed, failed, runs);
  return failed == 0 && passed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
