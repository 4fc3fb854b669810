--- Generators and `yield_from` (PEP 255, 342, 380, 479).
-- @module agenda.portable.generator

local checks = require "agenda.portable.both.checks"
local frame = require "agenda.portable.frame"
local faults = require "agenda.portable.errors"
local host = require "agenda.portable.host"
local object = require "agenda.portable.object"

local call, VALUE, END = frame.call, frame.VALUE, frame.END
local errors = faults.errors
local RuntimeError, TypeError, ValueError = errors.RuntimeError, errors.TypeError, errors.ValueError
local GeneratorExit = errors.GeneratorExit
local in_flight = frame.in_flight

local generator = {}

local WHAT = "generator"
local Generator = {__name = "agenda.generator"}
local kind = {
  name = WHAT, what = WHAT, field = WHAT, yields = true, collected = object.close_collected,
}

local function check(self, method)
  object.check(self, Generator, method)
end

local function refuse_running()
  error(ValueError("generator already executing"), 0)
end

-- ----- what consumers make of an outcome --------------------------------------------------------

local function receive_iteration(_, outcome, ...)
  if outcome == VALUE then
    if ... == nil then
      error(RuntimeError("generator yielded a leading nil, which a loop takes for the end; use "
        .. "next()"), 0)
    end
    return ...
  elseif outcome == END then
    return nil
  end
  return object.raise(WHAT, ...)
end

local function receive_next(outcome, ...)
  if outcome == VALUE then
    return ...
  elseif outcome == END then
    return faults.raise_stop(...)
  end
  return object.raise(WHAT, ...)
end

local function receive_close(outcome, ...)
  if outcome == END then
    return ...
  elseif outcome == VALUE or outcome == frame.SUSPEND then
    error(RuntimeError("generator ignored GeneratorExit"), 0)
  elseif faults.is(GeneratorExit, (...)) then
    return
  end
  return object.raise(WHAT, ...)
end

-- ----- verbs -----------------------------------------------------------------------------------

local function slow_iteration(self, ...)
  if select("#", ...) > 0 then
    return receive_iteration(self, ...)
  elseif self._status == "finished" then
    return nil
  elseif in_flight(self) then
    return refuse_running()
  end
  return receive_iteration(self, call(self))
end

Generator.__call, generator.loop = frame.iterator(slow_iteration)

local methods = {}

local function send(self, ...)
  if in_flight(self) then
    return refuse_running()
  elseif self._status == "finished" then
    return faults.raise_stop()
  elseif self._status == "created" then
    if object.any_value(...) then
      error(TypeError("can't send non-nil value to a just-started generator"), 0)
    end
    return receive_next(call(self))
  end
  return receive_next(frame.send(self, select("#", ...), ...))
end

--- The next yielded values.
-- @raise StopIteration at the end (`value`, `values`)
function methods:next()
  check(self, "next")
  return send(self)
end

--- Sends values to the suspended yield; the next yielded values.
-- @raise StopIteration at the end; TypeError for a non-nil value to a just-started generator
function methods:send(...)
  check(self, "send")
  return send(self, ...)
end

--- Raises an error at the suspended yield; the next values if the body handles it.
-- @raise the error, if the body lets it out; StopIteration at the end
function methods:throw(...)
  check(self, "throw")
  if select("#", ...) == 0 then
    error("bad argument #1 to 'throw' (value expected)", 2)
  end
  local err = faults.instance((...))
  if in_flight(self) then
    return refuse_running()
  elseif self._status == "created" then
    frame.drop(self)
  end
  if self._status == "finished" then
    error(err, 0)
  end
  return receive_next(frame.throw(self, err))
end

--- Raises GeneratorExit at the suspended yield, so that the body's cleanup runs.
-- @return the body's return values, if it returns
-- @raise RuntimeError "generator ignored GeneratorExit" if it yields
function methods:close()
  check(self, "close")
  if self._status == "created" then
    frame.drop(self)
  end
  if self._status == "finished" then
    return
  elseif frame.abandoned(self) then
    return receive_close(frame.hand_throw(self, GeneratorExit()))
  elseif in_flight(self) then
    return refuse_running()
  end
  return receive_close(frame.throw(self, GeneratorExit()))
end

Generator.__close = methods.close
Generator.__tostring = object.tostring
Generator.__newindex = object.newindex {name = "_name"}
Generator.__index = object.index(methods, "gi", {
  gi_yieldfrom = function(self)
    return self.gi_suspended and self._delegate or nil
  end,
})
kind.metatable = Generator

--- Makes a generator function (PEP 255). Calling it runs nothing and returns the generator, nil,
-- nil, the generator.
-- @function generator
-- @tparam[opt="file.lua:12"] string name
-- @tparam function fn the body
-- @treturn function
function generator.generator(...)
  local name, fn = object.definition("generator", ...)
  local new = frame.new
  return object.remember(function(...)
    local made = new(kind, Generator, name, fn, ...)
    return made, nil, nil, made
  end, WHAT)
end

-- ----- yield_from --------------------------------------------------------------------------------

-- What came of the sub-generator; what is sent or thrown in at the delegation goes on to it.
local resume_delegation

local function delegated(me, sub, outcome, ...)
  if outcome == VALUE then
    return resume_delegation(me, sub, frame.exchange(...))
  end
  me._delegate = false
  if outcome == END then
    return ...
  end
  return object.raise(WHAT, ...)
end

local function closed_delegate(err, outcome, ...)
  if outcome == VALUE or (outcome == frame.FAIL and not faults.is(GeneratorExit, (...))) then
    return receive_close(outcome, ...)
  end
  error(err, 0)
end

function resume_delegation(me, sub, sent, ...)
  if sub._status == "finished" then
    me._delegate = false
    if sent then
      return
    end
    error((...), 0)
  elseif in_flight(sub) then
    me._delegate = false
    return refuse_running()
  elseif sent then
    return delegated(me, sub, frame.send(sub, select("#", ...), ...))
  end
  local err = ...
  if faults.is(GeneratorExit, err) then
    me._delegate = false
    return closed_delegate(err, frame.throw(sub, err))
  end
  return delegated(me, sub, frame.throw(sub, err))
end

local function sent_to_iterator(sent, ...)
  if not sent then
    error((...), 0)
  elseif object.any_value(...) then
    error(TypeError("can't send a non-nil value to a plain iterator"), 0)
  end
end

local function yield_item(first, ...)
  if first == nil then
    return nil
  end
  sent_to_iterator(frame.exchange(first, ...))
  return first
end

local function yield_items(iterator, state, control)
  repeat
    control = yield_item(iterator(state, control))
  until control == nil
end

local function close_items(me, closing, ok, err)
  me._delegate = false
  local close = closing ~= nil and (getmetatable(closing) or {}).__close
  if close then
    if ok then
      err = nil
    end
    close(closing, err)
  end
  if not ok then
    error(err, 0)
  end
end

--- Delegates to a generator, or to anything that a `for` accepts (PEP 380).
-- @function yield_from
-- @return the sub-generator's return values
-- @raise TypeError inside an async generator or for what cannot be iterated; RuntimeError outside a
-- generator
function generator.yield_from(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'yield_from' (value expected)", 2)
  end
  local x, state, control, closing = ...
  local me = frame.here()
  if me and me._kind.async then
    error(TypeError("'yield_from' inside an async generator"), 0)
  elseif not me or not me._kind.yields or not host.isyieldable() then
    return frame.yield()
  end
  local metatable = getmetatable(x)
  if metatable == Generator then
    if x._status == "finished" then
      return
    elseif in_flight(x) then
      return refuse_running()
    end
    me._delegate = x
    return delegated(me, x, call(x))
  end
  if not checks.is_callable(x) then
    local made = type(x) == "table" and type(rawget(x, "_kind")) == "table" and x._kind.name
    error(TypeError(("'%s' is not iterable"):format(made or type(x))), 0)
  end
  me._delegate = x
  return close_items(me, closing, pcall(yield_items, x, state, control))
end

generator.metatable = Generator

return generator
