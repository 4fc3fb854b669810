/*
** httpd.c: an HTTP/1.1 server in C on libev and http_parser, with handlers in Lua.
**
**   httpd PORT WORKERS GRACE handler.lua
**
** Each worker process has a listening socket of its own (SO_REUSEPORT), a libev loop, and a Lua
** state attached to that loop. A request is a task: it may wait while the worker serves others, and
** is cancelled when its client goes away. An error in it is a 500, with the trace in the log. After
** SIGHUP a new Lua state serves, and requests under way finish in the old one; after SIGTERM they
** have GRACE seconds. /-/ping is answered from C. serve.lua says what a handler gets and gives.
*/
#include <agenda.h>
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <http_parser.h>
#include <lauxlib.h>
#include <lualib.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  MAX_WORKERS = 64,
  MAX_HEAD = 16 * 1024,      /* URL and headers */
  MAX_BODY = 1024 * 1024,
  HIGH_WATER = 64 * 1024     /* unsent bytes from which on a streaming handler waits */
};

typedef struct buffer {
  char *data;
  size_t size, room;
} buffer;

/* A Lua state with a handler in it. */
typedef struct site {
  lua_State *L;
  int entry;        /* registry reference of the function that handles a request */
  int traceback;    /* and of agenda.traceback */
  int requests;     /* under way */
  bool retired;     /* there is a newer one: to be closed after the last request */
  ev_timer reaper;
  struct site *next;
} site;

typedef struct client {
  struct client *next, **link;
  int fd;
  ev_io readable, writable;
  http_parser parser;
  buffer input, url, headers, body, output;
  bool in_value;    /* the parser is at a header's value */
  bool keep_alive;
  bool streaming, chunked; /* the head was sent, pieces follow; as chunks, but in HTTP/1.0 */
  site *site;       /* that handles its request, or NULL between requests */
  int task;         /* registry reference there */
  int drained;      /* of the future that the task awaits when too much is unsent, or LUA_NOREF */
} client;

static struct ev_loop *loop;
static const char *handler_file;
static double grace;
static site *current, *sites;
static client *clients;
static bool stopping;
static ev_io acceptable;
static char page[1024];

#define note(...) (fprintf(stderr, "httpd[%d]: ", (int)getpid()), fprintf(stderr, __VA_ARGS__))

static void add(buffer *b, const void *data, size_t size)
{
  if (size == 0)
    return;
  if (b->size + size > b->room) {
    b->room = 2 * (b->size + size);
    b->data = realloc(b->data, b->room);
    if (b->data == NULL)
      abort();
  }
  memcpy(b->data + b->size, data, size);
  b->size += size;
}

#define add_text(b, text) add(b, text, strlen(text))

static void drop(buffer *b, size_t size)
{
  b->size -= size;
  if (b->size > 0)
    memmove(b->data, b->data + size, b->size);
}

static void close_socket(client *c)
{
  if (c->fd < 0)
    return;
  ev_io_stop(loop, &c->readable);
  ev_io_stop(loop, &c->writable);
  close(c->fd);
  c->fd = -1;
}

static void free_client(client *c)
{
  buffer *const buffers[] = {&c->input, &c->url, &c->headers, &c->body, &c->output};
  close_socket(c);
  *c->link = c->next;
  if (c->next != NULL)
    c->next->link = c->link;
  for (int i = 0; i < 5; i++)
    free(buffers[i]->data);
  free(c);
  if (stopping && clients == NULL)
    ev_break(loop, EVBREAK_ALL);
}

/* Wakes the task: cancels it if the client is gone, else lets it go on to write. */
static int l_wake(lua_State *L)
{
  client *c = lua_touserdata(L, 1);
  if (c->fd < 0) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->task);
    agenda_cancel(L, -1);
    return 0;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->drained);
  luaL_unref(L, LUA_REGISTRYINDEX, c->drained);
  c->drained = LUA_NOREF;
  agenda_future_resolve(L, -1, 0);
  return 0;
}

/* Calls a function that may raise. */
static void call_for(client *c, lua_CFunction function)
{
  lua_State *L = c->site->L;
  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, c);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    note("%s\n", luaL_tolstring(L, -1, NULL));
    lua_pop(L, 2);
  }
}

/* The client is gone. Its request, if there is one, is cancelled, and frees it when it ends. */
static void lose(client *c)
{
  close_socket(c);
  if (c->site == NULL)
    free_client(c);
  else
    call_for(c, l_wake);
}

/* False if the client is gone. */
static bool flush(client *c)
{
  size_t size = c->output.size;
  ssize_t sent = size > 0 ? send(c->fd, c->output.data, size, MSG_NOSIGNAL) : 0;
  if (sent < 0 && errno != EAGAIN && errno != EINTR)
    return false;
  if (sent > 0)
    drop(&c->output, (size_t)sent);
  (c->output.size > 0 ? ev_io_start : ev_io_stop)(loop, &c->writable);
  return true;
}

static void read_requests(client *c);

/* An answer, with the headers of the table at `index` of L, if it is one; those with line ends in
** them are left out. Without a body (NULL) pieces are to follow. */
static void add_answer(client *c, int status, lua_State *L, int index, const char *body, size_t n)
{
  char line[128];
  bool old = c->parser.http_minor == 0;
  c->streaming = body == NULL;
  c->chunked = c->streaming && !old && c->parser.method != HTTP_HEAD;
  c->keep_alive = c->keep_alive && !stopping && !(c->streaming && old);
  snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n%s", status,
           http_status_str((enum http_status)status),
           !c->keep_alive ? "Connection: close\r\n" : old ? "Connection: keep-alive\r\n" : "");
  add_text(&c->output, line);
  bool more = L != NULL && lua_istable(L, index);
  if (more)
    lua_pushnil(L);
  for (; more && lua_next(L, index); lua_pop(L, 2)) {
    lua_pushvalue(L, -1);
    const char *name = lua_type(L, -3) == LUA_TSTRING ? lua_tostring(L, -3) : NULL;
    const char *value = lua_tostring(L, -1);
    if (name == NULL || value == NULL || strpbrk(name, "\r\n:") || strpbrk(value, "\r\n"))
      continue;
    const char *const parts[] = {name, ": ", value, "\r\n"};
    for (int i = 0; i < 4; i++)
      add_text(&c->output, parts[i]);
  }
  snprintf(line, sizeof line, "Content-Length: %zu\r\n\r\n", n);
  add_text(&c->output, c->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : body ? line : "\r\n");
  if (c->parser.method != HTTP_HEAD)
    add(&c->output, body, n);
}

/* The request is answered: sends that. False if there is to be no other. */
static bool end_request(client *c)
{
  bool more = c->keep_alive;
  c->streaming = c->chunked = false;
  c->url.size = c->headers.size = c->body.size = 0;
  if (c->fd < 0 || !flush(c)) {
    free_client(c);
    return false;
  }
  (more ? ev_io_start : ev_io_stop)(loop, &c->readable);
  if (!more && c->output.size == 0)
    free_client(c);
  return more;
}

/* What serve.lua calls. A connection is a light userdata, good until its task ends. */
static int l_answer(lua_State *L)
{
  size_t size = 0;
  const char *body = luaL_optlstring(L, 4, NULL, &size);
  add_answer(lua_touserdata(L, 1), (int)luaL_checkinteger(L, 2), L, 3, body, size);
  return 0;
}

/* Waits while too much is unsent. */
static int l_write(lua_State *L)
{
  client *c = lua_touserdata(L, 1);
  size_t size;
  const char *data = luaL_checklstring(L, 2, &size);
  char line[32];
  if (size == 0 || c->parser.method == HTTP_HEAD)
    return 0;
  add(&c->output, line, c->chunked ? (size_t)snprintf(line, sizeof line, "%zx\r\n", size) : 0);
  add(&c->output, data, size);
  add(&c->output, "\r\n", c->chunked ? 2 : 0);
  bool there = flush(c);
  if (there && c->output.size < HIGH_WATER)
    return 0;
  ev_io_start(loop, &c->writable); /* there a lost client is found lost, and this cancelled */
  agenda_future_new(L);
  lua_pushvalue(L, -1);
  c->drained = luaL_ref(L, LUA_REGISTRYINDEX);
  return agenda_await(L, -1, 0, NULL);
}

/* NB: called in a turn, in which no state can be closed. */
static void release_site(site *s)
{
  if (--s->requests == 0 && s->retired)
    ev_timer_start(loop, &s->reaper);
}

/* The task has ended: with results, or with an error, on the stack. In a turn. */
static void on_done(lua_State *L, int status, int n, void *ud)
{
  client *c = ud;
  site *s = c->site;
  luaL_unref(L, LUA_REGISTRYINDEX, c->task);
  luaL_unref(L, LUA_REGISTRYINDEX, c->drained);
  c->drained = LUA_NOREF;
  c->site = NULL;
  release_site(s);
  if (status != LUA_OK && c->fd >= 0) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->traceback);
    lua_pushvalue(L, 1);
    lua_pcall(L, 1, 1, 0);
    note("%.*s: %s\n", (int)c->url.size, c->url.data, luaL_tolstring(L, -1, NULL));
    if (c->streaming)
      close_socket(c); /* it cannot be told any more: the body ends too early */
    else
      add_answer(c, 500, NULL, 0, "Internal Server Error\n", 22);
  }
  else if (c->chunked)
    add_text(&c->output, "0\r\n\r\n");
  if (end_request(c))
    read_requests(c);
}

/* Starts the task of the client's request. */
static int l_begin(lua_State *L)
{
  client *c = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->site->entry);
  lua_pushvalue(L, 1);
  lua_pushstring(L, http_method_str(c->parser.method));
  const char *end = c->url.data + c->url.size, *query = memchr(c->url.data, '?', c->url.size);
  const char *path_end = query != NULL ? query++ : end;
  lua_pushlstring(L, c->url.data, (size_t)(path_end - c->url.data));
  lua_pushlstring(L, query, query != NULL ? (size_t)(end - query) : 0);
  lua_pushlstring(L, c->headers.data, c->headers.size);
  lua_pushlstring(L, c->body.data, c->body.size);
  agenda_spawn(L, 6, on_done, c);
  c->task = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static void close_site(site *s, double seconds)
{
  if (agenda_shutdown(s->L, seconds) > 0)
    note("tasks were left after %g seconds\n", seconds);
  lua_close(s->L);
  ev_timer_stop(loop, &s->reaper);
  site **link = &sites;
  while (*link != s)
    link = &(*link)->next;
  *link = s->next;
  free(s);
}

static void on_reap(struct ev_loop *l, ev_timer *timer, int events)
{
  close_site(timer->data, grace);
}

/* For Lua: keeps small blocks, by their sizes, for the next request. */
static void *allocate(void *ud, void *block, size_t old_size, size_t size)
{
  enum { STEP = 16, SMALL = 1024 };
  static void *kept[SMALL / STEP + 1];
  size_t room = ((size > 0 ? size : old_size) + STEP - 1) / STEP;
  void **list = room <= SMALL / STEP ? &kept[room] : NULL;
  if (size > 0 && (block != NULL || list == NULL || *list == NULL))
    return realloc(block, room * STEP);
  if (size > 0) {
    block = *list;
    *list = *(void **)block;
    return block;
  }
  if (block == NULL || list == NULL)
    free(block);
  else {
    *(void **)block = *list;
    *list = block;
  }
  return NULL;
}

static int l_load(lua_State *L)
{
  site *s = lua_touserdata(L, 1);
  static const luaL_Reg functions[] = {{"answer", l_answer}, {"write", l_write}, {NULL, NULL}};
  if (luaL_loadfile(L, handler_file) != LUA_OK)
    return lua_error(L);
  luaL_newlib(L, functions);
  lua_call(L, 1, 2);
  s->traceback = luaL_ref(L, LUA_REGISTRYINDEX);
  s->entry = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* NULL, and the reason in the log, if the handler cannot be loaded. */
static site *open_site(void)
{
  site *s = calloc(1, sizeof *s);
  lua_State *L = lua_newstate(allocate, NULL);
  if (s == NULL || L == NULL)
    abort();
  luaL_openlibs(L);
  lua_gc(L, LUA_GCGEN, 0, 0); /* what a request makes is soon gone */
  *s = (site){.L = L, .next = sites};
  sites = s;
  ev_timer_init(&s->reaper, on_reap, 0, 0);
  s->reaper.data = s;
  bool attached = agenda_attach(L, loop, 0) != NULL;
  lua_pushcfunction(L, l_load);
  lua_pushlightuserdata(L, s);
  if (attached && lua_pcall(L, 1, 0, 0) == LUA_OK)
    return s;
  note("%s\n", luaL_tolstring(L, attached ? -1 : 1, NULL));
  close_site(s, 0);
  return NULL;
}

static void on_hangup(struct ev_loop *l, ev_signal *signal, int events)
{
  site *fresh = open_site(), *old = current;
  if (fresh == NULL)
    return;
  current = fresh;
  old->retired = true;
  old->requests++; /* for release_site */
  release_site(old);
}

/* Names and values of headers end with a zero byte. */
static int collect(http_parser *parser, buffer *b, bool is_value, const char *data, size_t size)
{
  client *c = parser->data;
  if (is_value != c->in_value)
    add(&c->headers, "", 1);
  c->in_value = is_value;
  add(b, data, size);
  return c->url.size + c->headers.size > MAX_HEAD || c->body.size > MAX_BODY;
}

#define COLLECT(name, part, is_value)                              \
  static int name(http_parser *parser, const char *data, size_t n) \
  { return collect(parser, &((client *)parser->data)->part, is_value, data, n); }
COLLECT(on_url, url, false)
COLLECT(on_header_field, headers, false)
COLLECT(on_header_value, headers, true)
COLLECT(on_body, body, false)

static int on_complete(http_parser *parser)
{
  client *c = parser->data;
  collect(parser, &c->headers, false, "", 0);
  c->keep_alive = http_should_keep_alive(parser);
  http_parser_pause(parser, 1);
  return 0;
}

static const http_parser_settings settings = {
  .on_url = on_url, .on_header_field = on_header_field, .on_header_value = on_header_value,
  .on_body = on_body, .on_message_complete = on_complete};

/* What was read is parsed up to the end of a request, which is answered or started. */
static void read_requests(client *c)
{
  while (c->input.size > 0 && c->site == NULL) {
    size_t used = http_parser_execute(&c->parser, &settings, c->input.data, c->input.size);
    drop(&c->input, used);
    if (HTTP_PARSER_ERRNO(&c->parser) == HPE_OK && !c->parser.upgrade)
      return;
    if (HTTP_PARSER_ERRNO(&c->parser) != HPE_PAUSED) {
      c->keep_alive = false;
      c->input.size = 0;
      add_answer(c, 400, NULL, 0, "Bad Request\n", 12);
      end_request(c);
      return;
    }
    http_parser_pause(&c->parser, 0);
    if (c->url.size == 7 && memcmp(c->url.data, "/-/ping", 7) == 0) {
      add_answer(c, 200, NULL, 0, page, sizeof page);
      if (!end_request(c))
        return;
      continue;
    }
    c->site = current;
    current->requests++;
    call_for(c, l_begin);
  }
}

/* NB: while a request is under way this only looks whether the client is still there. */
static void on_readable(struct ev_loop *l, ev_io *io, int events)
{
  client *c = io->data;
  char data[16 * 1024];
  bool busy = c->site != NULL;
  ssize_t n = recv(c->fd, data, busy ? 1 : sizeof data, busy ? MSG_PEEK : 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    lose(c);
  else if (busy)
    ev_io_stop(loop, &c->readable);
  else {
    add(&c->input, data, (size_t)n);
    read_requests(c);
  }
}

static void on_writable(struct ev_loop *l, ev_io *io, int events)
{
  client *c = io->data;
  if (!flush(c))
    lose(c);
  else if (c->drained != LUA_NOREF && c->output.size < HIGH_WATER / 2)
    call_for(c, l_wake);
  else if (c->output.size == 0 && c->site == NULL && !c->keep_alive)
    free_client(c);
}

static void on_acceptable(struct ev_loop *l, ev_io *io, int events)
{
  int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
  if (fd < 0)
    return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  client *c = malloc(sizeof *c);
  if (c == NULL)
    abort();
  *c = (client){.fd = fd, .drained = LUA_NOREF, .next = clients, .link = &clients};
  if (clients != NULL)
    clients->link = &c->next;
  clients = c;
  http_parser_init(&c->parser, HTTP_REQUEST);
  c->parser.data = c->readable.data = c->writable.data = c;
  ev_io_init(&c->readable, on_readable, fd, EV_READ);
  ev_io_init(&c->writable, on_writable, fd, EV_WRITE);
  ev_io_start(loop, &c->readable);
}

static void on_grace_over(int events, void *ud)
{
  ev_break(loop, EVBREAK_ALL);
}

static void on_terminate(struct ev_loop *l, ev_signal *signal, int events)
{
  if (stopping)
    return;
  stopping = true;
  ev_io_stop(loop, &acceptable);
  close(acceptable.fd);
  if (clients == NULL)
    ev_break(loop, EVBREAK_ALL);
  for (client *c = clients, *next; c != NULL; c = next) {
    next = c->next;
    c->keep_alive = false;
    if (c->site == NULL && c->output.size == 0)
      free_client(c);
  }
  ev_once(loop, -1, 0, grace, on_grace_over, NULL);
}

/* A socket bound to the port; any number of them may be. */
static int bind_socket(int *port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
  socklen_t size = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, size) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
    perror("httpd: bind");
    exit(1);
  }
  *port = ntohs(address.sin_port);
  return fd;
}

static int work(int port)
{
  ev_signal hangup, terminate;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  loop = ev_loop_new(EVFLAG_AUTO);
  if ((current = open_site()) == NULL)
    return 1;
  memset(page, 'c', sizeof page);
  ev_signal_init(&hangup, on_hangup, SIGHUP);
  ev_signal_start(loop, &hangup);
  ev_signal_init(&terminate, on_terminate, SIGTERM);
  ev_signal_start(loop, &terminate);
  ev_io_init(&acceptable, on_acceptable, bind_socket(&port), EV_READ);
  listen(acceptable.fd, 511);
  ev_io_start(loop, &acceptable);
  ev_run(loop, 0);
  /* What is left is cancelled: its answers are not waited for. */
  while (sites != NULL)
    close_site(sites, 1);
  while (clients != NULL)
    free_client(clients);
  return 0;
}

static pid_t workers[MAX_WORKERS + 1]; /* and 0 */

/* What the first process is told goes to all. */
static void forward(int number)
{
  for (const pid_t *worker = workers; *worker != 0; worker++)
    kill(*worker, number);
}

int main(int argc, char **argv)
{
  int status, failed = 0, port = argc == 5 ? atoi(argv[1]) : 0, n = argc == 5 ? atoi(argv[2]) : 0;
  if (n < 1 || n > MAX_WORKERS) {
    fprintf(stderr, "usage: httpd PORT WORKERS GRACE handler.lua\n");
    return 2;
  }
  grace = atof(argv[3]);
  handler_file = argv[4];
  bind_socket(&port); /* to keep the port for the workers; it never listens */
  for (int i = 0; i < n; i++)
    if ((workers[i] = fork()) == 0)
      exit(work(port));
  struct sigaction action = {.sa_handler = forward};
  sigaction(SIGHUP, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  printf("listening on 127.0.0.1:%d\n", port);
  fflush(stdout);
  for (pid_t pid; (pid = wait(&status)) > 0 || errno == EINTR;)
    failed |= pid > 0 && status != 0;
  return failed;
}
