local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("agenda.checkpoint", function()
  it("takes a turn", function()
    local log = {}
    agenda.run(function()
      agenda.spawn(function() log[#log + 1] = "other" end)
      agenda.checkpoint()
      log[#log + 1] = "main"
    end)
    assert.same({ "other", "main" }, log)
  end)

  it("takes but one turn", function()
    local log = {}
    agenda.run(function()
      agenda.spawn(function()
        for i = 1, 3 do
          log[#log + 1] = i
          agenda.sleep(0)
        end
      end)
      agenda.checkpoint()
      assert.same({ 1 }, log)
      agenda.checkpoint()
      assert.same({ 1, 2 }, log)
    end)
  end)

  it("returns nothing", function()
    assert.equal(0, agenda.run(function() return select("#", agenda.checkpoint()) end))
  end)

  it("lets callbacks run", function()
    agenda.run(function()
      local called = false
      agenda.get_running_loop():call_soon(function() called = true end)
      agenda.checkpoint()
      assert.is_true(called)
    end)
  end)

  it("delivers a cancellation of the task itself", function()
    agenda.run(function()
      agenda.current_task():cancel("mine")
      assert.equal("mine", fails(errors.CancelledError, agenda.checkpoint).message)
    end)
  end)

  it("delivers a cancellation that came meanwhile", function()
    agenda.run(function()
      local task = agenda.spawn(function()
        while true do agenda.checkpoint() end
      end)
      loopkit.turns(3)
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
    end)
  end)

  it("delivers a cancellation once", function()
    agenda.run(function()
      agenda.current_task():cancel()
      assert.is_false((pcall(agenda.checkpoint)))
      assert.is_true((pcall(agenda.checkpoint)))
    end)
  end)

  it("keeps a busy task from starving a timer", function()
    agenda.run(function()
      local loop, fired = agenda.get_running_loop(), false
      loop:call_later(0.001, function() fired = true end)
      local limit = loop:time() + 2
      while not fired and loop:time() < limit do agenda.checkpoint() end
      assert.is_true(fired)
    end)
  end)

  it("outside of any coroutine is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.checkpoint)
  end)
end)
