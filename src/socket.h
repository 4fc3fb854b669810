/*
** socket.h: descriptors of sockets that belong to a loop, and waiting for them.
**
** What others hold is an object with a finalizer; what the loop's lists point at is a separate
** block, the agenda_socket, which the loop keeps until it is closed.
*/
#ifndef AGENDA_SOCKET_H
#define AGENDA_SOCKET_H

#include "address.h"
#include "loop.h"

typedef enum { AGENDA_SOCKET_READ, AGENDA_SOCKET_WRITE } agenda_socket_direction;

typedef struct agenda_socket {
  agenda_event_loop *loop; /* NULL once closed */
  int fd;                  /* -1 once closed */
  int accepted;            /* a connection that was accepted and not handed out yet, or -1 */
  int family;
  const char *called;      /* in messages: "server", or the kind of the object */
  agenda_address peer;     /* of `accepted`; or what it is connected to */
  agenda_address last;     /* what it was called in messages when it was closed; else empty */
  agenda_watch life;       /* the loop closes it, if nobody else has */
  struct agenda_socket_side {
    agenda_watch watch;
    ev_io io;
    int at_once;       /* calls in a row that did not wait */
    bool busy;         /* somebody waits, or was woken and has not run yet */
  } side[2];
} agenda_socket;

typedef struct agenda_socket_object {
  agenda_object object;
  agenda_socket *socket; /* NULL until it is open; the block of a closed one says fd = -1 */
  bool doomed;           /* it was collected once: what is collected with it may still use it */
} agenda_socket_object;

extern const agenda_kind agenda_socket_kind; /* "socket" */

/* An object of a class that begins with an agenda_socket_object, with a new socket of the running
** loop; OSError if there is none to be had, RuntimeError if no loop runs. [-0, +1, may raise] */
agenda_socket_object *agenda_socket_new(lua_State *L, agenda_state *state, const agenda_kind *kind,
                                        int family, int type);

/* The open socket of the object at `index`; RuntimeError "127.0.0.1:80: the socket is closed" (or
** whatever its kind is) if there is none. */
agenda_socket *agenda_socket_open_of(lua_State *L, int index);

/* Pushes what it is called in messages: the address that it is connected to, or else its own; NULL
** and nil if it has none. [-0, +1] */
const char *agenda_socket_push_name(lua_State *L, const agenda_socket *socket);

bool agenda_socket_is_open(const agenda_socket_object *object);

/* Closes that of the object at `index`; who waits is woken and finds it closed. Idempotent.
** [-0, +0] */
void agenda_socket_close(lua_State *L, int index);

/* The same, but gives the descriptor, which is the caller's to close from here on. RuntimeError if
** it is closed already. */
int agenda_socket_release(lua_State *L, int index);

/* The __gc of all kinds: closes it, and says so in debug mode. */
int agenda_socket_gc(lua_State *L);

/* Pushes a future that is done when the socket of the object at `index` can be read or written, or
** is closed. [-0, +1, may raise] */
void agenda_socket_push_wait(lua_State *L, int index, agenda_socket_direction direction);

/* Waits until the socket of the object at index 1 can be read or written:
** `return agenda_socket_await(...)`. The continuation begins with agenda_socket_awaited, after
** which the stack is as it was. [may raise, may yield] */
int agenda_socket_await(lua_State *L, agenda_socket_direction direction, lua_KFunction k);
agenda_socket *agenda_socket_awaited(lua_State *L, agenda_socket_direction direction);

/* Whether a call that could go on at once should let others take their turn first. */
bool agenda_socket_takes_turn(agenda_socket *socket, agenda_socket_direction direction);

/* The methods sockname, peername, fileno, close of all kinds; and set, bind, connect, connected,
** is_closed, which are for the Lua layer. */
extern const luaL_Reg agenda_socket_methods[];
extern const luaL_Reg agenda_socket_calls[];

void agenda_open_socket(lua_State *L);

#endif
