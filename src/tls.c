/*
** tls.c: the module agenda.tls: TLS by OpenSSL.
**
** A module of its own, so that agenda.core needs no OpenSSL. It knows nothing of loops: streams
** call its filters through src/stream_filter.h.
*/
#include <lauxlib.h>
#include <lua.h>

#include "agenda.h"
#include "compat.h"
#include "tls_context.h"
#include "tls_filter.h"

/*** A context: whom to trust, who to be. Made once, used for any number of connections.
@function tls.context
@tparam[opt] table options `cert`, `key`, `ca`: paths of PEM files; `verify`: boolean; `alpn`: a
list of strings; `min_version`: "TLSv1.2" or "TLSv1.3"
@treturn userdata a context
@raise Lua's error for what is no option or of a wrong type; ValueError; OSError for a file that
cannot be read; TLSError for what is in it. Does not await */
static int l_context(lua_State *L)
{
  return agenda_tls_context_new(L);
}

/* A new filter: context, whether it is the server's side, the server's name or nil. */
static int l_filter(lua_State *L)
{
  return agenda_tls_filter_new(L, lua_toboolean(L, 2), luaL_optstring(L, 3, NULL));
}

static const luaL_Reg functions[] = {
  {"context", l_context},
  {"_filter", l_filter},
  {NULL, NULL},
};

AGENDA_EXPORT int luaopen_agenda_tls(lua_State *L)
{
  luaL_checkversion(L);
  agenda_tls_context_register(L);
  agenda_tls_filter_register(L);
  luaL_newlibtable(L, functions);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "agenda.core");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "errors");
  lua_remove(L, -2);
  luaL_setfuncs(L, functions, 1);
  return 1;
}
