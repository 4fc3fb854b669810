local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("agenda.sleep", function()
  it("returns the extra arguments, nils included", function()
    local results = table.pack(agenda.run(function() return agenda.sleep(0.001, nil, 2, nil) end))
    assert.same({ nil, 2, n = 3 }, results)
  end)

  it("returns the extra arguments with a zero delay too", function()
    local results = table.pack(agenda.run(function() return agenda.sleep(0, "a", nil) end))
    assert.same({ "a", n = 2 }, results)
  end)

  it("returns nothing when there are none", function()
    assert.equal(0, agenda.run(function() return select("#", agenda.sleep(0)) end))
    assert.equal(0, agenda.run(function() return select("#", agenda.sleep(0.001)) end))
  end)

  it("is never shorter than it was told", function()
    agenda.run(function()
      local loop = agenda.get_running_loop()
      for i = 1, 10 do
        local delay = i * 0.00021
        local began = loop:time()
        agenda.sleep(delay)
        assert.is_true(loop:time() - began >= delay)
      end
    end)
  end)

  it("honours less than a millisecond", function()
    local best = math.huge
    agenda.run(function()
      local loop = agenda.get_running_loop()
      for _ = 1, 5 do
        local began = loop:time()
        for _ = 1, 20 do agenda.sleep(0.0002) end
        best = math.min(best, loop:time() - began)
      end
    end)
    assert.is_true(best < 0.015, "20 sleeps of 0.2 ms took " .. best)
  end)

  it("lets tasks sleep at the same time", function()
    local passed = agenda.run(function()
      local loop = agenda.get_running_loop()
      local began = loop:time()
      local tasks = {}
      for i = 1, 100 do tasks[i] = agenda.spawn(agenda.sleep, 0.005) end
      for i = 1, 100 do agenda.await(tasks[i]) end
      return loop:time() - began
    end)
    assert.is_true(passed >= 0.005 and passed < 0.25, "it took " .. passed)
  end)

  it("wakes in order of the deadlines", function()
    local log = {}
    agenda.run(function()
      local tasks = {}
      for i, delay in ipairs { 0.03, 0.01, 0.02 } do
        tasks[i] = agenda.spawn(function()
          agenda.sleep(delay)
          log[#log + 1] = delay
        end)
      end
      for _, task in ipairs(tasks) do agenda.await(task) end
    end)
    assert.same({ 0.01, 0.02, 0.03 }, log)
  end)

  describe("of 0", function()
    it("takes one turn", function()
      local log = {}
      agenda.run(function()
        agenda.spawn(function()
          for i = 1, 3 do
            log[#log + 1] = "other" .. i
            agenda.sleep(0)
          end
        end)
        for i = 1, 3 do
          log[#log + 1] = "main" .. i
          agenda.sleep(0)
        end
      end)
      assert.same({ "main1", "other1", "main2", "other2", "main3", "other3" }, log)
    end)

    it("takes one turn in any number of tasks", function()
      local log = {}
      agenda.run(function()
        for name in ("abc"):gmatch(".") do
          agenda.spawn(function()
            for i = 1, 2 do
              log[#log + 1] = name .. i
              agenda.sleep(0)
            end
          end)
        end
        loopkit.turns(3)
      end)
      assert.same({ "a1", "b1", "c1", "a2", "b2", "c2" }, log)
    end)

    it("lets callbacks run", function()
      local called = false
      agenda.run(function()
        agenda.get_running_loop():call_soon(function() called = true end)
        agenda.sleep(0)
        assert.is_true(called)
      end)
    end)

    it("lets timers that are due run in the end", function()
      agenda.run(function()
        local loop, called = agenda.get_running_loop(), false
        loop:call_later(0.001, function() called = true end)
        local limit = loop:time() + 2
        while not called and loop:time() < limit do agenda.sleep(0) end
        assert.is_true(called)
      end)
    end)
  end)

  it("of a negative time is a sleep of 0", function()
    local log = {}
    agenda.run(function()
      agenda.spawn(function() log[#log + 1] = "other" end)
      agenda.sleep(-5)
      log[#log + 1] = "main"
    end)
    assert.same({ "other", "main" }, log)
  end)

  it("works at any call depth", function()
    local function deep(n)
      if n == 0 then return agenda.sleep(0, "bottom") end
      return (deep(n - 1))
    end
    assert.equal("bottom", agenda.run(deep, 100))
  end)

  it("works under pcall", function()
    assert.same({ true, "x" }, { agenda.run(function() return pcall(agenda.sleep, 0.001, "x") end) })
  end)

  it("works inside a metamethod", function()
    local thing = setmetatable({}, { __index = function(_, key) return agenda.sleep(0, key .. "!") end })
    assert.equal("field!", agenda.run(function() return thing.field end))
  end)

  it("works inside a generator within a task", function()
    local sum = agenda.run(function()
      local total = 0
      local count = agenda.generator(function()
        for i = 1, 3 do
          agenda.sleep(0)
          agenda.yield(i)
        end
      end)
      for i in count() do total = total + i end
      return total
    end)
    assert.equal(6, sum)
  end)

  it("ends at once when its task is cancelled", function()
    agenda.run(function()
      local loop = agenda.get_running_loop()
      local began = loop:time()
      local task = agenda.spawn(agenda.sleep, 60)
      agenda.sleep(0)
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
      assert.is_true(loop:time() - began < 5)
    end)
  end)

  it("of math.huge can be cancelled", function()
    agenda.run(function()
      local task = agenda.spawn(agenda.sleep, math.huge)
      agenda.sleep(0.001)
      assert.is_false(task:done())
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
    end)
  end)

  it("of NaN is a ValueError", function()
    agenda.run(function() fails(errors.ValueError, agenda.sleep, 0 / 0) end)
  end)

  it("refuses what is no number", function()
    agenda.run(function()
      local ok, err = pcall(function() agenda.sleep("soon") end)
      assert.is_false(ok)
      assert.truthy(err:find("bad argument #1 to 'sleep' (number expected, got string)", 1, true))
      assert.truthy(err:find("^.*sleep_spec.lua:%d+:"))
    end)
  end)

  it("refuses to be called without a time", function()
    agenda.run(function() loopkit.bad_argument(1, "sleep", function() agenda.sleep() end) end)
  end)

  it("outside of any coroutine is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.sleep, 0.001)
  end)

  it("in a plain coroutine that agenda does not drive is a RuntimeError", function()
    local co = coroutine.create(function() return fails(errors.RuntimeError, agenda.sleep, 0.001) end)
    local ok, err = coroutine.resume(co)
    assert.is_true(ok, tostring(err))
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("goes on to work after a refused one", function()
    assert.equal("fine", agenda.run(function()
      pcall(agenda.sleep, "soon")
      return agenda.sleep(0.001, "fine")
    end))
  end)
end)
