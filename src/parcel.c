/*
** parcel.c: Lua values as bytes.
**
** A parcel is a count, that many values, and then the contents of the tables, each a count and that
** many pairs of values. A table that occurs in a value is only its number (the first time, its
** length as well): tables are numbered in the order in which they are first met, which packing and
** unpacking have in common, and their contents follow in that order. So nothing recurs on the C
** stack, however deep tables are nested, and cycles and shared tables come out as they were.
*/
#include "parcel.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_NIL, TAG_FALSE, TAG_TRUE, TAG_INTEGER, TAG_FLOAT, TAG_STRING, TAG_TABLE };
enum { FIRST_SIZE = 256, PATH_STEPS = 12 };

typedef struct packer {
  lua_State *L;
  agenda_parcel *parcel;
  int numbers; /* stack indices: table -> number, */
  int tables;  /* number -> table, */
  int parents; /* number -> that of the table in which it was met, or minus a stack index */
  lua_Integer count;
} packer;

/* ----- bytes --------------------------------------------------------------------------- */

static void grow(packer *p, size_t more)
{
  agenda_parcel *parcel = p->parcel;
  size_t capacity = parcel->capacity > 0 ? parcel->capacity : FIRST_SIZE;
  if (more > SIZE_MAX / 4)
    luaL_error(p->L, "not enough memory");
  while (capacity < parcel->size + more)
    capacity *= 2;
  char *data;
  if (parcel->box != 0) {
    data = lua_newuserdatauv(p->L, capacity, 0);
    if (parcel->size > 0)
      memcpy(data, parcel->data, parcel->size);
    lua_replace(p->L, parcel->box);
  }
  else {
    data = realloc(parcel->data, capacity);
    if (data == NULL)
      luaL_error(p->L, "not enough memory");
  }
  parcel->data = data;
  parcel->capacity = capacity;
}

static void put(packer *p, const void *bytes, size_t n)
{
  agenda_parcel *parcel = p->parcel;
  if (n > parcel->capacity - parcel->size)
    grow(p, n);
  memcpy(parcel->data + parcel->size, bytes, n);
  parcel->size += n;
}

static void put_tag(packer *p, unsigned char tag)
{
  put(p, &tag, 1);
}

static void put_size(packer *p, size_t size)
{
  put(p, &size, sizeof size);
}

/* ----- packing ------------------------------------------------------------------------- */

/* Where a value was met, for error messages: "[3].name" on the top, for the value on the top that
** is in the table with this number. [-0, +1] */
static void push_path(packer *p, lua_Integer number)
{
  lua_State *L = p->L;
  int child = lua_gettop(L), steps = 0;
  lua_pushliteral(L, "");
  while (number > 0 && steps++ < PATH_STEPS) {
    lua_rawgeti(L, p->tables, number);
    lua_pushnil(L);
    bool is_key = true;
    while (lua_next(L, -2)) {
      if (lua_rawequal(L, -1, child)) {
        is_key = false;
        lua_pop(L, 1);
        break;
      }
      lua_pop(L, 1);
    }
    if (is_key)
      lua_pushliteral(L, "[a key]");
    else if (lua_type(L, -1) == LUA_TSTRING)
      lua_pushfstring(L, ".%s", lua_tostring(L, -1));
    else
      lua_pushfstring(L, "[%s]", luaL_tolstring(L, -1, NULL));
    lua_pushvalue(L, child + 1);
    lua_concat(L, 2);
    lua_replace(L, child + 1);
    lua_settop(L, child + 1);
    lua_rawgeti(L, p->tables, number);
    lua_replace(L, child);
    lua_rawgeti(L, p->parents, number);
    number = lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  if (number > 0) {
    lua_pushliteral(L, "...");
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
}

/* What stands in the way of the value on the top, met in table `parent`. [-0, +1] */
static void push_refusal(packer *p, lua_Integer parent)
{
  lua_State *L = p->L;
  static const char *const article[] = {"a", "an"};
  const char *what = lua_istable(L, -1) ? "table with a metatable" : luaL_typename(L, -1);
  const char *a = article[0];
  int named = luaL_getmetafield(L, -1, "__name");
  if (named == LUA_TNIL)
    lua_pushnil(L);
  else if (named == LUA_TSTRING) {
    what = lua_tostring(L, -1);
    a = article[*what != '\0' && strchr("aeiou", *what) != NULL];
  }
  lua_insert(L, -2);
  push_path(p, parent);
  const char *path = lua_tostring(L, -1);
  lua_pushfstring(L, "%s%s%s %s", path, *path != '\0' ? " is " : "it is ", a, what);
}

/* The number of the table on the top, which is new if it was not met before. */
static lua_Integer number_of(packer *p, lua_Integer parent)
{
  lua_State *L = p->L;
  lua_pushvalue(L, -1);
  lua_rawget(L, p->numbers);
  lua_Integer number = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (number != 0)
    return number;
  number = ++p->count;
  lua_pushvalue(L, -1);
  lua_rawseti(L, p->tables, number);
  lua_pushinteger(L, parent);
  lua_rawseti(L, p->parents, number);
  lua_pushvalue(L, -1);
  lua_pushinteger(L, number);
  lua_rawset(L, p->numbers);
  return number;
}

/* Packs a mention of the table on the top. */
static void pack_mention(packer *p, lua_Integer parent)
{
  lua_Integer known = p->count, number = number_of(p, parent);
  put_tag(p, TAG_TABLE);
  put_size(p, (size_t)number);
  if (number > known)
    put_size(p, lua_rawlen(p->L, -1));
}

/* Packs the value on the top; false if it cannot be copied. [-0, +0] */
static bool pack_value(packer *p, lua_Integer parent)
{
  lua_State *L = p->L;
  switch (lua_type(L, -1)) {
    case LUA_TNIL:
      put_tag(p, TAG_NIL);
      return true;
    case LUA_TBOOLEAN:
      put_tag(p, lua_toboolean(L, -1) ? TAG_TRUE : TAG_FALSE);
      return true;
    case LUA_TNUMBER:
      if (lua_isinteger(L, -1)) {
        lua_Integer i = lua_tointeger(L, -1);
        put_tag(p, TAG_INTEGER);
        put(p, &i, sizeof i);
      }
      else {
        lua_Number n = lua_tonumber(L, -1);
        put_tag(p, TAG_FLOAT);
        put(p, &n, sizeof n);
      }
      return true;
    case LUA_TSTRING: {
      size_t length;
      const char *text = lua_tolstring(L, -1, &length);
      put_tag(p, TAG_STRING);
      put_size(p, length);
      put(p, text, length);
      return true;
    }
    case LUA_TTABLE:
      if (lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return false;
      }
      pack_mention(p, parent);
      return true;
    default:
      return false;
  }
}

/* Packs what is in the table with this number. False with the value on the top that cannot be
** copied. [-0, +(0|1)] */
static bool pack_table(packer *p, lua_Integer number)
{
  lua_State *L = p->L;
  int top = lua_gettop(L);
  lua_rawgeti(L, p->tables, number);
  size_t place = p->parcel->size, pairs = 0;
  put_size(p, 0);
  lua_pushnil(L);
  while (lua_next(L, top + 1)) {
    lua_pushvalue(L, -2);
    if (!pack_value(p, number))
      return false;
    lua_pop(L, 1);
    if (!pack_value(p, number))
      return false;
    lua_pop(L, 1);
    pairs++;
  }
  memcpy(p->parcel->data + place, &pairs, sizeof pairs);
  lua_settop(L, top);
  return true;
}

/* The top-level value that leads to the table with this number. */
static int origin(packer *p, lua_Integer number)
{
  while (number > 0) {
    lua_rawgeti(p->L, p->parents, number);
    number = lua_tointeger(p->L, -1);
    lua_pop(p->L, 1);
  }
  return (int)-number;
}

bool agenda_parcel_pack(lua_State *L, agenda_parcel *parcel, int first, int last, bool boxed,
                        int *refused)
{
  if (!lua_checkstack(L, LUA_MINSTACK))
    luaL_error(L, "not enough memory");
  int top = lua_gettop(L);
  packer p = {.L = L, .parcel = parcel};
  parcel->data = NULL;
  parcel->size = parcel->capacity = 0;
  parcel->box = 0;
  if (boxed) {
    lua_pushnil(L);
    parcel->box = lua_gettop(L);
  }
  lua_newtable(L);
  p.numbers = lua_gettop(L);
  lua_newtable(L);
  p.tables = lua_gettop(L);
  lua_newtable(L);
  p.parents = lua_gettop(L);
  lua_Integer parent = 0;
  bool packed = true;
  put_size(&p, (size_t)(last - first + 1));
  for (int i = first; i <= last && packed; i++) {
    parent = -i;
    lua_pushvalue(L, i);
    packed = pack_value(&p, parent);
    if (packed)
      lua_pop(L, 1);
  }
  for (lua_Integer i = 1; i <= p.count && packed; i++) {
    parent = i;
    packed = pack_table(&p, i);
  }
  if (!packed) {
    *refused = origin(&p, parent);
    push_refusal(&p, parent);
    lua_replace(L, top + boxed + 1);
  }
  lua_settop(L, top + boxed + !packed);
  return packed;
}

/* ----- unpacking ----------------------------------------------------------------------- */

typedef struct reader {
  lua_State *L;
  const char *at;
  int tables; /* stack index: number -> table */
  lua_Integer count;
} reader;

static void take(reader *r, void *bytes, size_t n)
{
  memcpy(bytes, r->at, n);
  r->at += n;
}

static size_t take_size(reader *r)
{
  size_t size;
  take(r, &size, sizeof size);
  return size;
}

static void push_table(reader *r, lua_Integer number)
{
  if (number <= r->count) {
    lua_rawgeti(r->L, r->tables, number);
    return;
  }
  size_t length = take_size(r);
  lua_createtable(r->L, length < INT_MAX ? (int)length : 0, 0);
  lua_pushvalue(r->L, -1);
  lua_rawseti(r->L, r->tables, ++r->count);
}

static void push_value(reader *r)
{
  lua_State *L = r->L;
  lua_Integer integer;
  lua_Number number;
  size_t size;
  switch (*r->at++) {
    case TAG_FALSE:
      lua_pushboolean(L, 0);
      break;
    case TAG_TRUE:
      lua_pushboolean(L, 1);
      break;
    case TAG_INTEGER:
      take(r, &integer, sizeof integer);
      lua_pushinteger(L, integer);
      break;
    case TAG_FLOAT:
      take(r, &number, sizeof number);
      lua_pushnumber(L, number);
      break;
    case TAG_STRING:
      size = take_size(r);
      lua_pushlstring(L, r->at, size);
      r->at += size;
      break;
    case TAG_TABLE:
      push_table(r, (lua_Integer)take_size(r));
      break;
    default:
      lua_pushnil(L);
  }
}

int agenda_parcel_unpack(lua_State *L, const agenda_parcel *parcel)
{
  reader r = {.L = L, .at = parcel->data};
  int n = (int)take_size(&r);
  if (!lua_checkstack(L, n + 8))
    luaL_error(L, "too many values (%d)", n);
  lua_newtable(L);
  r.tables = lua_gettop(L);
  for (int i = 0; i < n; i++)
    push_value(&r);
  for (lua_Integer i = 1; i <= r.count; i++) {
    size_t pairs = take_size(&r);
    lua_rawgeti(L, r.tables, i);
    for (size_t k = 0; k < pairs; k++) {
      push_value(&r);
      push_value(&r);
      lua_rawset(L, -3);
    }
    lua_pop(L, 1);
  }
  lua_remove(L, r.tables);
  return n;
}
