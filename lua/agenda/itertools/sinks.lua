--- The sinks: they iterate a source to its end, in the task that calls them, and return.
-- @module agenda.itertools.sinks

local iterate = require "agenda.iterate"
local concurrent = require "agenda.itertools.concurrent"
local source = require "agenda.itertools.source"

local aiter = iterate.aiter

local sinks = {}

local function collect_item(list, ...)
  local value = source.as_one(...)
  if value ~= nil then list[#list + 1] = value end
  return (...)
end

--- All items as a list. One of several values is a list of these, with `n`. Awaits.
-- @function collect
-- @param x what `agenda.aiter` takes as one value
-- @treturn table
-- @raise what the source raises
function sinks.collect(x)
  source.check_iterable(x, 1, "collect")
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local list = {}
  repeat
    control = collect_item(list, iterator(state, control))
  until control == nil
  return list
end

local function reduce_item(f, has_result, result, first, ...)
  if first == nil then return nil, result end
  if not has_result then return first, first end
  return first, (f(result, first, ...))
end

--- The last of the running results that `scan` gives. Awaits.
-- @function reduce
-- @tparam function f gets the result so far and the item's values; may await
-- @param x what `agenda.aiter` takes as one value
-- @param[opt] init the first result; nil: the first item
-- @return the result; nil without items and init
-- @raise what the source or f raises
function sinks.reduce(f, x, init)
  source.check_function(f, 1, "reduce")
  source.check_iterable(x, 2, "reduce")
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local result, has_result = init, init ~= nil
  repeat
    control, result = reduce_item(f, has_result, result, iterator(state, control))
    has_result = true
  until control == nil
  return result
end

local function foreach_item(f, first, ...)
  if first ~= nil then f(first, ...) end
  return first
end

local FOREACH_OPTIONS = {concurrency = "number"}

--- Calls f for each item. With concurrency n up to n calls run at once, each in a task of its own;
-- an error of one cancels the others. Awaits.
-- @function foreach
-- @tparam function f gets the item's values; may await; its results are dropped
-- @param x what `agenda.aiter` takes as one value
-- @tparam[opt] table options `concurrency` (default 1: no tasks)
-- @raise what the source or f raises
function sinks.foreach(f, x, options)
  source.check_function(f, 1, "foreach")
  source.check_iterable(x, 2, "foreach")
  options = source.check_options(options, FOREACH_OPTIONS, 3, "foreach")
  local n = options.concurrency or 1
  if n > 1 then
    local function work(...)
      f(...)
      return true
    end
    local results <close> = concurrent.map(work, x, {concurrency = n, ordered = false})
    while results() do end
    return
  end
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  repeat
    control = foreach_item(f, iterator(state, control))
  until control == nil
end

--- The number of items. Awaits.
-- @function count
-- @param x what `agenda.aiter` takes as one value
-- @treturn integer
-- @raise what the source raises
function sinks.count(x)
  source.check_iterable(x, 1, "count")
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local n = -1
  repeat
    control = iterator(state, control)
    n = n + 1
  until control == nil
  return n
end

return sinks
