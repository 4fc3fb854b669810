-- A task group of 1,000 tasks that do nothing, beside as many spawned and awaited.

local TASKS, ROUNDS = 1000, 200

local function noop() end

local measures = {}

function measures.group()
  local agenda = require "agenda"
  return agenda.run(function()
    local start = os.clock()
    for _ = 1, ROUNDS do
      agenda.with_taskgroup(function(group)
        for _ = 1, TASKS do
          group:spawn(noop)
        end
      end)
    end
    return {ns = (os.clock() - start) / (TASKS * ROUNDS) * 1e9}
  end)
end

function measures.plain()
  local agenda = require "agenda"
  local spawn, await = agenda.spawn, agenda.await
  return agenda.run(function()
    local start = os.clock()
    for _ = 1, ROUNDS do
      local tasks = {}
      for i = 1, TASKS do
        tasks[i] = spawn(noop)
      end
      for i = 1, TASKS do
        await(tasks[i])
      end
    end
    return {ns = (os.clock() - start) / (TASKS * ROUNDS) * 1e9}
  end)
end

local function rows(m)
  return {{
    work = "a task group of 1,000 no-op tasks, 200 times",
    figure = ("%.0f ns a task"):format(m.group.ns),
    yardstick = ("spawn and await: %.0f ns"):format(m.plain.ns),
    ratio = m.group.ns / m.plain.ns,
    at_most = 1.5,
  }}
end

return {order = {"group", "plain"}, measures = measures, rows = rows}
