--- Iteration: `each`, `aclosing`, and closing without `<close>`; `aiter`, `anext` and the protocol
-- for objects of the user's own are both editions'.
-- @module agenda.portable.iterate

local asyncgen = require "agenda.portable.asyncgen"
local awaitable = require "agenda.portable.awaitable"
local checks = require "agenda.portable.both.checks"
local coroutines = require "agenda.portable.coroutine"
local faults = require "agenda.portable.errors"
local generator = require "agenda.portable.generator"
local host = require "agenda.portable.host"
local inspect = require "agenda.portable.inspect"

local metamethod = checks.metamethod
local Generator, AsyncGenerator = generator.metatable, asyncgen.metatable

local function is_generator(value)
  local metatable = getmetatable(value)
  return metatable == AsyncGenerator or metatable == Generator
end

local iterate, shared = require "agenda.portable.both.iterate" {
  errors = faults.errors,
  await = awaitable.await,
  async = coroutines.async,
  isawaitable = awaitable.isawaitable,
  type = inspect.type,
  pack = host.pack,
  unpack = host.unpack,
  is_generator = is_generator,
}
local give, closing_of = shared.give, shared.closing_of

iterate.is_generator = is_generator

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

local function loop(f, iterator, state, control)
  repeat
    control = give(f, iterator(state, control))
  until control == nil
end

--- Calls f with the values of each item; closes what it iterates at the end, however it ends: the
-- loop that owns, for Lua without <close>. Awaits if the iteration or f does.
-- @function each
-- @param x what `aiter` takes
-- @tparam function f `false` from it stops
-- @raise what f or the iteration raises
function iterate.each(x, f, ...)
  checks.callable(f, 2, "each")
  local iterator, state, control, closing = iterate.aiter(x, ...)
  local metatable = getmetatable(iterator)
  if metatable == AsyncGenerator then
    return iterate.with_closing(closing, asyncgen.loop, f, iterator)
  elseif metatable == Generator then
    return iterate.with_closing(closing, generator.loop, f, iterator)
  end
  return iterate.with_closing(closing, loop, f, iterator, state, control)
end

--- Calls f once with the generator and closes that at the end, however it ends. Awaits.
-- @function aclosing
-- @param g an async generator, or an object with a method `aclose` that gives an awaitable
-- @tparam function f
-- @return f's results
-- @raise what f or the cleanup raises
function iterate.aclosing(g, f)
  checks.callable(f, 2, "aclosing")
  return iterate.with_closing(closing_of(g), f, g)
end

return iterate
