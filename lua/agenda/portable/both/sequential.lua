--- The stages that work in the coroutine that iterates them, of both editions.
--
-- All have the same shape: a function `..._item` gets the values of an item and returns the control
-- value for the next, or nil to end; a loop calls it; the stage owns its source.
-- @module agenda.portable.both.sequential

-- @tparam table source an edition's, see agenda.portable.both.source
return function(source)
  local asyncgen, yield, aiter = source.asyncgen, source.yield, source.aiter
  local owning, with_closing, unpack = source.owning, source.with_closing, source.unpack
  local check_iterable, check_function = source.check_iterable, source.check_function
  local check_count, check_seconds = source.check_count, source.check_seconds

  local sequential = {}

  -- A stage over x that runs loop(iterator, state, control, argument).
  local function stage(name, loop)
    return asyncgen(name, function(argument, x)
      return owning(x, loop, argument)
    end)
  end

  -- A stage over x whose items go through item(argument, values...).
  local function stage_of_items(name, item)
    return stage(name, function(iterator, state, control, argument)
      repeat
        control = item(argument, iterator(state, control))
      until control == nil
    end)
  end

  -- What makes a stage of a function, or of a number of items, and x, once they are checked.
  local function of_function(name, make)
    return function(f, x)
      check_function(f, 1, name)
      check_iterable(x, 2, name)
      return make(f, x)
    end
  end

  local function of_count(name, make)
    return function(n, x)
      n = check_count(n, 0, 1, name)
      check_iterable(x, 2, name)
      return make(n, x)
    end
  end

  local function pass_item(first, ...)
    if first ~= nil then yield(first, ...) end
    return first
  end

  local function pass_loop(iterator, state, control)
    repeat
      control = pass_item(iterator(state, control))
    until control == nil
  end

  -- ----- map, filter and their like ----------------------------------------------------

  -- Used by `concurrent`, which has the public `map`.
  sequential.map = stage_of_items("map", function(f, first, ...)
    if first == nil then return nil end
    yield(f(first, ...))
    return first
  end)

  local make_filter = stage_of_items("filter", function(f, first, ...)
    if first ~= nil and f(first, ...) then yield(first, ...) end
    return first
  end)

  --- The items for which f gives a true value.
  -- @function filter
  -- @tparam function f gets the item's values; may await
  -- @param x what `agenda.aiter` takes as one value
  -- @treturn asyncgen an async generator (four values, for a `for`)
  sequential.filter = of_function("filter", make_filter)

  local make_takewhile = stage_of_items("takewhile", function(f, first, ...)
    if first == nil or not f(first, ...) then return nil end
    yield(first, ...)
    return first
  end)

  --- The items before the first for which f gives a false value. That one is pulled and dropped.
  -- @function takewhile
  -- @tparam function f gets the item's values; may await
  -- @param x what `agenda.aiter` takes as one value
  -- @treturn asyncgen an async generator (four values, for a `for`)
  sequential.takewhile = of_function("takewhile", make_takewhile)

  -- The next control value, and whether the items are still being dropped.
  local function dropwhile_item(f, first, ...)
    if first == nil then return nil, false end
    if f(first, ...) then return first, true end
    yield(first, ...)
    return first, false
  end

  local make_dropwhile = stage("dropwhile", function(iterator, state, control, f)
    local dropping
    repeat
      control, dropping = dropwhile_item(f, iterator(state, control))
    until not dropping
    if control ~= nil then return pass_loop(iterator, state, control) end
  end)

  --- The items from the first on for which f gives a false value.
  -- @function dropwhile
  -- @tparam function f gets the item's values; may await
  -- @param x what `agenda.aiter` takes as one value
  -- @treturn asyncgen an async generator (four values, for a `for`)
  sequential.dropwhile = of_function("dropwhile", make_dropwhile)

  -- ----- take, drop, enumerate ---------------------------------------------------------

  local make_take = stage("take", function(iterator, state, control, n)
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
  sequential.take = of_count("take", make_take)

  local make_drop = stage("drop", function(iterator, state, control, n)
    for _ = 1, n do
      control = iterator(state, control)
      if control == nil then return end
    end
    return pass_loop(iterator, state, control)
  end)

  --- The items after the first n.
  -- @function drop
  -- @tparam integer n 0 or more
  -- @param x what `agenda.aiter` takes as one value
  -- @treturn asyncgen an async generator (four values, for a `for`)
  sequential.drop = of_count("drop", make_drop)

  local function enumerate_item(i, first, ...)
    if first ~= nil then yield(i, first, ...) end
    return first
  end

  local make_enumerate = stage("enumerate", function(iterator, state, control, i)
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
    return make_enumerate(first, x)
  end

  -- ----- several sources ---------------------------------------------------------------

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
      yield(unpack(controls, 1, n))
    end
  end

  local make_zip = asyncgen("zip", function(list)
    local owner = source.owner(list)
    return with_closing(owner, zip_all, owner, list)
  end)

  --- The first values of the sources' items side by side, until the first source ends. They are
  -- pulled one after the other, in their order.
  -- @function zip
  -- @param ... each what `agenda.aiter` takes as one value
  -- @treturn asyncgen an async generator (four values, for a `for`)
  function sequential.zip(...)
    return make_zip(source.check_all("zip", ...))
  end

  local function chain_all(list)
    for i = 1, list.n do owning(list[i], pass_loop) end
  end

  local make_chain = asyncgen("chain", function(list)
    return with_closing(source.owner(list), chain_all, list)
  end)

  --- The items of the first source, then those of the second, and so on.
  -- @function chain
  -- @param ... each what `agenda.aiter` takes as one value
  -- @treturn asyncgen an async generator (four values, for a `for`)
  function sequential.chain(...)
    return make_chain(source.check_all("chain", ...))
  end

  local make_flatten = stage_of_items("flatten", function(_, item)
    if item == nil then
      return nil
    elseif source.is_iterable(item) then
      owning(item, pass_loop)
    elseif type(item) == "table" then
      for i = 1, item.n or #item do yield(item[i]) end
    else
      error(source.errors.TypeError(("flatten: an item is a %s, neither a list nor iterable")
        :format(source.type(item) or type(item))), 0)
    end
    return item
  end)

  --- The items of the items, which are lists or what `agenda.aiter` takes. One level.
  -- @function flatten
  -- @param x what `agenda.aiter` takes as one value
  -- @treturn asyncgen an async generator (four values, for a `for`)
  -- @raise TypeError, when it is iterated, for an item that is neither
  function sequential.flatten(x)
    check_iterable(x, 1, "flatten")
    return make_flatten(nil, x)
  end

  -- ----- running results ---------------------------------------------------------------

  -- The next control value and the new result.
  local function scan_item(f, has_result, result, first, ...)
    if first == nil then return nil, result end
    if has_result then
      result = f(result, first, ...)
    else
      result = first
    end
    yield(result)
    return first, result
  end

  local function scan_loop(iterator, state, control, f, result)
    local has_result = result ~= nil
    if has_result then yield(result) end
    repeat
      control, result = scan_item(f, has_result, result, iterator(state, control))
      has_result = true
    until control == nil
  end

  local make_scan = asyncgen("scan", function(f, x, init)
    return owning(x, scan_loop, f, init)
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
end
