/*
** loadgen.c: starts a server, puts load on it over loopback, prints what that cost it.
**
**   loadgen echo CONNECTIONS REQUESTS SIZE SERVER...
**   loadgen idle CONNECTIONS SERVER...
**   loadgen take BYTES SERVER...
**   loadgen give BYTES SERVER...
**   loadgen lines BYTES
**
** echo: each connection sends a message of SIZE bytes that ends with "\n" and waits until it has
**   come back, REQUESTS times in all. The first tenth is not measured.
** idle: each connection has one message echoed and then stays as it is.
** take: one connection that reads BYTES; give: one that sends them, half-closes, and waits for
**   the end of input.
** lines: no server; writes so many bytes in lines of 80 to its standard output.
**
** Prints a line for each figure: "requests" or "bytes", "seconds", "cpu" (the server's CPU
** time in seconds, of all its threads, between the same two moments), "resident" (idle: by how
** many bytes of resident memory a connection the server has grown).
**
** SERVER prints the port that it listens at on a line of its own, and is killed when the work is
** done or this process ends. It stays on the cores that this process was given; the load comes
** from another core, if there is one.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  DEADLINE = 120, /* seconds; then SIGALRM ends this process */
  MAX_SIZE = 64 * 1024,
  EVENTS = 512
};

static pid_t server;
static clockid_t server_clock;
static int port;

static void fail(const char *what)
{
  fprintf(stderr, "loadgen: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
  if (server > 0)
    kill(server, SIGKILL);
  exit(1);
}

static double now(clockid_t clock)
{
  struct timespec time;
  if (clock_gettime(clock, &time) != 0)
    fail("clock_gettime");
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ----- the server ------------------------------------------------------------------------- */

static void start_server(char **command)
{
  int pipes[2];
  if (pipe(pipes) != 0)
    fail("pipe");
  server = fork();
  if (server < 0)
    fail("fork");
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(pipes[1], STDOUT_FILENO);
    close(pipes[0]);
    close(pipes[1]);
    execvp(command[0], command);
    fprintf(stderr, "loadgen: %s: %s\n", command[0], strerror(errno));
    _exit(127);
  }
  close(pipes[1]);
  FILE *output = fdopen(pipes[0], "r");
  errno = 0;
  if (output == NULL || fscanf(output, "%d", &port) != 1)
    fail("the server's port");
  if (clock_getcpuclockid(server, &server_clock) != 0)
    fail("clock_getcpuclockid");
}

static void stop_server(void)
{
  kill(server, SIGTERM);
  waitpid(server, NULL, 0);
}

static double server_resident(void)
{
  char path[64];
  long pages = -1;
  snprintf(path, sizeof path, "/proc/%d/statm", (int)server);
  FILE *file = fopen(path, "r");
  if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
    fail(path);
  fclose(file);
  return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* Moves this process to a core that the server is not on. */
static void leave_core(void)
{
  cpu_set_t taken, other;
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (sched_getaffinity(0, sizeof taken, &taken) != 0)
    fail("sched_getaffinity");
  CPU_ZERO(&other);
  for (int core = 0; core < cores; core++) {
    if (!CPU_ISSET(core, &taken))
      CPU_SET(core, &other);
  }
  if (CPU_COUNT(&other) > 0)
    sched_setaffinity(0, sizeof other, &other);
}

/* ----- connections ------------------------------------------------------------------------ */

static int open_connection(void)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void send_all(int fd, const char *data, size_t size)
{
  while (size > 0) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0)
      fail("send");
    data += sent;
    size -= (size_t)sent;
  }
}

static size_t receive(int fd, char *data, size_t size)
{
  ssize_t received = recv(fd, data, size, 0);
  if (received < 0)
    fail("recv");
  return (size_t)received;
}

static void exchange(int fd, const char *message, size_t size)
{
  char answer[MAX_SIZE];
  send_all(fd, message, size);
  for (size_t done = 0; done < size;) {
    size_t received = receive(fd, answer, size - done);
    errno = 0;
    if (received == 0)
      fail("the server has closed a connection");
    done += received;
  }
}

/* ----- the modes -------------------------------------------------------------------------- */

typedef struct {
  int fd;
  size_t missing; /* bytes of the answer */
} Connection;

static void echo(int connections, long requests, size_t size)
{
  static char message[MAX_SIZE], answer[MAX_SIZE];
  static struct epoll_event events[EVENTS];
  Connection *all = calloc((size_t)connections, sizeof *all);
  int poll = epoll_create1(0);
  long warm = requests / 10, done = 0, sent = connections;
  double start = 0, cpu = 0;
  if (all == NULL || poll < 0)
    fail("epoll_create1");
  memset(message, 'x', size);
  message[size - 1] = '\n';
  for (int i = 0; i < connections; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
    all[i] = (Connection){open_connection(), size};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event) != 0)
      fail("epoll_ctl");
  }
  for (int i = 0; i < connections; i++) {
    send_all(all[i].fd, message, size);
  }
  while (done < warm + requests) {
    int ready = epoll_wait(poll, events, EVENTS, -1);
    if (ready < 0)
      fail("epoll_wait");
    for (int i = 0; i < ready; i++) {
      Connection *connection = events[i].data.ptr;
      size_t received = receive(connection->fd, answer, connection->missing);
      errno = 0;
      if (received == 0)
        fail("the server has closed a connection");
      connection->missing -= received;
      if (connection->missing > 0)
        continue;
      if (done++ == warm) {
        start = now(CLOCK_MONOTONIC);
        cpu = now(server_clock);
      }
      if (sent++ < warm + requests) {
        connection->missing = size;
        send_all(connection->fd, message, size);
      }
    }
  }
  printf("requests %ld\nseconds %.9f\ncpu %.9f\n", requests, now(CLOCK_MONOTONIC) - start,
         now(server_clock) - cpu);
}

static void idle(int connections)
{
  static const char message[] = "are you there\n";
  double before = 0;
  exchange(open_connection(), message, sizeof message - 1);
  for (int i = 0; i < connections; i++) {
    if (i == 0)
      before = server_resident();
    exchange(open_connection(), message, sizeof message - 1);
  }
  printf("resident %.9f\n", (server_resident() - before) / connections);
}

static void bulk(bool take, double bytes)
{
  static char block[MAX_SIZE];
  int fd = open_connection();
  double start = now(CLOCK_MONOTONIC), cpu = now(server_clock), done = 0;
  size_t received;
  if (!take) {
    for (; done < bytes; done += sizeof block) {
      send_all(fd, block, sizeof block);
    }
    shutdown(fd, SHUT_WR);
  }
  while ((received = receive(fd, block, sizeof block)) > 0) {
    done += (double)received;
  }
  errno = 0;
  if (done < bytes)
    fail("too few bytes");
  printf("bytes %.0f\nseconds %.9f\ncpu %.9f\n", done, now(CLOCK_MONOTONIC) - start,
         now(server_clock) - cpu);
}

static void write_lines(double bytes)
{
  static char block[800 * 80];
  memset(block, 'x', sizeof block);
  for (size_t end = 79; end < sizeof block; end += 80) {
    block[end] = '\n';
  }
  while (bytes > 0) {
    size_t size = bytes < (double)sizeof block ? (size_t)bytes : sizeof block;
    ssize_t written = write(STDOUT_FILENO, block, size);
    if (written < 0)
      fail("write");
    bytes -= (double)written;
  }
}

static double number(char **argv, int index)
{
  double value = argv[index] != NULL ? atof(argv[index]) : 0;
  errno = 0;
  if (value <= 0)
    fail("usage: see loadgen.c");
  return value;
}

int main(int argc, char **argv)
{
  bool is_echo = argc > 2 && strcmp(argv[1], "echo") == 0;
  int at = is_echo ? 5 : 3; /* the server's command */
  bool is_lines = argc > 1 && strcmp(argv[1], "lines") == 0;
  if (!is_lines && argc <= at)
    number(argv, argc);
  double count = number(argv, 2);
  long requests = is_echo ? (long)number(argv, 3) : 0;
  size_t size = is_echo ? (size_t)number(argv, 4) : 0;
  if (size > MAX_SIZE)
    fail("SIZE");
  alarm(DEADLINE);
  if (!is_lines)
    start_server(argv + at);
  leave_core();
  if (is_lines) {
    write_lines(count);
    return 0;
  }
  if (is_echo)
    echo((int)count, requests, size);
  else if (strcmp(argv[1], "idle") == 0)
    idle((int)count);
  else
    bulk(strcmp(argv[1], "take") == 0, count);
  stop_server();
  return 0;
}
