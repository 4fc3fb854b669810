-- Tasks that do nothing, spawned and joined, beside bare coroutines created and run: in batches
-- of 1,000, and one after the other. No thread is used twice on either side.

local TASKS, BATCH = 2e5, 1000

local function noop() end

local function timed(f)
  local start = os.clock()
  f()
  return (os.clock() - start) / TASKS * 1e9
end

local measures = {}

function measures.agenda()
  local agenda = require "agenda"
  local spawn, await = agenda.spawn, agenda.await
  return agenda.run(function()
    local batches = timed(function()
      local tasks = {}
      for _ = 1, TASKS, BATCH do
        for i = 1, BATCH do
          tasks[i] = spawn(noop)
        end
        for i = 1, BATCH do
          await(tasks[i])
        end
      end
    end)
    collectgarbage()
    local single = timed(function()
      for _ = 1, TASKS do
        await(spawn(noop))
      end
    end)
    return {batches = batches, single = single}
  end)
end

function measures.bare()
  local create, resume = coroutine.create, coroutine.resume
  local batches = timed(function()
    local threads = {}
    for _ = 1, TASKS, BATCH do
      for i = 1, BATCH do
        threads[i] = create(noop)
      end
      for i = 1, BATCH do
        resume(threads[i])
      end
    end
  end)
  collectgarbage()
  local single = timed(function()
    for _ = 1, TASKS do
      resume(create(noop))
    end
  end)
  return {batches = batches, single = single}
end

local function row(m, work, key)
  return {
    work = work,
    figure = ("%.0f ns a task"):format(m.agenda[key]),
    yardstick = ("bare coroutine: %.0f ns"):format(m.bare[key]),
    ratio = m.agenda[key] / m.bare[key],
    at_most = 1.8,
    aim = 1.4,
  }
end

local function rows(m)
  return {
    row(m, "spawn and join 2e5 tasks, 1,000 at a time", "batches"),
    row(m, "the same, each joined at once", "single"),
  }
end

return {order = {"agenda", "bare"}, measures = measures, rows = rows}
