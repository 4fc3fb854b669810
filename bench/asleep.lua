-- 100,000 tasks that sleep between 0 and 1 s: resident memory while they sleep, and CPU time
-- from the first spawn to the last end, beside bare ev_timers and bare coroutines.

local SLEEPERS = 100000

-- Every delay once, in no order.
local function delay(i)
  return i * 7919 % SLEEPERS / SLEEPERS
end

-- NB: in the pages of the kernel, 4 KiB where this is measured.
local function resident_bytes()
  local file <close> = assert(io.open("/proc/self/statm"))
  local _, pages = file:read("n", "n")
  return pages * 4096
end

local function figures(start, before, during)
  return {seconds = os.clock() - start, bytes = (during - before) / SLEEPERS}
end

local measures = {}

function measures.agenda()
  local agenda = require "agenda"
  local function body(seconds)
    agenda.sleep(seconds)
  end
  return agenda.run(function()
    collectgarbage()
    local before, start = resident_bytes(), os.clock()
    local last
    for i = 1, SLEEPERS do
      local task = agenda.spawn(body, delay(i))
      if delay(i) == (SLEEPERS - 1) / SLEEPERS then
        last = task
      end
    end
    agenda.sleep(0.001) -- by then all have begun, and the loop has waited once
    local during = resident_bytes()
    agenda.await(last)
    agenda.sleep(0)
    return figures(start, before, during)
  end)
end

function measures.bare()
  local timers = require "libev_timers"
  local function body(seconds)
    timers.sleep(seconds)
  end
  collectgarbage()
  local before, start = resident_bytes(), os.clock()
  for i = 1, SLEEPERS do
    timers.start(body, delay(i))
  end
  local during = resident_bytes()
  timers.run()
  return figures(start, before, during)
end

local function rows(m)
  return {
    {
      work = "100,000 tasks asleep: resident memory",
      figure = ("%.0f bytes a task"):format(m.agenda.bytes),
      yardstick = ("bare timer and coroutine: %.0f"):format(m.bare.bytes),
      ratio = m.agenda.bytes / m.bare.bytes,
      value = m.agenda.bytes,
      at_most = 1500,
      unit = " bytes",
    },
    {
      work = "100,000 tasks asleep 0..1 s: CPU time",
      figure = ("%.0f ms"):format(m.agenda.seconds * 1e3),
      yardstick = ("bare timer and coroutine: %.0f ms"):format(m.bare.seconds * 1e3),
      ratio = m.agenda.seconds / m.bare.seconds,
      at_most = 2.5,
    },
  }
end

return {order = {"agenda", "bare"}, measures = measures, rows = rows}
