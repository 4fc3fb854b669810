--- Metamethods and arguments, as both editions look at them.
-- @module agenda.portable.both.checks

local checks = {}

-- NB: the real one, as Lua itself looks for `__close`: a `__metatable` field hides nothing.
checks.metatable_of = debug and debug.getmetatable or getmetatable
local metatable_of = checks.metatable_of

function checks.metamethod(value, name)
  local metatable = metatable_of(value)
  return type(metatable) == "table" and rawget(metatable, name) or nil
end

function checks.is_callable(value)
  return type(value) == "function" or checks.metamethod(value, "__call") ~= nil
end

--- Refuses what cannot be called. Level 3 is the caller of the public function that asks.
function checks.callable(value, n, name)
  if not checks.is_callable(value) then
    error(("bad argument #%d to '%s' (function expected, got %s)")
      :format(n, name, value == nil and "no value" or type(value)), 3)
  end
end

return checks
