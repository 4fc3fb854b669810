--- Iteration: `each`, `aclosing`; `aiter`, `anext` and the protocol for objects of the user's own
-- are both editions'.
-- @module agenda.iterate

local core = require "agenda.core"
local check = require "agenda.check"

local iterate, shared = require "agenda.portable.both.iterate" {
  errors = core.errors,
  await = core.await,
  async = core.async,
  isawaitable = core.isawaitable,
  type = core.type,
  pack = table.pack,
  unpack = table.unpack,
  is_generator = function(x)
    local kind = core.type(x)
    return kind == "async_generator" or kind == "generator"
  end,
}
local give, closing_of = shared.give, shared.closing_of

--- Calls f with the values of each item; closes what it iterates at the end, however it ends.
-- Awaits if the iteration or f does.
-- @function each
-- @param x what `aiter` takes
-- @tparam function f `false` from it stops
-- @raise what f or the iteration raises
function iterate.each(x, f, ...)
  check.callable(f, 2, "each")
  local iterator, state, control, closing = iterate.aiter(x, ...)
  local _ <close> = closing
  repeat
    control = give(f, iterator(state, control))
  until control == nil
end

--- Calls f once with the generator and closes that at the end, however it ends. Awaits.
-- @function aclosing
-- @param g an async generator, or an object with a method `aclose` that gives an awaitable
-- @tparam function f
-- @return f's results
-- @raise what f or the cleanup raises
function iterate.aclosing(g, f)
  check.callable(f, 2, "aclosing")
  local _ <close> = closing_of(g)
  return f(g)
end

return iterate
