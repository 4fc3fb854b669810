local agenda = require "agenda"

local CancelledError = agenda.errors.CancelledError

-- Runs the scenario again and again; its task is cancelled after 0, 1, 2 ... turns, until it ends by
-- itself before. `check(k, scenario, cancelled)` looks at what is left.
local function at_every_turn(make, check)
  local k, finished = 0, false
  repeat
    agenda.run(function()
      local scenario = make()
      local task = agenda.spawn(scenario.body)
      for _ = 1, k do agenda.sleep(0) end
      finished = task:done()
      task:cancel()
      local ok, err = pcall(agenda.await, task)
      assert(ok or CancelledError:is(err), tostring(err))
      for _ = 1, 5 do agenda.sleep(0) end
      check(k, scenario, not ok)
      local left = agenda.all_tasks()
      assert.equal(1, #left, ("tasks left, cancelled after %d turns"):format(k))
    end)
    k = k + 1
    assert.is_true(k < 100, "the scenario never ends")
  until finished
  return k
end

describe("cancelled after any number of turns", function()
  it("wait_for(q:get()) drops no item", function()
    at_every_turn(function()
      local q, got = agenda.queue(), {}
      local scenario = {queue = q, got = got}
      function scenario.body()
        for _ = 1, 3 do
          got[#got + 1] = agenda.wait_for(function() return q:get() end, 10)
        end
      end
      agenda.spawn(function()
        for i = 1, 3 do
          agenda.sleep(0)
          q:put(i)
        end
      end)
      return scenario
    end, function(_, scenario)
      for _ = 1, 10 do agenda.sleep(0) end
      local all = table.move(scenario.got, 1, #scenario.got, 1, {})
      while not scenario.queue:empty() do all[#all + 1] = scenario.queue:get_nowait() end
      assert.same({1, 2, 3}, all)
    end)
  end)

  it("wait leaves what it waited for alone", function()
    at_every_turn(function()
      local scenario = {done = 0}
      local function child()
        for _ = 1, 3 do agenda.sleep(0) end
        scenario.done = scenario.done + 1
      end
      scenario.children = {agenda.spawn(child), agenda.spawn(child)}
      scenario.body = function() agenda.wait(scenario.children) end
      return scenario
    end, function(_, scenario)
      for _, child in ipairs(scenario.children) do agenda.await(child) end
      assert.equal(2, scenario.done)
    end)
  end)

  it("gather cancels its children, whose cleanup runs once", function()
    at_every_turn(function()
      local scenario = {begun = 0, ended = 0}
      local function child()
        scenario.begun = scenario.begun + 1
        local _ <close> = setmetatable({}, {__close = function()
          scenario.ended = scenario.ended + 1
          agenda.sleep(0)
        end})
        for _ = 1, 3 do agenda.sleep(0) end
      end
      scenario.body = function() agenda.await(agenda.gather(child, child)) end
      return scenario
    end, function(_, scenario)
      assert.equal(scenario.begun, scenario.ended)
    end)
  end)

  it("shield lets what is inside go on", function()
    at_every_turn(function()
      local scenario = {}
      scenario.inner = agenda.spawn(function()
        for _ = 1, 3 do agenda.sleep(0) end
        return "whole"
      end)
      scenario.body = function() return agenda.await(agenda.shield(scenario.inner)) end
      return scenario
    end, function(_, scenario)
      assert.equal("whole", agenda.await(scenario.inner))
    end)
  end)

  it("wait_for of a function runs its cleanup once", function()
    at_every_turn(function()
      local scenario = {begun = 0, ended = 0}
      scenario.body = function()
        agenda.wait_for(function()
          scenario.begun = scenario.begun + 1
          local _ <close> = setmetatable({}, {__close = function()
            scenario.ended = scenario.ended + 1
            agenda.sleep(0)
          end})
          for _ = 1, 3 do agenda.sleep(0) end
        end, 10)
      end
      return scenario
    end, function(_, scenario)
      assert.equal(scenario.begun, scenario.ended)
    end)
  end)
end)
