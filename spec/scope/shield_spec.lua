local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

-- Defines an `it` whose body runs under agenda.run.
local function in_run(name, body)
  it(name, function() agenda.run(body) end)
end

-- A function that returns (or, with fail, raises) the value after some turns.
local function after(turns, value, fail)
  return function()
    loopkit.turns(turns)
    if fail then error(value, 0) end
    return value
  end
end

describe("agenda.shield", function()
  in_run("gives a future at once", function()
    local fut = agenda.shield(after(1, "x"))
    assert.is_true(agenda.isfuture(fut))
    assert.is_false(fut:done())
    assert.equal("x", agenda.await(fut))
  end)

  in_run("gives all results", function()
    local fut = agenda.shield(function() return 1, nil, 3 end)
    assert.same({ 1, nil, 3, n = 3 }, table.pack(agenda.await(fut)))
  end)

  in_run("starts at once", function()
    local ran = false
    agenda.shield(function() ran = true end)
    agenda.sleep(0)
    assert.is_true(ran)
  end)

  in_run("gives a future that is done itself", function()
    local fut = agenda.future()
    fut:set_result(1)
    assert.equal(fut, agenda.shield(fut))
  end)

  in_run("passes the error unchanged", function()
    local mark = {}
    local ok, err = pcall(agenda.await, agenda.shield(after(1, mark, true)))
    assert.is_false(ok)
    assert.equal(mark, err)
  end)

  in_run("cancelled leaves the task running", function()
    local task = agenda.spawn(after(4, "result"))
    local fut = agenda.shield(task)
    assert.is_true(fut:cancel())
    assert.is_true(fut:cancelled())
    assert.equal("result", agenda.await(task))
  end)

  in_run("through the task that awaits it leaves the inner task running", function()
    local inner = agenda.spawn(after(6, "result"))
    local task = agenda.spawn(function() return agenda.await(agenda.shield(inner)) end)
    loopkit.turns(2)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.is_false(inner:done())
    assert.equal("result", agenda.await(inner))
  end)

  in_run("of a task that is cancelled is cancelled", function()
    local task = agenda.spawn(agenda.sleep, 60)
    local fut = agenda.shield(task)
    agenda.sleep(0)
    task:cancel("reason")
    local err = fails(errors.CancelledError, agenda.await, fut)
    assert.equal("reason", err.message)
    assert.is_true(fut:cancelled())
  end)

  in_run("of a task that is cancelled does not cancel who awaits", function()
    local task = agenda.spawn(agenda.sleep, 60)
    local fut = agenda.shield(task)
    agenda.sleep(0)
    task:cancel()
    pcall(agenda.await, fut)
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("twice of one task gives two futures", function()
    local task = agenda.spawn(after(2, "x"))
    local a, b = agenda.shield(task), agenda.shield(task)
    a:cancel()
    assert.equal("x", agenda.await(b))
  end)

  it("cancelled leaves an error of the task's to be reported", function()
    local contexts = loopkit.reports(function()
      local fut = agenda.shield(after(2, "lost", true))
      fut:cancel()
      loopkit.turns(5)
      loopkit.collect()
      agenda.sleep(0)
    end)
    assert.equal(1, #contexts)
    assert.equal("lost", contexts[1].exception)
  end)

  it("reports an error that it passed on once", function()
    local contexts = loopkit.reports(function()
      (function() agenda.shield(after(1, "unasked", true)) end)()
      loopkit.turns(4)
      loopkit.collect()
      agenda.sleep(0)
    end)
    assert.equal(1, #contexts)
    assert.equal("unasked", contexts[1].exception)
  end)

  in_run("cancelled in the turn of the result keeps the task's result", function()
    for turns = 0, 5 do
      local inner = agenda.spawn(after(2, "x"))
      local task = agenda.spawn(function() return agenda.await(agenda.shield(inner)) end)
      loopkit.turns(turns)
      task:cancel()
      pcall(agenda.await, task)
      assert.equal("x", agenda.await(inner))
    end
  end)

  in_run("refuses what cannot be awaited", function()
    local err = fails(errors.TypeError, agenda.shield, 5)
    assert.equal("argument 1 is not awaitable; pass a function", err.message)
  end)

  it("of a function with no loop running is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.shield, print)
  end)

  it("of a future of a loop that does not run is tied to its loop", function()
    loopkit.with_loop(function(loop)
      local inner = loop:create_future()
      local fut = agenda.shield(inner)
      assert.equal(loop, fut:get_loop())
      inner:set_result("x")
      assert.equal("x", loop:run_until_complete(fut))
    end)
  end)
end)
