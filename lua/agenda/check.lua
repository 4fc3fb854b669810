--- What the rooms in Lua check of their arguments: who gives a wrong one gets Lua's own error.
--
-- A `level` is that of `error`, counted from the function that calls the check: 2 is its caller.
-- @module agenda.check

local core = require "agenda.core"
local both = require "agenda.portable.both.checks"

local metatable_of = both.metatable_of

local check = {metamethod = both.metamethod, is_callable = both.is_callable}

--- What messages call a value: what kind of object of agenda's it is, or its type.
-- @param value any value; nil stands for one that was not given
-- @treturn string
function check.kind_of(value)
  return value == nil and "no value" or core.type(value) or type(value)
end

--- Raises the error for a wrong argument.
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam string wanted what was expected
-- @param value what was given
-- @tparam[opt=2] integer level
function check.refuse(n, call, wanted, value, level)
  error(("bad argument #%d to '%s' (%s expected, got %s)")
    :format(n, call, wanted, check.kind_of(value)), (level or 2) + 1)
end

--- Raises it unless the value has the type.
-- @param value what was given
-- @tparam string wanted the type
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam[opt=2] integer level
function check.type(value, wanted, n, call, level)
  if type(value) ~= wanted then
    check.refuse(n, call, wanted, value, (level or 2) + 1)
  end
end

--- Raises it unless the value can be called.
-- @param value what was given
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam[opt=2] integer level
function check.callable(value, n, call, level)
  if type(value) ~= "function" and not check.is_callable(value) then
    check.refuse(n, call, "function", value, (level or 2) + 1)
  end
end

--- Raises it unless the value is a number of seconds, or nil.
-- @tparam ?number value what was given
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam[opt=2] integer level
-- @raise ValueError for NaN
function check.seconds(value, n, call, level)
  if value ~= nil then
    check.type(value, "number", n, call, (level or 2) + 1)
  end
  if value ~= value then
    error(core.errors.ValueError("Invalid delay: NaN (not a number)"), 0)
  end
end

--- Raises it unless a method was called on an object of its class.
-- @param self what it was called on
-- @tparam table class the metatable of its objects
-- @tparam string call the method's name
function check.self(self, class, call)
  if metatable_of(self) ~= class then
    check.refuse(1, call, class.__name, self, 3)
  end
end

return check
