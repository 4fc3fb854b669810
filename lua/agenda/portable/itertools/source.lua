--- What the stages share: arguments, and owning what they iterate.
-- @module agenda.portable.itertools.source

local asyncgen = require "agenda.portable.asyncgen"
local generator = require "agenda.portable.generator"
local host = require "agenda.portable.host"
local inspect = require "agenda.portable.inspect"
local iterate = require "agenda.portable.iterate"

local metamethod, pack = iterate.metamethod, host.pack
local errors = require "agenda.portable.errors".errors

local source = {}

-- ----- arguments --------------------------------------------------------------------------------

-- NB: level 4 is the caller of the public function, which calls source.check_x.
local function bad_argument(n, name, problem, ...)
  error(("bad argument #%d to '%s' (%s)"):format(n, name, problem:format(...)), 4)
end

local function kind_of(x)
  return inspect.type(x) or type(x)
end

local function is_generator(x)
  local metatable = getmetatable(x)
  return metatable == asyncgen.metatable or metatable == generator.metatable
end

local function to_integer(value)
  if type(value) == "number" and value == math.floor(value) and math.abs(value) < 2 ^ 53 then
    return math.floor(value)
  end
end

--- Whether `aiter` takes it as one value. Calls nothing of the user's.
function source.is_iterable(x)
  return is_generator(x) or type(x) == "function" or metamethod(x, "__aiter") ~= nil
    or inspect.type(x) == nil and metamethod(x, "__call") ~= nil
end

function source.check_iterable(x, n, name)
  if not source.is_iterable(x) then
    bad_argument(n, name, "iterable expected, got %s", kind_of(x))
  end
end

function source.check_function(f, n, name)
  if type(f) ~= "function" and not metamethod(f, "__call") then
    bad_argument(n, name, "function expected, got %s", kind_of(f))
  end
end

--- An integer of at least `least`.
function source.check_count(value, least, n, name)
  if type(value) ~= "number" then
    bad_argument(n, name, "number expected, got %s", kind_of(value))
  end
  local count = to_integer(value)
  if not count then
    bad_argument(n, name, "number has no integer representation")
  elseif count < least then
    bad_argument(n, name, "%d or more expected, got %d", least, count)
  end
  return count
end

function source.check_seconds(value, n, name)
  if type(value) ~= "number" then
    bad_argument(n, name, "number expected, got %s", kind_of(value))
  elseif value ~= value then
    bad_argument(n, name, "not a number of seconds")
  end
end

--- The options of a stage that runs a function; `known` has their types by name.
function source.check_options(options, known, n, name)
  if options == nil then return {} end
  if type(options) ~= "table" then
    bad_argument(n, name, "table expected, got %s", kind_of(options))
  end
  for key, value in pairs(options) do
    if not known[key] then
      bad_argument(n, name, "unknown option '%s'", tostring(key))
    elseif type(value) ~= known[key] then
      bad_argument(n, name, "option '%s': %s expected, got %s", key, known[key], kind_of(value))
    end
  end
  local concurrency = options.concurrency
  if concurrency and (not to_integer(concurrency) or concurrency < 1) then
    bad_argument(n, name, "option 'concurrency': an integer of at least 1 expected, got %s",
      tostring(concurrency))
  end
  return options
end

--- The arguments of a variadic stage, without the `nil, nil, g` that a call of a generator function
-- at the end of the list leaves behind it.
function source.check_all(name, ...)
  local list = pack(...)
  local n = list.n
  local last = list[n]
  if n >= 4 and last ~= nil and list[n - 1] == nil and list[n - 2] == nil
      and (last == list[n - 3] or io.type(last)) then
    n = n - 3
  end
  list.n = n
  for i = 1, n do
    if not source.is_iterable(list[i]) then
      bad_argument(i, name, "iterable expected, got %s", kind_of(list[i]))
    end
  end
  return list
end

--- Refuses a stage whose host has not what it needs.
function source.check_host(name, ...)
  for _, call in ipairs {...} do
    if not host.calls[call] then
      error(errors.RuntimeError(("itertools.%s needs a host's %s; tell it with set_host")
        :format(name, call)), 0)
    end
  end
end

-- ----- items ------------------------------------------------------------------------------------

--- What stands for an item where there is room for one value: that value, or a list of several.
function source.as_one(first, ...)
  if select("#", ...) == 0 then return first end
  return pack(first, ...)
end

-- ----- owning -----------------------------------------------------------------------------------

--- Iterates x with `loop(iterator, state, control, ...)` and closes it after, however that ends.
function source.owning(x, loop, ...)
  local iterator, state, control, closing = iterate.aiter(x)
  return iterate.with_closing(closing, loop, iterator, state, control, ...)
end

local Owner = {__name = "agenda.itertools.owner"}

--- Closes what an owner owns, the last one first; a second time does nothing. Awaits.
function source.close(self, err)
  local failed = false
  for i = #self, 1, -1 do
    local closing = self[i]
    self[i] = nil
    local ok, problem = pcall(iterate.close, closing, err)
    if not ok then failed, err = true, problem end
  end
  if failed then error(err, 0) end
end

Owner.__close = source.close

--- Closes what was added to it; generators of the list are owned from the start.
function source.owner(list)
  local self = setmetatable({}, Owner)
  for i = 1, list.n do
    if is_generator(list[i]) then self[#self + 1] = list[i] end
  end
  return self
end

--- Adds what `aiter` said closes an iterator of x.
function source.add(self, closing, x)
  if closing and closing ~= x then self[#self + 1] = closing end
end

return source
