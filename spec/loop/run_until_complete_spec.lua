local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("loop:run_until_complete", function()
  local loop

  before_each(function() loop = agenda.new_event_loop() end)
  after_each(function()
    loop:close()
    loop = nil
  end)

  it("gives the results of a function", function()
    local results = table.pack(loop:run_until_complete(function()
      agenda.sleep(0)
      return 1, nil, 3
    end))
    assert.same({ 1, nil, 3, n = 3 }, results)
  end)

  it("runs a function as a task", function()
    local task = loop:run_until_complete(function() return agenda.current_task() end)
    assert.equal("task", agenda.type(task))
  end)

  it("gives the results of a coroutine object", function()
    local co = agenda.async(function(...) return agenda.sleep(0, ...) end)
    assert.same({ "a", "b" }, { loop:run_until_complete(co("a", "b")) })
  end)

  it("gives the results of a future", function()
    local fut = loop:create_future()
    loop:call_later(0.001, function() fut:set_result("x", nil, "z") end)
    assert.same({ "x", nil, "z", n = 3 }, table.pack(loop:run_until_complete(fut)))
  end)

  it("gives the results of a future that is done", function()
    local fut = loop:create_future()
    fut:set_result("ready")
    assert.equal("ready", loop:run_until_complete(fut))
  end)

  it("gives the results of a task", function()
    assert.equal(7, loop:run_until_complete(loop:create_task(function(n) return n + 4 end, 3)))
  end)

  it("gives the values of an async generator's awaitable", function()
    local g = agenda.asyncgen(function() agenda.yield("v", 2) end)()
    assert.same({ "v", 2 }, { loop:run_until_complete(g:anext()) })
    loop:run_until_complete(g:aclose())
  end)

  it("gives the results of an object with __await", function()
    local thing = setmetatable({ n = 5 }, { __await = function(self)
      agenda.sleep(0)
      return self.n
    end })
    assert.equal(5, loop:run_until_complete(thing))
  end)

  it("raises the error as the same object", function()
    local mark = {}
    local ok, err = pcall(loop.run_until_complete, loop, function() error(mark) end)
    assert.is_false(ok)
    assert.equal(mark, err)
  end)

  it("raises CancelledError for a cancelled future", function()
    local fut = loop:create_future()
    loop:call_soon(function() fut:cancel() end)
    fails(errors.CancelledError, loop.run_until_complete, loop, fut)
  end)

  it("refuses what cannot be awaited", function()
    local err = fails(errors.TypeError, loop.run_until_complete, loop, "hello")
    assert.equal("argument 1 is not awaitable; pass a function", err.message)
  end)

  it("refuses a future of another loop", function()
    loopkit.with_loop(function(other)
      fails(errors.ValueError, loop.run_until_complete, loop, other:create_future())
    end)
  end)

  it("leaves other tasks suspended", function()
    local task = loop:create_task(agenda.sleep, 0.002, "late")
    loop:run_until_complete(function() agenda.sleep(0) end)
    assert.is_false(task:done())
    assert.equal("late", loop:run_until_complete(task))
  end)

  it("cut short by stop() is a RuntimeError", function()
    local fut = loop:create_future()
    loop:call_soon(function() loop:stop() end)
    local err = fails(errors.RuntimeError, loop.run_until_complete, loop, fut)
    assert.equal("Event loop stopped before Future completed.", err.message)
  end)

  it("may be tried again when it was cut short", function()
    local fut = loop:create_future()
    loop:call_soon(function() loop:stop() end)
    pcall(loop.run_until_complete, loop, fut)
    loop:call_soon(function() fut:set_result("second try") end)
    assert.equal("second try", loop:run_until_complete(fut))
  end)

  it("leaves nothing behind that stops a later run", function()
    local fut = loop:create_future()
    loop:call_soon(function() loop:stop() end)
    pcall(loop.run_until_complete, loop, fut)
    local log = {}
    loop:call_soon(function() fut:set_result() end)
    loop:call_later(0.002, function()
      log[1] = "the later stop"
      loop:stop()
    end)
    loop:run_forever()
    assert.same({ "the later stop" }, log)
  end)

  it("does not stop the turn's other callbacks", function()
    local log = {}
    local fut = loop:create_future()
    loop:call_soon(function() fut:set_result() end)
    loop:call_soon(function() log[1] = "ran" end)
    loop:run_until_complete(fut)
    assert.same({ "ran" }, log)
  end)

  it("lets KeyboardInterrupt of another task out", function()
    loop:create_task(function() error(errors.KeyboardInterrupt()) end)
    fails(errors.KeyboardInterrupt, loop.run_until_complete, loop, loop:create_future())
  end)

  it("refuses to run while the loop runs", function()
    local ok, err
    loop:run_until_complete(function()
      ok, err = pcall(loop.run_until_complete, loop, function() end)
    end)
    assert.is_false(ok)
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("refuses to run while another loop runs", function()
    local ok, err
    agenda.run(function() ok, err = pcall(loop.run_until_complete, loop, function() end) end)
    assert.is_false(ok)
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("is refused by a closed loop", function()
    loop:close()
    local err = fails(errors.RuntimeError, loop.run_until_complete, loop, function() end)
    assert.equal("Event loop is closed", err.message)
  end)
end)
