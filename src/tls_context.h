/*
** tls_context.h: certificates, trust and versions, for any number of connections.
*/
#ifndef AGENDA_TLS_CONTEXT_H
#define AGENDA_TLS_CONTEXT_H

#include <lauxlib.h>
#include <lua.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#define AGENDA_TLS_CONTEXT "agenda.tls_context"

typedef struct agenda_tls_context {
  SSL_CTX *ctx;
  unsigned char *alpn; /* the protocols in the form of the wire, or NULL */
  unsigned alpn_size;
  bool has_cert;
  bool has_trust;     /* in those of `ca`, or of the system */
  bool verify_server; /* as a client */
  bool verify_client; /* as a server */
} agenda_tls_context;

/* The table of options at index 1 (or nothing): leaves a context.
** [-0, +1, raises TypeError, ValueError, OSError, TLSError] */
int agenda_tls_context_new(lua_State *L);

/* Before a peer is verified: without `ca`, trusts those that the system does. They are many, so
** they are read only for who needs them. */
void agenda_tls_context_trust(agenda_tls_context *self);

/* Makes the metatable. [-0, +0, may raise] */
void agenda_tls_context_register(lua_State *L);

#endif
