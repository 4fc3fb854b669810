--- Error objects, their classes, traces, and warnings.
-- @module agenda.portable.errors

local host = require "agenda.portable.host"

local errors = {}

-- What belongs to classes, kept out of their fields.
local metatable_of = setmetatable({}, {__mode = "k"})  -- class -> metatable of its instances
local class_of = setmetatable({}, {__mode = "k"})      -- metatable of instances -> class

-- ----- traces -----------------------------------------------------------------------------------

local RECENT = 32           -- traces of errors that are not objects
local SECTIONS = 24         -- coroutines in one trace
local traces = setmetatable({}, {__mode = "k"})
local recent, last_recent = {}, 0

local function find_trace(err)
  if type(err) == "table" or type(err) == "userdata" then
    return traces[err]
  end
  for _, entry in ipairs(recent) do
    if rawequal(entry.err, err) then
      return entry.trace
    end
  end
end

local function new_trace(err)
  local trace = {}
  if type(err) == "table" or type(err) == "userdata" then
    traces[err] = trace
  else
    last_recent = last_recent % RECENT + 1
    recent[last_recent] = {err = err, trace = trace}
  end
  return trace
end

local function trace_text(err)
  local trace = err ~= nil and find_trace(err) or nil
  if not trace then
    return nil
  end
  return "stack traceback:\n" .. table.concat(trace, "\n\t(awaited by)\n")
end

-- ----- classes ----------------------------------------------------------------------------------

local Class = {__name = "agenda.error_class"}

local function check_class(value, name)
  if type(value) ~= "table" or not metatable_of[value] then
    error(("bad argument #1 to '%s' (error class expected, got %s)"):format(name, type(value)), 3)
  end
end

local function instance_index(self, key)
  local class = class_of[getmetatable(self)]
  if key == "class" then
    return class
  elseif key == "traceback" then
    return trace_text(self)
  elseif key == "parent" then
    return nil
  end
  return class[key]
end

local function instance_tostring(self)
  local name, message = class_of[getmetatable(self)].name, rawget(self, "message")
  local text = message == nil and "" or tostring(message)
  return text == "" and name or name .. ": " .. text
end

local function new_class(name, parent)
  local class = {name = name, parent = parent}
  local metatable = {
    __name = "agenda.errors." .. name,
    __index = instance_index,
    __tostring = instance_tostring,
  }
  metatable_of[class] = metatable
  class_of[metatable] = class
  return setmetatable(class, Class)
end

local function descends(class, ancestor)
  while class ~= nil do
    if rawequal(class, ancestor) then
      return true
    end
    class = rawget(class, "parent")
  end
  return false
end

local function is(class, value)
  if type(value) ~= "table" then
    return false
  end
  local metatable = getmetatable(value)
  local found = type(metatable) == "table" and class_of[metatable] or nil
  return found ~= nil and descends(found, class)
end

function Class:__index(key)
  local parent = rawget(self, "parent")
  return parent and parent[key]
end

function Class:__tostring()
  return ("<error class %s>"):format(self.name)
end

local function check_group(class, list)
  if descends(class, errors.ExceptionGroup) and (type(list) ~= "table" or #list == 0) then
    error(errors.ValueError("an ExceptionGroup needs a list of at least one error"), 0)
  end
end

function Class:__call(message, fields)
  check_class(self, "error class")
  if fields ~= nil and type(fields) ~= "table" then
    error(("bad argument #2 to '%s' (table expected, got %s)"):format(self.name, type(fields)), 2)
  end
  local err = setmetatable({message = message}, metatable_of[self])
  for key, value in pairs(fields or {}) do
    rawset(err, key, value)
  end
  check_group(self, rawget(err, "errors"))
  return err
end

--- A new error class.
-- @tparam string name its name, as tostring shows it
-- @tparam[opt=errors.Error] table parent the class that it extends
-- @treturn table the class
function errors.class(name, parent)
  if type(name) ~= "string" then
    error(("bad argument #1 to 'class' (string expected, got %s)")
      :format(name == nil and "no value" or type(name)), 2)
  end
  if parent ~= nil and not (type(parent) == "table" and metatable_of[parent]) then
    error(("bad argument #2 to 'class' (error class expected, got %s)"):format(type(parent)), 2)
  end
  return new_class(name, parent or errors.Error)
end

errors.BaseError = new_class("BaseError")

function errors.BaseError:is(value)
  check_class(self, "is")
  return is(self, value)
end

for _, name in ipairs {"GeneratorExit", "CancelledError", "KeyboardInterrupt", "Error"} do
  errors[name] = new_class(name, errors.BaseError)
end
for _, name in ipairs {
  "RuntimeError", "TypeError", "ValueError", "InvalidStateError", "TimeoutError", "StopIteration",
  "StopAsyncIteration", "OSError", "TLSError", "IncompleteReadError", "LimitOverrunError",
  "QueueEmpty", "QueueFull", "QueueShutDown", "BrokenBarrierError", "ExceptionGroup",
} do
  errors[name] = new_class(name, errors.Error)
end

require "agenda.portable.exception_group"(errors.ExceptionGroup)

-- ----- between rooms ----------------------------------------------------------------------------

local internal = {errors = errors}

internal.is = is

--- An error class where an error is expected makes an instance of it.
function internal.instance(err)
  if type(err) == "table" and metatable_of[err] then
    check_group(err)
    return setmetatable({}, metatable_of[err])
  end
  return err
end

local quiet = {
  [errors.StopIteration] = true, [errors.StopAsyncIteration] = true,
  [errors.GeneratorExit] = true, [errors.CancelledError] = true,
}

-- Whether an error is a matter of course, whose trace nobody wants.
local function is_flow(err)
  if type(err) ~= "table" then return false end
  local metatable = getmetatable(err)
  local class = type(metatable) == "table" and class_of[metatable] or nil
  while class do
    if quiet[class] then return true end
    class = rawget(class, "parent")
  end
  return false
end

local function append(trace, text)
  if #trace < SECTIONS then
    trace[#trace + 1] = (text:gsub("^%s*stack traceback:\n", ""))
  end
end

-- The error that a consumer is just raising again: its trace goes on, others begin one.
local propagating

--- Notes where an error was raised; an error object that is raised again keeps its first trace.
-- @param err the error
-- @tparam ?thread thread the coroutine that died of it; nil: the running one
-- @tparam ?number level where that one's trace begins
function internal.record(err, thread, level)
  local on_its_way = rawequal(err, propagating)
  propagating = nil
  if on_its_way or err == nil or is_flow(err) then return end
  if type(err) ~= "table" or not traces[err] then
    append(new_trace(err), thread and debug.traceback(thread) or debug.traceback("", level or 2))
  end
end

--- Raises in a consumer what its body raised; its trace shows the consumer too.
function internal.propagate(err)
  if err ~= nil and not is_flow(err) then
    local trace = find_trace(err)
    if trace then
      append(trace, debug.traceback("", 2))
    end
  end
  propagating = err
  error(err, 0)
end

--- The recorded trace of an error that crossed agenda; also a message handler.
-- @function traceback
-- @param err any error value, strings included
-- @treturn string its text, and where it was raised if that is known
function internal.traceback(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'traceback' (value expected)", 2)
  end
  local err = ...
  return tostring(err) .. "\n" .. (trace_text(err) or debug.traceback("", 2):gsub("^\n", ""))
end

local function passed(ok, ...)
  if not ok then
    local err = ...
    if is(errors.BaseError, err) and not is(errors.Error, err) then
      error(err, 0)
    end
  end
  return ok, ...
end

--- Like `pcall`, but cancellation, GeneratorExit and KeyboardInterrupt pass through.
-- @function pcall
-- @tparam function f called with the arguments; it may await
-- @param ... the arguments
-- @treturn boolean true and f's results, or false and the error
function internal.pcall(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'pcall' (value expected)", 2)
  end
  return passed(pcall(...))
end

-- ----- warnings ---------------------------------------------------------------------------------

local warning_handler

--- Where warnings go: `f(context)` with a table with `message` and perhaps `exception`, `asyncgen`,
-- `generator`; nil: one line to stderr, or to nginx's error log.
-- @function set_warning_handler
-- @tparam ?function f
function internal.set_warning_handler(f)
  if f ~= nil and type(f) ~= "function" then
    error(("bad argument #1 to 'set_warning_handler' (function expected, got %s)")
      :format(type(f)), 2)
  end
  warning_handler = f
end

local function print_warning(context)
  local line = "agenda: " .. context.message
  if context.exception ~= nil then
    line = line .. ": " .. tostring(context.exception)
  end
  host.print_error(line)
end

function internal.warn(message, context)
  context = context or {}
  context.message = message
  if context.exception ~= nil then
    context.traceback = trace_text(context.exception)
  end
  if not warning_handler then
    return print_warning(context)
  end
  local ok, err = pcall(warning_handler, context)
  if not ok then
    host.print_error("agenda: error in the warning handler: " .. tostring(err))
    print_warning(context)
  end
end

--- Raises StopIteration with values.
function internal.raise_stop(...)
  local values = host.pack(...)
  error(errors.StopIteration(nil, {value = values[1], values = values}), 0)
end

return internal
