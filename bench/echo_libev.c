/*
** echo_libev.c: the yardstick for servers: libev and the system calls, nothing else.
**
**   echo_libev read          sends back what came
**   echo_libev readuntil     likewise, by lines
**   echo_libev send BYTES    sends so many in blocks of 64 KiB, then closes
**   echo_libev receive       reads to the end of input, then closes
**
** Prints its port and serves until it is killed.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 64 * 1024, BACKLOG = 1024 };

typedef struct {
  ev_io io;
  char *rest; /* of an unfinished line, or what the socket had no room for */
  size_t rest_size;
  double unsent; /* bytes that are yet to be made */
} Connection;

typedef void Callback(struct ev_loop *loop, ev_io *io, int events);

static Callback *serve;
static char block[BLOCK];
static double to_send;

static void close_connection(struct ev_loop *loop, Connection *connection)
{
  ev_io_stop(loop, &connection->io);
  close(connection->io.fd);
  free(connection->rest);
  free(connection);
}

/* Keeps `size` bytes behind those that are kept already. */
static void keep(Connection *connection, const char *data, size_t size)
{
  char *rest = realloc(connection->rest, connection->rest_size + size);
  if (rest == NULL)
    abort();
  memcpy(rest + connection->rest_size, data, size);
  connection->rest = rest;
  connection->rest_size += size;
}

static void drop_rest(Connection *connection)
{
  free(connection->rest);
  connection->rest = NULL;
  connection->rest_size = 0;
}

/* Sends the rest; true if all of it is sent. */
static int flush(struct ev_loop *loop, Connection *connection)
{
  size_t sent = 0;
  while (sent < connection->rest_size) {
    ssize_t n =
      send(connection->io.fd, connection->rest + sent, connection->rest_size - sent, MSG_NOSIGNAL);
    if (n < 0)
      break;
    sent += (size_t)n;
  }
  if (sent == connection->rest_size) {
    drop_rest(connection);
    return 1;
  }
  connection->rest_size -= sent;
  memmove(connection->rest, connection->rest + sent, connection->rest_size);
  if (errno != EAGAIN)
    close_connection(loop, connection);
  return 0;
}

static void watch(struct ev_loop *loop, Connection *connection, int events)
{
  ev_io_stop(loop, &connection->io);
  ev_io_set(&connection->io, connection->io.fd, events);
  ev_io_start(loop, &connection->io);
}

/* Sends back; a peer that does not read is waited for, and nothing is read meanwhile. */
static void answer(struct ev_loop *loop, Connection *connection, const char *data, size_t size)
{
  ssize_t sent = send(connection->io.fd, data, size, MSG_NOSIGNAL);
  if (sent == (ssize_t)size)
    return;
  if (sent < 0 && errno != EAGAIN) {
    close_connection(loop, connection);
    return;
  }
  keep(connection, data + (sent > 0 ? sent : 0), size - (size_t)(sent > 0 ? sent : 0));
  watch(loop, connection, EV_WRITE);
}

static void on_echo(struct ev_loop *loop, ev_io *io, int events)
{
  Connection *connection = (Connection *)io;
  if (events & EV_WRITE) {
    if (flush(loop, connection))
      watch(loop, connection, EV_READ);
    return;
  }
  ssize_t size = recv(io->fd, block, sizeof block, 0);
  if (size > 0)
    answer(loop, connection, block, (size_t)size);
  else if (size == 0 || errno != EAGAIN)
    close_connection(loop, connection);
}

static void on_line(struct ev_loop *loop, ev_io *io, int events)
{
  Connection *connection = (Connection *)io;
  const char *data = block, *end;
  (void)events;
  ssize_t got = recv(io->fd, block, sizeof block, 0);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN)
      close_connection(loop, connection);
    return;
  }
  size_t size = (size_t)got;
  while ((end = memchr(data, '\n', size)) != NULL) {
    size_t line = (size_t)(end - data) + 1;
    if (connection->rest_size > 0) {
      keep(connection, data, line);
      if (!flush(loop, connection))
        abort();
    }
    else if (send(io->fd, data, line, MSG_NOSIGNAL) != (ssize_t)line) {
      abort(); /* the load of a closed loop always fits */
    }
    data += line;
    size -= line;
  }
  if (size > 0)
    keep(connection, data, size);
}

static void on_sending(struct ev_loop *loop, ev_io *io, int events)
{
  Connection *connection = (Connection *)io;
  (void)events;
  if (connection->unsent <= 0) {
    close_connection(loop, connection);
    return;
  }
  ssize_t sent = send(io->fd, block, sizeof block, MSG_NOSIGNAL);
  if (sent > 0)
    connection->unsent -= (double)sent;
  else if (errno != EAGAIN)
    close_connection(loop, connection);
}

static void on_receiving(struct ev_loop *loop, ev_io *io, int events)
{
  (void)events;
  ssize_t size = recv(io->fd, block, sizeof block, 0);
  if (size == 0 || (size < 0 && errno != EAGAIN))
    close_connection(loop, (Connection *)io);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int events)
{
  int one = 1, fd;
  (void)events;
  while ((fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    Connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
      abort();
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection->unsent = to_send;
    ev_io_init(&connection->io, serve, fd, serve == on_sending ? EV_WRITE : EV_READ);
    ev_io_start(loop, &connection->io);
  }
}

static int listening_socket(void)
{
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
    perror("echo_libev");
    exit(1);
  }
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

int main(int argc, char **argv)
{
  static const struct {
    const char *name;
    Callback *serve;
  } modes[] = {
    {"read", on_echo}, {"readuntil", on_line}, {"send", on_sending}, {"receive", on_receiving}};
  for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++) {
    if (strcmp(argv[1], modes[i].name) == 0)
      serve = modes[i].serve;
  }
  if (serve == NULL) {
    fputs("usage: echo_libev read|readuntil|send BYTES|receive\n", stderr);
    return 2;
  }
  if (argc > 2)
    to_send = atof(argv[2]);
  struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
  ev_io listening;
  ev_io_init(&listening, on_connection, listening_socket(), EV_READ);
  ev_io_start(loop, &listening);
  ev_run(loop, 0);
  return 0;
}
