local agenda = require "agenda"
local testing = require "agenda.testing"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run, after = loopkit.in_run, loopkit.after

describe("agenda.gather", function()
  in_run("gives a future at once", function()
    local fut = agenda.gather(after(1, "x"))
    assert.is_true(agenda.isfuture(fut))
    assert.is_false(fut:done())
    agenda.await(fut)
  end)

  in_run("of what is done is done at once", function()
    local first, second = agenda.future(), agenda.future()
    first:set_result("a")
    second:set_result("b")
    local fut = agenda.gather(first, second)
    assert.is_true(fut:done())
    assert.same({ "a", "b", n = 2 }, fut:result())
  end)

  in_run("of one that failed already has failed at once", function()
    local failed, pending = agenda.future(), agenda.future()
    failed:set_exception("failed")
    local fut = agenda.gather(pending, failed)
    assert.is_true(fut:done())
    assert.equal("failed", fut:exception())
    pending:set_result()
  end)

  in_run("of one that is done and one that is not waits for that", function()
    local first, second = agenda.future(), agenda.future()
    first:set_result("a")
    local fut = agenda.gather(first, second)
    assert.is_false(fut:done())
    second:set_result("b")
    assert.same({ "a", "b", n = 2 }, agenda.await(fut))
  end)

  in_run("gives the results as a list with n", function()
    local list = agenda.await(agenda.gather(after(0, "a"), after(0, "b")))
    assert.same({ "a", "b", n = 2 }, list)
  end)

  in_run("gives one value, the list", function()
    assert.equal(1, select("#", agenda.await(agenda.gather(after(0, 1), after(0, 2)))))
  end)

  in_run("keeps the order of the arguments, not of completion", function()
    local list = agenda.await(agenda.gather(after(3, "slow"), after(0, "fast"), after(1, "middle")))
    assert.same({ "slow", "fast", "middle", n = 3 }, list)
  end)

  in_run("starts at once", function()
    local log = {}
    agenda.gather(function() log[#log + 1] = 1 end, function() log[#log + 1] = 2 end)
    agenda.sleep(0)
    assert.same({ 1, 2 }, log)
  end)

  testing.it("runs them at the same time", function()
    local children = {}
    for i = 1, 20 do children[i] = function() return agenda.sleep(5, i) end end
    local list = agenda.await(agenda.gather(table.unpack(children)))
    assert.equal(20, list.n)
    assert.equal(5, testing.clock())
  end)

  in_run("gives each one's first value", function()
    local list = agenda.await(agenda.gather(function() return 1, 2, 3 end, function() return "a", "b" end))
    assert.same({ 1, "a", n = 2 }, list)
  end)

  in_run("counts nils and missing values", function()
    local list = agenda.await(agenda.gather(function() return nil end, function() end, after(0, "c")))
    assert.same({ nil, nil, "c", n = 3 }, list)
  end)

  in_run("gives packed lists on request", function()
    local list = agenda.await(agenda.gather({
      function() return 1, nil, 3 end,
      function() end,
    }, { packed = true }))
    assert.same({ { 1, nil, 3, n = 3 }, { n = 0 }, n = 2 }, list)
  end)

  in_run("takes a list", function()
    assert.same({ 1, 2, n = 2 }, agenda.await(agenda.gather { after(0, 1), after(1, 2) }))
  end)

  in_run("takes a list with options", function()
    assert.same({ 1, 2, n = 2 }, agenda.await(agenda.gather({ after(0, 1), after(1, 2) }, {})))
  end)

  in_run("takes coroutine objects, tasks, futures and functions together", function()
    local fut = agenda.future()
    local task = agenda.spawn(after(1, "task"))
    local co = agenda.async(function() return "coroutine" end)()
    local thing = setmetatable({}, { __await = function() return agenda.sleep(0, "object") end })
    agenda.get_running_loop():call_soon(function() fut:set_result("future") end)
    local list = agenda.await(agenda.gather(fut, task, co, after(0, "function"), thing))
    assert.same({ "future", "task", "coroutine", "function", "object", n = 5 }, list)
  end)

  in_run("takes a single object with __await as an awaitable, not as a list", function()
    local thing = setmetatable({}, { __await = function() return agenda.sleep(0, "object") end })
    assert.same({ "object", n = 1 }, agenda.await(agenda.gather(thing)))
  end)

  in_run("takes futures that are done", function()
    local fut = agenda.future()
    fut:set_result("done")
    assert.same({ "done", n = 1 }, agenda.await(agenda.gather(fut)))
  end)

  in_run("awaits a future that is given twice once, and gives it twice", function()
    local ran = 0
    local task = agenda.spawn(function()
      ran = ran + 1
      return "twice"
    end)
    assert.same({ "twice", "twice", n = 2 }, agenda.await(agenda.gather(task, task)))
    assert.equal(1, ran)
  end)

  in_run("runs a coroutine object that is given twice once", function()
    local ran = 0
    local co = agenda.async(function()
      ran = ran + 1
      return "twice"
    end)()
    assert.same({ "twice", "twice", n = 2 }, agenda.await(agenda.gather(co, co)))
    assert.equal(1, ran)
  end)

  in_run("of nothing gives an empty list", function()
    assert.same({ n = 0 }, agenda.await(agenda.gather()))
  end)

  in_run("of an empty list gives an empty list", function()
    assert.same({ n = 0 }, agenda.await(agenda.gather({})))
  end)

  in_run("may be gathered", function()
    local list = agenda.await(agenda.gather(agenda.gather(after(0, 1), after(1, 2)), after(0, 3)))
    assert.same({ { 1, 2, n = 2 }, 3, n = 2 }, list)
  end)

  in_run("copes with many", function()
    local children = {}
    for i = 1, 2000 do children[i] = after(i % 3, i) end
    local list = agenda.await(agenda.gather(children))
    assert.equal(2000, list.n)
    assert.equal(1, list[1])
    assert.equal(2000, list[2000])
  end)

  in_run("refuses what cannot be awaited", function()
    assert.equal("argument 1 is not awaitable; pass a function",
      fails(errors.TypeError, agenda.gather, 5).message)
  end)

  in_run("refuses futures of two loops", function()
    loopkit.with_loop(function(other)
      fails(errors.ValueError, agenda.gather, agenda.get_running_loop():create_future(), other:create_future())
    end)
  end)

  it("of functions with no loop running is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.gather, function() end)
  end)

  it("of futures of a loop that does not run is tied to their loop", function()
    loopkit.with_loop(function(loop)
      local one, other = loop:create_future(), loop:create_future()
      local fut = agenda.gather(one, other)
      assert.equal(loop, fut:get_loop())
      one:set_result(1)
      other:set_result(2)
      assert.same({ 1, 2, n = 2 }, loop:run_until_complete(fut))
    end)
  end)

  describe("when one fails", function()
    in_run("raises the same error", function()
      local mark = {}
      local ok, err = pcall(agenda.await, agenda.gather(after(2, "fine"), after(0, mark, true)))
      assert.is_false(ok)
      assert.equal(mark, err)
    end)

    in_run("raises it as soon as it comes", function()
      local slow = agenda.spawn(agenda.sleep, 60)
      local ok, err = pcall(agenda.await, agenda.gather(slow, after(0, "early", true)))
      assert.is_false(ok)
      assert.equal("early", err)
      assert.is_false(slow:done())
    end)

    in_run("leaves the others running", function()
      local ended = false
      pcall(agenda.await, agenda.gather(after(0, "failed", true), function()
        agenda.sleep(0.001)
        ended = true
      end))
      assert.is_false(ended)
      agenda.sleep(0.003)
      assert.is_true(ended)
    end)

    in_run("raises the first of several errors", function()
      local ok, err = pcall(agenda.await, agenda.gather(after(2, "second", true), after(0, "first", true)))
      assert.is_false(ok)
      assert.equal("first", err)
    end)

    it("does not report the later errors", function()
      local contexts = loopkit.reports(function()
        pcall(agenda.await, agenda.gather(after(0, "first", true), after(1, "second", true)))
        loopkit.turns(4)
        loopkit.collect()
        agenda.sleep(0)
      end)
      assert.same({}, contexts)
    end)

    it("reports no cancellation that nobody awaits", function()
      local contexts = loopkit.reports(function()
        (function()
          agenda.gather(after(9, "requested")):cancel()
          local child = agenda.future()
          agenda.gather(child, after(1, "fine"))
          child:cancel()
        end)()
        loopkit.turns(4)
        loopkit.collect()
        agenda.sleep(0)
      end)
      assert.same({}, contexts)
    end)

    it("reports an error that nobody awaits once", function()
      local contexts = loopkit.reports(function()
        (function() agenda.gather(after(0, "unasked", true), after(1, "fine")) end)()
        loopkit.turns(4)
      end)
      assert.equal(1, #contexts)
      assert.equal("unasked", contexts[1].exception)
    end)
  end)

  describe("with return_exceptions", function()
    local all = { return_exceptions = true }

    in_run("gives the errors in their places", function()
      local mark = errors.ValueError("wrong")
      local list = agenda.await(agenda.gather({ after(0, 1), after(0, mark, true), after(1, 3) }, all))
      assert.equal(3, list.n)
      assert.equal(1, list[1])
      assert.equal(mark, list[2])
      assert.equal(3, list[3])
    end)

    in_run("gives string errors unchanged", function()
      assert.same({ "text", n = 1 }, agenda.await(agenda.gather({ after(0, "text", true) }, all)))
    end)

    in_run("waits for all", function()
      local ended = false
      agenda.await(agenda.gather({ after(0, "failed", true), function()
        agenda.sleep(0.001)
        ended = true
      end }, all))
      assert.is_true(ended)
    end)

    in_run("gives the CancelledError of one that was cancelled", function()
      local task = agenda.spawn(agenda.sleep, 60)
      local fut = agenda.gather({ task, after(1, "fine") }, all)
      agenda.sleep(0)
      task:cancel("alone")
      local list = agenda.await(fut)
      assert.is_true(errors.CancelledError:is(list[1]))
      assert.equal("alone", list[1].message)
      assert.equal("fine", list[2])
    end)

    in_run("raises CancelledError when it is cancelled itself", function()
      local fut = agenda.gather({ agenda.spawn(agenda.sleep, 60) }, all)
      agenda.sleep(0)
      fut:cancel()
      fails(errors.CancelledError, agenda.await, fut)
    end)
  end)

  describe("when one is cancelled", function()
    in_run("raises CancelledError", function()
      local task = agenda.spawn(agenda.sleep, 60)
      local fut = agenda.gather(task, after(5, "other"))
      agenda.sleep(0)
      task:cancel()
      fails(errors.CancelledError, agenda.await, fut)
    end)

    in_run("leaves the others running", function()
      local one, other = agenda.spawn(agenda.sleep, 60), agenda.spawn(after(5, "other"))
      local fut = agenda.gather(one, other)
      agenda.sleep(0)
      one:cancel()
      pcall(agenda.await, fut)
      assert.is_false(other:cancelled())
      assert.equal("other", agenda.await(other))
    end)

    in_run("does not cancel who awaits", function()
      local task = agenda.spawn(agenda.sleep, 60)
      local fut = agenda.gather(task)
      agenda.sleep(0)
      task:cancel()
      pcall(agenda.await, fut)
      assert.equal(0, agenda.current_task():cancelling())
    end)
  end)

  describe("cancelled", function()
    in_run("returns true and cancels the children", function()
      local one, other = agenda.spawn(agenda.sleep, 60), agenda.spawn(agenda.sleep, 60)
      local fut = agenda.gather(one, other)
      agenda.sleep(0)
      assert.is_true(fut:cancel())
      fails(errors.CancelledError, agenda.await, fut)
      loopkit.turns(2)
      assert.is_true(one:cancelled())
      assert.is_true(other:cancelled())
      assert.is_true(fut:done())
    end)

    in_run("is done only when the children are", function()
      local cleaned = false
      local fut = agenda.gather(function()
        local _ <close> = loopkit.on_close(function()
          agenda.sleep(0.001)
          cleaned = true
        end)
        agenda.sleep(60)
      end)
      agenda.sleep(0)
      fut:cancel()
      assert.is_false(fut:done())
      pcall(agenda.await, fut)
      assert.is_true(cleaned)
    end)

    in_run("passes its message on", function()
      local seen
      local fut = agenda.gather(function()
        local _, err = pcall(agenda.sleep, 60)
        seen = err.message
        error(err)
      end)
      agenda.sleep(0)
      fut:cancel("enough")
      fails(errors.CancelledError, agenda.await, fut)
      assert.equal("enough", seen)
    end)

    in_run("returns false when it is done", function()
      local fut = agenda.gather(after(0, 1))
      agenda.await(fut)
      assert.is_false(fut:cancel())
    end)

    in_run("returns false when all children are done", function()
      local child = agenda.future()
      local fut = agenda.gather(child)
      child:set_result("done")
      assert.is_false(fut:cancel())
      assert.same({ "done", n = 1 }, agenda.await(fut))
    end)

    in_run("through the task that awaits it cancels the children", function()
      local child = agenda.spawn(agenda.sleep, 60)
      local task = agenda.spawn(function() agenda.await(agenda.gather(child, agenda.future())) end)
      loopkit.turns(2)
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
      loopkit.turns(2)
      assert.is_true(child:cancelled())
    end)
  end)

  in_run("calls its done callbacks", function()
    local got
    local fut = agenda.gather(after(0, "x"))
    fut:add_done_callback(function(f) got = f:result() end)
    agenda.await(fut)
    agenda.sleep(0)
    assert.same({ "x", n = 1 }, got)
  end)
end)
