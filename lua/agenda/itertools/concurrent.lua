--- The stages that pull in tasks of their own: `map` with concurrency, `merge`, `buffer`, `batch`.
--
-- The body owns its sources first and its crew second, so the crew has ended when they are closed.
-- @module agenda.itertools.concurrent

local core = require "agenda.core"
local iterate = require "agenda.iterate"
local crew = require "agenda.itertools.crew"
local gate = require "agenda.itertools.gate"
local sequential = require "agenda.itertools.sequential"
local source = require "agenda.itertools.source"

local asyncgen, yield = core.asyncgen, core.yield
local aiter = iterate.aiter
local pause, pause_until, tell = gate.pause, gate.pause_until, gate.tell
local pack, unpack = table.pack, table.unpack

local concurrent = {}

-- A source that never waits would keep the loop from anything else.
local PULLS_IN_A_ROW = 128

-- Pulls item after item while there is room, and hands each to take(group, item).
local function feed(group, n, take, iterator, state, control)
  local pulls = 0
  while true do
    while group.held >= n do pause(group.room) end
    local item = pack(iterator(state, control))
    control = item[1]
    if group.closing then return end
    if control == nil then return group:finish() end
    group.held = group.held + 1
    take(group, item)
    pulls = pulls + 1
    if pulls % PULLS_IN_A_ROW == 0 then core.sleep(0) end
  end
end

-- An item was given: there is room for another one.
local function given(group)
  group.held = group.held - 1
  tell(group.room)
end

-- The end, after all that was held is given.
local function end_of(group)
  if group.failure ~= nil then error(group.failure, 0) end
end

-- ----- buffer ----------------------------------------------------------------------------

local function keep(group, item)
  group:push(item)
  tell(group)
end

local make_buffer = asyncgen("buffer", function(n, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local group <close> = crew.new()
  group:spawn("buffer", group.finish, feed, group, n, keep, iterator, state, control)
  while true do
    if group:head() then
      local item = group:pop()
      given(group)
      yield(unpack(item, 1, item.n))
    elseif group.finished then
      return end_of(group)
    else
      group:wait()
    end
  end
end)

--- The same items, pulled up to n ahead of the consumer by a task of its own.
-- @function buffer
-- @tparam integer n how many items are held at most; 0: none, and no task
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function concurrent.buffer(n, x)
  n = source.check_count(n, 0, 1, "buffer")
  source.check_iterable(x, 2, "buffer")
  if n == 0 then return sequential.chain(x) end
  return make_buffer(n, x)
end

-- ----- map -------------------------------------------------------------------------------

-- A call of f. Its entry is in the queue from the start if the order is kept, else at its end.
local function call(group, entry, f, item, ordered)
  entry.results = pack(pcall(f, unpack(item, 1, item.n)))
  if not ordered then group:push(entry) end
  tell(group)
  if core.errors.KeyboardInterrupt:is(entry.results[2]) then error(entry.results[2], 0) end
end

local make_map = asyncgen("map", function(f, x, n, ordered)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local group <close> = crew.new()

  local function start(_, item)
    local entry = {}
    if ordered then group:push(entry) end
    group:spawn("map", group.finish, call, group, entry, f, item, ordered)
  end

  group:spawn("map source", group.finish, feed, group, n, start, iterator, state, control)
  while true do
    local entry = group:head()
    local results = entry and entry.results
    if results then
      group:pop()
      if not results[1] then error(results[2], 0) end
      given(group)
      yield(unpack(results, 2, results.n))
    elseif group.finished and group.held == 0 then
      return end_of(group)
    else
      group:wait()
    end
  end
end)

local MAP_OPTIONS = {concurrency = "number", ordered = "boolean"}

--- What f gives for each item. With concurrency n up to n items are worked on at once, each in a
-- task of its own; never more than n are pulled and not given yet. An error of f's ends it: the
-- other calls are cancelled.
-- @function map
-- @tparam function f gets the item's values; may await; its first value is not nil
-- @param x what `agenda.aiter` takes as one value
-- @tparam[opt] table options `concurrency` (default 1: no tasks); `ordered` (default true) keeps
-- the order of the items, false gives results as they come
-- @treturn asyncgen an async generator (four values, for a `for`)
function concurrent.map(f, x, options)
  source.check_function(f, 1, "map")
  source.check_iterable(x, 2, "map")
  options = source.check_options(options, MAP_OPTIONS, 3, "map")
  local n = options.concurrency or 1
  if n == 1 then return sequential.map(f, x) end
  return make_map(f, x, n, options.ordered ~= false)
end

-- ----- merge -----------------------------------------------------------------------------

-- Pulls the next item of one source when the last one was given.
local function merge_one(group, slot, iterator, state, control)
  repeat
    local item = pack(iterator(state, control))
    control = item[1]
    if group.closing then return end
    if control ~= nil then
      slot.item, slot.full = item, true
      group:push(slot)
      tell(group)
      while slot.full do pause(slot) end
    end
  until control == nil
  group.open = group.open - 1
  tell(group)
end

local function merge_failed(group, err)
  group:push({failed = true, err = err})
  tell(group)
end

local make_merge = asyncgen("merge", function(list)
  local owner <close> = source.owner(list)
  local group <close> = crew.new()
  group.open = list.n
  for i = 1, list.n do
    local iterator, state, control, closing = aiter(list[i])
    source.add(owner, closing, list[i])
    group:spawn("merge", merge_failed, merge_one, group, {}, iterator, state, control)
  end
  while true do
    if group:head() then
      local slot = group:pop()
      if slot.failed then error(slot.err, 0) end
      local item = slot.item
      slot.item, slot.full = nil, false
      tell(slot)
      yield(unpack(item, 1, item.n))
    elseif group.open == 0 then
      return
    else
      group:wait()
    end
  end
end)

--- The items of all sources as they come. Each source is pulled by a task of its own, one item
-- ahead of the consumer at most.
-- @function merge
-- @param ... each what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function concurrent.merge(...)
  return make_merge(source.check_all("merge", ...))
end

-- ----- batch -----------------------------------------------------------------------------

local function batch_item(list, ...)
  local value = source.as_one(...)
  if value == nil then return nil end
  list[#list + 1] = value
  return (...)
end

-- NB: core.pcall, so that a cancellation does not give a list.
local make_batch = asyncgen("batch", function(n, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local list = {}
  local function pull()
    control = batch_item(list, iterator(state, control))
  end
  while true do
    local ok, err = core.pcall(pull)
    if #list > 0 and (#list == n or not ok or control == nil) then
      local full = list
      list = {}
      yield(full)
    end
    if not ok then error(err, 0) end
    if control == nil then return end
  end
end)

-- The first item of a list notes when its time is up.
local function gather_item(group, item)
  local list = group.list
  if not list then
    list = {}
    group.list = list
    group.due = group.loop:time() + group.seconds
    tell(group)
  end
  list[#list + 1] = source.as_one(unpack(item, 1, item.n))
  if #list == group.size then tell(group) end
end

local make_timed_batch = asyncgen("batch", function(n, x, seconds)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local group <close> = crew.new()
  local loop = core.get_running_loop()
  group.loop, group.size, group.seconds = loop, n, seconds
  group:spawn("batch", group.finish, feed, group, n, gather_item, iterator, state, control)
  while true do
    local list = group.list
    if list and (#list == n or group.finished or loop:time() >= group.due) then
      group.list, group.held = nil, 0
      tell(group.room)
      yield(list)
    elseif list then
      pause_until(group, loop, group.due)
    elseif group.finished then
      return end_of(group)
    else
      group:wait()
    end
  end
end)

--- Lists of n items; the last one may be shorter, none is empty. With a time, a list is given when
-- that has passed since its first item came; then a task collects the next list meanwhile.
-- @function batch
-- @tparam integer n 1 or more
-- @param x what `agenda.aiter` takes as one value
-- @tparam[opt] number seconds how long a list may wait for more
-- @treturn asyncgen an async generator (four values, for a `for`)
function concurrent.batch(n, x, seconds)
  n = source.check_count(n, 1, 1, "batch")
  source.check_iterable(x, 2, "batch")
  if seconds == nil then return make_batch(n, x) end
  source.check_seconds(seconds, 3, "batch")
  return make_timed_batch(n, x, seconds)
end

return concurrent
