local agenda = require "agenda"
local core = require "agenda.core"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run, after = loopkit.in_run, loopkit.after

describe("agenda.wait", function()
  in_run("waits for all and gives them as done", function()
    local a, b = agenda.spawn(after(1, "a")), agenda.spawn(after(3, "b"))
    local done, pending = agenda.wait { a, b }
    assert.same({ a, b }, done)
    assert.same({}, pending)
    assert.equal("b", b:result())
  end)

  in_run("keeps the order of the list", function()
    local slow, fast = agenda.spawn(after(3)), agenda.spawn(after(0))
    assert.same({ slow, fast }, (agenda.wait { slow, fast }))
  end)

  in_run("gives each once", function()
    local task = agenda.spawn(after(1))
    assert.same({ task }, (agenda.wait { task, task }))
  end)

  in_run("raises no error of theirs", function()
    local task = agenda.spawn(after(0, "failed", true))
    local done = agenda.wait { task }
    assert.equal("failed", done[1]:exception())
  end)

  in_run("takes those that are done", function()
    local fut = agenda.future()
    fut:set_result(1)
    assert.same({ fut }, (agenda.wait { fut }))
  end)

  in_run("takes functions, and gives their tasks", function()
    local done = agenda.wait { after(1, "x") }
    assert.equal("task", agenda.type(done[1]))
    assert.equal("x", done[1]:result())
  end)

  in_run("runs a function that is given twice twice", function()
    local ran = 0
    local function f() ran = ran + 1 end
    assert.equal(2, #agenda.wait { f, f })
    assert.equal(2, ran)
  end)

  describe("with FIRST_COMPLETED", function()
    local first = { return_when = "FIRST_COMPLETED" }

    in_run("returns as soon as one is done", function()
      local slow, fast = agenda.spawn(agenda.sleep, 60), agenda.spawn(after(1))
      local done, pending = agenda.wait({ slow, fast }, first)
      assert.same({ fast }, done)
      assert.same({ slow }, pending)
    end)

    in_run("counts a failed one", function()
      local slow, failed = agenda.spawn(agenda.sleep, 60), agenda.spawn(after(1, "failed", true))
      assert.same({ failed }, (agenda.wait({ slow, failed }, first)))
      assert.equal("failed", failed:exception())
    end)

    in_run("counts a cancelled one", function()
      local slow, cancelled = agenda.spawn(agenda.sleep, 60), agenda.spawn(agenda.sleep, 60)
      cancelled:cancel()
      assert.same({ cancelled }, (agenda.wait({ slow, cancelled }, first)))
    end)

    in_run("gives all that are done by then", function()
      local a, b = agenda.spawn(after(1)), agenda.spawn(after(1))
      assert.same({ a, b }, (agenda.wait({ a, b }, first)))
    end)
  end)

  describe("with FIRST_EXCEPTION", function()
    local first = { return_when = "FIRST_EXCEPTION" }

    in_run("returns as soon as one fails", function()
      local slow, failed = agenda.spawn(agenda.sleep, 60), agenda.spawn(after(1, "failed", true))
      local done, pending = agenda.wait({ slow, failed }, first)
      assert.same({ failed }, done)
      assert.same({ slow }, pending)
    end)

    in_run("does not return when one is done without error", function()
      local fast, failed = agenda.spawn(after(0)), agenda.spawn(after(3, "failed", true))
      assert.same({ fast, failed }, (agenda.wait({ fast, failed }, first)))
      assert.equal("failed", failed:exception())
    end)

    in_run("does not return when one is cancelled", function()
      local cancelled, other = agenda.spawn(agenda.sleep, 60), agenda.spawn(after(3))
      cancelled:cancel()
      local done, pending = agenda.wait({ cancelled, other }, first)
      assert.same({ cancelled, other }, done)
      assert.same({}, pending)
    end)

    in_run("waits for all when none fails", function()
      local a, b = agenda.spawn(after(0)), agenda.spawn(after(3))
      assert.same({ a, b }, (agenda.wait({ a, b }, first)))
    end)
  end)

  describe("with a timeout", function()
    in_run("returns when the time is over, and cancels nothing", function()
      local slow, fast = agenda.spawn(agenda.sleep, 60), agenda.spawn(after(0))
      local done, pending = agenda.wait({ slow, fast }, { timeout = 0.002 })
      assert.same({ fast }, done)
      assert.same({ slow }, pending)
      assert.is_false(slow:done())
    end)

    in_run("of 0 gives what is done", function()
      local fut, other = agenda.future(), agenda.future()
      fut:set_result(1)
      local done, pending = agenda.wait({ fut, other }, { timeout = 0 })
      assert.same({ fut }, done)
      assert.same({ other }, pending)
    end)

    in_run("returns earlier when all are done", function()
      local loop = agenda.get_running_loop()
      local began = loop:time()
      agenda.wait({ agenda.spawn(after(1)) }, { timeout = 60 })
      assert.is_true(loop:time() - began < 10)
    end)

    in_run("refuses what is no number", function()
      loopkit.bad_argument(2, "wait", function() agenda.wait({ agenda.future() }, { timeout = "1" }) end)
    end)

    in_run("refuses NaN", function()
      fails(errors.ValueError, agenda.wait, { agenda.future() }, { timeout = 0 / 0 })
    end)
  end)

  it("is told of several that are done at once a single time", function()
    assert.same({}, (loopkit.reports(function()
      agenda.wait({ agenda.spawn(after(1)), agenda.spawn(after(1)) }, { return_when = "FIRST_COMPLETED" })
      loopkit.turns(2)
    end)))
  end)

  in_run("leaves neither timer nor callbacks behind", function()
    local futures = { agenda.future(), agenda.future() }
    futures[2]:set_result()
    local before = core.live().handles
    agenda.wait(futures, { timeout = 60, return_when = "FIRST_COMPLETED" })
    agenda.wait(futures, { timeout = 0 })
    assert.equal(before, core.live().handles)
    futures[1]:set_result()
    assert.equal(before, core.live().handles)
  end)

  describe("cancelled", function()
    in_run("raises CancelledError and cancels nothing", function()
      local child = agenda.spawn(agenda.sleep, 60)
      local task = agenda.spawn(agenda.wait, { child })
      loopkit.turns(2)
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
      assert.is_false(child:done())
      child:cancel()
    end)

    in_run("leaves no callback behind", function()
      local fut = agenda.future()
      local task = agenda.spawn(agenda.wait, { fut })
      loopkit.turns(2)
      task:cancel()
      pcall(agenda.await, task)
      local weak = setmetatable({ task }, { __mode = "v" })
      task = nil
      agenda.sleep(0)
      loopkit.collect()
      assert.is_nil(weak[1])
      fut:set_result()
    end)

    in_run("after any number of turns loses no result", function()
      for turns = 0, 6 do
        local children = { agenda.spawn(after(1, "a")), agenda.spawn(after(2, "b")) }
        local task = agenda.spawn(agenda.wait, children)
        loopkit.turns(turns)
        task:cancel()
        pcall(agenda.await, task)
        assert.same({ "a", "b", n = 2 }, agenda.await(agenda.gather(children)))
      end
    end)
  end)

  describe("refuses", function()
    in_run("an empty list", function()
      fails(errors.ValueError, agenda.wait, {})
    end)

    in_run("an unknown return_when", function()
      fails(errors.ValueError, agenda.wait, { agenda.future() }, { return_when = "LAST" })
    end)

    in_run("coroutine objects", function()
      local co = agenda.async(function() end)()
      fails(errors.TypeError, agenda.wait, { co })
      co:close()
    end)

    in_run("what cannot be awaited", function()
      local err = fails(errors.TypeError, agenda.wait, { agenda.future(), 5 })
      assert.equal("argument 2 is not awaitable; pass a function", err.message)
    end)

    in_run("a future in place of a list", function()
      fails(errors.TypeError, agenda.wait, agenda.future())
    end)

    in_run("no list", function()
      fails(errors.TypeError, agenda.wait, nil)
    end)

    in_run("an unknown option", function()
      loopkit.bad_argument(2, "wait", function() agenda.wait({ agenda.future() }, { limit = 1 }) end)
    end)

    in_run("options that are no table", function()
      loopkit.bad_argument(2, "wait", function() agenda.wait({ agenda.future() }, 5) end)
    end)

    it("to wait outside a loop", function()
      fails(errors.RuntimeError, agenda.wait, { agenda.future() })
    end)
  end)
end)
