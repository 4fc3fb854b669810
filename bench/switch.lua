-- 1,000 tasks that give way to each other with sleep(0), beside 1,000 bare coroutines that are
-- resumed in turn.

local TASKS, ROUNDS = 1000, 2000

local measures = {}

function measures.agenda()
  local agenda = require "agenda"
  local sleep = agenda.sleep
  return agenda.run(function()
    local tasks = {}
    local start = os.clock()
    for i = 1, TASKS do
      tasks[i] = agenda.spawn(function()
        for _ = 1, ROUNDS do
          sleep(0)
        end
      end)
    end
    for i = 1, TASKS do
      agenda.await(tasks[i])
    end
    return {ns = (os.clock() - start) / (TASKS * ROUNDS) * 1e9}
  end)
end

function measures.bare()
  local resume, yield = coroutine.resume, coroutine.yield
  local threads = {}
  local start = os.clock()
  for i = 1, TASKS do
    threads[i] = coroutine.create(function()
      for _ = 1, ROUNDS do
        yield()
      end
    end)
  end
  for _ = 0, ROUNDS do
    for i = 1, TASKS do
      resume(threads[i])
    end
  end
  return {ns = (os.clock() - start) / (TASKS * ROUNDS) * 1e9}
end

local function rows(m)
  return {{
    work = "1,000 tasks, 2e6 switches by `sleep(0)`",
    figure = ("%.0f ns a switch"):format(m.agenda.ns),
    yardstick = ("bare resume and yield: %.0f ns"):format(m.bare.ns),
    ratio = m.agenda.ns / m.bare.ns,
    at_most = 2,
    aim = 1.5,
  }}
end

return {order = {"agenda", "bare"}, measures = measures, rows = rows}
