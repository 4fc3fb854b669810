local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("the event loop", function()
  local loop

  before_each(function() loop = agenda.new_event_loop() end)
  after_each(function()
    loop:close()
    loop = nil
  end)

  local function closed_error(f)
    assert.equal("Event loop is closed", fails(errors.RuntimeError, f).message)
  end

  it("has its type", function()
    assert.equal("event_loop", agenda.type(loop))
  end)

  it("shows in angle brackets", function()
    assert.truthy(tostring(loop):match("^<event_loop.*0x%x+.*>$"))
  end)

  describe("run_forever", function()
    it("runs until stop() is called", function()
      local called = 0
      local function again()
        called = called + 1
        if called == 10 then loop:stop() end
        loop:call_soon(again)
      end
      loop:call_soon(again)
      loop:run_forever()
      assert.equal(10, called)
    end)

    it("waits for timers", function()
      local called = false
      loop:call_later(0.002, function()
        called = true
        loop:stop()
      end)
      loop:run_forever()
      assert.is_true(called)
    end)

    it("runs one turn when it was stopped before", function()
      local called = 0
      loop:call_soon(function() called = called + 1 end)
      loop:stop()
      loop:run_forever()
      assert.equal(1, called)
    end)

    it("is stopped but once by a stop() before it", function()
      loop:stop()
      loop:run_forever()
      local called = 0
      loop:call_later(0.001, function()
        called = called + 1
        loop:stop()
      end)
      loop:run_forever()
      assert.equal(1, called)
    end)

    it("finishes the turn in which it is stopped", function()
      local log = {}
      loop:call_soon(function()
        loop:stop()
        log[#log + 1] = 1
      end)
      loop:call_soon(function() log[#log + 1] = 2 end)
      loop:run_forever()
      assert.same({ 1, 2 }, log)
    end)

    it("leaves what the last turn scheduled for the next run", function()
      local log = {}
      loop:call_soon(function()
        loop:stop()
        loop:call_soon(function() log[#log + 1] = "next run" end)
      end)
      loop:run_forever()
      assert.same({}, log)
      loop:stop()
      loop:run_forever()
      assert.same({ "next run" }, log)
    end)

    it("may run again", function()
      local called = 0
      for _ = 1, 3 do
        loop:call_soon(function()
          called = called + 1
          loop:stop()
        end)
        loop:run_forever()
      end
      assert.equal(3, called)
    end)

    it("is the running loop while it runs", function()
      local seen, running
      loop:call_soon(function()
        seen, running = agenda.get_running_loop(), loop:is_running()
        loop:stop()
      end)
      loop:run_forever()
      assert.equal(loop, seen)
      assert.is_true(running)
    end)

    it("is not the running loop afterwards", function()
      loop:stop()
      loop:run_forever()
      assert.is_false(loop:is_running())
      fails(errors.RuntimeError, agenda.get_running_loop)
    end)

    it("runs the tasks that were made before", function()
      local task = loop:create_task(function(x)
        agenda.sleep(0.001)
        loop:stop()
        return x
      end, "done")
      loop:run_forever()
      assert.equal("done", task:result())
    end)

    it("goes on after a callback failed", function()
      local called = false
      loop:set_exception_handler(function() end)
      loop:call_soon(function() error("failed") end)
      loop:call_soon(function() loop:call_soon(function()
        called = true
        loop:stop()
      end) end)
      loop:run_forever()
      assert.is_true(called)
    end)

    it("lets KeyboardInterrupt out of a callback", function()
      loop:call_soon(function() error(errors.KeyboardInterrupt()) end)
      fails(errors.KeyboardInterrupt, loop.run_forever, loop)
      assert.is_false(loop:is_running())
    end)

    it("lets KeyboardInterrupt out of a task", function()
      loop:create_task(function() error(errors.KeyboardInterrupt()) end)
      fails(errors.KeyboardInterrupt, loop.run_forever, loop)
    end)

    it("keeps what was ready when KeyboardInterrupt came out", function()
      local called = false
      loop:call_soon(function() error(errors.KeyboardInterrupt()) end)
      loop:call_soon(function()
        called = true
        loop:stop()
      end)
      pcall(loop.run_forever, loop)
      loop:stop()
      loop:run_forever()
      assert.is_true(called)
    end)

    it("installs async generator hooks and restores the earlier ones", function()
      local function mine() end
      agenda.set_asyncgen_hooks { firstiter = mine, finalizer = mine }
      finally(function() agenda.set_asyncgen_hooks { firstiter = false, finalizer = false } end)
      local inside
      loop:call_soon(function()
        inside = agenda.get_asyncgen_hooks()
        loop:stop()
      end)
      loop:run_forever()
      assert.is_function(inside.finalizer)
      assert.not_equal(mine, inside.finalizer)
      assert.same({ firstiter = mine, finalizer = mine }, agenda.get_asyncgen_hooks())
    end)

    it("refuses to run while it runs", function()
      local ok, err
      loop:call_soon(function()
        ok, err = pcall(loop.run_forever, loop)
        loop:stop()
      end)
      loop:run_forever()
      assert.is_false(ok)
      assert.is_true(errors.RuntimeError:is(err))
    end)

    it("refuses to run while another loop runs", function()
      local ok, err
      agenda.run(function() ok, err = pcall(loop.run_forever, loop) end)
      assert.is_false(ok)
      assert.is_true(errors.RuntimeError:is(err))
    end)

    it("works inside a plain coroutine", function()
      local called = false
      loop:call_later(0.001, function()
        called = true
        loop:stop()
      end)
      coroutine.wrap(function() loop:run_forever() end)()
      assert.is_true(called)
    end)

    it("is refused by a closed loop", function()
      loop:close()
      closed_error(function() loop:run_forever() end)
    end)
  end)

  describe("close", function()
    it("marks the loop closed", function()
      assert.is_false(loop:is_closed())
      loop:close()
      assert.is_true(loop:is_closed())
    end)

    it("may be called twice", function()
      loop:close()
      loop:close()
      assert.is_true(loop:is_closed())
    end)

    it("of a running loop is a RuntimeError", function()
      local ok, err
      loop:call_soon(function() ok, err = pcall(loop.close, loop) end)
      loop:run_once(0)
      assert.is_false(ok)
      assert.is_true(errors.RuntimeError:is(err))
      assert.is_false(loop:is_closed())
    end)

    it("leaves the loop not running", function()
      loop:close()
      assert.is_false(loop:is_running())
    end)

    it("makes create_task refuse", function()
      loop:close()
      closed_error(function() loop:create_task(function() end) end)
    end)

    it("is harmless with timers, tasks and callbacks pending", function()
      loop:set_exception_handler(function() end)
      local called = false
      loop:call_later(0.001, function() called = true end)
      loop:call_soon(function() called = true end)
      loop:create_task(function() called = true end)
      loop:close()
      loopkit.collect()
      assert.is_false(called)
    end)
  end)

  it("is not running when it is new", function()
    assert.is_false(loop:is_running())
  end)

  it("may be dropped without being closed", function()
    local weak = setmetatable({}, { __mode = "k" });
    (function()
      local dropped = agenda.new_event_loop()
      dropped:call_later(1000, print)
      weak[dropped] = true
    end)()
    loopkit.collect()
    assert.is_nil(next(weak))
  end)

  describe("create_task", function()
    it("makes a task of this loop without running it", function()
      local began = false
      local task = loop:create_task(function() began = true end)
      assert.equal("task", agenda.type(task))
      assert.equal(loop, task:get_loop())
      assert.is_false(began)
      loop:run_until_complete(task)
      assert.is_true(began)
    end)

    it("refuses what cannot be awaited", function()
      local err = fails(errors.TypeError, loop.create_task, loop, 1)
      assert.equal("argument 1 is not awaitable; pass a function", err.message)
    end)
  end)

  describe("create_future", function()
    it("makes a pending future of this loop", function()
      local fut = loop:create_future()
      assert.equal("future", agenda.type(fut))
      assert.equal(loop, fut:get_loop())
      assert.is_false(fut:done())
    end)
  end)
end)
