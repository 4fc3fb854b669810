--- Cancels a scenario after k turns, for every k until it ends by itself.
local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"

local MAX_TURNS = 300

--- Runs the scenario again and again, each time in a run of its own.
-- @tparam function scenario starts it; returns the tasks that are cancelled (a list), and a function
-- that is called with k afterwards, may wait, and checks the invariants
-- @treturn integer how many times it was cancelled before its end
return function(scenario)
  local k, ended = 0, false
  while not ended do
    assert(k < MAX_TURNS, "the scenario does not end by itself")
    agenda.run(function()
      local victims, check = scenario()
      loopkit.turns(k)
      ended = true
      for _, task in ipairs(victims) do
        if not task:done() then ended = false end
        task:cancel()
      end
      for _, task in ipairs(victims) do pcall(agenda.await, task) end
      check(k)
      assert(#agenda.all_tasks() == 1, "a task is left after a cancel at turn " .. k)
    end)
    k = k + 1
  end
  return k - 1
end
