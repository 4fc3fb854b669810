--- Coroutine objects (PEP 492): lazy awaitable values, awaited once or driven by hand.
-- @module agenda.portable.coroutine

local awaitable = require "agenda.portable.awaitable"
local frame = require "agenda.portable.frame"
local faults = require "agenda.portable.errors"
local object = require "agenda.portable.object"

local SUSPEND, END, executing = frame.SUSPEND, frame.END, frame.executing
local errors = faults.errors
local RuntimeError, TypeError, ValueError = errors.RuntimeError, errors.TypeError, errors.ValueError

local coroutines = {}

local WHAT = "coroutine"
local Coroutine = {__name = "agenda.coroutine"}
local kind = {name = WHAT, what = WHAT, field = WHAT, yields = false, metatable = Coroutine}

local function receive(outcome, ...)
  if outcome == END then
    return ...
  end
  return object.raise(WHAT, (...))
end

-- `by_hand`: it may be on its way already.
local function check_usable(self, by_hand)
  if self._status == "finished" then
    error(RuntimeError("cannot reuse already awaited coroutine"), 0)
  elseif self._status ~= "created" and not self._leaf and executing(self) then
    error(ValueError("coroutine already executing"), 0)
  elseif self._status ~= "created" and not (by_hand and self._hand) then
    error(RuntimeError("coroutine is being awaited already"), 0)
  end
end

local function touch(self)
  self._begun = true
end

awaitable.register(Coroutine, function(self)
  check_usable(self)
  touch(self)
  return receive(frame.call(self))
end)

local function finish_step(outcome, ...)
  if outcome == SUSPEND then
    return ...
  elseif outcome == END then
    return faults.raise_stop(...)
  end
  return object.raise(WHAT, (...))
end

local function finish_close(outcome, ...)
  if outcome == SUSPEND then
    error(RuntimeError("coroutine ignored GeneratorExit"), 0)
  elseif outcome == END then
    return ...
  elseif not errors.GeneratorExit:is((...)) then
    return object.raise(WHAT, (...))
  end
end

local methods = {}

local function check(self, method)
  object.check(self, Coroutine, method)
end

--- Drives the coroutine to its next wait, with no loop.
-- @return what it suspends with
-- @raise StopIteration at the end (`value`, `values`)
function methods:send(...)
  check(self, "send")
  check_usable(self, true)
  if self._status ~= "created" then
    return finish_step(frame.hand(self, select("#", ...), ...))
  elseif object.any_value(...) then
    error(TypeError("can't send non-nil value to a just-started coroutine"), 0)
  end
  touch(self)
  return finish_step(frame.hand(self, 0))
end

--- Raises an error where the coroutine waits, and drives it on.
function methods:throw(...)
  check(self, "throw")
  if select("#", ...) == 0 then
    error("bad argument #1 to 'throw' (value expected)", 2)
  end
  check_usable(self, true)
  touch(self)
  local err = faults.instance((...))
  if self._status == "created" then
    frame.drop(self)
    error(err, 0)
  end
  return finish_step(frame.hand_throw(self, err))
end

--- Closes the coroutine: GeneratorExit where it waits, so that its cleanup runs.
-- @return what the body returns, if it handles that and returns
function methods:close()
  check(self, "close")
  touch(self)
  if self._status == "finished" then
    return
  elseif self._status == "created" then
    return frame.drop(self)
  end
  if not frame.abandoned(self) then
    check_usable(self, true)
  end
  return finish_close(frame.hand_throw(self, errors.GeneratorExit()))
end

--- Awaits the coroutine; the same as `await(co)`.
function methods:await()
  check(self, "await")
  return awaitable.await(self)
end

function kind.collected(body)
  if body._status ~= "created" then
    return object.close_collected(body)
  elseif not body._begun then
    frame.drop(body)
    faults.warn(("coroutine '%s' was never awaited"):format(body._name), {coroutine = body})
  end
end

Coroutine.__close = methods.close
Coroutine.__tostring = object.tostring
Coroutine.__newindex = object.newindex {name = "_name"}
Coroutine.__index = object.index(methods, "cr", {
  cr_await = function(self)
    return self._status == "waiting" and not executing(self) and self._awaited or nil
  end,
})

--- Makes a coroutine function: calling it returns a coroutine object and runs nothing (PEP 492).
-- @function async
-- @tparam[opt="file.lua:12"] string name
-- @tparam function fn the body
-- @treturn function
function coroutines.async(...)
  local name, fn = object.definition("async", ...)
  return object.remember(function(...)
    local made = frame.new(kind, Coroutine, name, fn, ...)
    frame.arm(made)
    return made
  end, WHAT)
end

return coroutines
