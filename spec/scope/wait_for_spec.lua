local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run, after = loopkit.in_run, loopkit.after

describe("agenda.wait_for", function()
  in_run("returns the results", function()
    local task = agenda.spawn(function() return 1, nil, 3 end)
    assert.same({ 1, nil, 3, n = 3 }, table.pack(agenda.wait_for(task, 5)))
  end)

  in_run("takes a function, and calls it in the same task", function()
    assert.equal(agenda.current_task(), agenda.wait_for(agenda.current_task, 5))
  end)

  in_run("takes a coroutine object", function()
    assert.equal("co", agenda.wait_for(agenda.async(after(1, "co"))(), 5))
  end)

  in_run("takes an object with __await", function()
    local thing = setmetatable({}, { __await = function() return agenda.sleep(0, "object") end })
    assert.equal("object", agenda.wait_for(thing, 5))
  end)

  in_run("takes an awaitable of an async generator", function()
    local g = agenda.asyncgen(function() agenda.yield("item") end)()
    assert.equal("item", agenda.wait_for(g:anext(), 5))
    agenda.await(g:aclose())
  end)

  in_run("gives a finished future without a switch", function()
    local switched, fut = false, agenda.future()
    fut:set_result("x")
    agenda.spawn(function() switched = true end)
    assert.equal("x", agenda.wait_for(fut, 5))
    assert.is_false(switched)
  end)

  in_run("passes the error unchanged", function()
    local mark = {}
    local ok, err = pcall(agenda.wait_for, after(1, mark, true), 5)
    assert.is_false(ok)
    assert.equal(mark, err)
  end)

  in_run("of nil has no limit", function()
    assert.equal("x", agenda.wait_for(function() return agenda.sleep(0.001, "x") end, nil))
  end)

  describe("when the time is over", function()
    in_run("raises TimeoutError with the CancelledError as its cause", function()
      local err = fails(errors.TimeoutError, agenda.wait_for, agenda.spawn(agenda.sleep, 60), 0.001)
      assert.is_true(errors.CancelledError:is(err.cause))
    end)

    in_run("cancels the task first", function()
      local task = agenda.spawn(agenda.sleep, 60)
      pcall(agenda.wait_for, task, 0.001)
      assert.is_true(task:cancelled())
    end)

    in_run("waits for the task's cleanup", function()
      local cleaned = false
      fails(errors.TimeoutError, agenda.wait_for, agenda.spawn(function()
        local _ <close> = loopkit.on_close(function()
          agenda.sleep(0.002)
          cleaned = true
        end)
        agenda.sleep(60)
      end), 0.001)
      assert.is_true(cleaned)
    end)

    in_run("runs a function's cleanup", function()
      local cleaned = false
      fails(errors.TimeoutError, agenda.wait_for, function()
        local _ <close> = loopkit.on_close(function()
          agenda.sleep(0)
          cleaned = true
        end)
        agenda.sleep(60)
      end, 0.001)
      assert.is_true(cleaned)
    end)

    in_run("cancels a future", function()
      local fut = agenda.future()
      fails(errors.TimeoutError, agenda.wait_for, fut, 0.001)
      assert.is_true(fut:cancelled())
    end)

    in_run("leaves what is shielded alone", function()
      local task = agenda.spawn(agenda.sleep, 60)
      fails(errors.TimeoutError, agenda.wait_for, agenda.shield(task), 0.001)
      assert.is_false(task:done())
      task:cancel()
    end)

    in_run("returns the results of a task that ends with some for all that", function()
      local task = agenda.spawn(function()
        pcall(agenda.sleep, 60)
        return "late"
      end)
      assert.equal("late", agenda.wait_for(task, 0.001))
    end)

    in_run("raises the error of a task that fails in its cleanup", function()
      local task = agenda.spawn(function()
        pcall(agenda.sleep, 60)
        error("cleanup", 0)
      end)
      local ok, err = pcall(agenda.wait_for, task, 0.001)
      assert.is_false(ok)
      assert.equal("cleanup", err)
    end)

    in_run("leaves no request to cancel behind", function()
      pcall(agenda.wait_for, agenda.future(), 0.001)
      assert.equal(0, agenda.current_task():cancelling())
      agenda.sleep(0)
    end)
  end)

  describe("with no time", function()
    for _, seconds in ipairs { 0, -1 } do
      in_run(("(%d) gives what is done"):format(seconds), function()
        local fut = agenda.future()
        fut:set_result("x")
        assert.equal("x", agenda.wait_for(fut, seconds))
      end)

      in_run(("(%d) raises TimeoutError for what is not"):format(seconds), function()
        local err = fails(errors.TimeoutError, agenda.wait_for, agenda.future(), seconds)
        assert.is_true(errors.CancelledError:is(err.cause))
      end)
    end

    in_run("cancels the task and waits for its cleanup", function()
      local cleaned = false
      local task = agenda.spawn(function()
        local _ <close> = loopkit.on_close(function()
          agenda.sleep(0)
          cleaned = true
        end)
        agenda.sleep(60)
      end)
      agenda.sleep(0)
      fails(errors.TimeoutError, agenda.wait_for, task, 0)
      assert.is_true(cleaned)
    end)

    in_run("never runs a function", function()
      local ran = false
      fails(errors.TimeoutError, agenda.wait_for, function() ran = true end, 0)
      assert.is_false(ran)
    end)

    in_run("returns the results of a task that ends with some for all that", function()
      local task = agenda.spawn(function()
        pcall(agenda.sleep, 60)
        return "late"
      end)
      agenda.sleep(0)
      assert.equal("late", agenda.wait_for(task, 0))
    end)

    in_run("raises the error of one that failed", function()
      local fut = agenda.future()
      fut:set_exception("failed")
      local ok, err = pcall(agenda.wait_for, fut, 0)
      assert.is_false(ok)
      assert.equal("failed", err)
    end)
  end)

  describe("cancelled from outside", function()
    in_run("cancels the task that it awaits", function()
      local inner = agenda.spawn(agenda.sleep, 60)
      local task = agenda.spawn(agenda.wait_for, inner, 5)
      loopkit.turns(2)
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
      assert.is_true(inner:cancelled())
    end)

    in_run("as the time is over raises CancelledError", function()
      local inner = agenda.spawn(function()
        local _ <close> = loopkit.on_close(function() loopkit.turns(3) end)
        agenda.sleep(60)
      end)
      local task = agenda.spawn(agenda.wait_for, inner, 0.001)
      agenda.sleep(0)
      while inner:cancelling() == 0 do agenda.sleep(0) end
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
    end)

    in_run("after any number of turns ends the task that it awaits", function()
      for turns = 0, 6 do
        local inner = agenda.spawn(after(3, "x"))
        local task = agenda.spawn(agenda.wait_for, inner, 5)
        loopkit.turns(turns)
        local taken = task:cancel()
        local ok = pcall(agenda.await, task)
        assert.equal(not taken, ok)
        pcall(agenda.await, inner)
        assert.equal(1, #agenda.all_tasks())
      end
    end)
  end)

  in_run("refuses what cannot be awaited", function()
    local err = fails(errors.TypeError, agenda.wait_for, 5, 1)
    assert.equal("argument 1 is not awaitable; pass a function", err.message)
  end)

  in_run("refuses a timeout that is no number", function()
    loopkit.bad_argument(2, "wait_for", function() agenda.wait_for(agenda.future(), "1") end)
  end)

  in_run("refuses NaN", function()
    fails(errors.ValueError, agenda.wait_for, agenda.future(), 0 / 0)
  end)

  it("outside a task is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.wait_for, print, 1)
  end)
end)
