--- What generators, async generators and coroutine objects have in common: factories, names,
-- fields.
-- @module agenda.portable.object

local frame = require "agenda.portable.frame"
local faults = require "agenda.portable.errors"

local TypeError = faults.errors.TypeError

local object = {}

local made = setmetatable({}, {__mode = "k"}) -- function -> name of what it makes

--- The name of the type of a value, for "got ..." in messages.
function object.typename(value, n)
  if value == nil and n == 0 then
    return "no value"
  end
  local metatable = getmetatable(value)
  local name = type(metatable) == "table" and rawget(metatable, "__name") or nil
  return type(name) == "string" and name or type(value)
end

function object.bad_argument(n, name, expected, value, count, level)
  error(("bad argument #%d to '%s' (%s expected, got %s)")
    :format(n, name, expected, object.typename(value, count)), (level or 2) + 1)
end

--- Checks a method's receiver.
function object.check(self, metatable, method)
  if getmetatable(self) ~= metatable or type(self) ~= "table" then
    object.bad_argument(1, method, metatable.__name, self, self == nil and 0 or 1, 4)
  end
end

local function definition_name(fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then
    return "[C]"
  end
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

--- Checks the arguments of a factory; its name and its function.
function object.definition(factory, ...)
  local count, name, fn = select("#", ...), ...
  local n = 2
  if type(name) ~= "string" then
    name, fn, n = nil, name, 1
  end
  if type(fn) ~= "function" then
    object.bad_argument(n, factory, "function", fn, count < n and 0 or 1, 3)
  end
  return name or definition_name(fn), fn
end

--- Remembers what a function makes, for isgeneratorfunction and its like.
function object.remember(make, name)
  made[make] = name
  return make
end

function object.made_by(x)
  return type(x) == "function" and made[x] or nil
end

--- "0x..." of an object with a `__tostring`.
function object.address(value)
  local metatable = getmetatable(value)
  local shown, name = metatable.__tostring, metatable.__name
  metatable.__tostring, metatable.__name = nil, nil
  local text = tostring(value)
  metatable.__tostring, metatable.__name = shown, name
  return text:match("0x%x+") or "0x" .. text:match("(%x+)$")
end

function object.tostring(self)
  return ("<%s %s at %s>"):format(self._kind.name, self._name, object.address(self))
end

-- `{source=, currentline=, name=}` of a body that is not finished.
local function frame_info(body)
  if body._status == "finished" then
    return nil
  end
  local info = {name = body._name, source = debug.getinfo(body._code, "S").short_src}
  if body._status == "created" then
    info.currentline = debug.getinfo(body._code, "S").linedefined
    return info
  end
  local thread = body._thread
  local level = 0
  while true do
    local at
    if thread == require "agenda.portable.host".running() then
      at = debug.getinfo(level + 1, "fl")
    else
      at = debug.getinfo(thread, level, "fl")
    end
    if not at then
      return info
    elseif at.func == body._code then
      info.currentline = at.currentline
      return info
    end
    level = level + 1
  end
end

local fields = {}

function fields.running(body)
  return (body._status == "open" or body._status == "waiting") and frame.executing(body)
end

function fields.suspended(body)
  if body._status ~= "open" and body._status ~= "waiting" then
    return false
  end
  return not frame.executing(body)
end

fields.frame = frame_info

function fields.code(body)
  return body._code
end

--- The `__index` of a class: its methods, its name, and its fields with a prefix.
function object.index(methods, prefix, more)
  local readers = {name = function(body) return body._name end}
  for name, read in pairs(fields) do
    readers[prefix .. "_" .. name] = read
  end
  for name, read in pairs(more) do
    readers[name] = read
  end
  return function(self, key)
    local method = methods[key]
    if method then
      return method
    end
    local read = readers[key]
    if read then
      return read(self)
    end
  end
end

--- The `__newindex` of a class: the names alone can be assigned.
function object.newindex(assignable)
  return function(self, key, value)
    if not assignable[key] then
      error(TypeError(("field '%s' of %s is read-only"):format(tostring(key), self._kind.name)), 0)
    elseif type(value) ~= "string" then
      error(TypeError(("%s must be set to a string, not %s"):format(key, type(value))), 0)
    end
    if key == "name" and assignable.qualname then
      rawset(self, "_qualname", self.qualname) -- which stays as it is
    end
    rawset(self, assignable[key], value)
  end
end

--- Raises what a body raised: StopIteration out of a body becomes RuntimeError (PEP 479).
function object.raise(what, err, async)
  local errors = faults.errors
  local name = errors.StopIteration:is(err) and "StopIteration"
    or async and errors.StopAsyncIteration:is(err) and "StopAsyncIteration"
  if name then
    error(errors.RuntimeError(("%s raised %s"):format(what, name), {cause = err}), 0)
  end
  return faults.propagate(err)
end

function object.any_value(...)
  for i = 1, select("#", ...) do
    if (select(i, ...)) ~= nil then
      return true
    end
  end
  return false
end

--- Drives a collected body to its end; a warning if that fails.
function object.close_collected(body)
  local errors = faults.errors
  body._hand = true
  local outcome, err = frame.hand_throw(body, errors.GeneratorExit())
  if outcome == frame.END or (outcome == frame.FAIL and errors.GeneratorExit:is(err)) then
    return
  elseif outcome ~= frame.FAIL then
    frame.drop(body)
    err = errors.RuntimeError(body._kind.what .. " ignored GeneratorExit")
  end
  faults.warn(("error while closing a collected %s '%s'"):format(body._kind.what, body._name),
    {exception = err, [body._kind.field] = body})
end

return object
