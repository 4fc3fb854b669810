local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"
local errors = agenda.errors

describe("the loop's exception handler", function()
  local loop, contexts

  local function collect(_, context) contexts[#contexts + 1] = context end

  before_each(function()
    loop = agenda.new_event_loop()
    contexts = {}
  end)
  after_each(function()
    loop:close()
    loop, contexts = nil, nil
  end)

  describe("set and get", function()
    it("is nil at first", function()
      assert.is_nil(loop:get_exception_handler())
    end)

    it("gives what was set", function()
      loop:set_exception_handler(collect)
      assert.equal(collect, loop:get_exception_handler())
    end)

    it("gives nil again after nil was set", function()
      loop:set_exception_handler(collect)
      loop:set_exception_handler(nil)
      assert.is_nil(loop:get_exception_handler())
    end)

    it("takes functions only", function()
      loopkit.bad_argument(1, "set_exception_handler", function() loop:set_exception_handler(5) end)
    end)

    it("is a matter of each loop", function()
      loopkit.with_loop(function(other)
        other:set_exception_handler(collect)
        assert.is_nil(loop:get_exception_handler())
      end)
    end)
  end)

  describe("call_exception_handler", function()
    it("calls it with the loop and the very context", function()
      local got
      loop:set_exception_handler(function(...) got = table.pack(...) end)
      local context = { message = "by hand" }
      loop:call_exception_handler(context)
      assert.equal(2, got.n)
      assert.equal(loop, got[1])
      assert.equal(context, got[2])
    end)

    it("keeps fields that it does not know", function()
      loop:set_exception_handler(collect)
      loop:call_exception_handler { message = "m", extra = 42 }
      assert.equal(42, contexts[1].extra)
    end)

    it("works while the loop runs", function()
      loop:set_exception_handler(collect)
      loop:run_until_complete(function() loop:call_exception_handler { message = "inside" } end)
      assert.equal("inside", contexts[1].message)
    end)

    it("takes tables only", function()
      loopkit.bad_argument(1, "call_exception_handler", function() loop:call_exception_handler("text") end)
    end)
  end)

  describe("gets the error of", function()
    before_each(function() loop:set_exception_handler(collect) end)

    it("a callback, as the same object", function()
      local mark = {}
      loop:call_soon(function() error(mark) end)
      loop:run_once(0)
      assert.equal(1, #contexts)
      assert.equal(mark, contexts[1].exception)
    end)

    it("a callback that raises a string, unchanged", function()
      loop:call_soon(function() error("text", 0) end)
      loop:run_once(0)
      assert.equal("text", contexts[1].exception)
    end)

    it("a callback, with its handle", function()
      local handle = loop:call_soon(function() error("failed") end)
      loop:run_once(0)
      assert.equal(handle, contexts[1].handle)
    end)

    it("a callback, with a message", function()
      loop:call_soon(function() error("failed") end)
      loop:run_once(0)
      assert.is_string(contexts[1].message)
      assert.is_true(#contexts[1].message > 0)
    end)

    it("a callback, with a traceback that shows the line", function()
      local line
      loop:call_soon(function()
        line = loopkit.here() + 1
        error(errors.ValueError("failed"))
      end)
      loop:run_once(0)
      assert.is_string(contexts[1].traceback)
      assert.truthy(contexts[1].traceback:find("exception_handler_spec.lua:" .. line, 1, true))
    end)

    it("a callback that raises CancelledError", function()
      loop:call_soon(function() error(errors.CancelledError()) end)
      loop:run_once(0)
      assert.equal(1, #contexts)
      assert.is_true(errors.CancelledError:is(contexts[1].exception))
    end)

    it("a callback that raises StopIteration", function()
      loop:call_soon(function() error(errors.StopIteration()) end)
      loop:run_once(0)
      assert.equal(1, #contexts)
    end)

    it("a callback that raises nil", function()
      loop:call_soon(function() error(nil) end)
      loop:run_once(0)
      assert.equal(1, #contexts)
    end)

    it("a timer, with its handle", function()
      local handle = loop:call_later(0, function() error("timer", 0) end)
      loop:run_once(0)
      assert.equal("timer", contexts[1].exception)
      assert.equal(handle, contexts[1].handle)
    end)

    it("a future's done callback", function()
      local fut = loop:create_future()
      fut:add_done_callback(function() error("done callback", 0) end)
      fut:set_result()
      loop:run_once(0)
      assert.equal("done callback", contexts[1].exception)
    end)

    it("a task that nobody asked", function()
      loop:run_until_complete(function()
        agenda.spawn(function() error("task", 0) end)
        agenda.sleep(0)
      end)
      loopkit.collect()
      loop:run_once(0)
      assert.equal(1, #contexts)
      assert.equal("task", contexts[1].exception)
    end)

    it("each of several callbacks, in order", function()
      for i = 1, 3 do loop:call_soon(function() error("e" .. i, 0) end) end
      loop:run_once(0)
      local seen = {}
      for i, context in ipairs(contexts) do seen[i] = context.exception end
      assert.same({ "e1", "e2", "e3" }, seen)
    end)
  end)

  it("does not get KeyboardInterrupt", function()
    loop:set_exception_handler(collect)
    loop:call_soon(function() error(errors.KeyboardInterrupt()) end)
    pcall(loop.run_once, loop, 0)
    assert.same({}, contexts)
  end)

  it("does not get errors of another loop", function()
    loop:set_exception_handler(collect)
    loopkit.with_loop(function(other)
      local others = 0
      other:set_exception_handler(function() others = others + 1 end)
      other:call_soon(function() error("there") end)
      other:run_once(0)
      assert.equal(1, others)
    end)
    assert.same({}, contexts)
  end)

  it("runs in the context of the callback that failed", function()
    local var = agenda.contextvar("who", "nobody")
    local seen
    loop:set_exception_handler(function() seen = var:get() end)
    loop:call_soon(function()
      var:set("the callback")
      error("failed")
    end)
    loop:run_once(0)
    assert.equal("the callback", seen)
  end)

  it("gets the warning of a coroutine that was never awaited", function()
    local forgotten = agenda.async("forgotten", function() end)
    loop:set_exception_handler(collect)
    loop:run_until_complete(function()
      forgotten()
      loopkit.collect()
    end)
    assert.equal(1, #contexts)
    assert.truthy(contexts[1].message:find("coroutine 'forgotten' was never awaited", 1, true))
    assert.is_nil(contexts[1].exception)
  end)

  describe("that fails", function()
    it("does not stop the loop", function()
      assert.equal("went on\n", script.output([[
        agenda.run(function()
          local loop = agenda.get_running_loop()
          loop:set_exception_handler(function() error("handler broken") end)
          loop:call_soon(function() error("callback broken") end)
          agenda.sleep(0.001)
          print("went on")
        end)
      ]]))
    end)

    it("is reported to stderr", function()
      local result = script.run([[
        agenda.run(function()
          local loop = agenda.get_running_loop()
          loop:set_exception_handler(function() error("handler broken") end)
          loop:call_soon(function() error("callback broken") end)
          agenda.sleep(0.001)
        end)
      ]])
      assert.equal(0, result.code)
      assert.truthy(result.stderr:find("handler broken", 1, true))
    end)

    it("does not lose what it was to report", function()
      local result = script.run([[
        agenda.run(function()
          local loop = agenda.get_running_loop()
          loop:set_exception_handler(function() error("handler broken") end)
          loop:call_soon(function() error("callback broken") end)
          agenda.sleep(0.001)
        end)
      ]])
      assert.truthy(result.stderr:find("callback broken", 1, true))
    end)

    it("does not raise out of call_exception_handler", function()
      local result = script.run([[
        local loop = agenda.new_event_loop()
        loop:set_exception_handler(function() error("handler broken") end)
        loop:call_exception_handler { message = "by hand" }
        loop:close()
        print("went on")
      ]])
      assert.equal("went on\n", result.stdout)
      assert.truthy(result.stderr:find("handler broken", 1, true))
    end)
  end)

  describe("by default", function()
    it("prints the message to stderr", function()
      local result = script.run([[
        local loop = agenda.new_event_loop()
        loop:call_exception_handler { message = "a message of mine" }
        loop:close()
      ]])
      assert.truthy(result.stderr:find("a message of mine", 1, true))
      assert.equal("", result.stdout)
    end)

    it("prints the error of a callback", function()
      local result = script.run([[
        agenda.run(function()
          agenda.get_running_loop():call_soon(function() error(agenda.errors.ValueError("bad value")) end)
          agenda.sleep(0.001)
        end)
      ]])
      assert.truthy(result.stderr:find("ValueError: bad value", 1, true))
    end)

    it("prints where the error was raised", function()
      local result = script.run([[
        local function culprit()
          error(agenda.errors.ValueError("bad value"))
        end
        agenda.run(function()
          agenda.get_running_loop():call_soon(function() culprit() end)
          agenda.sleep(0.001)
        end)
      ]])
      assert.truthy(result.stderr:find(result.file .. ":2:", 1, true))
      assert.truthy(result.stderr:find(result.file .. ":5:", 1, true))
    end)

    it("does not stop the loop", function()
      assert.equal("went on\n", script.output([[
        agenda.run(function()
          agenda.get_running_loop():call_soon(function() error("failed") end)
          agenda.sleep(0.001)
          print("went on")
        end)
      ]]))
    end)

    it("is in force again after nil was set", function()
      local result = script.run([[
        local loop = agenda.new_event_loop()
        loop:set_exception_handler(function() print("not this one") end)
        loop:set_exception_handler(nil)
        loop:call_exception_handler { message = "to stderr" }
        loop:close()
      ]])
      assert.equal("", result.stdout)
      assert.truthy(result.stderr:find("to stderr", 1, true))
    end)
  end)
end)

describe("a warning with no loop running", function()
  -- The texts of all arguments: a message, or a context with one.
  local function text_of(...)
    local texts = {}
    for i, value in ipairs { ... } do
      texts[i] = type(value) == "table" and tostring(value.message) or tostring(value)
    end
    return table.concat(texts, " ")
  end

  it("goes to agenda.set_warning_handler's function", function()
    local texts = {}
    agenda.set_warning_handler(function(...) texts[#texts + 1] = text_of(...) end)
    finally(function() agenda.set_warning_handler(nil) end)
    local forgotten = agenda.async("forgotten", function() end)
    forgotten()
    loopkit.collect()
    assert.equal(1, #texts)
    assert.truthy(texts[1]:find("coroutine 'forgotten' was never awaited", 1, true))
  end)

  it("goes as one line to stderr when there is no such function", function()
    local result = script.run([[
      agenda.async("forgotten", function() end)()
      collectgarbage()
      collectgarbage()
    ]])
    assert.truthy(result.stderr:find("coroutine 'forgotten' was never awaited", 1, true))
    local _, lines = result.stderr:gsub("\n", "")
    assert.equal(1, lines)
  end)

  it("goes to stderr again after nil was set", function()
    local result = script.run([[
      agenda.set_warning_handler(function() print("not this one") end)
      agenda.set_warning_handler(nil)
      agenda.async("forgotten", function() end)()
      collectgarbage()
      collectgarbage()
    ]])
    assert.equal("", result.stdout)
    assert.truthy(result.stderr:find("forgotten", 1, true))
  end)

  it("does not go to that function while a loop runs", function()
    local warned = 0
    agenda.set_warning_handler(function() warned = warned + 1 end)
    finally(function() agenda.set_warning_handler(nil) end)
    local contexts = loopkit.reports(function()
      agenda.async("forgotten", function() end)()
      loopkit.collect()
    end)
    assert.equal(0, warned)
    assert.equal(1, #contexts)
  end)
end)
