--- Context managers: `asynccontextmanager` and `with`; the rest is both editions'.
-- @module agenda.context

local core = require "agenda.core"
local check = require "agenda.check"

local errors = core.errors
local pack, unpack = table.pack, table.unpack

local context, shared = require "agenda.portable.both.context" {
  errors = errors,
  await = core.await,
  type = core.type,
  check = check,
  pack = pack,
  unpack = unpack,
  address = function(object) return ("%p"):format(object) end,
  -- NB: by way of `__close`, for the reason that Guard gives.
  close_stack = function(stack) local _ <close> = stack end,
}
local protocol, or_nil_error = shared.protocol, shared.or_nil_error

--- Makes context managers of an async generator body that yields once: what is before the `yield`
-- enters, what it yields are the values entered with, what is after it exits. The block's error is
-- raised at the `yield`; a body that handles it and returns swallows it (under `with`). As in
-- contextlib. The body may yield inside its scopes (`timeout`, `taskgroup`).
-- @function asynccontextmanager
-- @tparam[opt] string name the body's, "file.lua:12" by default
-- @tparam function fn the body
-- @treturn function a factory: what it is called with goes to the body, what it returns is a
-- manager that can be entered once. Entering raises RuntimeError "generator didn't yield" if the
-- body returns before it yields; exiting raises RuntimeError "generator didn't stop" if it yields
-- again, and closes it. Neither calling this nor the factory awaits.
function context.asynccontextmanager(...)
  local name, fn = ...
  local n = 2
  if type(name) ~= "string" then
    fn, n = name, 1
  end
  check.type(fn, "function", n, "asynccontextmanager")
  local make = n == 1 and core.asyncgen(fn) or core.asyncgen(name, fn)
  return function(...)
    local body = make(...)
    core.exempt(body)
    return shared.manager(body)
  end
end

-- ----- with ------------------------------------------------------------------------------------

local Guard = {}

-- NB: the exit runs in a `__close`, not after a pcall, so that the core's debug mode sees that a
-- cancellation under way is on its way out. When the body's coroutine is closed from outside, there
-- is no error and the block did not finish either.
function Guard:__close(err)
  if self.finished then
    self.exit(self.manager, nil)
  else
    self.swallowed = self.exit(self.manager, or_nil_error(err))
  end
end

local function finish(guard, ...)
  guard.finished = true
  return ...
end

local function run_guarded(guard, f, ...)
  local _ <close> = guard
  return finish(guard, f(...))
end

local function settle(guard, ok, ...)
  if ok then
    return ...
  end
  if not guard.swallowed then
    error(or_nil_error((...)), 0)
  end
end

-- Keeps with an error object where it was raised, which the pcall of `with` would lose.
local function keep_trace(err)
  if errors.Error:is(err) and err.traceback == nil then
    pcall(function() err.traceback = debug.traceback(nil, 4) end)
  end
  return err
end

local function with_closing(cm, f, ...)
  local _ <close> = cm
  return f(cm, ...)
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
  check.callable(f, 2, "with")
  local aenter, exit = protocol(cm)
  if not aenter then
    return with_closing(cm, f, ...)
  end
  local guard = setmetatable({manager = cm, exit = exit, finished = false}, Guard)
  local n = select("#", ...)
  if n == 0 then
    return settle(guard, xpcall(run_guarded, keep_trace, guard, f, aenter(cm)))
  end
  local values = pack(aenter(cm))
  table.move({...}, 1, n, values.n + 1, values)
  return settle(guard, xpcall(run_guarded, keep_trace, guard, f, unpack(values, 1, values.n + n)))
end

return context
