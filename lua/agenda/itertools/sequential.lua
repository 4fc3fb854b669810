--- The stages that work in the task that iterates them.
--
-- All have the same shape: the source is owned by a to-be-closed variable, and a function
-- `..._item` gets the values of an item and returns the control value for the next, or nil to end.
-- @module agenda.itertools.sequential

local core = require "agenda.core"
local iterate = require "agenda.iterate"
local source = require "agenda.itertools.source"

local asyncgen, yield = core.asyncgen, core.yield
local aiter = iterate.aiter
local check_iterable, check_function = source.check_iterable, source.check_function
local check_count, check_seconds = source.check_count, source.check_seconds

local sequential = {}

-- ----- map, filter and their like --------------------------------------------------------

local function map_item(f, first, ...)
  if first == nil then return nil end
  yield(f(first, ...))
  return first
end

-- Used by `agenda.itertools.concurrent`, which has the public `map`.
sequential.map = asyncgen("map", function(f, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  repeat
    control = map_item(f, iterator(state, control))
  until control == nil
end)

local function filter_item(f, first, ...)
  if first ~= nil and f(first, ...) then yield(first, ...) end
  return first
end

local make_filter = asyncgen("filter", function(f, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  repeat
    control = filter_item(f, iterator(state, control))
  until control == nil
end)

--- The items for which f gives a true value.
-- @function filter
-- @tparam function f gets the item's values; may await
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.filter(f, x)
  check_function(f, 1, "filter")
  check_iterable(x, 2, "filter")
  return make_filter(f, x)
end

local function takewhile_item(f, first, ...)
  if first == nil or not f(first, ...) then return nil end
  yield(first, ...)
  return first
end

local make_takewhile = asyncgen("takewhile", function(f, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  repeat
    control = takewhile_item(f, iterator(state, control))
  until control == nil
end)

--- The items before the first for which f gives a false value. That one is pulled and dropped.
-- @function takewhile
-- @tparam function f gets the item's values; may await
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.takewhile(f, x)
  check_function(f, 1, "takewhile")
  check_iterable(x, 2, "takewhile")
  return make_takewhile(f, x)
end

local function pass_item(first, ...)
  if first ~= nil then yield(first, ...) end
  return first
end

-- The next control value, and whether the items are still being dropped.
local function dropwhile_item(f, first, ...)
  if first == nil then return nil, false end
  if f(first, ...) then return first, true end
  yield(first, ...)
  return first, false
end

local make_dropwhile = asyncgen("dropwhile", function(f, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local dropping
  repeat
    control, dropping = dropwhile_item(f, iterator(state, control))
  until not dropping
  while control ~= nil do
    control = pass_item(iterator(state, control))
  end
end)

--- The items from the first on for which f gives a false value.
-- @function dropwhile
-- @tparam function f gets the item's values; may await
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.dropwhile(f, x)
  check_function(f, 1, "dropwhile")
  check_iterable(x, 2, "dropwhile")
  return make_dropwhile(f, x)
end

-- ----- take, drop, enumerate -------------------------------------------------------------

local make_take = asyncgen("take", function(n, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  for _ = 1, n do
    control = pass_item(iterator(state, control))
    if control == nil then return end
  end
end)

--- The first n items. Item n + 1 is never pulled.
-- @function take
-- @tparam integer n 0 or more
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.take(n, x)
  n = check_count(n, 0, 1, "take")
  check_iterable(x, 2, "take")
  return make_take(n, x)
end

local make_drop = asyncgen("drop", function(n, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  for _ = 1, n do
    control = iterator(state, control)
    if control == nil then return end
  end
  repeat
    control = pass_item(iterator(state, control))
  until control == nil
end)

--- The items after the first n.
-- @function drop
-- @tparam integer n 0 or more
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.drop(n, x)
  n = check_count(n, 0, 1, "drop")
  check_iterable(x, 2, "drop")
  return make_drop(n, x)
end

local function enumerate_item(i, first, ...)
  if first ~= nil then yield(i, first, ...) end
  return first
end

local make_enumerate = asyncgen("enumerate", function(x, i)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  repeat
    control = enumerate_item(i, iterator(state, control))
    i = i + 1
  until control == nil
end)

--- Each item behind its number: `1, v...`.
-- @function enumerate
-- @param x what `agenda.aiter` takes as one value
-- @tparam[opt=1] number first the first number
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.enumerate(x, first)
  check_iterable(x, 1, "enumerate")
  if first == nil then first = 1 end
  check_seconds(first, 2, "enumerate")
  return make_enumerate(x, first)
end

-- ----- several sources -------------------------------------------------------------------

local make_zip = asyncgen("zip", function(list)
  local owner <close> = source.owner(list)
  local n = list.n
  local iterators, states, controls = {}, {}, {}
  for i = 1, n do
    local closing
    iterators[i], states[i], controls[i], closing = aiter(list[i])
    source.add(owner, closing, list[i])
  end
  while n > 0 do
    for i = 1, n do
      controls[i] = iterators[i](states[i], controls[i])
      if controls[i] == nil then return end
    end
    yield(table.unpack(controls, 1, n))
  end
end)

--- The first values of the sources' items side by side, until the first source ends. They are
-- pulled one after the other, in their order.
-- @function zip
-- @param ... each what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.zip(...)
  return make_zip(source.check_all("zip", ...))
end

local function pass_all(x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  repeat
    control = pass_item(iterator(state, control))
  until control == nil
end

local make_chain = asyncgen("chain", function(list)
  local _ <close> = source.owner(list)
  for i = 1, list.n do pass_all(list[i]) end
end)

--- The items of the first source, then those of the second, and so on.
-- @function chain
-- @param ... each what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.chain(...)
  return make_chain(source.check_all("chain", ...))
end

local function flatten_item(item)
  if item == nil then
    return nil
  elseif source.is_iterable(item) then
    pass_all(item)
  elseif type(item) == "table" then
    for i = 1, item.n or #item do yield(item[i]) end
  else
    error(core.errors.TypeError(("flatten: an item is a %s, neither a list nor iterable")
      :format(core.type(item) or type(item))), 0)
  end
  return item
end

local make_flatten = asyncgen("flatten", function(x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  repeat
    control = flatten_item(iterator(state, control))
  until control == nil
end)

--- The items of the items, which are lists or what `agenda.aiter` takes. One level.
-- @function flatten
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
-- @raise TypeError, when it is iterated, for an item that is neither
function sequential.flatten(x)
  check_iterable(x, 1, "flatten")
  return make_flatten(x)
end

-- ----- running results -------------------------------------------------------------------

-- The next control value and the new result.
local function scan_item(f, result, first, ...)
  if first == nil then return nil, result end
  if result == nil then
    result = first
  else
    result = f(result, first, ...)
  end
  yield(result)
  return first, result
end

local make_scan = asyncgen("scan", function(f, x, result)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  if result ~= nil then yield(result) end
  repeat
    control, result = scan_item(f, result, iterator(state, control))
  until control == nil
end)

--- Running results: the first item (or init), then `f(result, item...)` of each. As Python's
-- accumulate.
-- @function scan
-- @tparam function f gets the result so far and the item's values; may await
-- @param x what `agenda.aiter` takes as one value
-- @param[opt] init the first result; nil: the first item
-- @treturn asyncgen an async generator (four values, for a `for`)
function sequential.scan(f, x, init)
  check_function(f, 1, "scan")
  check_iterable(x, 2, "scan")
  return make_scan(f, x, init)
end

return sequential
