--- What the stages of both editions share: arguments, and owning what they iterate. Gives a
-- function that puts these into an edition's room, which has
--
--   asyncgen, yield, aiter, type, errors, pack, unpack   the edition's own
--   is_generator(x)                 whether it is a generator of either kind
--   close_one(closing, err)         closes what `aiter` said closes an iterator
--   owning(x, loop, ...)            loop(iterator, state, control, ...); closes x at its end
--   with_closing(closing, f, ...)   f(...); closes that at its end
-- @module agenda.portable.both.source

local checks = require "agenda.portable.both.checks"

local metamethod = checks.metamethod
local to_integer = math.tointeger or function(value)
  if value == math.floor(value) and math.abs(value) < 2 ^ 53 then return value end
end

return function(source)
  -- ----- arguments -----------------------------------------------------------------------

  -- NB: level 4 is the caller of the public function, which calls source.check_x.
  local function bad_argument(n, name, problem, ...)
    error(("bad argument #%d to '%s' (%s)"):format(n, name, problem:format(...)), 4)
  end

  local function kind_of(x)
    return x == nil and "no value" or source.type(x) or type(x)
  end

  --- Whether `aiter` takes it as one value. Calls nothing of the user's.
  function source.is_iterable(x)
    return source.is_generator(x) or type(x) == "function" or metamethod(x, "__aiter") ~= nil
      or source.type(x) == nil and metamethod(x, "__call") ~= nil
  end

  function source.check_iterable(x, n, name)
    if not source.is_iterable(x) then
      bad_argument(n, name, "iterable expected, got %s", kind_of(x))
    end
  end

  function source.check_function(f, n, name)
    if not checks.is_callable(f) then
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

  --- The options of a stage that runs a function.
  -- @tparam table|nil options
  -- @tparam table known the options that there are, by name: their types
  -- @tparam integer n which argument of the stage that is
  -- @tparam string name of the stage, for messages
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

  --- The arguments of a variadic stage, without the `nil, nil, g` that a call of a generator
  -- function at the end of the list leaves behind it.
  -- @treturn table a list with `n`
  function source.check_all(name, ...)
    local list = source.pack(...)
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

  -- ----- items ---------------------------------------------------------------------------

  --- What stands for an item where there is room for one value: that value, or a list of several.
  function source.as_one(first, ...)
    if select("#", ...) == 0 then return first end
    return source.pack(first, ...)
  end

  -- ----- owning several ------------------------------------------------------------------

  local owner = {__name = "agenda.itertools.owner"}

  --- Closes what an owner owns; a second time does nothing. Awaits.
  -- NB: a loop, for nested to-be-closed variables are limited by the C stack.
  function source.close(self, err)
    local failed = false
    for i = #self, 1, -1 do
      local closing = self[i]
      self[i] = nil
      local ok, problem = pcall(source.close_one, closing, err)
      if not ok then failed, err = true, problem end
    end
    if failed then error(err, 0) end
  end

  owner.__close = source.close

  --- A to-be-closed value that closes what was added to it, the last one first; each of them, even
  -- if one fails or its wait is cancelled.
  -- @tparam table list generators among these are owned from the start
  function source.owner(list)
    local self = setmetatable({}, owner)
    for i = 1, list.n do
      if source.is_generator(list[i]) then self[#self + 1] = list[i] end
    end
    return self
  end

  --- Adds what `aiter` said closes an iterator.
  -- @tparam table self the list of sources
  -- @param closing nil or false if nothing does
  -- @param x the value that was iterated
  function source.add(self, closing, x)
    if closing and closing ~= x then self[#self + 1] = closing end
  end

  return source
end
