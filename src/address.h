/*
** address.h: addresses of sockets: Lua's host and port, or path, and the system's.
*/
#ifndef AGENDA_ADDRESS_H
#define AGENDA_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support.h"

typedef struct agenda_address {
  union {
    struct sockaddr any;
    struct sockaddr_in inet;
    struct sockaddr_in6 inet6;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
  };
  socklen_t length;
} agenda_address;

/* The address that the arguments name: for AF_UNIX a path at `index`, else a numeric host and a
** port after it. Zero, or an errno (EAFNOSUPPORT where the host is of another family, EINVAL where
** it is no number); argument errors for wrong types, ValueError for a port out of range. */
int agenda_address_check(lua_State *L, int index, int family, agenda_address *address);

/* Pushes host and port, or the path ("" for none), and gives how many that is. [-0, +(1|2)] */
int agenda_address_push(lua_State *L, const agenda_address *address);

/* Pushes a table {host, port}, or the path. [-0, +1] */
void agenda_address_push_value(lua_State *L, const agenda_address *address);

/* Pushes "127.0.0.1:80", "[::1]:80" or the path, for messages. [-0, +1] */
const char *agenda_address_push_text(lua_State *L, const agenda_address *address);

/* The same for the arguments that agenda_address_check has refused. [-0, +1] */
const char *agenda_address_push_given(lua_State *L, int index);

/* AF_INET or AF_INET6 if the host is a numeric one, else AF_UNSPEC. */
int agenda_address_family(const char *host);

#endif
