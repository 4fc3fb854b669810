--- Context managers as functions: `with`, `asynccontextmanager`, exit stacks; as agenda.context.
--
-- A manager is an object whose metatable has `__aenter(self)` and `__aexit(self, err)`. Whatever
-- has `__close` will do in its place: it counts as entered already, and its exit is that call.
-- Values to be closed (`enter`, `defer`) are for Lua 5.4, which closes them.
-- @module agenda.portable.context

local asyncgen = require "agenda.portable.asyncgen"
local awaitable = require "agenda.portable.awaitable"
local faults = require "agenda.portable.errors"
local host = require "agenda.portable.host"
local inspect = require "agenda.portable.inspect"
local iterate = require "agenda.portable.iterate"
local object = require "agenda.portable.object"

local errors, await = faults.errors, awaitable.await
local RuntimeError, TypeError = errors.RuntimeError, errors.TypeError
local StopAsyncIteration, StopIteration = errors.StopAsyncIteration, errors.StopIteration
local pack, unpack = host.pack, host.unpack

-- NB: the real one, as Lua itself looks for `__close`: a `__metatable` field hides nothing.
local metatable_of = debug and debug.getmetatable or getmetatable

local context = {}

local function metamethod(value, name)
  local metatable = metatable_of(value)
  return type(metatable) == "table" and rawget(metatable, name) or nil
end

local function is_callable(value)
  return type(value) == "function" or metamethod(value, "__call") ~= nil
end

local function check_callable(value, n, name)
  if not is_callable(value) then
    error(("bad argument #%d to '%s' (function expected, got %s)")
      :format(n, name, value == nil and "no value" or type(value)), 3)
  end
end

local function describe(value)
  local name = inspect.type(value) or metamethod(value, "__name")
  return type(name) == "string" and name or type(value)
end

-- NB: `error(nil)` has no value that an exit could tell from no error.
local function or_nil_error(err)
  if err == nil then
    return RuntimeError("nil error")
  end
  return err
end

-- Files of LuaJIT have no `__close`.
local function close_file(file)
  if io.type(file) == "file" then
    file:close()
  end
end

-- The metamethods of a manager; of something with `__close`: nil and that.
local function protocol(value)
  local aenter, aexit = metamethod(value, "__aenter"), metamethod(value, "__aexit")
  if aenter and aexit then
    return aenter, aexit
  end
  local close = metamethod(value, "__close") or io.type(value) and close_file
  if not aenter and not aexit and close then
    return nil, close
  end
  local lacks = aenter and "__aexit" or aexit and "__aenter" or "__aenter and __aexit, nor __close"
  error(TypeError(("'%s' object is not a context manager: it has no %s")
    :format(describe(value), lacks)), 0)
end

-- ----- managers from async generators ------------------------------------------------------------

local Manager = {
  __name = "agenda.asynccontextmanager",
  __agenda_type = "asynccontextmanager",
}

function Manager:__tostring()
  return ("<asynccontextmanager %s at %s>"):format(self.body.name, object.address(self))
end

local function entered_with(ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if StopAsyncIteration:is(err) then
    error(RuntimeError("generator didn't yield"), 0)
  end
  error(err, 0)
end

function Manager:__aenter()
  if self.entered then
    error(RuntimeError("generator didn't yield"), 0)
  end
  self.entered = true
  return entered_with(pcall(await, self.body:anext()))
end

-- The body yielded once more: it is closed, and that it yielded is the error, unless closing fails.
local function refuse_to_go_on(body)
  await(body:aclose())
  error(RuntimeError("generator didn't stop"), 0)
end

-- Whether what came out of the body is the very error that was thrown in. The async generator wraps
-- a StopIteration or StopAsyncIteration, and `athrow` makes an object of a class.
local function is_thrown(err, thrown)
  if rawequal(err, thrown) then
    return true
  end
  if RuntimeError:is(err) and rawequal(err.cause, thrown) then
    return StopAsyncIteration:is(thrown) or StopIteration:is(thrown)
  end
  return errors.BaseError:is(err) and rawequal(err.class, thrown)
end

function Manager:__aexit(err)
  local body = self.body
  if err == nil then
    local more, stop = pcall(await, body:anext())
    if more then
      refuse_to_go_on(body)
    end
    if not StopAsyncIteration:is(stop) then
      error(stop, 0)
    end
    return false
  end
  local more, out = pcall(await, body:athrow(err))
  if more then
    refuse_to_go_on(body)
  end
  if is_thrown(out, err) then
    return false
  end
  if StopAsyncIteration:is(out) then
    return true
  end
  error(out, 0)
end

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
    return setmetatable({body = (make(...)), entered = false}, Manager)
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
  check_callable(f, 2, "with")
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

-- ----- to be closed: Lua 5.4 ---------------------------------------------------------------------

local Entered = {__name = "agenda.entered", __agenda_type = "entered"}

function Entered:__tostring()
  return ("<entered %s at %s>"):format(describe(self.manager), object.address(self))
end

function Entered:__close(err)
  self.exit(self.manager, err)
end

--- Enters a context manager for the rest of the block: `local _ <close>, a = portable.enter(cm)`.
-- @function enter
-- @return a to-be-closed value, and the values entered with
function context.enter(cm)
  local aenter, exit = protocol(cm)
  if not aenter then
    return cm, cm
  end
  -- What can be closed by Lua knows best what to do when the block's error goes on; see `unwind`.
  if metamethod(cm, "__close") then
    return cm, aenter(cm)
  end
  return setmetatable({manager = cm, exit = exit}, Entered), aenter(cm)
end

local Deferred = {__name = "agenda.deferred", __agenda_type = "deferred"}

function Deferred:__tostring()
  return ("<deferred call at %s>"):format(object.address(self))
end

function Deferred:__close()
  self.f(unpack(self, 1, self.n))
end

--- A to-be-closed value that calls `f(...)`, without the error, at the end of the block.
-- @function defer
function context.defer(f, ...)
  check_callable(f, 1, "defer")
  local deferred = pack(...)
  deferred.f = f
  return setmetatable(deferred, Deferred)
end

-- ----- exit stacks -------------------------------------------------------------------------------

local Stack = {__name = "agenda.exitstack", __agenda_type = "exitstack"}
Stack.__index = Stack

local function check_stack(self, name)
  if metatable_of(self) ~= Stack then
    error(("bad argument #1 to '%s' (agenda.exitstack expected, got %s)")
      :format(name, self == nil and "no value" or type(self)), 3)
  end
end

local function push(self, exit)
  self.n = self.n + 1
  self[self.n] = exit
end

local function pop(self)
  local exit = self[self.n]
  self[self.n] = nil
  self.n = self.n - 1
  return exit
end

-- Runs the exits, the last one first, and those that they push. `goes_on`: Lua raises the block's
-- error again whatever this does, so that after a swallowed one the exits see it again.
-- Returns whether the block's error is swallowed.
local function unwind(self, block_error, goes_on)
  local err, raised, swallowed = block_error, false, false
  while self.n > 0 do
    local ok, result = pcall(pop(self), err)
    if not ok then
      err, raised = or_nil_error(result), true
    elseif result then
      err, raised, swallowed = nil, false, true
      if goes_on then
        err = block_error
      end
    end
  end
  if raised then
    error(err, 0)
  end
  return swallowed and block_error ~= nil
end

function Stack:__tostring()
  return ("<exitstack of %d at %s>"):format(self.n, object.address(self))
end

function Stack:__close(err)
  unwind(self, err, true)
end

function Stack:__aenter()
  return self
end

function Stack:__aexit(err)
  return unwind(self, err, false)
end

--- Enters a context manager and pushes its exit. Awaits if entering does.
-- @function exitstack:enter
-- @return the values entered with; cm itself if it has only `__close`
function Stack:enter(cm)
  check_stack(self, "enter")
  local aenter, exit = protocol(cm)
  if not aenter then
    push(self, function(err) exit(cm, err) end)
    return cm
  end
  local values = pack(aenter(cm))
  push(self, function(err) return exit(cm, err) end)
  return unpack(values, 1, values.n)
end

--- Pushes an exit without entering anything. Does not await.
-- @function exitstack:push
-- @param cm an object with `__aexit` or `__close`, or a function that is called with the error or
-- nil; a true value from `__aexit` or the function swallows the error
-- @return cm
function Stack:push(cm)
  check_stack(self, "push")
  local aexit, close = metamethod(cm, "__aexit"), metamethod(cm, "__close")
  if aexit then
    push(self, function(err) return aexit(cm, err) end)
  elseif close then
    push(self, function(err) close(cm, err) end)
  elseif is_callable(cm) then
    push(self, function(err) return cm(err) end)
  else
    error(TypeError(("'%s' object is not a context manager: it has no __aexit, nor __close")
      :format(describe(cm))), 0)
  end
  return cm
end

--- Pushes the call `f(...)`, which may await. It does not get the error and cannot swallow it.
-- @function exitstack:defer
-- @return f
function Stack:defer(f, ...)
  check_stack(self, "defer")
  check_callable(f, 1, "defer")
  local arguments = pack(...)
  push(self, function() f(unpack(arguments, 1, arguments.n)) end)
  return f
end

--- Moves all that is pushed to a new stack; this one is empty then. Does not await.
-- @function exitstack:pop_all
function Stack:pop_all()
  check_stack(self, "pop_all")
  local moved = context.exitstack()
  moved.n = self.n
  for i = 1, self.n do
    moved[i], self[i] = self[i], nil
  end
  self.n = 0
  return moved
end

--- Runs the exits now, the last one first. Awaits as they do; with nothing pushed it does nothing.
-- @function exitstack:aclose
-- @raise the newest error of an exit, if no later exit swallowed it
function Stack:aclose()
  check_stack(self, "aclose")
  unwind(self, nil, true)
end

--- A stack of exits, run in reverse order when `with` ends or `aclose()` is called (in Lua 5.4 also
-- as a to-be-closed value). Each sees the newest error; what is pushed while they run is run too.
-- @function exitstack
function context.exitstack()
  return setmetatable({n = 0}, Stack)
end

return context
