/*
** stream_read.c: reading.
**
** Each verb tries what is buffered, then the descriptor, and waits when there is nothing. What it
** gives is taken out of the buffer as the last thing, so one that is cancelled or fails has taken
** no byte. For separators each byte is looked at once.
*/
#include <string.h>

#include "asyncgen.h"
#include "errors.h"
#include "stream.h"

typedef enum { READ_SOME, READ_ALL, READ_EXACTLY, READ_LINE, READ_UNTIL, HANDSHAKE } read_verb;

enum { WAIT = AGENDA_STREAM_WAIT };

static const char *const verb_names[] = {"read", "read", "readexactly", "readline", "readuntil",
                                         "starttls"};

/* ----- one attempt --------------------------------------------------------------------- */

static int raise_read_error(lua_State *L, const agenda_stream *stream)
{
  if (stream->read_error == AGENDA_STREAM_BAD_FILTER)
    return agenda_stream_raise_filter(L, stream, 1);
  return agenda_error_raise_os(L, stream->read_error, "read", agenda_stream_push_name(L, 1));
}

/* Raises IncompleteReadError with all that is left. */
static int raise_incomplete(lua_State *L, agenda_stream *stream, read_verb verb)
{
  size_t length = stream->input.end - stream->input.start;
  const char *name = agenda_stream_push_name(L, 1);
  if (verb == READ_EXACTLY) {
    agenda_error_push(L, AGENDA_INCOMPLETE_READ_ERROR,
                      "%s: %I bytes read on a total of %I expected bytes", name,
                      (lua_Integer)length, (lua_Integer)stream->wanted);
    lua_pushinteger(L, (lua_Integer)stream->wanted);
    lua_setfield(L, -2, "expected");
  }
  else
    agenda_error_push(L, AGENDA_INCOMPLETE_READ_ERROR,
                      "%s: %I bytes read, and the input ended before the separator", name,
                      (lua_Integer)length);
  lua_pushlstring(L, length > 0 ? stream->input.data + stream->input.start : "", length);
  lua_setfield(L, -2, "partial");
  if (length > 0)
    agenda_stream_skip(L, stream, length);
  return lua_error(L);
}

static int raise_overrun(lua_State *L, agenda_stream *stream, bool found, size_t consumed)
{
  agenda_error_push(L, AGENDA_LIMIT_OVERRUN_ERROR,
                    found ? "%s: the separator is found, but after more than %I bytes"
                          : "%s: the separator is not found in more than %I bytes",
                    agenda_stream_push_name(L, 1), (lua_Integer)stream->limit);
  lua_pushinteger(L, (lua_Integer)consumed);
  lua_setfield(L, -2, "consumed");
  return lua_error(L);
}

static int give(lua_State *L, agenda_stream *stream, size_t size)
{
  if (size == 0)
    lua_pushliteral(L, "");
  else
    agenda_stream_take(L, stream, size);
  return 1;
}

/* The list of separators at index 2: whether one of them is in data[from] to data[length - 1]. The
** one that ends first counts: where, and how long it is; without one, where to go on looking. */
static bool find_any(lua_State *L, const char *data, size_t from, size_t length, size_t *before,
                     size_t *width)
{
  size_t longest = 1, end = SIZE_MAX;
  for (lua_Integer i = 1; lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
    size_t size;
    const char *separator = lua_tolstring(L, -1, &size);
    const char *found = memmem(data + from, length - from, separator, size);
    lua_pop(L, 1);
    if (found != NULL && (size_t)(found - data) + size < end) {
      *before = (size_t)(found - data);
      *width = size;
      end = *before + size;
    }
    if (size > longest)
      longest = size;
  }
  lua_pop(L, 1);
  if (end != SIZE_MAX)
    return true;
  *before = length + 1 > longest + from ? length + 1 - longest : from;
  return false;
}

/* Looks for the separator; WAIT if more input is needed. */
static int give_until(lua_State *L, agenda_stream *stream, read_verb verb)
{
  agenda_stream_input *input = &stream->input;
  size_t length = input->end - input->start, width = 1;
  const char *separator = verb == READ_LINE ? "\n" : lua_tolstring(L, 2, &width);
  if (AGENDA_UNLIKELY(separator == NULL)) /* there is a list of them */
    width = 1;
  if (length - input->scanned >= width) {
    const char *data = input->data + input->start;
    size_t before;
    bool found;
    if (AGENDA_LIKELY(separator != NULL)) {
      const char *at =
        width == 1 ? memchr(data + input->scanned, *separator, length - input->scanned)
                   : memmem(data + input->scanned, length - input->scanned, separator, width);
      found = at != NULL;
      before = found ? (size_t)(at - data) : length + 1 - width;
    }
    else
      found = find_any(L, data, input->scanned, length, &before, &width);
    if (AGENDA_UNLIKELY(before > stream->limit))
      return raise_overrun(L, stream, found, before);
    if (found && verb == READ_UNTIL)
      return give(L, stream, before + width);
    if (found) {
      lua_pushlstring(L, data, before);
      agenda_stream_skip(L, stream, before + 1);
      return 1;
    }
    input->scanned = before;
  }
  if (stream->read_error != 0)
    return raise_read_error(L, stream);
  if (!stream->at_end)
    return WAIT;
  if (verb == READ_UNTIL)
    return raise_incomplete(L, stream, verb);
  if (length == 0)
    lua_pushnil(L);
  else
    agenda_stream_take(L, stream, length);
  return 1;
}

/* Gives what is asked for if the buffer has it or the input has ended; WAIT if not. */
static int give_buffered(lua_State *L, agenda_stream *stream, read_verb verb)
{
  size_t length = stream->input.end - stream->input.start;
  switch (verb) {
    case READ_SOME:
      if (length > 0)
        return give(L, stream, length < stream->wanted ? length : stream->wanted);
      break;
    case READ_EXACTLY:
      if (length >= stream->wanted)
        return give(L, stream, stream->wanted);
      break;
    case READ_ALL:
      break;
    case HANDSHAKE:
      if (stream->read_error == 0)
        return agenda_stream_shake_hands(L, stream);
      break;
    default:
      return give_until(L, stream, verb);
  }
  if (AGENDA_UNLIKELY(stream->read_error != 0))
    return raise_read_error(L, stream);
  if (!stream->at_end)
    return WAIT;
  if (verb == READ_ALL)
    return give(L, stream, length);
  if (verb == READ_EXACTLY)
    return raise_incomplete(L, stream, verb);
  lua_pushnil(L);
  return 1;
}

/* The same, and reads as long as there is something to read. The handle is at index 1, a separator
** at 2. */
static int attempt(lua_State *L, agenda_stream *stream, read_verb verb)
{
  for (;;) {
    int n = give_buffered(L, stream, verb);
    if (n != WAIT || !agenda_stream_fill(L, stream))
      return n;
  }
}

/* ----- waiting ------------------------------------------------------------------------- */

static int after_wait(lua_State *L, int status, lua_KContext context);

static int attempt_or_wait(lua_State *L, agenda_stream *stream, read_verb verb)
{
  int n = attempt(L, stream, verb);
  if (n != WAIT)
    return n;
  return agenda_stream_wait_input(L, stream, (lua_KContext)verb, after_wait);
}

static int after_wait(lua_State *L, int status, lua_KContext context)
{
  agenda_stream *stream = agenda_stream_read_resumed(L);
  (void)status;
  if (AGENDA_UNLIKELY(stream->status != AGENDA_STREAM_OPEN))
    return agenda_stream_raise_closed(L, 1);
  return attempt_or_wait(L, stream, (read_verb)context);
}

static int after_turn(lua_State *L, int status, lua_KContext context)
{
  agenda_stream *stream = ((agenda_stream_handle *)lua_touserdata(L, 1))->stream;
  (void)status;
  stream->read_under_way = false;
  agenda_frame_resumed(L, agenda_state_here(L));
  if (AGENDA_UNLIKELY(stream->status != AGENDA_STREAM_OPEN))
    return agenda_stream_raise_closed(L, 1);
  return attempt_or_wait(L, stream, (read_verb)context);
}

static agenda_stream *check_open_for_reading(lua_State *L)
{
  agenda_stream *stream = agenda_stream_check_open(L);
  if (AGENDA_UNLIKELY(!stream->readable))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: the stream is not open for reading",
                       agenda_stream_push_name(L, 1));
  return stream;
}

static agenda_stream *check_readable(lua_State *L, const char *verb)
{
  agenda_stream *stream = check_open_for_reading(L);
  if (AGENDA_UNLIKELY(stream->read_under_way))
    agenda_error_raise(L, AGENDA_RUNTIME_ERROR,
                       "%s: %s() called while another task is already waiting for incoming data",
                       agenda_stream_push_name(L, 1), verb);
  return stream;
}

/* What is asked for when no byte is, while another task waits, too. As in asyncio. */
static int give_nothing(lua_State *L)
{
  check_open_for_reading(L);
  lua_pushliteral(L, "");
  return 1;
}

static int begin(lua_State *L, read_verb verb, size_t wanted)
{
  agenda_stream *stream = check_readable(L, verb_names[verb]);
  stream->wanted = wanted;
  stream->woken = false;
  stream->input.scanned = 0;
  if (AGENDA_UNLIKELY(agenda_stream_turn_due(L, stream))) {
    stream->read_under_way = true;
    return agenda_stream_take_turn(L, (lua_KContext)verb, after_turn);
  }
  return attempt_or_wait(L, stream, verb);
}

/* ----- what Lua sees ------------------------------------------------------------------- */

/* The size at `index`; ValueError if it is negative. */
static size_t check_size(lua_State *L, int index, const char *verb)
{
  lua_Integer n = luaL_checkinteger(L, index);
  if (n < 0)
    agenda_error_raise(L, AGENDA_VALUE_ERROR, "%s size can not be less than zero", verb);
  return (size_t)n;
}

/*** Reads what is there, or all. Awaits, unless something is there.
@function stream:read
@tparam[opt] integer|string n at most so many bytes; "a": all up to the end of input
@treturn ?string at least one byte, nil at the end; with 0, and with "a" at the end, ""
@raise RuntimeError when the stream is closed, or another task reads; OSError, after the data;
ValueError for a negative n */
static int l_read(lua_State *L)
{
  if (lua_type(L, 2) == LUA_TSTRING) {
    const char *format = lua_tostring(L, 2);
    luaL_argcheck(L, strcmp(format + (*format == '*'), "a") == 0, 2, "invalid format");
    lua_settop(L, 1);
    return begin(L, READ_ALL, 0);
  }
  size_t wanted = lua_isnoneornil(L, 2) ? SIZE_MAX : check_size(L, 2, "read");
  if (AGENDA_UNLIKELY(wanted == 0))
    return give_nothing(L);
  lua_settop(L, 1);
  return begin(L, READ_SOME, wanted);
}

/*** Reads so many bytes. Awaits, unless they are there. `limit` does not count. As in asyncio.
@function stream:readexactly
@tparam integer n how many
@treturn string
@raise IncompleteReadError with `partial` and `expected` when the input ends before; what read
raises */
static int l_readexactly(lua_State *L)
{
  size_t wanted = check_size(L, 2, "readexactly");
  if (AGENDA_UNLIKELY(wanted == 0))
    return give_nothing(L);
  lua_settop(L, 1);
  return begin(L, READ_EXACTLY, wanted);
}

/*** Reads a line. Awaits, unless there is one.
@function stream:readline
@treturn ?string without its "\n"; also what stands after the last one; then nil
@raise LimitOverrunError with `consumed` for a longer line than `limit`, nothing is lost; what read
raises */
static int l_readline(lua_State *L)
{
  lua_settop(L, 1);
  return begin(L, READ_LINE, 0);
}

static int raise_empty_separator(lua_State *L)
{
  return agenda_error_raise(L, AGENDA_VALUE_ERROR, "Separator should be at least one-byte string");
}

/* Puts a copy of the list of separators at index 2 in its place. */
static void check_separators(lua_State *L)
{
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
  if (n == 0)
    agenda_error_raise(L, AGENDA_VALUE_ERROR, "Separator should contain at least one element");
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 2, i) != LUA_TSTRING)
      luaL_argerror(L, 2,
                    lua_pushfstring(L, "string expected at index %I, got %s", i,
                                    luaL_typename(L, -1)));
    if (lua_rawlen(L, -1) == 0)
      raise_empty_separator(L);
    lua_rawseti(L, -2, i);
  }
  lua_replace(L, 2);
}

/*** Reads up to a separator, or to that of several which ends first. Awaits, unless it is there. As
in asyncio.
@function stream:readuntil
@tparam[opt="\n"] string|{string,...} separator
@treturn string which ends with the separator
@raise ValueError for an empty separator; IncompleteReadError with `partial` when the input ends
before; LimitOverrunError with `consumed` for more than `limit` bytes before it, nothing is lost;
what read raises */
static int l_readuntil(lua_State *L)
{
  size_t width;
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_pushliteral(L, "\n");
    lua_replace(L, 2);
  }
  if (lua_istable(L, 2))
    check_separators(L);
  else {
    luaL_checklstring(L, 2, &width);
    if (width == 0)
      return raise_empty_separator(L);
  }
  return begin(L, READ_UNTIL, 0);
}

/* ----- lines and chunks ----------------------------------------------------------------

** The bodies of async generators: the stream's handle at index 1.
*/

static int next_item(lua_State *L, read_verb verb);

static int yield_item(lua_State *L, read_verb verb);

static int after_item(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  agenda_frame_resumed(L, agenda_state_here(L));
  lua_settop(L, 2);
  return next_item(L, (read_verb)context);
}

static int after_item_wait(lua_State *L, int status, lua_KContext context)
{
  agenda_stream *stream = agenda_stream_read_resumed(L);
  (void)status;
  if (AGENDA_UNLIKELY(stream->status != AGENDA_STREAM_OPEN))
    return agenda_stream_raise_closed(L, 1);
  if (attempt(L, stream, (read_verb)context) == WAIT)
    return agenda_stream_wait_input(L, stream, context, after_item_wait);
  return yield_item(L, (read_verb)context);
}

static int after_item_turn(lua_State *L, int status, lua_KContext context)
{
  agenda_stream *stream = ((agenda_stream_handle *)lua_touserdata(L, 1))->stream;
  (void)status;
  stream->read_under_way = false;
  agenda_frame_resumed(L, agenda_state_here(L));
  return next_item(L, (read_verb)context);
}

/* The item is on the top; nil ends the generator. */
static int yield_item(lua_State *L, read_verb verb)
{
  agenda_state *state = agenda_state_here(L);
  if (lua_isnil(L, -1))
    return 0;
  state->current->tag = AGENDA_TAG_VALUE;
  return lua_yieldk(L, 1, (lua_KContext)verb, after_item);
}

static int next_item(lua_State *L, read_verb verb)
{
  agenda_stream *stream = check_readable(L, verb == READ_LINE ? "lines" : "chunks");
  stream->wanted = verb == READ_SOME ? (size_t)lua_tointeger(L, 2) : 0;
  stream->woken = false;
  stream->input.scanned = 0;
  if (AGENDA_UNLIKELY(agenda_stream_turn_due(L, stream))) {
    stream->read_under_way = true;
    return agenda_stream_take_turn(L, (lua_KContext)verb, after_item_turn);
  }
  if (attempt(L, stream, verb) == WAIT)
    return agenda_stream_wait_input(L, stream, (lua_KContext)verb, after_item_wait);
  return yield_item(L, verb);
}

/* A whole line that is buffered; all else is for the body. */
static int line_at_hand(lua_State *L, void *source)
{
  agenda_stream *stream = ((agenda_stream_handle *)source)->stream;
  agenda_stream_input *input = &stream->input;
  if (stream->status != AGENDA_STREAM_OPEN || stream->read_under_way)
    return 0;
  const char *data = input->data + input->start;
  size_t length = input->end - input->start;
  const char *end = length > 0 ? memchr(data, '\n', length) : NULL;
  if (end == NULL || (size_t)(end - data) > stream->limit || agenda_stream_turn_due(L, stream))
    return 0;
  lua_pushlstring(L, data, (size_t)(end - data));
  agenda_stream_skip(L, stream, (size_t)(end - data) + 1);
  return 1;
}

/* The body of lines(). */
static int l_lines_body(lua_State *L)
{
  agenda_asyncgen_set_at_hand(agenda_state_here(L), line_at_hand, lua_touserdata(L, 1));
  lua_settop(L, 2);
  return next_item(L, READ_LINE);
}

/* The body of chunks(); the size is at index 2. */
static int l_chunks_body(lua_State *L)
{
  return next_item(L, READ_SOME);
}

/* Calls the async generator function in upvalue 2 with the `n` values on the top. */
static int make_generator(lua_State *L, int n)
{
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, -n - 1);
  lua_call(L, n, 4);
  return 4;
}

/*** The lines up to the end of input, as `readline` gives them: an async generator. It reads only
while it is waited for, so the body of the loop may read. Left early it leaves the rest.
@function stream:lines
@treturn asyncgen and, like every such call, nil, nil and the generator again
@raise what readline raises, when it is iterated */
static int l_lines(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_stream_kind);
  lua_settop(L, 1);
  return make_generator(L, 1);
}

/*** What comes up to the end of input, as `read(n)` gives it: an async generator.
@function stream:chunks
@tparam[opt] integer n at most so many bytes at a time, more than 0
@treturn asyncgen and, like every such call, nil, nil and the generator again
@raise ValueError for n below 1; what read raises, when it is iterated */
static int l_chunks(lua_State *L)
{
  agenda_object_check(L, 1, &agenda_stream_kind);
  lua_Integer n = luaL_optinteger(L, 2, LUA_MAXINTEGER);
  if (n < 1)
    return agenda_error_raise(L, AGENDA_VALUE_ERROR, "chunks: a size must be more than 0");
  lua_settop(L, 1);
  lua_pushinteger(L, n);
  return make_generator(L, 2);
}

/* Begins to use a filter: awaits its handshake and gives true. What it raises is for the stream's
** end: it cannot be used any more. */
static int l_start_filter(lua_State *L)
{
  agenda_stream *stream = check_readable(L, "starttls");
  if (!stream->writable || stream->ended || stream->output.unsent > 0)
    return agenda_error_raise(L, AGENDA_RUNTIME_ERROR, "%s: the stream cannot write now",
                              agenda_stream_push_name(L, 1));
  lua_settop(L, 2);
  agenda_stream_set_filter(L, stream);
  return begin(L, HANDSHAKE, 0);
}

/* The filter, or nil. */
static int l_filter(lua_State *L)
{
  agenda_stream_check_open(L);
  agenda_stream_push(L, 1);
  lua_getiuservalue(L, -1, AGENDA_STREAM_FILTER);
  return 1;
}

static const luaL_Reg methods[] = {
  {"_filter", l_filter},
  {"_start_filter", l_start_filter},
  {"read", l_read},
  {"readexactly", l_readexactly},
  {"readline", l_readline},
  {"readuntil", l_readuntil},
  {NULL, NULL}
};

/* Adds the method `name`, which makes async generators of the body. The core's table is at
** `core`, that of the methods on the top. */
static void add_generator(lua_State *L, int core, const char *name, lua_CFunction body,
                          lua_CFunction make)
{
  agenda_state_push(L);
  lua_getfield(L, core, "asyncgen");
  lua_pushstring(L, name);
  agenda_state_push(L);
  lua_pushcclosure(L, body, 1);
  lua_call(L, 2, 1);
  lua_pushcclosure(L, make, 2);
  lua_setfield(L, -2, name);
}

void agenda_open_stream_read(lua_State *L, int core)
{
  agenda_functions_register(L, methods);
  add_generator(L, core, "lines", l_lines_body, l_lines);
  add_generator(L, core, "chunks", l_chunks_body, l_chunks);
}
