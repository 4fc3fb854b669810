--- `await` of any awaitable: objects of the library by their metatable, others by `__await`.
-- @module agenda.portable.awaitable

local frame = require "agenda.portable.frame"
local faults = require "agenda.portable.errors"

local errors = faults.errors
local raise_pending, cannot_await = frame.raise_pending, frame.cannot_await

local awaitable = {}

local awaiters = {} -- metatable -> function that awaits the object

--- Has `await` of the objects with this metatable call f(object).
function awaitable.register(metatable, f)
  awaiters[metatable] = f
end

local function awaiter_of(x)
  local metatable = getmetatable(x)
  if type(metatable) ~= "table" then
    return nil
  end
  return awaiters[metatable] or rawget(metatable, "__await")
end

--- Whether a value can be awaited.
function awaitable.isawaitable(x)
  return awaiter_of(x) ~= nil
end

local function refuse(x)
  local metatable = getmetatable(x)
  local kind = type(metatable) == "table" and rawget(metatable, "__agenda_type") or type(x)
  if type(x) == "table" and rawget(x, "_kind") then
    kind = x._kind.name
  end
  error(errors.TypeError(("object %s can't be used in 'await' expression"):format(kind)), 0)
end

local function awaited(me, ...)
  me._awaiting = false
  return ...
end

--- Awaits any awaitable of the library, or an object whose metatable has `__await`.
-- @function await
-- @param x the awaitable
-- @return its results
-- @raise what it raises; TypeError for anything else; RuntimeError where nothing can wait
function awaitable.await(x)
  raise_pending()
  local awaiter = awaiter_of(x)
  if not awaiter then
    return refuse(x)
  end
  local me = frame.here()
  if me and not awaiters[getmetatable(x)] then
    me._awaiting = x
    return awaited(me, awaiter(x))
  elseif not me then
    local why = cannot_await()
    if why then
      error(errors.RuntimeError("cannot await: " .. why), 0)
    end
  end
  return awaiter(x)
end


return awaitable
