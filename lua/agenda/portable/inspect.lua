--- Predicates and types.
-- @module agenda.portable.inspect

local awaitable = require "agenda.portable.awaitable"
local object = require "agenda.portable.object"

local inspect = {}

--- The type of an agenda object.
-- @function type
-- @param x any value
-- @treturn ?string "generator", "coroutine", "async_generator" and so on; nil for anything else
function inspect.type(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'type' (value expected)", 2)
  end
  local x = ...
  local metatable = type(x) == "table" and getmetatable(x) or nil
  if type(metatable) ~= "table" then
    return nil
  end
  local kind = rawget(x, "_kind")
  if type(kind) == "table" and kind.metatable == metatable then
    return kind.name
  end
  return rawget(metatable, "__agenda_type")
end

for suffix, name in pairs {
  generator = "generator", coroutine = "coroutine", asyncgen = "async_generator",
} do
  inspect["is" .. suffix] = function(x)
    return inspect.type(x) == name
  end
  inspect["is" .. suffix .. "function"] = function(x)
    return object.made_by(x) == name
  end
end

inspect.isawaitable = awaitable.isawaitable

--- There are no futures here.
function inspect.isfuture()
  return false
end

return inspect
