local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails, turns = agenda.errors, loopkit.fails, loopkit.turns

local function in_run(name, body)
  it(name, function() agenda.run(body) end)
end

-- A task that has run up to where it waits.
local function started(...)
  local task = agenda.spawn(...)
  turns(1)
  return task
end

describe("agenda.condition", function()
  in_run("has acquire, release and locked of its lock", function()
    local lock = agenda.lock()
    local condition = agenda.condition(lock)
    assert.is_true(condition:acquire())
    assert.is_true(lock:locked())
    assert.is_true(condition:locked())
    condition:release()
    assert.is_false(lock:locked())
  end)

  in_run("makes a lock of its own", function()
    local condition = agenda.condition()
    condition:acquire()
    assert.is_false(agenda.condition():locked())
  end)

  it("refuses what is no lock", function()
    loopkit.bad_argument(1, "condition", function() agenda.condition(1) end)
    loopkit.bad_argument(1, "condition", function() agenda.condition(agenda.event()) end)
  end)

  in_run("refuses wait and notify without the lock", function()
    local condition = agenda.condition()
    fails(errors.RuntimeError, condition.wait, condition)
    fails(errors.RuntimeError, condition.notify, condition)
    fails(errors.RuntimeError, condition.notify_all, condition)
  end)

  local function waiters(condition, n, order)
    for i = 1, n do
      agenda.spawn(function()
        local _ <close> = condition:guard()
        assert(condition:wait() == true)
        assert(condition:locked())
        order[#order + 1] = i
      end)
    end
    turns(n + 1)
  end

  in_run("releases the lock while it waits", function()
    local condition = agenda.condition()
    local order = {}
    waiters(condition, 1, order)
    assert.is_false(condition:locked())
    condition:acquire()
    condition:notify()
    condition:release()
    turns(3)
    assert.same({ 1 }, order)
  end)

  in_run("notifies one by default, the first", function()
    local condition, order = agenda.condition(), {}
    waiters(condition, 3, order)
    local guard <close> = condition:guard()
    condition:notify()
    condition:release()
    turns(5)
    assert.same({ 1 }, order)
    condition:acquire()
    condition:notify_all()
    condition:release()
    turns(5)
    condition:acquire()
    assert.is_not_nil(guard)
  end)

  in_run("notifies n, in their order", function()
    local condition, order = agenda.condition(), {}
    waiters(condition, 5, order)
    condition:acquire()
    condition:notify(3)
    condition:release()
    turns(6)
    assert.same({ 1, 2, 3 }, order)
    condition:acquire()
    condition:notify(10)
    condition:release()
    turns(6)
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  in_run("notifies all", function()
    local condition, order = agenda.condition(), {}
    waiters(condition, 4, order)
    condition:acquire()
    condition:notify_all()
    condition:release()
    turns(8)
    assert.same({ 1, 2, 3, 4 }, order)
  end)

  in_run("wait_for does not wait when f is true, and gives f's value", function()
    local condition = agenda.condition()
    local _ <close> = condition:guard()
    assert.equal("v", condition:wait_for(function() return "v" end))
  end)

  in_run("wait_for waits until f is true", function()
    local condition, n = agenda.condition(), 0
    local waiter = started(function()
      local _ <close> = condition:guard()
      return condition:wait_for(function() return n >= 3 and n end)
    end)
    for _ = 1, 3 do
      assert.is_false(waiter:done())
      condition:acquire()
      n = n + 1
      condition:notify()
      condition:release()
      turns(3)
    end
    assert.equal(3, agenda.await(waiter))
  end)

  in_run("has the lock again when a wait was cancelled", function()
    local condition, held = agenda.condition(), nil
    local waiter = started(function()
      condition:acquire()
      local ok, err = pcall(condition.wait, condition)
      held = condition:locked() and not ok and errors.CancelledError:is(err)
      condition:release()
    end)
    waiter:cancel()
    turns(2)
    assert.is_true(held)
    assert.is_false(condition:locked())
  end)

  in_run("waits for the lock however often it is cancelled", function()
    local condition = agenda.condition()
    local waiter = started(function()
      local _ <close> = condition:guard()
      condition:wait()
    end)
    condition:acquire()
    for _ = 1, 3 do
      waiter:cancel()
      turns(2)
      assert.is_false(waiter:done())
    end
    condition:release()
    turns(2)
    assert.is_true(waiter:cancelled())
    assert.is_false(condition:locked())
  end)

  it("is not taken for a task that swallows its cancellation", function()
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      local condition = agenda.condition()
      local waiter = started(function()
        local _ <close> = condition:guard()
        condition:wait()
      end)
      condition:acquire()
      waiter:cancel()
      turns(3)
      condition:release()
      turns(3)
      assert.is_true(waiter:cancelled())
    end)
    assert.same({}, contexts)
  end)

  in_run("passes the notification of a cancelled waiter on", function()
    local condition, order = agenda.condition(), {}
    local first = started(function()
      local _ <close> = condition:guard()
      condition:wait()
    end)
    waiters(condition, 1, order)
    condition:acquire()
    condition:notify()
    first:cancel()
    condition:release()
    turns(5)
    assert.is_true(first:cancelled())
    assert.same({ 1 }, order)
  end)

  it("has a type and a text", function()
    assert.equal("condition", agenda.type(agenda.condition()))
    assert.matches("^<condition at 0x%x+>$", tostring(agenda.condition()))
  end)
end)
