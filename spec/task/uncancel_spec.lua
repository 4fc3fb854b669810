local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run, started = loopkit.in_run, loopkit.started

describe("task:cancelling", function()
  in_run("is 0 at first", function()
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("counts every cancel", function()
    local task = started(agenda.sleep, 60)
    for i = 1, 3 do
      task:cancel()
      assert.equal(i, task:cancelling())
    end
    pcall(agenda.await, task)
    assert.equal(3, task:cancelling())
  end)
end)

describe("task:uncancel", function()
  in_run("returns what is left", function()
    local task = started(agenda.sleep, 60)
    task:cancel()
    task:cancel()
    assert.equal(1, task:uncancel())
    assert.equal(0, task:uncancel())
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
  end)

  in_run("does not go below 0", function()
    local task = agenda.current_task()
    assert.equal(0, task:uncancel())
    assert.equal(0, task:cancelling())
  end)

  in_run("that reaches 0 withdraws a cancel not yet delivered", function()
    local fut = agenda.future()
    local task = started(function() return agenda.await(fut) end)
    fut:set_result("result")
    task:cancel()
    task:uncancel()
    assert.equal("result", agenda.await(task))
  end)

  in_run("that reaches 0 withdraws the task's own cancel", function()
    local task = agenda.current_task()
    task:cancel()
    task:uncancel()
    assert.equal("undisturbed", agenda.sleep(0, "undisturbed"))
  end)

  in_run("that reaches 0 lets a task run that was cancelled before its first run", function()
    local task = agenda.spawn(function() return "ran" end)
    task:cancel()
    task:uncancel()
    assert.equal("ran", agenda.await(task))
  end)

  in_run("that reaches 0 lets a task sleep on to its time", function()
    local loop = agenda.get_running_loop()
    local due = loop:time() + 0.02
    local task = started(function() return agenda.sleep(0.02, "slept") end)
    task:cancel()
    task:uncancel()
    agenda.sleep(0)
    assert.is_false(task:done())
    assert.equal("slept", agenda.await(task))
    assert.is_true(loop:time() >= due)
  end)

  in_run("that reaches 0 lets a sleep go on that began with a cancel under way", function()
    local loop = agenda.get_running_loop()
    local due = loop:time() + 0.02
    local task = agenda.current_task()
    task:cancel()
    loop:call_soon(task.uncancel, task)
    assert.equal("slept", agenda.sleep(0.02, "slept"))
    assert.is_true(loop:time() >= due)
  end)

  in_run("that reaches 0 after the time of a sleep lets it end", function()
    local task = started(function() return agenda.sleep(0.001, "slept") end)
    task:cancel()
    local now = os.clock()
    while os.clock() < now + 0.003 do end
    task:uncancel()
    assert.equal("slept", agenda.await(task))
  end)

  in_run("leaves a task that sleeps on to be cancelled again", function()
    local task = started(agenda.sleep, 60)
    for _ = 1, 3 do
      task:cancel()
      task:uncancel()
    end
    agenda.sleep(0)
    assert.is_false(task:done())
    task:cancel("again")
    assert.equal("again", fails(errors.CancelledError, agenda.await, task).message)
  end)

  in_run("that does not reach 0 withdraws nothing", function()
    local task = agenda.current_task()
    task:cancel()
    task:cancel()
    task:uncancel()
    fails(errors.CancelledError, agenda.sleep, 0)
  end)

  in_run("after the delivery only counts", function()
    local task = started(function()
      local ok = pcall(agenda.sleep, 60)
      return ok, agenda.current_task():uncancel()
    end)
    task:cancel()
    assert.same({ false, 0 }, { agenda.await(task) })
  end)

  in_run("leaves the task to be cancelled again", function()
    local task = started(function()
      pcall(agenda.sleep, 60)
      agenda.current_task():uncancel()
      agenda.sleep(60)
    end)
    task:cancel()
    agenda.sleep(0)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.equal(1, task:cancelling())
  end)
end)

describe("a cancellation at every wait of a task", function()
  -- Three waits of different kinds, each of which cleans up after itself.
  local function scenario(log)
    local _ <close> = loopkit.on_close(function() log.closed = (log.closed or 0) + 1 end)
    agenda.sleep(0)
    agenda.await(agenda.async(function() agenda.sleep(0) end)())
    for _ in agenda.asyncgen(function()
      local _ <close> = loopkit.on_close(function() log.gen = (log.gen or 0) + 1 end)
      agenda.sleep(0)
      agenda.yield(1)
      agenda.sleep(0)
    end)() do
      agenda.sleep(0)
    end
    log.completed = true
  end

  in_run("runs every cleanup once", function()
    local turns, completed = 0, false
    while not completed and turns < 500 do
      local log = {}
      local task = agenda.spawn(scenario, log)
      loopkit.turns(turns)
      task:cancel()
      pcall(agenda.await, task)
      assert.is_true(task:done())
      assert.is_true((log.closed or 0) <= 1)
      assert.is_true((log.gen or 0) <= 1)
      assert.equal(turns > 0 and 1 or nil, log.closed)
      completed = log.completed
      turns = turns + 1
    end
    assert.is_true(completed)
  end)
end)
