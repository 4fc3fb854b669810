local agenda = require "agenda"
local testing = require "agenda.testing"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

local function in_run(name, body)
  it(name, function() testing.run(body) end)
end

describe("testing.run", function()
  it("gives main the arguments and returns its results", function()
    local got = table.pack(testing.run(function(...) return ... end, 1, nil, 3, nil))
    assert.same({ 1, nil, 3, nil, n = 4 }, got)
  end)

  it("takes a coroutine object", function()
    local main = agenda.async(function(x)
      agenda.sleep(100)
      return x, testing.clock()
    end)
    assert.same({ 5, 100 }, { testing.run(main(5)) })
  end)

  it("refuses what cannot be run", function()
    fails(errors.TypeError, testing.run, 5)
  end)

  it("raises main's error as the same object", function()
    local raised = {}
    local _, err = pcall(testing.run, function()
      agenda.sleep(1)
      error(raised)
    end)
    assert.equal(raised, err)
  end)

  it("is refused inside a running loop", function()
    agenda.run(function() fails(errors.RuntimeError, testing.run, function() end) end)
  end)

  it("cancels the tasks that are left", function()
    local cancelled = false
    testing.run(function()
      agenda.spawn(function()
        local _, err = pcall(agenda.sleep, 1000)
        cancelled = errors.CancelledError:is(err)
      end)
      agenda.sleep(1)
    end)
    assert.is_true(cancelled)
  end)

  it("takes no time to sleep an hour", function()
    local before = os.time()
    testing.run(function() agenda.sleep(3600) end)
    assert.is_true(os.time() - before <= 1)
  end)

  in_run("begins at 0", function()
    assert.equal(0, testing.clock())
  end)

  it("begins at 0 each time", function()
    for _ = 1, 2 do
      testing.run(function()
        assert.equal(0, testing.clock())
        agenda.sleep(5)
      end)
    end
  end)

  in_run("jumps exactly to the deadline", function()
    agenda.sleep(0.3)
    assert.equal(0.3, testing.clock())
    agenda.sleep(3600)
    assert.equal(0.3 + 3600, testing.clock())
  end)

  in_run("stands still while tasks can run", function()
    loopkit.turns(100)
    assert.equal(0, testing.clock())
  end)

  in_run("wakes sleepers in the order of their deadlines", function()
    local log = {}
    local tasks = {}
    for _, seconds in ipairs { 30, 10, 20 } do
      tasks[#tasks + 1] = agenda.spawn(function()
        agenda.sleep(seconds)
        log[#log + 1] = testing.clock()
      end)
    end
    agenda.await(agenda.gather(tasks))
    assert.same({ 10, 20, 30 }, log)
  end)

  in_run("runs timers at their virtual time", function()
    local loop, at = agenda.get_running_loop(), nil
    loop:call_later(50, function() at = loop:time() end)
    agenda.sleep(60)
    assert.equal(50, at)
  end)

  in_run("sees a descriptor that is ready before it jumps", function()
    local file <close> = assert(io.popen("cat >/dev/null", "w"))
    local loop, at = agenda.get_running_loop(), nil
    loop:add_writer(file, function()
      loop:remove_writer(file)
      at = testing.clock()
    end)
    agenda.sleep(5)
    assert.equal(0, at)
  end)

  it("does not change the clock of the next agenda.run", function()
    testing.run(function() end)
    agenda.run(function() assert.is_true(agenda.get_running_loop():time() > 0) end)
  end)
end)

describe("a deadlock in testing.run", function()
  it("is an error when main awaits what nobody sets", function()
    local err = fails(errors.RuntimeError, testing.run, function() agenda.await(agenda.future()) end)
    assert.truthy(err.message:find("^deadlock"))
  end)

  it("is found after time has passed", function()
    local err = fails(errors.RuntimeError, testing.run, function()
      agenda.sleep(3600)
      agenda.await(agenda.future())
    end)
    assert.truthy(err.message:find("^deadlock"))
  end)

  it("prints every task with what it awaits", function()
    local err = fails(errors.RuntimeError, testing.run, function()
      local task = agenda.spawn(function() agenda.await(agenda.future()) end)
      task:set_name("stuck")
      agenda.await(task)
    end)
    assert.truthy(err.message:find("<task stuck[^\n]* awaits <future"))
    assert.truthy(err.message:find("awaits <task stuck", 1, true))
  end)

  it("is not while there is a deadline", function()
    testing.run(function()
      local fut = agenda.future()
      agenda.get_running_loop():call_later(1e6, fut.set_result, fut, 1)
      assert.equal(1, agenda.await(fut))
    end)
  end)

  it("is not while a descriptor is watched", function()
    testing.run(function()
      local file <close> = assert(io.popen("sleep 0.01; echo x"))
      local fut, loop = agenda.future(), agenda.get_running_loop()
      loop:add_reader(file, function()
        loop:remove_reader(file)
        fut:set_result("read")
      end)
      assert.equal("read", agenda.await(fut))
    end)
  end)

  it("lets the cleanups run", function()
    local cleaned = false
    pcall(testing.run, function()
      local _ <close> = loopkit.on_close(function()
        agenda.sleep(10)
        cleaned = true
      end)
      agenda.await(agenda.future())
    end)
    assert.is_true(cleaned)
  end)
end)

describe("testing.clock", function()
  it("is refused outside a loop", function()
    fails(errors.RuntimeError, testing.clock)
  end)

  it("is refused on a real clock", function()
    agenda.run(function()
      local err = fails(errors.RuntimeError, testing.clock)
      assert.truthy(err.message:find("testing.run", 1, true))
    end)
  end)

  in_run("is the loop's time", function()
    agenda.sleep(7)
    assert.equal(agenda.get_running_loop():time(), testing.clock())
  end)
end)

describe("testing.wait_all_blocked", function()
  it("is refused on a real clock", function()
    agenda.run(function() fails(errors.RuntimeError, testing.wait_all_blocked) end)
  end)

  in_run("returns at once when there is no other task", function()
    testing.wait_all_blocked()
    assert.equal(0, testing.clock())
  end)

  in_run("waits for tasks that take many turns", function()
    local done = false
    agenda.spawn(function()
      loopkit.turns(50)
      done = true
    end)
    testing.wait_all_blocked()
    assert.is_true(done)
  end)

  in_run("waits for tasks that others start", function()
    local depth = 0
    local function deeper()
      depth = depth + 1
      if depth < 20 then agenda.spawn(deeper) end
    end
    agenda.spawn(deeper)
    testing.wait_all_blocked()
    assert.equal(20, depth)
  end)

  in_run("does not wait for sleepers", function()
    local woken = false
    agenda.spawn(function()
      agenda.sleep(0.001)
      woken = true
    end)
    testing.wait_all_blocked()
    assert.is_false(woken)
  end)

  in_run("does not wait for tasks that await futures", function()
    local fut, got = agenda.future(), nil
    agenda.spawn(function() got = agenda.await(fut) end)
    testing.wait_all_blocked()
    assert.is_nil(got)
    fut:set_result(1)
    testing.wait_all_blocked()
    assert.equal(1, got)
  end)

  in_run("waits for callbacks that are ready", function()
    local called = false
    agenda.get_running_loop():call_soon(function() called = true end)
    testing.wait_all_blocked()
    assert.is_true(called)
  end)

  in_run("leaves the clock as it is", function()
    agenda.spawn(agenda.sleep, 100)
    for _ = 1, 3 do testing.wait_all_blocked() end
    assert.equal(0, testing.clock())
    agenda.sleep(12.5)
    testing.wait_all_blocked()
    assert.equal(12.5, testing.clock())
  end)

  in_run("serves several tasks at once", function()
    local busy, seen = true, {}
    local function watch()
      testing.wait_all_blocked()
      seen[#seen + 1] = busy
    end
    local watchers = { agenda.spawn(watch), agenda.spawn(watch) }
    agenda.spawn(function()
      loopkit.turns(10)
      busy = false
    end)
    agenda.await(agenda.gather(watchers))
    assert.same({ false, false }, seen)
    assert.equal(0, testing.clock())
  end)

  in_run("can be cancelled", function()
    local task = agenda.spawn(testing.wait_all_blocked)
    agenda.sleep(0)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
  end)
end)
