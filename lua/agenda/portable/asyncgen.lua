--- Async generators (PEP 525): iteration, closing, collection.
-- @module agenda.portable.asyncgen

local awaitable = require "agenda.portable.awaitable"
local frame = require "agenda.portable.frame"
local faults = require "agenda.portable.errors"
local hooks = require "agenda.portable.hooks"
local object = require "agenda.portable.object"

local call, VALUE, END, SUSPEND = frame.call, frame.VALUE, frame.END, frame.SUSPEND
local in_flight = frame.in_flight
local errors = faults.errors
local RuntimeError, TypeError = errors.RuntimeError, errors.TypeError
local GeneratorExit, StopAsyncIteration = errors.GeneratorExit, errors.StopAsyncIteration

local asyncgen = {}

local WHAT = "async generator"
local AsyncGenerator = {__name = "agenda.asyncgen"}
local kind = {
  name = "async_generator", what = WHAT, field = "asyncgen", yields = true, async = true,
  metatable = AsyncGenerator,
}

local function refuse_running()
  error(RuntimeError("asynchronous generator is already running"), 0)
end

-- ----- what consumers make of an outcome -------------------------------------------------------

-- A body that returned values, or raised: the errors that PEP 525 makes of it.
local function raise_end(outcome, ...)
  if outcome == END then
    error(TypeError("async generator returned a value"), 0)
  end
  return object.raise(WHAT, (...), true)
end

local function receive_iteration(_, outcome, ...)
  if outcome == VALUE then
    if ... == nil then
      error(RuntimeError("async generator yielded a leading nil, which a loop takes for the end; "
        .. "use await(g:anext())"), 0)
    end
    return ...
  elseif outcome == END and not object.any_value(...) then
    return nil
  end
  return raise_end(outcome, ...)
end

local function receive_next(outcome, ...)
  if outcome == VALUE then
    return ...
  elseif outcome == END and not object.any_value(...) then
    error(StopAsyncIteration(), 0)
  end
  return raise_end(outcome, ...)
end

local function receive_close(outcome, ...)
  if outcome == VALUE or outcome == SUSPEND then
    error(RuntimeError("async generator ignored GeneratorExit"), 0)
  elseif outcome == END and not object.any_value(...)
      or outcome ~= END and faults.is(GeneratorExit, (...)) then
    return
  end
  return raise_end(outcome, ...)
end

-- ----- iteration ---------------------------------------------------------------------------------

local function begin(self)
  if not self._begun then
    hooks.first(self)
  end
end

local function slow_iteration(self, ...)
  if select("#", ...) > 0 then
    return receive_iteration(self, ...)
  end
  local status = self._status
  if status == "created" then
    begin(self)
    if self._status ~= "created" then
      return self() -- the hook has iterated it
    end
  elseif status == "finished" then
    return nil
  elseif in_flight(self) then
    return refuse_running()
  end
  return receive_iteration(self, call(self))
end

AsyncGenerator.__call, asyncgen.loop = frame.iterator(slow_iteration)

-- ----- anext, asend, athrow, aclose ------------------------------------------------------------
--
--           await: to the end
--     new ---------------------> spent
--      |                           ^
--      | send, throw by hand       | value, end, error, close
--      +-------> stepping ---------+
--                 |    ^ send, throw: waits again
--                 +----+

local Asend = {__name = "agenda.asyncgen_asend", __agenda_type = "async_generator_asend"}
local Athrow = {__name = "agenda.asyncgen_athrow", __agenda_type = "async_generator_athrow"}

local function new_call(generator, metatable, verb, n, value)
  return setmetatable({
    _generator = generator, _verb = verb, _state = "new", _count = n, _value = value,
  }, metatable)
end

local function is_sending(self)
  return getmetatable(self) == Asend
end

local function refuse_spent(self)
  error(RuntimeError("cannot reuse already awaited "
    .. (is_sending(self) and "anext()/asend()" or "athrow()/aclose()")), 0)
end

local unpack = require "agenda.portable.host".unpack

-- Sends what the call was made with, or what the first step by hand brought in its place.
local function send(self, step, ...)
  local generator = self._generator
  local n = select("#", ...)
  if generator._status == "finished" then
    error(StopAsyncIteration(), 0)
  elseif not object.any_value(...) then
    n = self._count
    if n == 1 then
      return step(generator, 1, self._value)
    elseif n > 1 then
      return step(generator, n, unpack(self._value, 1, n))
    end
    return step(generator, 0)
  end
  return step(generator, n, ...)
end

-- A generator that has not begun takes no values.
local function first_step(step)
  return function(generator, n, ...)
    if generator._status ~= "created" then
      return step(generator, n, ...)
    elseif object.any_value(...) then
      error(TypeError("can't send non-nil value to a just-started async generator"), 0)
    end
    begin(generator)
    if in_flight(generator) then -- the hook may have used it
      return refuse_running()
    elseif generator._status == "finished" then
      error(StopAsyncIteration(), 0)
    end
    return step(generator, 0)
  end
end

local send_awaiting, send_by_hand = first_step(frame.send), first_step(frame.hand)

-- Spends a new call. False if there is nothing to raise the error in.
local function ready_to_throw(self, err)
  local generator = self._generator
  local fresh = generator._status == "created"
  if fresh then
    frame.drop(generator)
  end
  if generator._status ~= "finished" then
    return true
  elseif self._verb ~= "aclose" then
    error(err, 0)
  end
  return false
end

local function spend(self)
  if self._state ~= "new" then
    return refuse_spent(self)
  end
  self._state = "spent"
  if in_flight(self._generator) then
    return refuse_running()
  end
end

local function error_of(self)
  if self._verb == "aclose" then
    return GeneratorExit()
  end
  return self._value
end

local function receive_of(self)
  return self._verb == "aclose" and receive_close or receive_next
end

local function await_call(self)
  spend(self)
  local generator = self._generator
  generator._by = self
  if is_sending(self) then
    return receive_next(send(self, send_awaiting))
  end
  local err = error_of(self)
  if ready_to_throw(self, err) then
    return receive_of(self)(frame.throw(generator, err))
  end
end

local methods_of_call = {}

local function stopped(...)
  return faults.raise_stop(...)
end

-- The end of a step by hand: waits come out as values, the end as StopIteration.
local function finish_step(self, outcome, ...)
  if outcome == SUSPEND then
    self._state = "stepping"
    return ...
  end
  self._state = "spent"
  return stopped(receive_of(self)(outcome, ...))
end

local function check_call(self, method)
  if getmetatable(self) ~= Athrow then
    object.check(self, Asend, method)
  end
end

-- Whether the generator still waits in a step of this call.
local function check_stepping(self)
  local generator = self._generator
  if generator._status ~= "waiting" or not generator._hand or not generator._leaf then
    return refuse_running()
  end
end

--- Drives the call to its next wait, with no loop (PEP 525).
function methods_of_call:send(...)
  check_call(self, "send")
  if self._state == "stepping" then
    check_stepping(self)
    return finish_step(self, frame.hand(self._generator, select("#", ...), ...))
  elseif self._state == "new" and not is_sending(self) and object.any_value(...) then
    error(RuntimeError("can't send non-nil value to a just-started coroutine"), 0)
  end
  spend(self)
  self._generator._by = self
  if is_sending(self) then
    return finish_step(self, send(self, send_by_hand, ...))
  end
  local err = error_of(self)
  if not ready_to_throw(self, err) then
    return stopped()
  end
  return finish_step(self, frame.hand_throw(self._generator, err))
end

--- Raises an error where the call waits; before its first step, at the generator's yield.
function methods_of_call:throw(...)
  check_call(self, "throw")
  if select("#", ...) == 0 then
    error("bad argument #1 to 'throw' (value expected)", 2)
  end
  local err = faults.instance((...))
  if self._state == "stepping" then
    check_stepping(self)
  else
    spend(self)
    if self._generator._status == "created" then
      frame.drop(self._generator)
    end
    if self._generator._status == "finished" then
      if self._verb == "aclose" and faults.is(GeneratorExit, err) then
        return stopped()
      end
      error(err, 0)
    end
  end
  return finish_step(self, frame.hand_throw(self._generator, err))
end

-- A body that waits once more is still in flight.
local function finish_close(self, outcome, ...)
  if outcome == SUSPEND then
    self._state = "stepping"
  end
  return receive_close(outcome, ...)
end

--- Gives the call up. In flight, the body gets GeneratorExit and the generator is finished.
function methods_of_call:close()
  check_call(self, "close")
  local generator = self._generator
  local stepping = self._state == "stepping" and generator._status ~= "finished"
  if stepping then
    check_stepping(self)
  end
  self._state = "spent"
  if stepping then
    return finish_close(self, frame.hand_throw(generator, GeneratorExit()))
  end
end

--- Awaits the call; the same as `await(call)`.
function methods_of_call:await()
  check_call(self, "await")
  return awaitable.await(self)
end

for _, metatable in ipairs {Asend, Athrow} do
  metatable.__index = methods_of_call
  function metatable:__tostring()
    return ("<%s %s of %s at %s>"):format(metatable.__agenda_type, self._verb,
      self._generator._name, object.address(self))
  end
  awaitable.register(metatable, await_call)
end

local methods = {}

local function check(self, method)
  object.check(self, AsyncGenerator, method)
end

--- An awaitable of the next values.
-- @treturn awaitable it ends with StopAsyncIteration at the end
function methods:anext()
  check(self, "anext")
  return new_call(self, Asend, "anext", 0)
end

--- An awaitable that sends values to the suspended yield and gives the next values.
function methods:asend(...)
  check(self, "asend")
  local n = select("#", ...)
  if n <= 1 then
    return new_call(self, Asend, "asend", n, ...)
  end
  return new_call(self, Asend, "asend", n, {...})
end

--- An awaitable that raises an error at the suspended yield and gives the next values.
function methods:athrow(...)
  check(self, "athrow")
  if select("#", ...) == 0 then
    error("bad argument #1 to 'athrow' (value expected)", 2)
  end
  return new_call(self, Athrow, "athrow", 1, faults.instance((...)))
end

--- An awaitable that raises GeneratorExit at the suspended yield and runs the cleanup.
function methods:aclose()
  check(self, "aclose")
  return new_call(self, Athrow, "aclose", 0)
end

-- ----- closing and collection --------------------------------------------------------------------

local function raise_no_wait(self, why)
  error(RuntimeError(("%s cannot finish its cleanup here, and no loop runs to do so: %s")
    :format(tostring(self), why)), 0)
end

local function close_without_waiting(self)
  local outcome, err = frame.hand_throw(self, GeneratorExit())
  if outcome == SUSPEND then
    frame.drop(self)
    return raise_no_wait(self, "it waits")
  end
  return receive_close(outcome, err)
end

--- The end of a loop or block that owns the generator: `aclose()`, awaited in place. One that
-- another cleanup closes already is left to it.
function asyncgen.close(self)
  local status = self._status
  if status == "created" then
    frame.drop(self)
  elseif status == "finished" then
    return
  elseif frame.abandoned(self) then
    return close_without_waiting(self)
  elseif in_flight(self) then
    if self._closer then return end
    return refuse_running()
  elseif frame.cannot_await() then
    return close_without_waiting(self)
  else
    self._closer = true
    return receive_close(frame.throw(self, GeneratorExit()))
  end
end

AsyncGenerator.__close = asyncgen.close

local function close_adopted(body)
  if body._status == "waiting" then
    return receive_close(frame.take_over(body, GeneratorExit()))
  end
  return asyncgen.close(body)
end

-- What the host runs for a generator that was collected while suspended.
local function close_later(body)
  if body._status == "finished" or body._closer then return end
  local ok, err = pcall(close_adopted, body)
  if not ok then
    if body._status ~= "finished" then frame.drop(body) end
    faults.warn(("error while closing a collected async generator '%s'"):format(body._name),
      {exception = err, asyncgen = body})
  end
end

local own_finalizer = hooks.install(close_later, object.close_collected)

function kind.collected(body)
  local finalizer = body._finalizer
  if body._dead or not finalizer or (body._status ~= "open" and finalizer ~= own_finalizer) then
    return object.close_collected(body)
  end
  body._dead = true -- collected again, it is not handed out a second time
  frame.arm(body)
  local ok, err = pcall(finalizer, body)
  if not ok then
    faults.warn("error in the finalizer of an async generator", {exception = err, asyncgen = body})
  end
end

-- ----- fields and class -------------------------------------------------------------------------

AsyncGenerator.__tostring = object.tostring
AsyncGenerator.__newindex = object.newindex {name = "_name", qualname = "_qualname"}
AsyncGenerator.__index = object.index(methods, "ag", {
  ag_running = function(self)
    return in_flight(self)
  end,
  ag_await = function(self)
    return self._status == "waiting" and not frame.executing(self) and self._awaited or nil
  end,
  qualname = function(self)
    return rawget(self, "_qualname") or self._name
  end,
})

--- Makes an async generator function (PEP 525). Calling it runs nothing and returns the async
-- generator, nil, nil, the async generator.
-- @function asyncgen
-- @tparam[opt="file.lua:12"] string name
-- @tparam function fn the body
-- @treturn function
function asyncgen.asyncgen(...)
  local name, fn = object.definition("asyncgen", ...)
  local new = frame.new
  return object.remember(function(...)
    local made = new(kind, AsyncGenerator, name, fn, ...)
    return made, nil, nil, made
  end, "async_generator")
end

asyncgen.metatable = AsyncGenerator

return asyncgen
