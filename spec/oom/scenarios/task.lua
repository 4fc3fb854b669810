-- Tasks: results, errors, names, stacks, one that nobody asks.
local agenda = require "agenda"
local errors = agenda.errors

agenda.run(function()
  local task = agenda.spawn(function(...)
    agenda.sleep(0)
    return ...
  end, 1, nil, 3)
  task:set_name("worker")
  agenda.sleep(0)
  assert(task:get_name() == "worker" and tostring(task))
  -- It may have failed for want of memory by now; awaiting it says so.
  assert(task:done() or task:get_stack())
  assert(task:done() or #agenda.all_tasks() == 2)
  assert(agenda.current_task() ~= task)
  assert(select("#", agenda.await(task)) == 3)

  local failing = agenda.spawn(agenda.async(function()
    agenda.checkpoint()
    error(errors.ValueError("failed"), 0)
  end)())
  local ok, err = pcall(agenda.await, failing)
  if ok or not errors.ValueError:is(err) then
    error(err, 0)
  end
  assert(err.traceback)
  agenda.spawn(error, "nobody asks")
  agenda.ensure_future(function() agenda.sleep(0) end)
  agenda.sleep(0)
end)
