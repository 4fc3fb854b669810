local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("agenda.run", function()
  describe("main", function()
    it("gives all of its results back", function()
      local results = table.pack(agenda.run(function() return 1, nil, "three", nil end))
      assert.equal(4, results.n)
      assert.same({ 1, nil, "three", n = 4 }, results)
    end)

    it("gives no value back when it returns none", function()
      assert.equal(0, select("#", agenda.run(function() end)))
    end)

    it("gets the further arguments, nils included", function()
      local got
      agenda.run(function(...) got = table.pack(...) end, "a", nil, false, nil)
      assert.same({ "a", nil, false, nil, n = 4 }, got)
    end)

    it("may wait", function()
      assert.equal("slept", agenda.run(function() return agenda.sleep(0.001, "slept") end))
    end)

    it("is a task", function()
      assert.equal("task", agenda.type(agenda.run(function() return agenda.current_task() end)))
    end)

    it("may be a coroutine object", function()
      local double = agenda.async(function(n)
        agenda.sleep(0)
        return n * 2, n
      end)
      assert.same({ 42, 21 }, { agenda.run(double(21)) })
    end)

    it("has to be a function or an awaitable", function()
      local err = fails(errors.TypeError, agenda.run, 42)
      assert.equal("argument 1 is not awaitable; pass a function", err.message)
    end)

    it("has to be there", function()
      fails(errors.TypeError, agenda.run)
    end)

    it("raises a foreign table as the same object", function()
      local mark = {}
      local ok, err = pcall(agenda.run, function() error(mark) end)
      assert.is_false(ok)
      assert.equal(mark, err)
    end)

    it("raises a string error unchanged", function()
      local ok, err = pcall(agenda.run, function() error("plain", 0) end)
      assert.is_false(ok)
      assert.equal("plain", err)
    end)

    it("raises an error object as the same object", function()
      local mark = errors.ValueError("wrong")
      local ok, err = pcall(agenda.run, function()
        agenda.sleep(0)
        error(mark)
      end)
      assert.is_false(ok)
      assert.equal(mark, err)
    end)

    it("raises CancelledError when it was cancelled", function()
      fails(errors.CancelledError, agenda.run, function()
        agenda.current_task():cancel()
        agenda.sleep(0)
      end)
    end)

    it("returns its results when it swallows a cancellation", function()
      assert.equal("kept", agenda.run(function()
        agenda.current_task():cancel()
        pcall(agenda.sleep, 0)
        return "kept"
      end))
    end)

    it("cut short by stop() is a RuntimeError", function()
      local err = fails(errors.RuntimeError, agenda.run, function()
        agenda.get_running_loop():stop()
        agenda.sleep(5)
      end)
      assert.equal("Event loop stopped before Future completed.", err.message)
    end)
  end)

  describe("the loop", function()
    it("is running inside main", function()
      local running, kind = agenda.run(function()
        local loop = agenda.get_running_loop()
        return loop:is_running(), agenda.type(loop)
      end)
      assert.is_true(running)
      assert.equal("event_loop", kind)
    end)

    it("is a new one for each run", function()
      local first = agenda.run(agenda.get_running_loop)
      local second = agenda.run(agenda.get_running_loop)
      assert.not_equal(first, second)
    end)

    it("is not the default loop", function()
      local default = agenda.get_event_loop()
      finally(function()
        default:close()
        agenda.set_event_loop(nil)
      end)
      assert.not_equal(default, agenda.run(agenda.get_running_loop))
    end)

    it("is closed afterwards", function()
      assert.is_true(agenda.run(agenda.get_running_loop):is_closed())
    end)

    it("is closed after a failure", function()
      local loop
      pcall(agenda.run, function()
        loop = agenda.get_running_loop()
        error("failed")
      end)
      assert.is_true(loop:is_closed())
      assert.is_false(loop:is_running())
    end)

    it("does not run afterwards", function()
      agenda.run(function() end)
      fails(errors.RuntimeError, agenda.get_running_loop)
    end)

    it("is not in debug mode", function()
      assert.is_false(agenda.run(function() return agenda.get_running_loop():get_debug() end))
    end)

    it("refuses a run inside it", function()
      local err = agenda.run(function()
        return fails(errors.RuntimeError, agenda.run, function() end)
      end)
      assert.is_string(err.message)
    end)

    it("refuses a run inside one of its callbacks", function()
      local ok, err
      agenda.run(function()
        agenda.get_running_loop():call_soon(function()
          ok, err = pcall(agenda.run, function() end)
        end)
        agenda.sleep(0)
      end)
      assert.is_false(ok)
      assert.is_true(errors.RuntimeError:is(err))
    end)

    it("goes on after a refused run inside it", function()
      assert.equal("on", agenda.run(function()
        pcall(agenda.run, function() end)
        agenda.sleep(0)
        return "on"
      end))
    end)

    it("works inside a plain coroutine", function()
      local wrapped = coroutine.wrap(function()
        return agenda.run(function() return agenda.sleep(0, "inner") end)
      end)
      assert.equal("inner", wrapped())
    end)

    it("works again after a failure", function()
      pcall(agenda.run, function() error("failed") end)
      assert.equal(1, agenda.run(function() return 1 end))
    end)
  end)

  describe("the end", function()
    it("cancels a task that is left", function()
      local left
      agenda.run(function()
        left = agenda.spawn(agenda.sleep, 60)
        agenda.sleep(0)
      end)
      assert.is_true(left:cancelled())
    end)

    it("lets a task begin that main spawned last", function()
      local left, began, went_on
      agenda.run(function()
        left = agenda.spawn(function()
          began = true
          agenda.sleep(60)
          went_on = true
        end)
      end)
      assert.is_true(left:cancelled())
      assert.is_true(began)
      assert.is_nil(went_on)
    end)

    it("awaits the cleanup of a task that is left", function()
      local cleaned
      agenda.run(function()
        agenda.spawn(function()
          pcall(agenda.sleep, 60)
          agenda.sleep(0.002)
          cleaned = true
        end)
        agenda.sleep(0)
      end)
      assert.is_true(cleaned)
    end)

    it("raises CancelledError in a task that is left", function()
      local err
      agenda.run(function()
        agenda.spawn(function()
          err = select(2, pcall(agenda.sleep, 60))
          error(err)
        end)
        agenda.sleep(0)
      end)
      assert.is_true(errors.CancelledError:is(err))
    end)

    it("runs the to-be-closed variables of a task that is left", function()
      local closed
      agenda.run(function()
        agenda.spawn(function()
          local _ <close> = setmetatable({}, { __close = function() closed = true end })
          agenda.sleep(60)
        end)
        agenda.sleep(0)
      end)
      assert.is_true(closed)
    end)

    it("cancels the tasks that are left when main fails too", function()
      local left
      pcall(agenda.run, function()
        left = agenda.spawn(agenda.sleep, 60)
        agenda.sleep(0)
        error("failed")
      end)
      assert.is_true(left:cancelled())
    end)

    it("raises main's error, not the cancellation of others", function()
      local ok, err = pcall(agenda.run, function()
        agenda.spawn(agenda.sleep, 60)
        agenda.sleep(0)
        error("of main", 0)
      end)
      assert.is_false(ok)
      assert.equal("of main", err)
    end)

    it("does not wait for timers", function()
      local began, called = os.time(), false
      agenda.run(function()
        agenda.get_running_loop():call_later(30, function() called = true end)
      end)
      assert.is_false(called)
      assert.is_true(os.time() - began < 10)
    end)

    it("closes an async generator that is open", function()
      local log = {}
      local gen = agenda.asyncgen(function()
        local _ <close> = loopkit.on_close(function()
          agenda.sleep(0.001)
          log[#log + 1] = "closed"
        end)
        agenda.yield(1)
      end)
      local held
      agenda.run(function()
        held = gen()
        agenda.await(held:anext())
      end)
      assert.same({ "closed" }, log)
      assert.is_truthy(held)
    end)

    it("closes async generators after the tasks have ended", function()
      local log = {}
      local gen = agenda.asyncgen(function()
        local _ <close> = loopkit.on_close(function() log[#log + 1] = "generator" end)
        agenda.yield(1)
      end)
      agenda.run(function()
        local g = gen()
        agenda.await(g:anext())
        agenda.spawn(function()
          pcall(agenda.sleep, 60)
          agenda.sleep(0.001)
          log[#log + 1] = "task"
          return g
        end)
        agenda.sleep(0)
      end)
      assert.same({ "task", "generator" }, log)
    end)

    it("awaits a cleanup that a finalizer started, uncancelled", function()
      local outcome
      local gen = agenda.asyncgen(function()
        local _ <close> = loopkit.on_close(function() outcome = agenda.sleep(0.002, "finished") end)
        agenda.yield(1)
      end)
      agenda.run(function()
        (function() agenda.await((gen()):anext()) end)()
        loopkit.collect()
      end)
      assert.equal("finished", outcome)
    end)

    it("reports an error that a task raises when it is cancelled", function()
      local mark, failing = {}, nil
      local contexts = loopkit.reports(function()
        failing = agenda.spawn(function()
          pcall(agenda.sleep, 60)
          error(mark)
        end)
        agenda.sleep(0)
      end)
      assert.equal(1, #contexts)
      assert.equal(mark, contexts[1].exception)
      assert.equal(failing, contexts[1].task)
    end)

    it("reports each of several errors left once", function()
      local contexts = loopkit.reports(function()
        for i = 1, 3 do agenda.spawn(function() error("e" .. i, 0) end) end
        agenda.sleep(0)
      end)
      local messages = {}
      for i, context in ipairs(contexts) do messages[i] = context.exception end
      table.sort(messages)
      assert.same({ "e1", "e2", "e3" }, messages)
    end)

    it("reports the errors of tasks that are still held once, in their order", function()
      local held = {}
      local contexts = loopkit.reports(function()
        for i, value in ipairs { "e1", false, "e3" } do held[i] = agenda.spawn(error, value, 0) end
        agenda.sleep(0)
      end)
      assert.equal(3, #contexts)
      for i, value in ipairs { "e1", false, "e3" } do
        assert.equal(held[i], contexts[i].task)
        assert.equal(value, contexts[i].exception)
        assert.equal("Task exception was never retrieved", contexts[i].message)
      end
      for i = 1, 3 do held[i] = nil end
      loopkit.collect()
      assert.equal(3, #contexts)
    end)

    it("does not report an error that somebody asked for", function()
      local held = {}
      assert.same({}, (loopkit.reports(function()
        for i = 1, 3 do held[i] = agenda.spawn(error, "asked for", 0) end
        agenda.sleep(0)
        held[1]:exception()
        pcall(held[2].result, held[2])
        pcall(agenda.await, held[3])
      end)))
    end)

    it("does not report a task of another loop", function()
      loopkit.with_loop(function(loop)
        local other = loop:create_task(error, "of another loop", 0)
        loop:run_once(0)
        assert.same({}, (loopkit.reports(function() agenda.sleep(0) end)))
        assert.equal("of another loop", other:exception())
      end)
    end)

    it("does not report a task that was cancelled", function()
      local contexts = loopkit.reports(function()
        agenda.spawn(agenda.sleep, 60)
        agenda.sleep(0)
      end)
      assert.same({}, contexts)
    end)

    it("does not report main's own error", function()
      local contexts = {}
      pcall(agenda.run, function()
        agenda.get_running_loop():set_exception_handler(function(_, context)
          contexts[#contexts + 1] = context
        end)
        error("of main")
      end)
      loopkit.collect()
      assert.same({}, contexts)
    end)

    it("restores the async generator hooks", function()
      local before = agenda.get_asyncgen_hooks()
      agenda.run(function() agenda.sleep(0) end)
      assert.same(before, agenda.get_asyncgen_hooks())
    end)
  end)

  describe("KeyboardInterrupt", function()
    it("of main comes out", function()
      fails(errors.KeyboardInterrupt, agenda.run, function() error(errors.KeyboardInterrupt()) end)
    end)

    it("of another task ends the run and comes out", function()
      fails(errors.KeyboardInterrupt, agenda.run, function()
        agenda.spawn(function() error(errors.KeyboardInterrupt("now")) end)
        agenda.sleep(5)
      end)
    end)

    it("of a callback ends the run and comes out", function()
      fails(errors.KeyboardInterrupt, agenda.run, function()
        agenda.get_running_loop():call_soon(function() error(errors.KeyboardInterrupt()) end)
        agenda.sleep(5)
      end)
    end)

    it("lets the other tasks clean up", function()
      local cleaned
      pcall(agenda.run, function()
        agenda.spawn(function()
          pcall(agenda.sleep, 60)
          agenda.sleep(0.001)
          cleaned = true
        end)
        agenda.sleep(0)
        agenda.get_running_loop():call_soon(function() error(errors.KeyboardInterrupt()) end)
        agenda.sleep(5)
      end)
      assert.is_true(cleaned)
    end)
  end)
end)
