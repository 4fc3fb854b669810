local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails, turns = agenda.errors, loopkit.fails, loopkit.turns
local in_run, started = loopkit.in_run, loopkit.started

describe("agenda.lock", function()
  in_run("starts unlocked", function()
    assert.is_false(agenda.lock():locked())
  end)

  in_run("is locked by acquire, which returns true", function()
    local lock = agenda.lock()
    assert.is_true(lock:acquire())
    assert.is_true(lock:locked())
  end)

  in_run("is unlocked by release", function()
    local lock = agenda.lock()
    lock:acquire()
    lock:release()
    assert.is_false(lock:locked())
  end)

  in_run("does not switch when it is free", function()
    local lock, ran = agenda.lock(), false
    agenda.spawn(function() ran = true end)
    for _ = 1, 10 do lock:acquire() lock:release() end
    assert.is_false(ran)
  end)

  it("needs no loop when it is free", function()
    local lock = agenda.lock()
    lock:acquire()
    lock:release()
    assert.is_false(lock:locked())
  end)

  in_run("makes the next one wait", function()
    local lock = agenda.lock()
    lock:acquire()
    local second = agenda.spawn(lock.acquire, lock)
    turns(5)
    assert.is_false(second:done())
    lock:release()
    assert.is_true(agenda.await(second))
  end)

  in_run("is given first in, first out", function()
    local lock, order = agenda.lock(), {}
    lock:acquire()
    for i = 1, 5 do
      agenda.spawn(function()
        lock:acquire()
        order[#order + 1] = i
        lock:release()
      end)
    end
    turns(1)
    lock:release()
    turns(10)
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  in_run("is not taken by who comes before the woken one ran", function()
    local lock, order = agenda.lock(), {}
    lock:acquire()
    started(function() lock:acquire() order[1] = "waiter" lock:release() end)
    lock:release()
    lock:acquire()
    order[#order + 1] = "late"
    assert.same({ "waiter", "late" }, order)
  end)

  in_run("refuses to be released when it is unlocked", function()
    local err = fails(errors.RuntimeError, function() agenda.lock():release() end)
    assert.equal("Lock is not acquired.", err.message)
  end)

  in_run("goes to the next when a woken waiter is cancelled", function()
    local lock = agenda.lock()
    lock:acquire()
    local first, second = started(lock.acquire, lock), started(lock.acquire, lock)
    lock:release()
    first:cancel()
    assert.is_true(agenda.await(second))
    assert.is_true(first:cancelled())
  end)

  in_run("does not switch when the only waiter was cancelled", function()
    local lock = agenda.lock()
    lock:acquire()
    local waiter = started(lock.acquire, lock)
    waiter:cancel()
    lock:release()
    lock:acquire()
    assert.is_false(waiter:done())
  end)

  it("refuses to be waited for on a second loop", function()
    local lock, loop = agenda.lock(), nil
    agenda.run(function()
      loop = agenda.get_running_loop()
      lock:acquire()
      local waiter = started(lock.acquire, lock)
      waiter:cancel()
    end)
    agenda.run(function()
      local err = fails(errors.RuntimeError, lock.acquire, lock)
      assert.matches("is bound to a different event loop", err.message, 1, true)
    end)
    assert.is_true(loop:is_closed())
  end)

  it("refuses to be waited for on a second loop when the first one is gone", function()
    local lock = agenda.lock()
    agenda.run(function()
      lock:acquire()
      started(lock.acquire, lock):cancel()
    end)
    loopkit.collect()
    agenda.run(function() fails(errors.RuntimeError, lock.acquire, lock) end)
  end)

  it("cannot be waited for without a loop", function()
    local lock = agenda.lock()
    lock:acquire()
    fails(errors.RuntimeError, lock.acquire, lock)
  end)

  in_run("is held for a block by guard", function()
    local lock = agenda.lock()
    do
      local _ <close> = lock:guard()
      assert.is_true(lock:locked())
    end
    assert.is_false(lock:locked())
  end)

  in_run("is released by guard when the block fails", function()
    local lock = agenda.lock()
    assert.is_false(pcall(function()
      local _ <close> = lock:guard()
      error "x"
    end))
    assert.is_false(lock:locked())
  end)

  in_run("lets a guard wait", function()
    local lock, order = agenda.lock(), {}
    for i = 1, 3 do
      agenda.spawn(function()
        local _ <close> = lock:guard()
        agenda.sleep(0)
        order[#order + 1] = i
      end)
    end
    turns(12)
    assert.same({ 1, 2, 3 }, order)
  end)

  in_run("is entered by acquiring and left by releasing", function()
    local lock = agenda.lock()
    local metatable = getmetatable(lock)
    metatable.__aenter(lock)
    assert.is_true(lock:locked())
    assert.is_nil(metatable.__aexit(lock))
    assert.is_false(lock:locked())
  end)

  it("has a type and a text", function()
    assert.equal("lock", agenda.type(agenda.lock()))
    assert.matches("^<lock at 0x%x+>$", tostring(agenda.lock()))
    assert.equal("agenda.lock", getmetatable(agenda.lock()).__name)
  end)
end)
