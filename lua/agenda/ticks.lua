--- `interval` and `signals`: what comes from the clock and from the system, as async generators.
-- @module agenda.ticks

local core = require "agenda.core"
local check = require "agenda.check"
local gate = require "agenda.itertools.gate"

local yield = core.yield

local ticks = {}

-- ----- interval --------------------------------------------------------------------------

local make_interval = core.asyncgen("interval", function(seconds)
  local loop = core.get_running_loop()
  local start, clock = loop:time(), {}
  local k = 0
  while true do
    k = k + 1
    local due = start + k * seconds
    while loop:time() < due do gate.pause_until(clock, loop, due) end
    yield(k)
  end
end)

--- 1, 2, 3 ...: tick k comes no earlier than k intervals after the first iteration, without drift.
-- Ticks that are overdue come at once.
-- @function interval
-- @tparam number seconds more than 0
-- @treturn asyncgen an async generator (four values, for a `for`)
function ticks.interval(seconds)
  check.type(seconds, "number", 1, "interval")
  if seconds <= 0 or seconds ~= seconds then
    error("bad argument #1 to 'interval' (more than 0 expected)", 2)
  end
  return make_interval(seconds)
end

-- ----- signals ---------------------------------------------------------------------------

-- A loop has one handler for a signal: generators of the same one share it. Each subscriber is a
-- gate with a list of names; loop to signal to list of subscribers.
local subscribers = setmetatable({}, {__mode = "k"})

local function deliver(list, name)
  for _, subscriber in ipairs(list) do
    subscriber[#subscriber + 1] = name
    gate.tell(subscriber)
  end
end

local function subscribe(loop, name, subscriber)
  local lists = subscribers[loop]
  if not lists then
    lists = {}
    subscribers[loop] = lists
  end
  local list = lists[name]
  if not list then
    list = {}
    loop:add_signal_handler(name, deliver, list, name)
    lists[name] = list
  end
  list[#list + 1] = subscriber
end

local function unsubscribe(loop, name, subscriber)
  local lists = subscribers[loop]
  local list = lists and lists[name]
  for i = 1, list and #list or 0 do
    if list[i] == subscriber then
      table.remove(list, i)
      break
    end
  end
  if list and #list == 0 then
    lists[name] = nil
    loop:remove_signal_handler(name)
    if next(lists) == nil then subscribers[loop] = nil end
  end
end

local subscription = {__name = "agenda.ticks.subscription"}

function subscription:__close()
  for _, name in ipairs(self.names) do
    unsubscribe(self.loop, name, self.subscriber)
  end
end

local make_signals = core.asyncgen("signals", function(names)
  local loop, subscriber = core.get_running_loop(), {}
  local open <close> =
    setmetatable({loop = loop, names = {}, subscriber = subscriber}, subscription)
  for _, name in ipairs(names) do
    subscribe(loop, name, subscriber)
    table.insert(open.names, name)
  end
  while true do
    while #subscriber == 0 do gate.pause(subscriber) end
    yield(table.remove(subscriber, 1))
  end
end)

--- The names of the signals that come. The handlers are installed at the first iteration and
-- removed when it closes; generators of the same signal all get it.
-- @function signals
-- @tparam string ... names such as "SIGHUP", at least one
-- @treturn asyncgen an async generator (four values, for a `for`)
-- @raise ValueError, when it is iterated, for an unknown signal
function ticks.signals(...)
  local names, seen = {}, {}
  for i = 1, math.max(1, select("#", ...)) do
    local name = (select(i, ...))
    check.type(name, "string", i, "signals")
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  return make_signals(names)
end

return ticks
