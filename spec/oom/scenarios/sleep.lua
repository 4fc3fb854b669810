-- Sleeping tasks, with results.
local agenda = require "agenda"

agenda.run(function()
  local tasks = {}
  for i = 1, 4 do
    tasks[i] = agenda.spawn(function() return (agenda.sleep(i % 2 * 0.0001, i)) end)
  end
  for i = 1, 4 do
    assert(agenda.await(tasks[i]) == i)
  end
  assert(select("#", agenda.sleep(0, nil, nil)) == 2)
  agenda.checkpoint()
end)
