--- `timeout` and `throttle`.
-- @module agenda.itertools.timed

local core = require "agenda.core"
local iterate = require "agenda.iterate"
local gate = require "agenda.itertools.gate"
local source = require "agenda.itertools.source"

local errors, asyncgen, yield = core.errors, core.asyncgen, core.yield
local aiter = iterate.aiter

local timed = {}

-- ----- timeout ---------------------------------------------------------------------------

-- The limit is a timer that cancels the task which pulls, as asyncio.timeout does.

local function expire(limit)
  limit.expired = true
  limit.task:cancel()
end

-- What a pull led to. An expiry is taken back from the task, whatever became of it.
local function after_pull(limit, ok, ...)
  limit.timer:cancel()
  local task = limit.task
  limit.task, limit.timer = nil, nil
  if limit.expired then
    limit.expired = false
    local left = task:uncancel()
    if not ok and left <= limit.cancelling and errors.CancelledError:is((...)) then
      error(errors.TimeoutError(("no item of %s within %g s"):format(limit.name, limit.seconds),
        {cause = (...)}), 0)
    end
  end
  if not ok then error((...), 0) end
  return ...
end

local function timeout_item(first, ...)
  if first ~= nil then yield(first, ...) end
  return first
end

local make_timeout = asyncgen("timeout", function(seconds, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local limit = {seconds = seconds, name = tostring(x), expired = false}
  repeat
    local task = core.current_task()
    if not task then
      error(errors.RuntimeError("itertools.timeout must be iterated inside a task"), 0)
    end
    limit.task, limit.cancelling = task, task:cancelling()
    limit.timer = core.get_running_loop():call_later(seconds, expire, limit)
    control = timeout_item(after_pull(limit, pcall(iterator, state, control)))
  until control == nil
end)

--- The same items; one that takes longer than that to come is TimeoutError. Only the time that is
-- spent waiting for the source counts.
-- @function timeout
-- @tparam number seconds for each item
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
-- @raise TimeoutError, when it is iterated; its `cause` is the CancelledError that ended the source
function timed.timeout(seconds, x)
  source.check_seconds(seconds, 1, "timeout")
  source.check_iterable(x, 2, "timeout")
  return make_timeout(seconds, x)
end

-- ----- throttle --------------------------------------------------------------------------

local function throttle_item(clock, first, ...)
  if first == nil then return nil end
  local loop, due = clock.loop, clock.due
  while due and loop:time() < due do gate.pause_until(clock, loop, due) end
  clock.due = loop:time() + clock.seconds
  yield(first, ...)
  return first
end

local make_throttle = asyncgen("throttle", function(seconds, x)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  local clock = {loop = core.get_running_loop(), seconds = seconds, due = nil}
  repeat
    control = throttle_item(clock, iterator(state, control))
  until control == nil
end)

--- The same items, each given no earlier than that after the one before; the first at once.
-- @function throttle
-- @tparam number seconds between two items
-- @param x what `agenda.aiter` takes as one value
-- @treturn asyncgen an async generator (four values, for a `for`)
function timed.throttle(seconds, x)
  source.check_seconds(seconds, 1, "throttle")
  source.check_iterable(x, 2, "throttle")
  return make_throttle(seconds, x)
end

return timed
