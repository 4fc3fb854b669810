--- Context managers as functions: `with`, `asynccontextmanager`, exit stacks; as agenda.context.
--
-- Values to be closed (`enter`, `defer`) are for Lua 5.4, which closes them.
-- @module agenda.portable.context

local asyncgen = require "agenda.portable.asyncgen"
local awaitable = require "agenda.portable.awaitable"
local checks = require "agenda.portable.both.checks"
local faults = require "agenda.portable.errors"
local host = require "agenda.portable.host"
local inspect = require "agenda.portable.inspect"
local iterate = require "agenda.portable.iterate"
local object = require "agenda.portable.object"

local pack, unpack = host.pack, host.unpack

local context, shared = require "agenda.portable.both.context" {
  errors = faults.errors,
  await = awaitable.await,
  type = inspect.type,
  check = {
    callable = checks.callable,
    self = function(self, class, call)
      if checks.metatable_of(self) ~= class then
        object.bad_argument(1, call, class.__name, self, self == nil and 0 or 1, 3)
      end
    end,
  },
  pack = pack,
  unpack = unpack,
  address = object.address,
  close_stack = iterate.close,
}
local protocol, or_nil_error = shared.protocol, shared.or_nil_error

--- Makes context managers of an async generator body that yields once: what is before the `yield`
-- enters, what it yields are the values entered with, what is after it exits. The block's error is
-- raised at the `yield`; a body that handles it and returns swallows it. As in contextlib.
-- @function asynccontextmanager
-- @tparam[opt] string name the body's, "file.lua:12" by default
-- @tparam function fn the body
-- @treturn function a factory: what it is called with goes to the body, what it returns is a
-- manager that can be entered once
function context.asynccontextmanager(...)
  local name, fn = object.definition("asynccontextmanager", ...)
  local make = asyncgen.asyncgen(name, fn)
  return function(...)
    return shared.manager((make(...)))
  end
end

-- ----- with --------------------------------------------------------------------------------------

local function settle(exit, cm, ok, ...)
  if ok then
    exit(cm, nil)
    return ...
  end
  local err = or_nil_error((...))
  if not exit(cm, err) then
    error(err, 0)
  end
end

-- Keeps with an error object where it was raised, which the pcall of `with` would lose.
local function keep_trace(err)
  faults.record(err, nil, 4)
  return err
end

local function call_entered(f, n, values, ...)
  local given = select("#", ...)
  local arguments = {...}
  for i = 1, n do
    arguments[given + i] = values[i]
  end
  return f(unpack(arguments, 1, given + n))
end

--- Enters a context manager, calls `f(values..., ...)`, exits. Awaits as these do.
-- @function with
-- @param cm a context manager, or anything with `__close`
-- @tparam function f gets the values entered with, and then the arguments
-- @param ... arguments for f
-- @return f's results; nothing if the manager swallowed f's error, which it does by returning a
-- true value from `__aexit`
-- @raise TypeError for what is no context manager; what entering and exiting raise; f's error, as
-- the same object
function context.with(cm, f, ...)
  checks.callable(f, 2, "with")
  local aenter, exit = protocol(cm)
  if not aenter then
    return iterate.with_closing(cm, f, cm, ...)
  end
  local values = pack(aenter(cm))
  local arguments, n = {...}, select("#", ...)
  return settle(exit, cm, xpcall(function()
    return call_entered(f, n, arguments, unpack(values, 1, values.n))
  end, keep_trace))
end

return context
