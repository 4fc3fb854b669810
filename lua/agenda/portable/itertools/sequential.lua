--- The stages that work in the coroutine that iterates them.
--
-- All have the same shape: a function `..._item` gets the values of an item and returns the control
-- value for the next, or nil to end; a loop calls it; the stage owns its source.
-- @module agenda.portable.itertools.sequential

local asyncgen = require "agenda.portable.asyncgen".asyncgen
local errors = require "agenda.portable.errors".errors
local frame = require "agenda.portable.frame"
local host = require "agenda.portable.host"
local inspect = require "agenda.portable.inspect"
local iterate = require "agenda.portable.iterate"
local source = require "agenda.portable.itertools.source"

local yield, aiter, owning = frame.yield, iterate.aiter, source.owning
local check_iterable, check_function = source.check_iterable, source.check_function
local check_count, check_seconds = source.check_count, source.check_seconds

local sequential = {}

-- A stage over x whose items go through item(argument, values...).
local function stage(name, item)
  local function loop(iterator, state, control, argument)
    repeat
      control = item(argument, iterator(state, control))
    until control == nil
  end
  return asyncgen(name, function(argument, x)
    return owning(x, loop, argument)
  end)
end

-- ----- map, filter and their like --------------------------------------------------------------

-- Used by `concurrent`, which has the public `map`.
sequential.map = stage("map", function(f, first, ...)
  if first == nil then return nil end
  yield(f(first, ...))
  return first
end)

local make_filter = stage("filter", function(f, first, ...)
  if first ~= nil and f(first, ...) then yield(first, ...) end
  return first
end)

--- The items for which f gives a true value.
function sequential.filter(f, x)
  check_function(f, 1, "filter")
  check_iterable(x, 2, "filter")
  return make_filter(f, x)
end

local make_takewhile = stage("takewhile", function(f, first, ...)
  if first == nil or not f(first, ...) then return nil end
  yield(first, ...)
  return first
end)

--- The items before the first for which f gives a false value. That one is pulled and dropped.
function sequential.takewhile(f, x)
  check_function(f, 1, "takewhile")
  check_iterable(x, 2, "takewhile")
  return make_takewhile(f, x)
end

local make_dropwhile = stage("dropwhile", function(state, first, ...)
  if first == nil then return nil end
  if state.f and state.f(first, ...) then return first end
  state.f = nil
  yield(first, ...)
  return first
end)

--- The items from the first on for which f gives a false value.
function sequential.dropwhile(f, x)
  check_function(f, 1, "dropwhile")
  check_iterable(x, 2, "dropwhile")
  return make_dropwhile({f = f}, x)
end

-- ----- take, drop, enumerate -------------------------------------------------------------------

local function pass_item(first, ...)
  if first ~= nil then yield(first, ...) end
  return first
end

local function take_loop(iterator, state, control, n)
  for _ = 1, n do
    control = pass_item(iterator(state, control))
    if control == nil then return end
  end
end

local make_take = asyncgen("take", function(n, x) return owning(x, take_loop, n) end)

--- The first n items. Item n + 1 is never pulled.
function sequential.take(n, x)
  n = check_count(n, 0, 1, "take")
  check_iterable(x, 2, "take")
  return make_take(n, x)
end

local function pass_loop(iterator, state, control)
  repeat
    control = pass_item(iterator(state, control))
  until control == nil
end

local function drop_loop(iterator, state, control, n)
  for _ = 1, n do
    control = iterator(state, control)
    if control == nil then return end
  end
  return pass_loop(iterator, state, control)
end

local make_drop = asyncgen("drop", function(n, x) return owning(x, drop_loop, n) end)

--- The items after the first n.
function sequential.drop(n, x)
  n = check_count(n, 0, 1, "drop")
  check_iterable(x, 2, "drop")
  return make_drop(n, x)
end

local make_enumerate = stage("enumerate", function(state, first, ...)
  if first == nil then return nil end
  local i = state.i
  state.i = i + 1
  yield(i, first, ...)
  return first
end)

--- Each item behind its number: `1, v...`.
function sequential.enumerate(x, first)
  check_iterable(x, 1, "enumerate")
  if first == nil then first = 1 end
  check_seconds(first, 2, "enumerate")
  return make_enumerate({i = first}, x)
end

-- ----- several sources ---------------------------------------------------------------------------

local function zip_all(owner, list)
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
    yield(host.unpack(controls, 1, n))
  end
end

local make_zip = asyncgen("zip", function(list)
  local owner = source.owner(list)
  return iterate.with_closing(owner, zip_all, owner, list)
end)

--- The first values of the sources' items side by side, until the first source ends. They are
-- pulled one after the other, in their order.
function sequential.zip(...)
  return make_zip(source.check_all("zip", ...))
end

local function chain_all(list)
  for i = 1, list.n do owning(list[i], pass_loop) end
end

local make_chain = asyncgen("chain", function(list)
  return iterate.with_closing(source.owner(list), chain_all, list)
end)

--- The items of the first source, then those of the second, and so on.
function sequential.chain(...)
  return make_chain(source.check_all("chain", ...))
end

local make_flatten = stage("flatten", function(_, item)
  if item == nil then
    return nil
  elseif source.is_iterable(item) then
    owning(item, pass_loop)
  elseif type(item) == "table" then
    for i = 1, item.n or #item do yield(item[i]) end
  else
    error(errors.TypeError(("flatten: an item is a %s, neither a list nor iterable")
      :format(inspect.type(item) or type(item))), 0)
  end
  return item
end)

--- The items of the items, which are lists or what `aiter` takes. One level.
-- @raise TypeError, when it is iterated, for an item that is neither
function sequential.flatten(x)
  check_iterable(x, 1, "flatten")
  return make_flatten(nil, x)
end

-- ----- running results ---------------------------------------------------------------------------

local make_scan_items = stage("scan", function(state, first, ...)
  if first == nil then return nil end
  if state.result == nil then
    state.result = first
  else
    state.result = state.f(state.result, first, ...)
  end
  yield(state.result)
  return first
end)

local make_scan_from = asyncgen("scan", function(state, x)
  return iterate.with_closing(source.owner {n = 1, x}, function()
    yield(state.result)
    iterate.each((make_scan_items(state, x)), yield)
  end)
end)

--- Running results: the first item (or init), then `f(result, item...)` of each.
function sequential.scan(f, x, init)
  check_function(f, 1, "scan")
  check_iterable(x, 2, "scan")
  if init == nil then return make_scan_items({f = f}, x) end
  return make_scan_from({f = f, result = init}, x)
end

return sequential
