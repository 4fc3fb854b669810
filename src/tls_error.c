/*
** tls_error.c: what OpenSSL says went wrong, and how Lua gets to know.
**
** The module is loaded apart from agenda.core, so its errors are made through agenda.errors.
*/
#include "tls_error.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

/* OpenSSL changed the wording of some over the years; all versions give the latest. */
static const char *verification_reason(long code)
{
  switch (code) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "self-signed certificate";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "self-signed certificate in certificate chain";
    case X509_V_ERR_HOSTNAME_MISMATCH:
      return "hostname mismatch";
    default:
      return X509_verify_cert_error_string(code);
  }
}

void agenda_tls_reason(char reason[TLS_REASON_SIZE], const SSL *ssl)
{
  unsigned long code = ERR_peek_error();
  const char *text = NULL;
  if (ssl != NULL && ERR_GET_LIB(code) == ERR_LIB_SSL &&
      ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED &&
      SSL_get_verify_result(ssl) != X509_V_OK)
    text = verification_reason(SSL_get_verify_result(ssl));
  else if (code != 0)
    text = ERR_reason_error_string(code);
  if (text != NULL)
    snprintf(reason, TLS_REASON_SIZE, "%s", text);
  else if (code != 0)
    snprintf(reason, TLS_REASON_SIZE, "error %lX", code);
  else
    snprintf(reason, TLS_REASON_SIZE, "unknown error");
  ERR_clear_error();
}

int agenda_tls_raise(lua_State *L, const char *class, const char *reason)
{
  luaL_checkstack(L, 6, "error object");
  lua_getfield(L, AGENDA_TLS_ERRORS, class);
  lua_insert(L, -2);
  lua_createtable(L, 0, 1);
  if (reason != NULL) {
    lua_pushstring(L, reason);
    lua_setfield(L, -2, "reason");
  }
  lua_call(L, 2, 1);
  return lua_error(L);
}

/* The errors that opening and reading a file gives. */
static const char *code_of(int number)
{
  switch (number) {
    case ENOENT:
      return "ENOENT";
    case EACCES:
      return "EACCES";
    case EISDIR:
      return "EISDIR";
    case ENOTDIR:
      return "ENOTDIR";
    case ELOOP:
      return "ELOOP";
    case ENAMETOOLONG:
      return "ENAMETOOLONG";
    case EMFILE:
      return "EMFILE";
    case ENFILE:
      return "ENFILE";
    case ENOMEM:
      return "ENOMEM";
    case EPERM:
      return "EPERM";
    case EIO:
      return "EIO";
    default:
      return NULL;
  }
}

int agenda_tls_raise_os(lua_State *L, int number, const char *syscall, const char *option,
                        const char *path)
{
  luaL_checkstack(L, 8, "error object");
  lua_getfield(L, AGENDA_TLS_ERRORS, "OSError");
  lua_pushfstring(L, "%s: option '%s': %s: %s", syscall, option, path, strerror(number));
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, number);
  lua_setfield(L, -2, "errno");
  if (code_of(number) != NULL)
    lua_pushstring(L, code_of(number));
  else
    lua_pushfstring(L, "E%d", number);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, syscall);
  lua_setfield(L, -2, "syscall");
  lua_call(L, 2, 1);
  return lua_error(L);
}
