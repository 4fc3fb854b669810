local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("a future", function()
  local loop, fut

  before_each(function()
    loop = agenda.new_event_loop()
    fut = loop:create_future()
  end)
  after_each(function()
    loop:close()
    loop, fut = nil, nil
  end)

  describe("that is pending", function()
    it("is not done", function()
      assert.is_false(fut:done())
    end)

    it("is not cancelled", function()
      assert.is_false(fut:cancelled())
    end)

    it("has no result yet", function()
      assert.equal("Result is not set.", fails(errors.InvalidStateError, fut.result, fut).message)
    end)

    it("has no exception yet", function()
      assert.equal("Exception is not set.", fails(errors.InvalidStateError, fut.exception, fut).message)
    end)

    it("knows its loop", function()
      assert.equal(loop, fut:get_loop())
    end)

    it("has its type", function()
      assert.equal("future", agenda.type(fut))
      assert.is_true(agenda.isfuture(fut))
      assert.is_true(agenda.isawaitable(fut))
    end)

    it("shows as pending", function()
      assert.truthy(tostring(fut):match("^<future.*pending.*>$"))
    end)
  end)

  describe("set_result", function()
    it("makes it done, not cancelled", function()
      fut:set_result(1)
      assert.is_true(fut:done())
      assert.is_false(fut:cancelled())
    end)

    it("gives its values to result(), nils included", function()
      fut:set_result(nil, 2, nil, nil)
      assert.same({ nil, 2, n = 4 }, table.pack(fut:result()))
    end)

    it("may have no value", function()
      fut:set_result()
      assert.equal(0, select("#", fut:result()))
    end)

    it("tells nil from nothing", function()
      fut:set_result(nil)
      assert.equal(1, select("#", fut:result()))
    end)

    it("gives the same values each time", function()
      local mark = {}
      fut:set_result(mark, false)
      for _ = 1, 2 do assert.same({ mark, false, n = 2 }, table.pack(fut:result())) end
      assert.equal(mark, (fut:result()))
    end)

    it("takes many values", function()
      local many = {}
      for i = 1, 200 do many[i] = i end
      fut:set_result(table.unpack(many))
      assert.same(many, { fut:result() })
    end)

    it("takes an error object as any other value", function()
      local err = errors.ValueError("a value")
      fut:set_result(err)
      assert.equal(err, fut:result())
      assert.is_nil(fut:exception())
    end)

    it("leaves no exception", function()
      fut:set_result(1)
      assert.is_nil(fut:exception())
    end)

    it("shows as finished", function()
      fut:set_result(1)
      assert.truthy(tostring(fut):match("^<future.*finished.*>$"))
    end)

    it("twice is an InvalidStateError", function()
      fut:set_result(1)
      fails(errors.InvalidStateError, fut.set_result, fut, 2)
      assert.equal(1, fut:result())
    end)

    it("after set_exception is an InvalidStateError", function()
      fut:set_exception("first")
      fails(errors.InvalidStateError, fut.set_result, fut, 2)
      assert.equal("first", fut:exception())
    end)

    it("after cancel is an InvalidStateError", function()
      fut:cancel()
      fails(errors.InvalidStateError, fut.set_result, fut, 2)
      assert.is_true(fut:cancelled())
    end)
  end)

  describe("set_exception", function()
    it("makes it done, not cancelled", function()
      fut:set_exception("e")
      assert.is_true(fut:done())
      assert.is_false(fut:cancelled())
      assert.equal("e", fut:exception())
    end)

    it("gives the same error object to exception()", function()
      local err = errors.ValueError("wrong")
      fut:set_exception(err)
      assert.equal(err, fut:exception())
    end)

    it("makes result() raise the same error object, each time", function()
      local err = errors.ValueError("wrong")
      fut:set_exception(err)
      for _ = 1, 2 do
        local ok, raised = pcall(fut.result, fut)
        assert.is_false(ok)
        assert.equal(err, raised)
      end
    end)

    it("takes strings unchanged", function()
      fut:set_exception("plain text")
      local ok, raised = pcall(fut.result, fut)
      assert.is_false(ok)
      assert.equal("plain text", raised)
    end)

    it("takes foreign tables unchanged", function()
      local mark = {}
      fut:set_exception(mark)
      local _, raised = pcall(fut.result, fut)
      assert.equal(mark, raised)
    end)

    it("makes an instance of a class", function()
      fut:set_exception(errors.TimeoutError)
      assert.is_true(errors.TimeoutError:is(fut:exception()))
      fails(errors.TimeoutError, fut.result, fut)
    end)

    it("refuses StopIteration", function()
      fails(errors.TypeError, fut.set_exception, fut, errors.StopIteration())
      assert.is_false(fut:done())
    end)

    it("refuses the class StopIteration", function()
      fails(errors.TypeError, fut.set_exception, fut, errors.StopIteration)
    end)

    it("refuses a descendant of StopIteration", function()
      local Mine = errors.class("MyStop", errors.StopIteration)
      fails(errors.TypeError, fut.set_exception, fut, Mine())
    end)

    it("twice is an InvalidStateError", function()
      fut:set_exception("first")
      fails(errors.InvalidStateError, fut.set_exception, fut, "second")
      assert.equal("first", fut:exception())
    end)

    it("after set_result is an InvalidStateError", function()
      fut:set_result(1)
      fails(errors.InvalidStateError, fut.set_exception, fut, "second")
      assert.is_nil(fut:exception())
    end)

    it("after cancel is an InvalidStateError", function()
      fut:cancel()
      fails(errors.InvalidStateError, fut.set_exception, fut, "second")
    end)
  end)

  describe("cancel", function()
    it("returns true", function()
      assert.is_true(fut:cancel())
    end)

    it("makes it done and cancelled", function()
      fut:cancel()
      assert.is_true(fut:done())
      assert.is_true(fut:cancelled())
    end)

    it("makes result() raise CancelledError", function()
      fut:cancel()
      fails(errors.CancelledError, fut.result, fut)
    end)

    it("makes exception() raise CancelledError", function()
      fut:cancel()
      fails(errors.CancelledError, fut.exception, fut)
    end)

    it("gives its message to the error", function()
      fut:cancel("enough")
      assert.equal("enough", fails(errors.CancelledError, fut.result, fut).message)
    end)

    it("without a message gives an error without one", function()
      fut:cancel()
      assert.equal("CancelledError", tostring(fails(errors.CancelledError, fut.result, fut)))
    end)

    it("twice returns false", function()
      fut:cancel()
      assert.is_false(fut:cancel())
    end)

    it("of a finished one returns false and changes nothing", function()
      fut:set_result("kept")
      assert.is_false(fut:cancel())
      assert.is_false(fut:cancelled())
      assert.equal("kept", fut:result())
    end)

    it("of a failed one returns false and changes nothing", function()
      fut:set_exception("kept")
      assert.is_false(fut:cancel())
      assert.is_false(fut:cancelled())
      assert.equal("kept", fut:exception())
    end)

    it("shows as cancelled", function()
      fut:cancel()
      assert.truthy(tostring(fut):match("^<future.*cancelled.*>$"))
    end)
  end)

  describe("awaited", function()
    it("gives the values that are set later", function()
      loop:call_soon(function() fut:set_result("a", nil, "c") end)
      assert.same({ "a", nil, "c", n = 3 }, table.pack(loop:run_until_complete(function()
        return agenda.await(fut)
      end)))
    end)

    it("gives them through its method too", function()
      loop:call_soon(function() fut:set_result("a", nil) end)
      assert.same({ "a", n = 2 }, table.pack(loop:run_until_complete(function() return fut:await() end)))
    end)

    it("raises the error that is set later, the same object", function()
      local mark = {}
      loop:call_soon(function() fut:set_exception(mark) end)
      local ok, err = loop:run_until_complete(function() return pcall(agenda.await, fut) end)
      assert.is_false(ok)
      assert.equal(mark, err)
    end)

    it("raises CancelledError when it is cancelled later", function()
      loop:call_soon(function() fut:cancel("why") end)
      loop:run_until_complete(function()
        assert.equal("why", fails(errors.CancelledError, agenda.await, fut).message)
      end)
    end)

    it("gives a result that is there without a switch", function()
      fut:set_result("there")
      local switched, got = false, nil
      loop:run_until_complete(function()
        agenda.spawn(function() switched = true end)
        got = agenda.await(fut)
        assert.is_false(switched)
      end)
      assert.equal("there", got)
    end)

    it("raises an error that is there without a switch", function()
      fut:set_exception("there")
      loop:run_until_complete(function()
        local switched = false
        agenda.spawn(function() switched = true end)
        local ok, err = pcall(agenda.await, fut)
        assert.is_false(ok)
        assert.equal("there", err)
        assert.is_false(switched)
      end)
    end)

    it("may be awaited again", function()
      loop:call_soon(function() fut:set_result(5) end)
      assert.equal(10, loop:run_until_complete(function()
        return agenda.await(fut) + agenda.await(fut)
      end))
    end)

    it("wakes all who wait, in their order", function()
      local log = {}
      for i = 1, 5 do
        loop:create_task(function()
          local text = i .. agenda.await(fut)
          log[#log + 1] = text
        end)
      end
      loop:run_until_complete(function()
        agenda.sleep(0)
        fut:set_result("!")
        loopkit.turns(2)
      end)
      assert.same({ "1!", "2!", "3!", "4!", "5!" }, log)
    end)

    it("does not wake them before the next turn", function()
      local woken = false
      loop:create_task(function()
        agenda.await(fut)
        woken = true
      end)
      loop:run_until_complete(function()
        agenda.sleep(0)
        fut:set_result()
        assert.is_false(woken)
        agenda.sleep(0)
        assert.is_true(woken)
      end)
    end)

    it("raises the same error in all who wait", function()
      local mark, seen = {}, {}
      for i = 1, 3 do
        loop:create_task(function() seen[i] = select(2, pcall(agenda.await, fut)) end)
      end
      loop:run_until_complete(function()
        agenda.sleep(0)
        fut:set_exception(mark)
        loopkit.turns(2)
      end)
      for i = 1, 3 do assert.equal(mark, seen[i]) end
    end)

    it("by a task of another loop is a RuntimeError", function()
      loopkit.with_loop(function(other)
        fails(errors.RuntimeError, other.run_until_complete, other, function() agenda.await(fut) end)
      end)
    end)

    it("outside of any coroutine is a RuntimeError", function()
      fails(errors.RuntimeError, agenda.await, fut)
    end)
  end)

  it("is collected together with a callback that holds it", function()
    local weak = setmetatable({}, { __mode = "k" });
    (function()
      local dropped = loop:create_future()
      dropped:add_done_callback(function() return dropped end)
      weak[dropped] = true
    end)()
    loopkit.collect()
    assert.is_nil(next(weak))
  end)

  it("refuses to have its methods called on something else", function()
    assert.is_false((pcall(fut.done, {})))
    assert.is_false((pcall(fut.set_result, loop, 1)))
  end)
end)

describe("agenda.future", function()
  it("makes a pending future with no loop running", function()
    local fut = agenda.future()
    assert.equal("future", agenda.type(fut))
    assert.is_false(fut:done())
  end)

  it("may be set before any loop is there", function()
    local fut = agenda.future()
    fut:set_result("early", 2)
    assert.same({ "early", 2 }, { agenda.run(function() return agenda.await(fut) end) })
  end)

  it("may be cancelled before any loop is there", function()
    local fut = agenda.future()
    assert.is_true(fut:cancel())
    assert.is_true(fut:cancelled())
  end)

  it("is tied to the loop of who first waits on it", function()
    local tied, loop = agenda.run(function()
      local fut = agenda.future()
      local running = agenda.get_running_loop()
      running:call_soon(function() fut:set_result() end)
      agenda.await(fut)
      return fut:get_loop(), running
    end)
    assert.equal(loop, tied)
  end)

  it("made outside may be set inside by another task", function()
    local fut = agenda.future()
    assert.equal("inside", agenda.run(function()
      agenda.spawn(function() fut:set_result("inside") end)
      return agenda.await(fut)
    end))
  end)

  it("cannot be waited on by a second loop while it is pending", function()
    local fut = agenda.future()
    loopkit.with_loop(function(one)
      one:create_task(function() agenda.await(fut) end)
      one:run_once(0)
      loopkit.with_loop(function(other)
        fails(errors.RuntimeError, other.run_until_complete, other, function() agenda.await(fut) end)
      end)
      fut:set_result()
      one:run_once(0)
    end)
  end)
end)
