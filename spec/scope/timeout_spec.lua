local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run = loopkit.in_run

-- A block that sleeps in a timeout scope.
local function sleep_within(seconds, asleep)
  local _ <close> = agenda.timeout(seconds)
  agenda.sleep(asleep)
  return "slept"
end

describe("agenda.timeout", function()
  in_run("lets a block that ends in time alone", function()
    assert.equal("slept", sleep_within(5, 0.001))
  end)

  in_run("raises TimeoutError at the end of the block", function()
    fails(errors.TimeoutError, sleep_within, 0.001, 60)
  end)

  in_run("raises it no sooner than the deadline", function()
    local loop = agenda.get_running_loop()
    local began = loop:time()
    pcall(sleep_within, 0.01, 60)
    local took = loop:time() - began
    assert.is_true(took >= 0.01 and took < 1)
  end)

  in_run("gives the CancelledError as the cause", function()
    local err = fails(errors.TimeoutError, sleep_within, 0.001, 60)
    assert.is_true(errors.CancelledError:is(err.cause))
  end)

  in_run("names the time and the task in the message", function()
    agenda.current_task():set_name("worker")
    local err = fails(errors.TimeoutError, sleep_within, 0.001, 60)
    assert.truthy(err.message:find("timed out after 0.001 s", 1, true))
    assert.truthy(err.message:find("task 'worker' was waiting", 1, true))
  end)

  in_run("names the line that waited in the message", function()
    local line
    local err = fails(errors.TimeoutError, function()
      local _ <close> = agenda.timeout(0.001)
      line = loopkit.here() + 1
      agenda.sleep(60)
    end)
    assert.truthy(err.message:find("timeout_spec.lua:" .. line, 1, true))
  end)

  in_run("names the library's call that waited in the message", function()
    local queue, line = agenda.queue(), nil
    local err = fails(errors.TimeoutError, function()
      local _ <close> = agenda.timeout(0.001)
      line = loopkit.here() + 1
      queue:get()
    end)
    local text = "was waiting in 'get' at "
    assert.truthy(err.message:find(text, 1, true))
    assert.truthy(err.message:find("timeout_spec.lua:" .. line .. "$"))
  end)

  in_run("raises CancelledError inside the block", function()
    local inside
    pcall(function()
      local _ <close> = agenda.timeout(0.001)
      local _, err = pcall(agenda.sleep, 60)
      inside = err
      error(err, 0)
    end)
    assert.is_true(errors.CancelledError:is(inside))
  end)

  in_run("leaves no request to cancel behind", function()
    pcall(sleep_within, 0.001, 60)
    assert.equal(0, agenda.current_task():cancelling())
    agenda.sleep(0.001)
  end)

  in_run("does nothing after its block", function()
    sleep_within(0.005, 0)
    agenda.sleep(0.008)
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("of nil never expires", function()
    local t <close> = agenda.timeout(nil)
    agenda.sleep(0.002)
    assert.is_nil(t:when())
    assert.is_false(t:expired())
  end)

  in_run("of math.huge never expires", function()
    local t <close> = agenda.timeout(math.huge)
    agenda.sleep(0.002)
    assert.is_false(t:expired())
  end)

  in_run("of 0 lets a block that does not wait alone", function()
    do
      local _ <close> = agenda.timeout(0)
    end
    agenda.sleep(0.001)
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("of 0 expires at the first wait", function()
    fails(errors.TimeoutError, sleep_within, 0, 60)
  end)

  in_run("of less than 0 expires at the first wait", function()
    fails(errors.TimeoutError, sleep_within, -1, 60)
  end)

  in_run("of 0 or less is at its deadline before a sleep(0) is over", function()
    for _, seconds in ipairs { 0, -11 } do
      fails(errors.TimeoutError, sleep_within, seconds, 0)
    end
  end)

  in_run("ends once, though it is closed again", function()
    local t = agenda.timeout(0.001)
    pcall(agenda.sleep, 60)
    fails(errors.TimeoutError, getmetatable(t).__close, t, errors.CancelledError())
    agenda.current_task():cancel()
    getmetatable(t).__close(t, errors.CancelledError())
    assert.equal(1, agenda.current_task():cancelling())
    agenda.current_task():uncancel()
    assert.is_true(t:expired())
  end)

  in_run("closes a generator's loop with its cleanup", function()
    local cleaned = false
    local gen = agenda.asyncgen(function()
      local _ <close> = loopkit.on_close(function()
        agenda.sleep(0)
        cleaned = true
      end)
      while true do
        agenda.sleep(0.001)
        agenda.yield(1)
      end
    end)
    fails(errors.TimeoutError, function()
      local _ <close> = agenda.timeout(0.005)
      for _ in gen() do agenda.sleep(0) end
    end)
    assert.is_true(cleaned)
  end)

  in_run("passes another error unchanged", function()
    local mark = {}
    local ok, err = pcall(function()
      local _ <close> = agenda.timeout(5)
      error(mark)
    end)
    assert.is_false(ok)
    assert.equal(mark, err)
  end)

  in_run("passes another error unchanged after the deadline", function()
    local mark = {}
    local ok, err = pcall(function()
      local _ <close> = agenda.timeout(0.001)
      pcall(agenda.sleep, 60)
      error(mark)
    end)
    assert.is_false(ok)
    assert.equal(mark, err)
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("passes the results of a block that handled the cancellation", function()
    local expired
    local function block()
      local t <close> = agenda.timeout(0.001)
      pcall(agenda.sleep, 60)
      expired = t:expired()
      return "result"
    end
    assert.equal("result", block())
    assert.is_true(expired)
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("works again and again in one task", function()
    for _ = 1, 5 do
      fails(errors.TimeoutError, sleep_within, 0.001, 60)
      assert.equal("slept", sleep_within(5, 0))
    end
  end)

  it("outside a task is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.timeout, 1)
  end)

  it("in a plain callback is a RuntimeError", function()
    loopkit.with_loop(function(loop)
      local ok, err
      loop:call_soon(function() ok, err = pcall(agenda.timeout, 1) end)
      loop:run_once(0)
      assert.is_false(ok)
      assert.is_true(errors.RuntimeError:is(err))
    end)
  end)

  in_run("refuses what is no number", function()
    loopkit.bad_argument(1, "timeout", function() agenda.timeout("1") end)
  end)

  in_run("refuses NaN", function()
    fails(errors.ValueError, agenda.timeout, 0 / 0)
  end)

  in_run("has a type and a description", function()
    local t <close> = agenda.timeout(5)
    assert.equal("timeout", agenda.type(t))
    assert.truthy(tostring(t):find("^<timeout active at 0x%x+>$"))
  end)

  describe("cancelled from outside", function()
    in_run("raises CancelledError, not TimeoutError", function()
      local task = agenda.spawn(sleep_within, 5, 60)
      agenda.sleep(0)
      task:cancel("outside")
      local err = fails(errors.CancelledError, agenda.await, task)
      assert.equal("outside", err.message)
    end)

    in_run("keeps the count of requests", function()
      local count
      local task = agenda.spawn(function()
        pcall(sleep_within, 5, 60)
        count = agenda.current_task():cancelling()
      end)
      agenda.sleep(0)
      task:cancel()
      agenda.await(task)
      assert.equal(1, count)
    end)

    in_run("while it expires stays cancelled", function()
      local count, err
      local task
      task = agenda.spawn(function()
        local _
        _, err = pcall(function()
          local _ <close> = agenda.timeout(0.001)
          local _ <close> = loopkit.on_close(function() task:cancel() end)
          agenda.sleep(60)
        end)
        count = agenda.current_task():cancelling()
      end)
      pcall(agenda.await, task)
      assert.is_true(errors.CancelledError:is(err))
      assert.equal(1, count)
    end)

    in_run("before it was entered still times out", function()
      local err
      local task = agenda.spawn(function()
        pcall(agenda.sleep, 60)
        local _
        _, err = pcall(sleep_within, 0.001, 60)
      end)
      agenda.sleep(0)
      task:cancel()
      agenda.await(task)
      assert.is_true(errors.TimeoutError:is(err))
      assert.equal(1, task:cancelling())
    end)
  end)

  describe("nested", function()
    in_run("raises that of the inner one when that is earlier", function()
      local inner, outer
      do
        local t <close> = agenda.timeout(5)
        outer = t
        fails(errors.TimeoutError, function()
          local u <close> = agenda.timeout(0.001)
          inner = u
          agenda.sleep(60)
        end)
      end
      assert.is_true(inner:expired())
      assert.is_false(outer:expired())
    end)

    in_run("passes CancelledError through the inner one when the outer is earlier", function()
      local between, inner
      fails(errors.TimeoutError, function()
        local _ <close> = agenda.timeout(0.001)
        local ok, err = pcall(function()
          local t <close> = agenda.timeout(5)
          inner = t
          agenda.sleep(60)
        end)
        between = not ok and err
        error(err, 0)
      end)
      assert.is_true(errors.CancelledError:is(between))
      assert.is_false(inner:expired())
    end)

    in_run("expiring together raises one TimeoutError, of the outer", function()
      local inner_error, inner, outer
      local when = agenda.get_running_loop():time() + 0.002
      fails(errors.TimeoutError, function()
        local t <close> = agenda.timeout_at(when)
        outer = t
        local ok, err = pcall(function()
          local u <close> = agenda.timeout_at(when)
          inner = u
          agenda.sleep(60)
        end)
        inner_error = not ok and err
        error(err, 0)
      end)
      assert.is_true(errors.CancelledError:is(inner_error))
      assert.is_true(inner:expired() and outer:expired())
      assert.equal(0, agenda.current_task():cancelling())
    end)

    in_run("lets the inner TimeoutError out through the outer", function()
      local seen
      local ok, err = pcall(function()
        local _ <close> = agenda.timeout(5)
        local inner_ok, inner_error = pcall(sleep_within, 0.001, 60)
        seen = not inner_ok and inner_error
        error(inner_error, 0)
      end)
      assert.is_false(ok)
      assert.equal(seen, err)
    end)
  end)

  in_run("shows its state", function()
    local t = agenda.timeout(60)
    assert.truthy(tostring(t):find("^<timeout active at 0x%x+>$"))
    t:reschedule(0)
    pcall(agenda.sleep, 60)
    assert.truthy(tostring(t):find("^<timeout expiring at "))
    getmetatable(t).__close(t)
    assert.truthy(tostring(t):find("^<timeout expired at "))
    do
      local other <close> = agenda.timeout(60)
      t = other
    end
    assert.truthy(tostring(t):find("^<timeout finished at "))
    fails(errors.RuntimeError, t.reschedule, t, 1)
    local err = fails(errors.RuntimeError, agenda.with, t, function() end)
    assert.equal("cannot enter a timeout that is finished", err.message)
  end)

  in_run("has methods that are called on timeouts only", function()
    for _, name in ipairs { "reschedule", "when", "expired" } do
      local method = agenda.timeout()[name]
      loopkit.bad_argument(1, name, function() method({}) end)
    end
  end)

  describe("reschedule", function()
    in_run("puts the deadline off", function()
      local t <close> = agenda.timeout(0.002)
      t:reschedule(agenda.get_running_loop():time() + 5)
      agenda.sleep(0.006)
      assert.is_false(t:expired())
    end)

    in_run("brings the deadline forward", function()
      fails(errors.TimeoutError, function()
        local t <close> = agenda.timeout(60)
        t:reschedule(agenda.get_running_loop():time() + 0.001)
        agenda.sleep(60)
      end)
    end)

    in_run("to the past expires at the next wait", function()
      fails(errors.TimeoutError, function()
        local t <close> = agenda.timeout(60)
        t:reschedule(0)
        agenda.sleep(60)
      end)
    end)

    in_run("to nil takes the deadline off", function()
      local t <close> = agenda.timeout(0.002)
      t:reschedule(nil)
      agenda.sleep(0.006)
      assert.is_nil(t:when())
      assert.is_false(t:expired())
    end)

    in_run("gives one without a deadline one", function()
      fails(errors.TimeoutError, function()
        local t <close> = agenda.timeout(nil)
        t:reschedule(agenda.get_running_loop():time() + 0.001)
        agenda.sleep(60)
      end)
    end)

    in_run("of an expired one is a RuntimeError", function()
      local t
      pcall(function()
        local scope <close> = agenda.timeout(0.001)
        t = scope
        agenda.sleep(60)
      end)
      fails(errors.RuntimeError, t.reschedule, t, 5)
    end)

    in_run("of an expiring one is a RuntimeError", function()
      local t <close> = agenda.timeout(0.001)
      pcall(agenda.sleep, 60)
      fails(errors.RuntimeError, t.reschedule, t, 5)
    end)

    in_run("after the block is a RuntimeError", function()
      local t
      do
        local scope <close> = agenda.timeout(5)
        t = scope
      end
      fails(errors.RuntimeError, t.reschedule, t, 5)
    end)

    in_run("refuses what is no number", function()
      local t <close> = agenda.timeout(5)
      loopkit.bad_argument(1, "reschedule", function() t:reschedule("1") end)
    end)
  end)

  describe("when", function()
    in_run("is the loop's time of the deadline", function()
      local now = agenda.get_running_loop():time()
      local t <close> = agenda.timeout(5)
      assert.is_true(t:when() >= now + 5 and t:when() < now + 6)
    end)

    in_run("is exactly what it was rescheduled to", function()
      local when = agenda.get_running_loop():time() + 7.25
      local t <close> = agenda.timeout(5)
      t:reschedule(when)
      assert.equal(when, t:when())
    end)
  end)

  describe("expired", function()
    in_run("is false before the deadline", function()
      local t <close> = agenda.timeout(5)
      assert.is_false(t:expired())
    end)

    in_run("is false after a block that ended in time", function()
      local t
      do
        local scope <close> = agenda.timeout(0.002)
        t = scope
      end
      agenda.sleep(0.004)
      assert.is_false(t:expired())
    end)

    in_run("stays true after the block", function()
      local t
      pcall(function()
        local scope <close> = agenda.timeout(0.001)
        t = scope
        agenda.sleep(60)
      end)
      assert.is_true(t:expired())
    end)
  end)

  describe("in a generator's body", function()
    local function open_scope()
      local _ <close> = agenda.timeout(5)
      agenda.yield(1)
    end

    in_run("makes a yield out of it a RuntimeError that names the scope", function()
      local g = agenda.asyncgen(open_scope)()
      local err = fails(errors.RuntimeError, function() agenda.await(g:anext()) end)
      assert.truthy(err.message:find("timeout", 1, true))
    end)

    in_run("does so in a plain generator", function()
      local g = agenda.generator(open_scope)()
      local err = fails(errors.RuntimeError, g.next, g)
      assert.truthy(err.message:find("timeout", 1, true))
    end)

    for label, delegate in pairs {
      ["a generator"] = function() agenda.yield_from(agenda.generator(function() agenda.yield(1) end)()) end,
      ["a plain iterator"] = function() agenda.yield_from(ipairs { 1 }) end,
    } do
      in_run("does so for a delegation to " .. label, function()
        local g = agenda.generator(function()
          local _ <close> = agenda.timeout(5)
          delegate()
        end)()
        local err = fails(errors.RuntimeError, g.next, g)
        assert.truthy(err.message:find("timeout", 1, true))
      end)
    end

    in_run("does so for with_timeout", function()
      local g = agenda.asyncgen(function() agenda.with_timeout(5, agenda.yield, 1) end)()
      fails(errors.RuntimeError, function() agenda.await(g:anext()) end)
    end)

    in_run("does so for move_on_after", function()
      local g = agenda.asyncgen(function() agenda.move_on_after(5, agenda.yield, 1) end)()
      fails(errors.RuntimeError, function() agenda.await(g:anext()) end)
    end)

    in_run("lets it yield after the block", function()
      local g = agenda.asyncgen(function()
        do
          local _ <close> = agenda.timeout(5)
          agenda.sleep(0)
        end
        agenda.yield("after")
      end)()
      assert.equal("after", agenda.await(g:anext()))
      agenda.await(g:aclose())
    end)

    in_run("lets it yield after a block that timed out", function()
      local g = agenda.asyncgen(function()
        pcall(sleep_within, 0.001, 60)
        agenda.yield("after")
      end)()
      assert.equal("after", agenda.await(g:anext()))
      agenda.await(g:aclose())
    end)

    in_run("lets the consumer's scope be", function()
      local gen = agenda.asyncgen(function() agenda.yield(1) end)
      local _ <close> = agenda.timeout(5)
      local seen
      for v in gen() do seen = v end
      assert.equal(1, seen)
    end)
  end)
end)

describe("agenda.timeout_at", function()
  in_run("expires at a time of the loop's", function()
    local loop = agenda.get_running_loop()
    local when = loop:time() + 0.005
    fails(errors.TimeoutError, function()
      local t <close> = agenda.timeout_at(when)
      assert.equal(when, t:when())
      agenda.sleep(60)
    end)
    assert.is_true(loop:time() >= when)
  end)

  in_run("in the past expires at the first wait", function()
    fails(errors.TimeoutError, function()
      local _ <close> = agenda.timeout_at(0)
      agenda.sleep(60)
    end)
  end)

  in_run("of nil never expires", function()
    local t <close> = agenda.timeout_at(nil)
    agenda.sleep(0.001)
    assert.is_false(t:expired())
  end)

  in_run("refuses what is no number", function()
    loopkit.bad_argument(1, "timeout_at", function() agenda.timeout_at({}) end)
  end)

  it("outside a task is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.timeout_at, 1)
  end)
end)

describe("agenda.with_timeout", function()
  in_run("returns f's results", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(agenda.with_timeout(5, function() return 1, nil, 3 end)))
  end)

  in_run("passes arguments", function()
    assert.same({ "a", nil, n = 2 }, table.pack(agenda.with_timeout(5, function(...) return ... end, "a", nil)))
  end)

  in_run("raises TimeoutError with its cause", function()
    local err = fails(errors.TimeoutError, agenda.with_timeout, 0.001, agenda.sleep, 60)
    assert.is_true(errors.CancelledError:is(err.cause))
  end)

  in_run("takes a table that can be called", function()
    local callable = setmetatable({}, { __call = function(_, x) return x end })
    assert.equal(7, agenda.with_timeout(5, callable, 7))
    loopkit.bad_argument(2, "with_timeout", function() agenda.with_timeout(5, setmetatable({}, {})) end)
  end)

  in_run("runs f in the same task", function()
    local task = agenda.current_task()
    assert.equal(task, agenda.with_timeout(5, agenda.current_task))
  end)

  in_run("passes f's error unchanged", function()
    local ok, err = pcall(agenda.with_timeout, 5, error, "text", 0)
    assert.is_false(ok)
    assert.equal("text", err)
  end)

  in_run("of nil has no limit", function()
    assert.equal("x", agenda.with_timeout(nil, agenda.sleep, 0.001, "x"))
  end)

  in_run("stays cancelled when it is cancelled from outside", function()
    local task = agenda.spawn(agenda.with_timeout, 5, agenda.sleep, 60)
    agenda.sleep(0)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
  end)

  in_run("refuses what is no number", function()
    loopkit.bad_argument(1, "with_timeout", function() agenda.with_timeout("1", print) end)
  end)

  in_run("refuses what is no function", function()
    local err = loopkit.bad_argument(2, "with_timeout", function() agenda.with_timeout(1) end)
    assert.truthy(err:find("(function expected, got no value)", 1, true))
  end)

  it("outside a task is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.with_timeout, 1, print)
  end)
end)

describe("agenda.move_on_after", function()
  in_run("returns f's results", function()
    assert.same({ 1, nil, n = 2 }, table.pack(agenda.move_on_after(5, function() return 1, nil end)))
  end)

  in_run("passes arguments", function()
    assert.equal("x", agenda.move_on_after(5, agenda.sleep, 0, "x"))
  end)

  in_run("returns nothing when the time is over", function()
    assert.equal(0, select("#", agenda.move_on_after(0.001, agenda.sleep, 60)))
  end)

  in_run("leaves no request to cancel behind", function()
    agenda.move_on_after(0.001, agenda.sleep, 60)
    assert.equal(0, agenda.current_task():cancelling())
    agenda.sleep(0)
  end)

  in_run("runs f's cleanup first", function()
    local cleaned = false
    agenda.move_on_after(0.001, function()
      local _ <close> = loopkit.on_close(function()
        agenda.sleep(0)
        cleaned = true
      end)
      agenda.sleep(60)
    end)
    assert.is_true(cleaned)
  end)

  in_run("passes f's error unchanged", function()
    local mark = {}
    local ok, err = pcall(agenda.move_on_after, 5, error, mark)
    assert.is_false(ok)
    assert.equal(mark, err)
  end)

  in_run("passes a TimeoutError of f's own", function()
    local mark = errors.TimeoutError("mine")
    local ok, err = pcall(agenda.move_on_after, 5, error, mark)
    assert.is_false(ok)
    assert.equal(mark, err)
  end)

  in_run("passes the TimeoutError of an inner scope", function()
    fails(errors.TimeoutError, agenda.move_on_after, 5, sleep_within, 0.001, 60)
  end)

  in_run("passes the expiry of an outer scope", function()
    local went_on = false
    fails(errors.TimeoutError, function()
      local _ <close> = agenda.timeout(0.001)
      agenda.move_on_after(5, agenda.sleep, 60)
      went_on = true
    end)
    assert.is_false(went_on)
  end)

  in_run("within another one ends only the inner one", function()
    local log = {}
    agenda.move_on_after(5, function()
      agenda.move_on_after(0.001, agenda.sleep, 60)
      log[#log + 1] = "inner over"
    end)
    assert.same({ "inner over" }, log)
  end)

  in_run("expiring together with an outer one ends both", function()
    local went_on = false
    agenda.move_on_after(0, function()
      agenda.move_on_after(0, agenda.sleep, 60)
      went_on = true
    end)
    assert.is_false(went_on)
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("stays cancelled when it is cancelled from outside", function()
    local task = agenda.spawn(agenda.move_on_after, 5, agenda.sleep, 60)
    agenda.sleep(0)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
  end)

  in_run("returns the results of an f that handled the cancellation", function()
    assert.equal("late", agenda.move_on_after(0.001, function()
      pcall(agenda.sleep, 60)
      return "late"
    end))
  end)

  in_run("of nil has no limit", function()
    assert.equal("x", agenda.move_on_after(nil, agenda.sleep, 0.001, "x"))
  end)

  in_run("refuses what is no number", function()
    loopkit.bad_argument(1, "move_on_after", function() agenda.move_on_after(true, print) end)
  end)

  in_run("refuses what is no function", function()
    loopkit.bad_argument(2, "move_on_after", function() agenda.move_on_after(1, {}) end)
  end)

  it("outside a task is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.move_on_after, 1, print)
  end)
end)

describe("a timeout scope cancelled after any number of turns", function()
  in_run("leaves the task cancelled, and no request of its own", function()
    for turns = 0, 12 do
      local ended, err, count = false, nil, nil
      local task = agenda.spawn(function()
        local me = agenda.current_task()
        local ok
        ok, err = pcall(function()
          local _ <close> = agenda.timeout(0)
          pcall(loopkit.turns, 3)
          loopkit.turns(4)
        end)
        count, ended = me:cancelling(), true
        if ok then err = nil end
      end)
      loopkit.turns(turns)
      local taken = task:cancel()
      local ok = pcall(agenda.await, task)
      if ended then
        assert.equal(taken and 1 or 0, count)
      else
        assert.is_false(ok)
        assert.is_true(task:cancelled())
      end
      if err then assert.is_true(errors.CancelledError:is(err)) end
    end
  end)
end)
