/*
** tls_error.h: what OpenSSL says went wrong, and how Lua gets to know.
*/
#ifndef AGENDA_TLS_ERROR_H
#define AGENDA_TLS_ERROR_H

#include <lauxlib.h>
#include <lua.h>
#include <openssl/ssl.h>

enum { TLS_REASON_SIZE = 128 };

/* Every C function of the module has the table agenda.errors as its first upvalue. */
#define AGENDA_TLS_ERRORS lua_upvalueindex(1)

/* Writes why the last call of OpenSSL failed, for humans, and empties its queue of errors. `ssl`
** may be NULL; a certificate that it refused is told by what is wrong with it. */
void agenda_tls_reason(char reason[TLS_REASON_SIZE], const SSL *ssl);

/* Raises agenda.errors[class] with the message on the top, and with the field `reason` unless that
** is NULL. [-1, raises] */
int agenda_tls_raise(lua_State *L, const char *class, const char *reason);

/* Raises OSError for `number`, an errno, that `syscall` gave on the file of the option `option`. */
int agenda_tls_raise_os(lua_State *L, int number, const char *syscall, const char *option,
                        const char *path);

#endif
