--- The stages that pull in tasks of their own: `map` with concurrency, `merge`, `buffer`, `batch`.
-- @module agenda.portable.itertools.concurrent

local asyncgen = require "agenda.portable.asyncgen".asyncgen
local crew = require "agenda.portable.itertools.crew"
local faults = require "agenda.portable.errors"
local frame = require "agenda.portable.frame"
local host = require "agenda.portable.host"
local iterate = require "agenda.portable.iterate"
local sequential = require "agenda.portable.itertools.sequential"
local source = require "agenda.portable.itertools.source"

local yield, aiter, with_closing = frame.yield, iterate.aiter, iterate.with_closing
local calls, pack, unpack = host.calls, host.pack, host.unpack

local concurrent = {}

-- A source that never waits would keep the host from anything else.
local PULLS_IN_A_ROW = 128

-- Pulls item after item while there is room, and hands each to take(group, item).
local function feed(group, n, take, iterator, state, control)
  local pulls = 0
  while true do
    while group.held >= n and not group.closing do group.room:wait() end
    if group.closing then return end
    local item = pack(iterator(state, control))
    control = item[1]
    if group.closing then return end
    if control == nil then return group:finish() end
    group.held = group.held + 1
    take(group, item)
    pulls = pulls + 1
    if pulls % PULLS_IN_A_ROW == 0 and calls.sleep then calls.sleep(0) end
  end
end

-- An item was given: there is room for another one.
local function given(group)
  group.held = group.held - 1
  group.room:tell()
end

-- The end, after all that was held is given.
local function end_of(group)
  if group.failed then error(group.failure, 0) end
end

-- Runs loop(group, ...) with a crew that ends before the source is closed.
local function with_crew(iterator, state, control, loop, ...)
  local group = crew.new()
  return with_closing(group, loop, group, iterator, state, control, ...)
end

-- ----- buffer ------------------------------------------------------------------------------------

local function keep(group, item)
  group:push(item)
  group:tell()
end

local function buffer_loop(group, iterator, state, control, n)
  group:spawn(crew.fail, feed, group, n, keep, iterator, state, control)
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
end

local make_buffer = asyncgen("buffer", function(n, x)
  return source.owning(x, with_crew, buffer_loop, n)
end)

--- The same items, pulled up to n ahead of the consumer by a task of its own.
function concurrent.buffer(n, x)
  n = source.check_count(n, 0, 1, "buffer")
  source.check_iterable(x, 2, "buffer")
  if n == 0 then return sequential.chain(x) end
  source.check_host("buffer", "spawn", "sleep", "now")
  return make_buffer(n, x)
end

-- ----- map ---------------------------------------------------------------------------------------

-- A call of f. Its entry is in the queue from the start if the order is kept, else at its end.
local function work(group, entry, f, item, ordered)
  entry.results = pack(pcall(f, unpack(item, 1, item.n)))
  if not ordered then group:push(entry) end
  group:tell()
end

local function map_loop(group, iterator, state, control, f, n, ordered)
  local function start(_, item)
    local entry = {}
    if ordered then group:push(entry) end
    group:spawn(crew.fail, work, group, entry, f, item, ordered)
  end

  group:spawn(crew.fail, feed, group, n, start, iterator, state, control)
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
end

local make_map = asyncgen("map", function(f, x, n, ordered)
  return source.owning(x, with_crew, map_loop, f, n, ordered)
end)

local MAP_OPTIONS = {concurrency = "number", ordered = "boolean"}

--- What f gives for each item. With concurrency n up to n items are worked on at once, each in a
-- task of its own; never more than n are pulled and not given yet.
function concurrent.map(f, x, options)
  source.check_function(f, 1, "map")
  source.check_iterable(x, 2, "map")
  options = source.check_options(options, MAP_OPTIONS, 3, "map")
  local n = options.concurrency or 1
  if n == 1 then return sequential.map(f, x) end
  source.check_host("map", "spawn", "sleep", "now")
  return make_map(f, x, n, options.ordered ~= false)
end

-- ----- merge -------------------------------------------------------------------------------------

-- Pulls the next item of one source when the last one was given.
local function merge_one(group, slot, iterator, state, control)
  repeat
    local item = pack(iterator(state, control))
    control = item[1]
    if group.closing then return end
    if control ~= nil then
      slot.item, slot.full = item, true
      group:push(slot)
      group:tell()
      while slot.full and not group.closing do slot.event:wait() end
    end
  until control == nil or group.closing
  group.open = group.open - 1
  group:tell()
end

local function merge_failed(group, err)
  group:push({failed = true, err = err})
  group:tell()
end

local function merge_loop(group, owner, list, slots)
  group.open = list.n
  for i = 1, list.n do
    local iterator, state, control, closing = aiter(list[i])
    source.add(owner, closing, list[i])
    slots[i] = {event = calls.event(), full = false}
    group:spawn(merge_failed, merge_one, group, slots[i], iterator, state, control)
  end
  while true do
    if group:head() then
      local slot = group:pop()
      if slot.failed then error(slot.err, 0) end
      local item = slot.item
      slot.item, slot.full = nil, false
      slot.event:tell()
      yield(unpack(item, 1, item.n))
    elseif group.open == 0 then
      return
    else
      group:wait()
    end
  end
end

local Slots = {__close = function(self)
  self.group.closing = true
  for _, slot in ipairs(self) do slot.event:tell() end
end}

local make_merge = asyncgen("merge", function(list)
  local owner = source.owner(list)
  return with_closing(owner, function()
    local group = crew.new()
    local slots = setmetatable({group = group}, Slots)
    return with_closing(group, function()
      return with_closing(slots, merge_loop, group, owner, list, slots)
    end)
  end)
end)

--- The items of all sources as they come. Each source is pulled by a task of its own, one item
-- ahead of the consumer at most.
function concurrent.merge(...)
  local list = source.check_all("merge", ...)
  source.check_host("merge", "spawn", "sleep", "now")
  return make_merge(list)
end

-- ----- batch -------------------------------------------------------------------------------------

local function batch_item(list, ...)
  local value = source.as_one(...)
  if value == nil then return nil end
  list[#list + 1] = value
  return (...)
end

-- NB: faults.pcall, so that a cancellation does not give a list.
local function batch_loop(iterator, state, control, n)
  local list = {}
  local function pull()
    control = batch_item(list, iterator(state, control))
  end
  while true do
    local ok, err = faults.pcall(pull)
    if #list > 0 and (#list == n or not ok or control == nil) then
      local full = list
      list = {}
      yield(full)
    end
    if not ok then error(err, 0) end
    if control == nil then return end
  end
end

local make_batch = asyncgen("batch", function(n, x) return source.owning(x, batch_loop, n) end)

-- The first item of a list notes when its time is up.
local function gather_item(group, item)
  local list = group.list
  if not list then
    list = {}
    group.list, group.due = list, calls.now() + group.seconds
  end
  list[#list + 1] = source.as_one(unpack(item, 1, item.n))
  if #list == 1 or #list == group.size then group:tell() end
end

local function timed_batch_loop(group, iterator, state, control, n, seconds)
  group.size, group.seconds = n, seconds
  group:spawn(crew.fail, feed, group, n, gather_item, iterator, state, control)
  while true do
    local list = group.list
    if list and (#list == n or group.finished or calls.now() >= group.due) then
      group.list, group.held = nil, 0
      group.room:tell()
      yield(list)
    elseif list then
      group:wait(math.max(group.due - calls.now(), 0.001))
    elseif group.finished then
      return end_of(group)
    else
      group:wait()
    end
  end
end

local make_timed_batch = asyncgen("batch", function(n, x, seconds)
  return source.owning(x, with_crew, timed_batch_loop, n, seconds)
end)

--- Lists of n items; the last one may be shorter, none is empty. With a time, a list is given when
-- that has passed since its first item came; then a task collects the next list meanwhile.
function concurrent.batch(n, x, seconds)
  n = source.check_count(n, 1, 1, "batch")
  source.check_iterable(x, 2, "batch")
  if seconds == nil then return make_batch(n, x) end
  source.check_seconds(seconds, 3, "batch")
  source.check_host("batch", "spawn", "sleep", "now")
  return make_timed_batch(n, x, seconds)
end

return concurrent
