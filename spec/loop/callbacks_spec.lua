local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

-- A function that appends its name to the log.
local function logger(log, name)
  return function() log[#log + 1] = name end
end

describe("loop:call_soon", function()
  local loop

  before_each(function() loop = agenda.new_event_loop() end)
  after_each(function()
    loop:close()
    loop = nil
  end)

  describe("callbacks", function()
    it("do not run before the loop does", function()
      local called = false
      loop:call_soon(function() called = true end)
      assert.is_false(called)
    end)

    it("run once the loop runs", function()
      local called = 0
      loop:call_soon(function() called = called + 1 end)
      loop:run_once(0)
      assert.equal(1, called)
    end)

    it("run a single time", function()
      local called = 0
      loop:call_soon(function() called = called + 1 end)
      for _ = 1, 3 do loop:run_once(0) end
      assert.equal(1, called)
    end)

    it("get their arguments, nils included", function()
      local got
      loop:call_soon(function(...) got = table.pack(...) end, nil, "b", nil, nil)
      loop:run_once(0)
      assert.same({ nil, "b", n = 4 }, got)
    end)

    it("get no argument when none was given", function()
      local count
      loop:call_soon(function(...) count = select("#", ...) end)
      loop:run_once(0)
      assert.equal(0, count)
    end)

    it("get the very same tables", function()
      local mark, got = {}, nil
      loop:call_soon(function(x) got = x end, mark)
      loop:run_once(0)
      assert.equal(mark, got)
    end)

    it("get as many arguments as a call can take", function()
      local many = {}
      for i = 1, 200 do many[i] = i end
      local got
      loop:call_soon(function(...) got = { ... } end, table.unpack(many))
      loop:run_once(0)
      assert.same(many, got)
    end)

    it("run first in, first out", function()
      local log = {}
      for i = 1, 5 do loop:call_soon(logger(log, i)) end
      loop:run_once(0)
      assert.same({ 1, 2, 3, 4, 5 }, log)
    end)

    it("keep their order in great numbers", function()
      local last, ordered = 0, true
      for i = 1, 20000 do
        loop:call_soon(function(n)
          ordered = ordered and n == last + 1
          last = n
        end, i)
      end
      loop:run_once(0)
      assert.is_true(ordered)
      assert.equal(20000, last)
    end)

    it("that schedule others leave them for the next turn", function()
      local log = {}
      loop:call_soon(function()
        log[#log + 1] = "outer"
        loop:call_soon(logger(log, "inner"))
      end)
      loop:run_once(0)
      assert.same({ "outer" }, log)
      loop:run_once(0)
      assert.same({ "outer", "inner" }, log)
    end)

    it("scheduled before run before those that a callback schedules", function()
      local log = {}
      loop:call_soon(function() loop:call_soon(logger(log, "third")) end)
      loop:call_soon(logger(log, "first"))
      loop:call_soon(logger(log, "second"))
      loop:run_once(0)
      loop:run_once(0)
      assert.same({ "first", "second", "third" }, log)
    end)

    it("run though nobody holds the handle", function()
      local called = false
      loop:call_soon(function() called = true end)
      loopkit.collect()
      loop:run_once(0)
      assert.is_true(called)
    end)

    it("outlive the coroutine that made them", function()
      local called = false
      coroutine.wrap(function()
        loop:call_soon(function() called = true end)
      end)()
      loopkit.collect()
      loop:run_once(0)
      assert.is_true(called)
    end)

    it("outlive a task that made them and failed", function()
      local called = false
      agenda.run(function()
        local failing = agenda.spawn(function()
          agenda.get_running_loop():call_soon(function() called = true end)
          error("failed")
        end)
        pcall(agenda.await, failing)
        loopkit.turns(2)
      end)
      assert.is_true(called)
    end)

    it("are in no task", function()
      local task = "unset"
      loop:call_soon(function() task = agenda.current_task() end)
      loop:run_once(0)
      assert.is_nil(task)
    end)

    it("see the loop running", function()
      local seen
      loop:call_soon(function() seen = agenda.get_running_loop() end)
      loop:run_once(0)
      assert.equal(loop, seen)
    end)

    it("cannot wait", function()
      local ok, err
      loop:call_soon(function() ok, err = pcall(agenda.sleep, 0.001) end)
      loop:run_once(0)
      assert.is_false(ok)
      assert.is_true(errors.RuntimeError:is(err))
    end)

    it("run after those of the task that scheduled them went on", function()
      local log = {}
      agenda.run(function()
        agenda.get_running_loop():call_soon(logger(log, "callback"))
        log[#log + 1] = "main"
        agenda.sleep(0)
      end)
      assert.same({ "main", "callback" }, log)
    end)

    it("take turns with tasks", function()
      local log = {}
      agenda.run(function()
        agenda.spawn(logger(log, "task"))
        agenda.get_running_loop():call_soon(logger(log, "callback"))
        agenda.spawn(logger(log, "later task"))
        loopkit.turns(2)
      end)
      assert.same({ "task", "callback", "later task" }, log)
    end)

    it("may be C functions", function()
      local list = { 3, 1, 2 }
      loop:call_soon(table.sort, list)
      loop:run_once(0)
      assert.same({ 1, 2, 3 }, list)
    end)

    it("have to be functions", function()
      loopkit.bad_argument(1, "call_soon", function() loop:call_soon(5) end)
    end)

    it("have to be there", function()
      loopkit.bad_argument(1, "call_soon", function() loop:call_soon() end)
    end)

    it("are refused by a closed loop", function()
      loop:close()
      local err = fails(errors.RuntimeError, function() loop:call_soon(print) end)
      assert.equal("Event loop is closed", err.message)
    end)

    it("that are left when the loop closes never run", function()
      local called = false
      loop:call_soon(function() called = true end)
      loop:close()
      loopkit.collect()
      assert.is_false(called)
    end)
  end)

  describe("the handle", function()
    it("is not cancelled at first", function()
      assert.is_false(loop:call_soon(print):cancelled())
    end)

    it("knows that it was cancelled", function()
      local handle = loop:call_soon(print)
      handle:cancel()
      assert.is_true(handle:cancelled())
    end)

    it("keeps its callback from running when cancelled", function()
      local called = false
      loop:call_soon(function() called = true end):cancel()
      loop:run_once(0)
      assert.is_false(called)
    end)

    it("may be cancelled twice", function()
      local handle = loop:call_soon(print)
      handle:cancel()
      handle:cancel()
      assert.is_true(handle:cancelled())
    end)

    it("may be cancelled by an earlier callback of the same turn", function()
      local called, handle = false, nil
      loop:call_soon(function() handle:cancel() end)
      handle = loop:call_soon(function() called = true end)
      loop:run_once(0)
      assert.is_false(called)
    end)

    it("may be cancelled by an earlier callback of the same turn, and collected before its place comes", function()
      local called, queued, handle = false, nil, nil
      local weak = setmetatable({}, { __mode = "v" })
      loop:call_soon(function()
        weak[1] = handle
        handle:cancel()
        handle = nil
        loopkit.collect()
        queued = weak[1] ~= nil
      end)
      handle = loop:call_soon(function() called = true end)
      loop:run_once(0)
      loopkit.collect()
      assert.is_false(called)
      assert.is_true(queued)
      assert.is_nil(weak[1])
    end)

    it("leaves the others alone when cancelled", function()
      local log = {}
      loop:call_soon(logger(log, 1))
      local handle = loop:call_soon(logger(log, 2))
      loop:call_soon(logger(log, 3))
      handle:cancel()
      loop:run_once(0)
      assert.same({ 1, 3 }, log)
    end)

    it("is not cancelled by having run", function()
      local handle = loop:call_soon(function() end)
      loop:run_once(0)
      assert.is_false(handle:cancelled())
    end)

    it("may be cancelled after it ran", function()
      local handle = loop:call_soon(function() end)
      loop:run_once(0)
      handle:cancel()
      assert.is_true(handle:cancelled())
    end)

    it("may be cancelled by its own callback", function()
      local handle, called = nil, 0
      handle = loop:call_soon(function()
        called = called + 1
        handle:cancel()
      end)
      loop:run_once(0)
      assert.equal(1, called)
    end)

    it("may be cancelled after the loop was closed", function()
      local handle = loop:call_soon(print)
      loop:close()
      handle:cancel()
      assert.is_true(handle:cancelled())
    end)

    it("is cancelled, and lets go of everything, when the loop closes before it ran", function()
      local weak = setmetatable({}, { __mode = "v" })
      local soon, later
      do
        local argument = {}
        weak[1] = argument
        soon, later = loop:call_soon(print, argument), loop:call_later(100, print, argument)
      end
      loop:close()
      loopkit.collect()
      assert.is_nil(weak[1])
      assert.is_true(soon:cancelled())
      assert.is_true(later:cancelled())
      weak[1], weak[2] = soon, later
      soon, later = nil, nil
      loopkit.collect()
      assert.is_nil(next(weak))
    end)

    it("lets go of the arguments when cancelled", function()
      local weak = setmetatable({}, { __mode = "v" })
      local handle = (function()
        weak[1] = {}
        return loop:call_soon(print, weak[1])
      end)()
      handle:cancel()
      loop:run_once(0)
      loopkit.collect()
      assert.is_nil(weak[1])
      assert.is_true(handle:cancelled())
    end)

    it("lets go of the arguments once it ran", function()
      local weak = setmetatable({}, { __mode = "v" })
      local handle = (function()
        weak[1] = {}
        return loop:call_soon(function() end, weak[1])
      end)()
      loop:run_once(0)
      loopkit.collect()
      assert.is_nil(weak[1])
      assert.is_false(handle:cancelled())
    end)

    it("shows in angle brackets", function()
      assert.truthy(tostring(loop:call_soon(print)):match("^<.*0x%x+.*>$"))
    end)
  end)
end)
