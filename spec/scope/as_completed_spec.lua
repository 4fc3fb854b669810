local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run, after = loopkit.in_run, loopkit.after

describe("agenda.as_completed", function()
  in_run("gives futures in the order of their completion", function()
    local results = {}
    for fut in agenda.as_completed { after(5, "slow"), after(0, "fast"), after(2, "middle") } do
      results[#results + 1] = fut:result()
    end
    assert.same({ "fast", "middle", "slow" }, results)
  end)

  in_run("gives the very tasks that were passed", function()
    local a, b = agenda.spawn(after(3)), agenda.spawn(after(0))
    local seen = {}
    for task in agenda.as_completed { a, b } do seen[#seen + 1] = task end
    assert.equal(b, seen[1])
    assert.equal(a, seen[2])
    assert.equal(2, #seen)
  end)

  in_run("is an async generator, with what closes it", function()
    local g, state, control, closing = agenda.as_completed { agenda.spawn(after(0)) }
    assert.is_true(agenda.isasyncgen(g))
    assert.is_nil(state)
    assert.is_nil(control)
    assert.equal(g, closing)
    agenda.await(g:aclose())
  end)

  in_run("makes tasks of coroutine objects", function()
    local co = agenda.async(function() return "co" end)()
    for fut in agenda.as_completed { co } do
      assert.equal("task", agenda.type(fut))
      assert.equal("co", fut:result())
    end
  end)

  in_run("gives each future once", function()
    local task, n = agenda.spawn(after(1)), 0
    for _ in agenda.as_completed { task, task } do n = n + 1 end
    assert.equal(1, n)
  end)

  in_run("of an empty list ends at once", function()
    local n = 0
    for _ in agenda.as_completed {} do n = n + 1 end
    assert.equal(0, n)
  end)

  in_run("gives failed and cancelled ones like the others", function()
    local failed, cancelled = agenda.spawn(after(1, "failed", true)), agenda.spawn(agenda.sleep, 60)
    cancelled:cancel()
    local seen = {}
    for fut in agenda.as_completed { failed, cancelled } do seen[#seen + 1] = fut end
    assert.same({ cancelled, failed }, seen)
    assert.equal("failed", failed:exception())
  end)

  in_run("gives those that are done", function()
    local fut = agenda.future()
    fut:set_result("done")
    local g <close> = agenda.as_completed { agenda.spawn(after(3)), fut }
    assert.equal(fut, agenda.await(g:anext()))
  end)

  in_run("gives those that were done while its consumer was busy", function()
    local n = 0
    for _ in agenda.as_completed { after(0), after(0), after(0) } do
      n = n + 1
      loopkit.turns(4)
    end
    assert.equal(3, n)
  end)

  in_run("left early cancels nothing", function()
    local slow = agenda.spawn(after(5, "slow"))
    do
      local g <close> = agenda.as_completed { slow, agenda.spawn(after(0)) }
      agenda.await(g:anext())
    end
    assert.is_false(slow:done())
    assert.equal("slow", agenda.await(slow))
  end)

  in_run("cancelled cancels nothing", function()
    local slow = agenda.spawn(after(8, "slow"))
    local task = agenda.spawn(function()
      for _ in agenda.as_completed { slow } do error("unexpected") end
    end)
    loopkit.turns(3)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.equal("slow", agenda.await(slow))
  end)

  in_run("cancelled after any number of turns gives each future at most once, and loses none", function()
    for turns = 0, 8 do
      local children, seen = {}, {}
      for i = 1, 3 do children[i] = agenda.spawn(after(i, i)) end
      local task = agenda.spawn(function()
        for fut in agenda.as_completed(children) do
          seen[fut] = (seen[fut] or 0) + 1
          agenda.sleep(0)
        end
      end)
      loopkit.turns(turns)
      local taken = task:cancel()
      local ok = pcall(agenda.await, task)
      assert.equal(not taken, ok)
      for _, n in pairs(seen) do assert.equal(1, n) end
      assert.same({ 1, 2, 3, n = 3 }, agenda.await(agenda.gather(children)))
      assert.equal(1, #agenda.all_tasks())
    end
  end)

  in_run("is not changed by changes of the list", function()
    local list, n = { agenda.spawn(after(0)), agenda.spawn(after(1)) }, 0
    local g <close> = agenda.as_completed(list)
    list[2] = nil
    for _ in g do n = n + 1 end
    assert.equal(2, n)
  end)

  describe("with a timeout", function()
    in_run("gives what is done in time", function()
      local n = 0
      for _ in agenda.as_completed({ after(0), after(1) }, { timeout = 60 }) do n = n + 1 end
      assert.equal(2, n)
    end)

    in_run("raises TimeoutError when it is over, and cancels nothing", function()
      local soon, late = agenda.spawn(after(0)), agenda.future()
      local g <close> = agenda.as_completed({ soon, late }, { timeout = 0.002 })
      assert.equal(soon, g())
      fails(errors.TimeoutError, g)
      assert.is_false(late:done())
    end)

    in_run("gives what was done before it was over, however late it is asked for", function()
      local soon, late = agenda.spawn(after(0)), agenda.spawn(after(1))
      local g <close> = agenda.as_completed({ soon, late }, { timeout = 0.002 })
      assert.equal(soon, g())
      agenda.sleep(0.004)
      assert.equal(late, g())
      assert.is_nil(g())
    end)

    in_run("of 0 raises unless all are done", function()
      fails(errors.TimeoutError, agenda.as_completed({ agenda.future() }, { timeout = 0 }))
    end)

    it("refuses wrong options", function()
      for _, options in ipairs { 5, { timeout = "x" }, { time = 1 } } do
        loopkit.bad_argument(2, "as_completed", function() agenda.as_completed({}, options) end)
      end
    end)
  end)

  in_run("refuses what cannot be awaited, at the call", function()
    local err = fails(errors.TypeError, agenda.as_completed, { agenda.future(), 5 })
    assert.equal("argument 2 is not awaitable; pass a function", err.message)
  end)

  in_run("refuses what is no list", function()
    fails(errors.TypeError, agenda.as_completed, agenda.future())
  end)
end)
