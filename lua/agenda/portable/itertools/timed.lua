--- `timeout` and `throttle`.
-- @module agenda.portable.itertools.timed

local asyncgen = require "agenda.portable.asyncgen".asyncgen
local crew = require "agenda.portable.itertools.crew"
local errors = require "agenda.portable.errors".errors
local frame = require "agenda.portable.frame"
local host = require "agenda.portable.host"
local iterate = require "agenda.portable.iterate"
local source = require "agenda.portable.itertools.source"

local yield = frame.yield
local calls, pack, unpack = host.calls, host.pack, host.unpack

local timed = {}

-- ----- timeout -----------------------------------------------------------------------------------

-- A task pulls an item each time it is asked to. One that is late cannot be interrupted in a wait
-- of the host's: it is left behind, and closes the source itself when its wait is over.
local function pull_when_asked(group, iterator, state, control)
  while true do
    while not group.asked and not group.closing do group.room:wait() end
    if group.closing then return end
    group.asked = false
    local item = pack(iterator(state, control))
    control = item[1]
    if control == nil then return group:finish() end
    group.item = item
    group:tell()
  end
end

local function pull_and_close(group, closing, ...)
  local ok, err = pcall(pull_when_asked, group, ...)
  if not ok then group:fail(err) end
  if group.late then iterate.close(closing) end
end

local function timeout_loop(group, iterator, state, control, closing, seconds, name)
  group:spawn(crew.fail, pull_and_close, group, closing, iterator, state, control)
  while true do
    local due = calls.now() + seconds
    group.asked = true
    group.room:tell()
    while not group.item and not group.finished do
      local left = due - calls.now()
      if left <= 0 then
        group.late, group.closing = true, true
        error(errors.TimeoutError(("no item of %s within %g s"):format(name, seconds)), 0)
      end
      group:wait(left)
    end
    local item = group.item
    if not item then
      if group.failed then error(group.failure, 0) end
      return
    end
    group.item = nil
    yield(unpack(item, 1, item.n))
  end
end

-- Closes the crew and then the source, unless the late task does.
local Late = {__close = function(self, err)
  if self.group.late then return end
  iterate.with_closing(self.closing, crew.__close, self.group, err)
end}

local make_timeout = asyncgen("timeout", function(seconds, x)
  local iterator, state, control, closing = iterate.aiter(x)
  local group = crew.new()
  return iterate.with_closing(setmetatable({group = group, closing = closing}, Late), timeout_loop,
    group, iterator, state, control, closing, seconds, tostring(x))
end)

--- The same items; one that takes longer than that to come is TimeoutError. Only the time that is
-- spent waiting for the source counts.
function timed.timeout(seconds, x)
  source.check_seconds(seconds, 1, "timeout")
  source.check_iterable(x, 2, "timeout")
  source.check_host("timeout", "spawn", "sleep", "now")
  return make_timeout(seconds, x)
end

-- ----- throttle ----------------------------------------------------------------------------------

local function throttle_item(clock, seconds, first, ...)
  if first == nil then return nil end
  while clock.due and calls.now() < clock.due do
    calls.sleep(math.max(clock.due - calls.now(), 0))
  end
  clock.due = calls.now() + seconds
  yield(first, ...)
  return first
end

local function throttle_loop(iterator, state, control, seconds)
  local clock = {}
  repeat
    control = throttle_item(clock, seconds, iterator(state, control))
  until control == nil
end

local make_throttle = asyncgen("throttle", function(seconds, x)
  return source.owning(x, throttle_loop, seconds)
end)

--- The same items, each given no earlier than that after the one before; the first at once.
function timed.throttle(seconds, x)
  source.check_seconds(seconds, 1, "throttle")
  source.check_iterable(x, 2, "throttle")
  source.check_host("throttle", "sleep", "now")
  return make_throttle(seconds, x)
end

return timed
