local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("loop:run_once", function()
  local loop

  before_each(function() loop = agenda.new_event_loop() end)
  after_each(function()
    loop:close()
    loop = nil
  end)

  it("returns at once when there is nothing to wait for", function()
    local began = loop:time()
    loop:run_once()
    assert.is_true(loop:time() - began < 1)
  end)

  it("runs every callback that is ready", function()
    local called = 0
    for _ = 1, 5 do loop:call_soon(function() called = called + 1 end) end
    loop:run_once(0)
    assert.equal(5, called)
  end)

  it("runs a timer that is due", function()
    local called = false
    loop:call_later(0, function() called = true end)
    loop:run_once(0)
    assert.is_true(called)
  end)

  it("leaves a timer that is not due", function()
    local called = false
    loop:call_later(30, function() called = true end)
    loop:run_once(0)
    assert.is_false(called)
  end)

  it("polls with 0, however far the next timer is", function()
    loop:call_later(30, print)
    local began = loop:time()
    loop:run_once(0)
    assert.is_true(loop:time() - began < 1)
  end)

  it("waits for the next timer with nil, and runs it", function()
    local called = false
    local began = loop:time()
    loop:call_later(0.003, function() called = true end)
    loop:run_once()
    assert.is_true(called)
    assert.is_true(loop:time() - began >= 0.003)
  end)

  it("waits no longer than its timeout", function()
    loop:call_later(30, print)
    local began = loop:time()
    loop:run_once(0.004)
    local passed = loop:time() - began
    assert.is_true(passed >= 0.003 and passed < 1, "it took " .. passed)
  end)

  it("does not wait when a callback is ready", function()
    local called = false
    loop:call_later(30, print)
    loop:call_soon(function() called = true end)
    local began = loop:time()
    loop:run_once()
    assert.is_true(called)
    assert.is_true(loop:time() - began < 1)
  end)

  it("leaves what a callback schedules for the next turn", function()
    local log = {}
    local function again(n)
      log[#log + 1] = n
      loop:call_soon(again, n + 1)
    end
    loop:call_soon(again, 1)
    loop:run_once(0)
    assert.same({ 1 }, log)
    loop:run_once(0)
    assert.same({ 1, 2 }, log)
  end)

  it("drives tasks to their end", function()
    local task = loop:create_task(function()
      for _ = 1, 3 do agenda.sleep(0) end
      return agenda.sleep(0.001, "end")
    end)
    local limit = loop:time() + 2
    while not task:done() and loop:time() < limit do loop:run_once() end
    assert.equal("end", task:result())
  end)

  it("is the running loop meanwhile", function()
    local seen
    loop:call_soon(function() seen = agenda.get_running_loop() end)
    loop:run_once(0)
    assert.equal(loop, seen)
  end)

  it("is not the running loop between turns", function()
    loop:run_once(0)
    assert.is_false(loop:is_running())
    fails(errors.RuntimeError, agenda.get_running_loop)
  end)

  it("lets two loops take turns", function()
    loopkit.with_loop(function(other)
      local log = {}
      local function worker(name)
        for i = 1, 2 do
          log[#log + 1] = name .. i
          agenda.sleep(0)
        end
      end
      loop:create_task(worker, "a")
      other:create_task(worker, "b")
      for _ = 1, 3 do
        loop:run_once(0)
        other:run_once(0)
      end
      assert.same({ "a1", "b1", "a2", "b2" }, log)
    end)
  end)

  it("watches descriptors", function()
    local pipe <close> = assert(io.popen("echo ready", "r"))
    local called = false
    loop:add_reader(pipe, function()
      called = true
      loop:remove_reader(pipe)
    end)
    local limit = loop:time() + 2
    while not called and loop:time() < limit do loop:run_once(0.05) end
    assert.is_true(called)
  end)

  it("goes on after a callback failed", function()
    local called = false
    loop:set_exception_handler(function() end)
    loop:call_soon(function() error("failed") end)
    loop:call_soon(function() called = true end)
    loop:run_once(0)
    assert.is_true(called)
  end)

  it("lets KeyboardInterrupt out", function()
    loop:call_soon(function() error(errors.KeyboardInterrupt()) end)
    fails(errors.KeyboardInterrupt, loop.run_once, loop, 0)
    assert.is_false(loop:is_running())
  end)

  it("inside its own loop is a RuntimeError", function()
    local ok, err
    loop:call_soon(function() ok, err = pcall(loop.run_once, loop, 0) end)
    loop:run_once(0)
    assert.is_false(ok)
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("inside another running loop is a RuntimeError", function()
    local ok, err
    agenda.run(function() ok, err = pcall(loop.run_once, loop, 0) end)
    assert.is_false(ok)
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("of a closed loop is a RuntimeError", function()
    loop:close()
    local err = fails(errors.RuntimeError, loop.run_once, loop, 0)
    assert.equal("Event loop is closed", err.message)
  end)

  it("refuses a timeout that is no number", function()
    loopkit.bad_argument(1, "run_once", function() loop:run_once("soon") end)
  end)

  it("may be followed by run_until_complete", function()
    local task = loop:create_task(agenda.sleep, 0.001, "later")
    loop:run_once(0)
    assert.equal("later", loop:run_until_complete(task))
  end)
end)
