--- The sinks of both editions: they iterate a source to its end, in the coroutine that calls them,
-- and return.
-- @module agenda.portable.both.sinks

-- @tparam table source an edition's, see agenda.portable.both.source
-- @tparam function map the edition's
return function(source, map)
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
  -- @function collect
  -- @param x what `agenda.aiter` takes as one value
  -- @treturn table
  -- @raise what the source raises
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

  local function count_loop(iterator, state, control)
    local n = -1
    repeat
      control = iterator(state, control)
      n = n + 1
    until control == nil
    return n
  end

  local FOREACH_OPTIONS = {concurrency = "number"}

  --- Calls f for each item. With concurrency n up to n calls run at once, each in a task of its
  -- own; an error of one cancels the others. Awaits.
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
    if n == 1 then
      owning(x, foreach_loop, f)
      return
    end
    local function work(...)
      f(...)
      return true
    end
    owning((map(work, x, {concurrency = n, ordered = false})), count_loop)
  end

  --- The number of items. Awaits.
  -- @function count
  -- @param x what `agenda.aiter` takes as one value
  -- @treturn integer
  -- @raise what the source raises
  function sinks.count(x)
    source.check_iterable(x, 1, "count")
    return owning(x, count_loop)
  end

  return sinks
end
