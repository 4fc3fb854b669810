/*
** compat.h: what differs between the Lua versions that agenda runs on.
*/
#ifndef AGENDA_COMPAT_H
#define AGENDA_COMPAT_H

#include <lua.h>
#include <lauxlib.h>

#if LUA_VERSION_NUM < 504
#error "agenda needs Lua 5.4 or later"
#endif

/* lua_closethread came with 5.4.6; before it there is only lua_resetthread. */
#if LUA_VERSION_RELEASE_NUM >= 50406 || LUA_VERSION_NUM > 504
#define agenda_compat_closethread(co, from) lua_closethread((co), (from))
#else
#define agenda_compat_closethread(co, from) ((void)(from), lua_resetthread(co))
#endif

#if defined(__GNUC__)
#define AGENDA_LIKELY(x) __builtin_expect(!!(x), 1)
#define AGENDA_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AGENDA_EXPORT __attribute__((visibility("default")))
#else
#define AGENDA_LIKELY(x) (x)
#define AGENDA_UNLIKELY(x) (x)
#define AGENDA_EXPORT
#endif

#endif
