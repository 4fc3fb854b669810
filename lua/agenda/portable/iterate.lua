--- Iteration: `aiter`, `anext`, `each`, `aclosing`, and the protocol for objects of the user's own.
-- @module agenda.portable.iterate

local asyncgen = require "agenda.portable.asyncgen"
local awaitable = require "agenda.portable.awaitable"
local coroutines = require "agenda.portable.coroutine"
local faults = require "agenda.portable.errors"
local generator = require "agenda.portable.generator"
local host = require "agenda.portable.host"
local inspect = require "agenda.portable.inspect"

local await, isawaitable = awaitable.await, awaitable.isawaitable
local errors, unpack = faults.errors, host.unpack
local TypeError, RuntimeError = errors.TypeError, errors.RuntimeError
local StopAsyncIteration = errors.StopAsyncIteration
local Generator, AsyncGenerator = generator.metatable, asyncgen.metatable

local iterate = {}

-- NB: the real metatable, as Lua itself looks: a `__metatable` field hides nothing.
local metatable_of = debug and debug.getmetatable or getmetatable

local function metamethod(value, name)
  local metatable = metatable_of(value)
  return type(metatable) == "table" and rawget(metatable, name) or nil
end
iterate.metamethod = metamethod

local function is_generator(value)
  local metatable = getmetatable(value)
  return metatable == AsyncGenerator or metatable == Generator
end

local function describe(value)
  return inspect.type(value) or type(value)
end

-- What `__anext` of an iterator gives, if it can be awaited.
local function next_awaitable(iterator, anext)
  local found = anext(iterator)
  if not isawaitable(found) then
    error(TypeError(("__anext of %s gave a %s, which cannot be awaited")
      :format(describe(iterator), describe(found))), 0)
  end
  return found
end

local function check_leading(ok, first, ...)
  if ok then
    if first == nil then
      error(RuntimeError("__anext gave a leading nil, which a loop takes for the end"), 0)
    end
    return first, ...
  end
  if StopAsyncIteration:is(first) then
    return nil
  end
  error(first, 0)
end

local function await_next(object, anext)
  return await(next_awaitable(object, anext))
end

-- A Lua iterator over an object with `__anext`. StopAsyncIteration ends it, be it raised by what
-- `__anext` gives or by `__anext` itself.
local function iterator_of(object, anext)
  return function()
    return check_leading(pcall(await_next, object, anext))
  end
end

--- What iterates x: an iterator, its state, its control value, and what closes it.
-- @function aiter
-- @param x an async generator, a generator, an object with `__aiter`, or a Lua iterator triple
-- @raise TypeError for anything else
function iterate.aiter(x, ...)
  if is_generator(x) then
    return x, nil, nil, x
  end
  local aiter = metamethod(x, "__aiter")
  if aiter then
    local iterator = aiter(x)
    if is_generator(iterator) then
      return iterator, nil, nil, iterator
    end
    local anext = metamethod(iterator, "__anext")
    if not anext then
      error(TypeError(("__aiter of %s gave a %s, which has no __anext")
        :format(describe(x), describe(iterator))), 0)
    end
    return iterator_of(iterator, anext), nil, nil, metamethod(iterator, "__close") and iterator
  end
  if type(x) == "function" or metamethod(x, "__call") then
    return x, ...
  end
  error(TypeError(("'%s' object is not iterable: it is no generator and has no __aiter")
    :format(describe(x))), 0)
end

local function or_default(default, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if StopAsyncIteration:is(err) then
    return unpack(default, 1, default.n)
  end
  error(err, 0)
end

local next_or_default = coroutines.async("anext", function(found, default)
  return or_default(default, pcall(await, found))
end)

--- An awaitable of an iterator's next values.
-- @function anext
-- @param it an async generator or an object with `__anext`
-- @param ... what the awaitable gives at the end in place of StopAsyncIteration
-- @raise TypeError for what is no async iterator
function iterate.anext(it, ...)
  local found
  if getmetatable(it) == AsyncGenerator then
    found = it:anext()
  else
    local anext = metamethod(it, "__anext")
    if not anext then
      error(TypeError(("'%s' object is not an async iterator"):format(describe(it))), 0)
    end
    found = next_awaitable(it, anext)
  end
  if select("#", ...) == 0 then
    return found
  end
  return next_or_default(found, host.pack(...))
end

-- ----- closing without <close> ------------------------------------------------------------------

--- Closes what has `__close`; the error is its second argument, as at the end of a block.
function iterate.close(closing, err)
  local close = closing and metamethod(closing, "__close")
  if close then
    close(closing, err)
  elseif io.type(closing) == "file" then
    closing:close() -- of LuaJIT, which has no `__close`
  end
end

-- NB: an error of the closing takes the place of the block's, as with <close>.
local function closed(closing, ok, ...)
  if ok then
    iterate.close(closing)
    return ...
  end
  local err = ...
  iterate.close(closing, err)
  return faults.propagate(err)
end

--- Calls f(...), then closes; f's results, or its error.
function iterate.with_closing(closing, f, ...)
  return closed(closing, pcall(f, ...))
end

-- Calls f with an item; the control value for the next one, or nil when that is all.
local function give(f, first, ...)
  if first == nil or f(first, ...) == false then
    return nil
  end
  return first
end

local function loop(f, iterator, state, control)
  repeat
    control = give(f, iterator(state, control))
  until control == nil
end

local function check_callable(f, caller)
  if type(f) ~= "function" and not metamethod(f, "__call") then
    error(("bad argument #2 to '%s' (function expected, got %s)"):format(caller, type(f)), 3)
  end
end

--- Calls f with the values of each item; closes what it iterates at the end, however it ends: the
-- loop that owns, for Lua without <close>. Awaits if the iteration or f does.
-- @function each
-- @param x what `aiter` takes
-- @tparam function f `false` from it stops
-- @raise what f or the iteration raises
function iterate.each(x, f, ...)
  check_callable(f, "each")
  local iterator, state, control, closing = iterate.aiter(x, ...)
  local metatable = getmetatable(iterator)
  if metatable == AsyncGenerator then
    return iterate.with_closing(closing, asyncgen.loop, f, iterator)
  elseif metatable == Generator then
    return iterate.with_closing(closing, generator.loop, f, iterator)
  end
  return iterate.with_closing(closing, loop, f, iterator, state, control)
end

local Closing = {__close = function(self) await(self.object:aclose()) end}

--- Calls f once with the generator and closes that at the end, however it ends. Awaits.
-- @function aclosing
-- @param g an async generator, or an object with a method `aclose` that gives an awaitable
-- @tparam function f
-- @return f's results
-- @raise what f or the cleanup raises
function iterate.aclosing(g, f)
  check_callable(f, "aclosing")
  if metamethod(g, "__close") then
    return iterate.with_closing(g, f, g)
  end
  if type(g) ~= "table" and type(g) ~= "userdata" or g.aclose == nil then
    error(TypeError(("'%s' object cannot be closed: it has neither aclose nor __close")
      :format(describe(g))), 0)
  end
  return iterate.with_closing(setmetatable({object = g}, Closing), f, g)
end

return iterate
