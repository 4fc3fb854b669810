--- The sinks: they iterate a source to its end, in the coroutine that calls them, and return.
-- @module agenda.portable.itertools.sinks

local concurrent = require "agenda.portable.itertools.concurrent"
local iterate = require "agenda.portable.iterate"
local source = require "agenda.portable.itertools.source"

local owning = source.owning

local sinks = {}

local function collect_item(list, ...)
  local value = source.as_one(...)
  if value ~= nil then list[#list + 1] = value end
  return (...)
end

local function collect_loop(iterator, state, control)
  local list = {}
  repeat
    control = collect_item(list, iterator(state, control))
  until control == nil
  return list
end

--- All items as a list. One of several values is a list of these, with `n`. Awaits.
function sinks.collect(x)
  source.check_iterable(x, 1, "collect")
  return owning(x, collect_loop)
end

local function reduce_item(f, has_result, result, first, ...)
  if first == nil then return nil, result end
  if not has_result then return first, first end
  return first, (f(result, first, ...))
end

local function reduce_loop(iterator, state, control, f, result)
  local has_result = result ~= nil
  repeat
    control, result = reduce_item(f, has_result, result, iterator(state, control))
    has_result = true
  until control == nil
  return result
end

--- The last of the running results that `scan` gives; nil without items and init. Awaits.
function sinks.reduce(f, x, init)
  source.check_function(f, 1, "reduce")
  source.check_iterable(x, 2, "reduce")
  return owning(x, reduce_loop, f, init)
end

local function foreach_item(f, first, ...)
  if first ~= nil then f(first, ...) end
  return first
end

local function foreach_loop(iterator, state, control, f)
  repeat
    control = foreach_item(f, iterator(state, control))
  until control == nil
end

local FOREACH_OPTIONS = {concurrency = "number"}

--- Calls f for each item. With concurrency n up to n calls run at once, each in a task of its own.
-- Awaits.
function sinks.foreach(f, x, options)
  source.check_function(f, 1, "foreach")
  source.check_iterable(x, 2, "foreach")
  options = source.check_options(options, FOREACH_OPTIONS, 3, "foreach")
  local n = options.concurrency or 1
  if n == 1 then
    owning(x, foreach_loop, f)
    return
  end
  local function work(...)
    f(...)
    return true
  end
  local results = concurrent.map(work, x, {concurrency = n, ordered = false})
  iterate.each(results, function() end)
end

local function count_loop(iterator, state, control)
  local n = -1
  repeat
    control = iterator(state, control)
    n = n + 1
  until control == nil
  return n
end

--- The number of items. Awaits.
function sinks.count(x)
  source.check_iterable(x, 1, "count")
  return owning(x, count_loop)
end

return sinks
