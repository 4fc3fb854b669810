/*
** address.c: addresses of sockets.
**
** In Lua an address of the Internet is a host and a port, where the host is "127.0.0.1", "::1" or
** "fe80::1%eth0"; one of a Unix socket is a path. A path that begins with "\0" is a name of Linux's
** abstract namespace.
*/
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"

enum { MAX_PORT = 65535, HOST_SIZE = INET6_ADDRSTRLEN + IF_NAMESIZE + 1 };

/* ----- from Lua ------------------------------------------------------------------------ */

/* The scope of "fe80::1%eth0" or "fe80::1%2": zero if there is none of that name. */
static uint32_t scope_of(const char *name)
{
  char *end;
  unsigned long number = strtoul(name, &end, 10);
  if (*name != '\0' && *end == '\0')
    return (uint32_t)number;
  return if_nametoindex(name);
}

static bool parse_inet6(const char *host, struct sockaddr_in6 *address)
{
  char plain[INET6_ADDRSTRLEN];
  const char *percent = strchr(host, '%');
  if (percent == NULL)
    return inet_pton(AF_INET6, host, &address->sin6_addr) == 1;
  size_t length = (size_t)(percent - host);
  if (length >= sizeof plain)
    return false;
  memcpy(plain, host, length);
  plain[length] = '\0';
  address->sin6_scope_id = scope_of(percent + 1);
  return address->sin6_scope_id != 0 && inet_pton(AF_INET6, plain, &address->sin6_addr) == 1;
}

int agenda_address_family(const char *host)
{
  struct in_addr inet;
  struct sockaddr_in6 inet6;
  if (inet_pton(AF_INET, host, &inet) == 1)
    return AF_INET;
  return parse_inet6(host, &inet6) ? AF_INET6 : AF_UNSPEC;
}

static uint16_t check_port(lua_State *L, int index)
{
  lua_Integer port = luaL_checkinteger(L, index);
  if (port < 0 || port > MAX_PORT)
    agenda_error_raise(L, AGENDA_VALUE_ERROR, "port must be 0-65535, not %I", (LUAI_UACINT)port);
  return (uint16_t)port;
}

static int check_path(lua_State *L, int index, agenda_address *address)
{
  size_t length;
  const char *path = luaL_checklstring(L, index, &length);
  bool abstract = length > 0 && path[0] == '\0';
  if (length == 0)
    return ENOENT;
  if (!abstract && memchr(path, '\0', length) != NULL)
    return EINVAL;
  if (length + !abstract > sizeof address->local.sun_path)
    return ENAMETOOLONG;
  address->local.sun_family = AF_UNIX;
  memcpy(address->local.sun_path, path, length);
  address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
  return 0;
}

int agenda_address_check(lua_State *L, int index, int family, agenda_address *address)
{
  memset(address, 0, sizeof *address);
  if (family == AF_UNIX)
    return check_path(L, index, address);
  const char *host = luaL_checkstring(L, index);
  uint16_t port = htons(check_port(L, index + 1));
  int found = agenda_address_family(host);
  if (found != family)
    return found == AF_UNSPEC ? EINVAL : EAFNOSUPPORT;
  address->any.sa_family = (sa_family_t)family;
  if (family == AF_INET) {
    address->inet.sin_port = port;
    address->length = sizeof address->inet;
    inet_pton(AF_INET, host, &address->inet.sin_addr);
  }
  else {
    address->inet6.sin6_port = port;
    address->length = sizeof address->inet6;
    parse_inet6(host, &address->inet6);
  }
  return 0;
}

/* ----- to Lua -------------------------------------------------------------------------- */

/* Writes the host into the buffer and gives the port. */
static int host_of(const agenda_address *address, char *host)
{
  if (address->any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &address->inet.sin_addr, host, HOST_SIZE);
    return ntohs(address->inet.sin_port);
  }
  inet_ntop(AF_INET6, &address->inet6.sin6_addr, host, HOST_SIZE);
  if (address->inet6.sin6_scope_id != 0) {
    char *end = host + strlen(host);
    *end++ = '%';
    if (if_indextoname(address->inet6.sin6_scope_id, end) == NULL)
      end[-1] = '\0';
  }
  return ntohs(address->inet6.sin6_port);
}

static void push_path(lua_State *L, const agenda_address *address)
{
  const char *path = address->local.sun_path;
  size_t offset = offsetof(struct sockaddr_un, sun_path);
  size_t length = address->length > offset ? address->length - offset : 0;
  if (length > 0 && path[0] != '\0')
    length = strnlen(path, length);
  lua_pushlstring(L, path, length);
}

int agenda_address_push(lua_State *L, const agenda_address *address)
{
  char host[HOST_SIZE];
  if (address->any.sa_family != AF_INET && address->any.sa_family != AF_INET6) {
    push_path(L, address);
    return 1;
  }
  int port = host_of(address, host);
  lua_pushstring(L, host);
  lua_pushinteger(L, port);
  return 2;
}

void agenda_address_push_value(lua_State *L, const agenda_address *address)
{
  lua_createtable(L, 2, 0);
  if (agenda_address_push(L, address) == 1) {
    lua_remove(L, -2);
    return;
  }
  lua_rawseti(L, -3, 2);
  lua_rawseti(L, -2, 1);
}

const char *agenda_address_push_given(lua_State *L, int index)
{
  const char *host = lua_tostring(L, index);
  if (!lua_isinteger(L, index + 1))
    return lua_pushstring(L, host);
  return lua_pushfstring(L, strchr(host, ':') != NULL ? "[%s]:%I" : "%s:%I", host,
                         (LUAI_UACINT)lua_tointeger(L, index + 1));
}

const char *agenda_address_push_text(lua_State *L, const agenda_address *address)
{
  char host[HOST_SIZE];
  if (address->any.sa_family == AF_INET || address->any.sa_family == AF_INET6) {
    int port = host_of(address, host);
    return lua_pushfstring(L, address->any.sa_family == AF_INET ? "%s:%d" : "[%s]:%d", host, port);
  }
  push_path(L, address);
  if (*lua_tostring(L, -1) == '\0' && lua_rawlen(L, -1) > 0) {
    lua_pushfstring(L, "@%s", lua_tostring(L, -1) + 1); /* as ss(8) shows abstract names */
    lua_remove(L, -2);
  }
  return lua_tostring(L, -1);
}
