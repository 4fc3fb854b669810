local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"

-- Uses the processor for some milliseconds.
local function work(seconds)
  local began = os.clock()
  while os.clock() - began < seconds do end
end

-- Those of the contexts whose message matches the pattern.
local function matching(contexts, pattern)
  local found = {}
  for _, context in ipairs(contexts) do
    if context.message:find(pattern) then found[#found + 1] = context end
  end
  return found
end

-- Runs main(loop) in debug mode; gives what was reported.
local function debug_reports(main)
  return (loopkit.reports(function(loop)
    loop:set_debug(true)
    return main(loop)
  end))
end

describe("debug mode", function()
  it("is off by default", function()
    loopkit.with_loop(function(loop) assert.is_false(loop:get_debug()) end)
  end)

  it("is set and unset", function()
    loopkit.with_loop(function(loop)
      loop:set_debug(true)
      assert.is_true(loop:get_debug())
      loop:set_debug(false)
      assert.is_false(loop:get_debug())
    end)
  end)

  it("is a matter of each loop", function()
    loopkit.with_loop(function(one)
      loopkit.with_loop(function(other)
        one:set_debug(true)
        assert.is_false(other:get_debug())
      end)
    end)
  end)

  it("is on under AGENDA_DEBUG=1", function()
    local code = [[
      print(agenda.run(function() return agenda.get_running_loop():get_debug() end))
      local loop = agenda.new_event_loop()
      print(loop:get_debug())
      loop:close()
    ]]
    assert.equal("true\ntrue\n", script.output(code, { env = "AGENDA_DEBUG=1" }))
  end)

  it("is off under no AGENDA_DEBUG", function()
    assert.equal("false\n", script.output([[
      print(agenda.run(function() return agenda.get_running_loop():get_debug() end))
    ]], { env = "AGENDA_DEBUG=" }))
  end)

  it("refuses coroutine functions as callbacks", function()
    loopkit.with_loop(function(loop)
      loop:set_debug(true)
      local f, generator = agenda.async(print), agenda.generator(function() end)
      for name, call in pairs {
        call_soon = function(g) return loop:call_soon(g) end,
        call_later = function(g) return loop:call_later(0, g) end,
        call_at = function(g) return loop:call_at(0, g) end,
      } do
        local err = loopkit.fails(agenda.errors.TypeError, call, f)
        assert.equal("coroutines cannot be used with " .. name .. "()", err.message)
        call(generator):cancel()
        loop:set_debug(false)
        call(f):cancel()
        loop:set_debug(true)
      end
    end)
  end)

  describe("slow callbacks", function()
    it("are those of a tenth of a second by default", function()
      loopkit.with_loop(function(loop) assert.equal(0.1, loop.slow_callback_duration) end)
    end)

    it("have a duration that may be set", function()
      loopkit.with_loop(function(loop)
        loop.slow_callback_duration = 0.25
        assert.equal(0.25, loop.slow_callback_duration)
      end)
    end)

    it("are reported, without an exception", function()
      local contexts = debug_reports(function(loop)
        loop.slow_callback_duration = 0.002
        loop:call_soon(work, 0.004)
        agenda.sleep(0)
      end)
      contexts = matching(contexts, "<handle")
      assert.equal(1, #contexts)
      assert.is_nil(contexts[1].exception)
      assert.is_true(#contexts[1].message > 0)
    end)

    it("may be timers", function()
      local contexts = debug_reports(function(loop)
        loop.slow_callback_duration = 0.002
        loop:call_later(0, work, 0.004)
        agenda.sleep(0.001)
      end)
      assert.equal(1, #matching(contexts, "timer_handle"))
    end)

    it("may be the steps of a task, which is named", function()
      local contexts = debug_reports(function(loop)
        loop.slow_callback_duration = 0.002
        local task = agenda.spawn(work, 0.004)
        task:set_name("sluggard")
        agenda.sleep(0)
      end)
      assert.equal(1, #matching(contexts, "sluggard"))
    end)

    it("are not those that wait", function()
      local contexts = debug_reports(function(loop)
        loop.slow_callback_duration = 0.004
        agenda.sleep(0.008)
      end)
      assert.same({}, contexts)
    end)

    it("are not reported when they are fast enough", function()
      local contexts = debug_reports(function(loop)
        loop:call_soon(work, 0.001)
        agenda.sleep(0)
      end)
      assert.same({}, contexts)
    end)

    it("are not reported without debug mode", function()
      local contexts = loopkit.reports(function(loop)
        loop.slow_callback_duration = 0.001
        loop:call_soon(work, 0.003)
        agenda.sleep(0)
      end)
      assert.same({}, contexts)
    end)

    it("go to stderr by default", function()
      local result = script.run([[
        agenda.run(function()
          local loop = agenda.get_running_loop()
          loop:set_debug(true)
          loop.slow_callback_duration = 0.001
          loop:call_soon(function()
            local began = os.clock()
            while os.clock() - began < 0.003 do end
          end)
          agenda.sleep(0)
        end)
      ]])
      assert.is_true(#result.stderr > 0)
      assert.equal(0, result.code)
    end)
  end)

  it("tells where a never-awaited coroutine was made", function()
    local line
    local contexts = debug_reports(function()
      local forgotten = agenda.async("forgotten", function() end);
      (function()
        line = loopkit.here() + 1
        forgotten()
      end)()
      loopkit.collect()
    end)
    assert.equal(1, #contexts)
    local told = contexts[1].message .. tostring(contexts[1].traceback)
    assert.truthy(contexts[1].message:find("'forgotten' was never awaited", 1, true))
    assert.truthy(told:find("debug_spec.lua:" .. line, 1, true))
  end)

  it("tells where an async generator was made that is collected while suspended", function()
    local line
    local contexts = debug_reports(function()
      local ticker = agenda.asyncgen("ticker", function() agenda.yield(1) end);
      (function()
        line = loopkit.here() + 1
        local g = ticker()
        agenda.await(g:anext())
      end)()
      loopkit.collect()
      agenda.sleep(0)
    end)
    assert.equal(1, #contexts)
    local told = contexts[1].message .. tostring(contexts[1].traceback)
    assert.truthy(told:find("ticker", 1, true))
    assert.truthy(told:find("debug_spec.lua:" .. line, 1, true))
  end)

  it("says nothing of an async generator that was closed", function()
    local contexts = debug_reports(function()
      local ticker = agenda.asyncgen("ticker", function() agenda.yield(1) end)
      for _ in ticker() do break end -- luacheck: ignore 512
      loopkit.collect()
    end)
    assert.same({}, contexts)
  end)

  describe("a swallowed cancellation", function()
    -- A task that swallows its cancellation and waits several times after that.
    local function swallow()
      local task = agenda.spawn(function()
        pcall(agenda.sleep, 60)
        for _ = 1, 3 do agenda.sleep(0) end
        return "kept on"
      end)
      task:set_name("swallower")
      agenda.sleep(0)
      task:cancel()
      return agenda.await(task)
    end

    it("is reported once", function()
      assert.equal(1, #matching(debug_reports(swallow), "swallower"))
    end)

    it("is reported with where the task went on awaiting", function()
      local contexts = debug_reports(swallow)
      local told = contexts[1].message .. tostring(contexts[1].traceback)
      assert.truthy(told:find("debug_spec.lua:%d+"))
    end)

    it("is reported without an exception", function()
      assert.is_nil(debug_reports(swallow)[1].exception)
    end)

    it("is not reported without debug mode", function()
      assert.same({}, (loopkit.reports(swallow)))
    end)

    it("is not what a cleanup does that passes it on", function()
      local contexts = debug_reports(function()
        local task = agenda.spawn(function()
          local _ <close> = loopkit.on_close(function() agenda.sleep(0) end)
          agenda.sleep(60)
        end)
        agenda.sleep(0)
        task:cancel()
        pcall(agenda.await, task)
      end)
      assert.same({}, contexts)
    end)

    it("is not one that was undone with uncancel", function()
      local contexts = debug_reports(function()
        local task = agenda.spawn(function()
          pcall(agenda.sleep, 60)
          agenda.current_task():uncancel()
          agenda.sleep(0)
        end)
        agenda.sleep(0)
        task:cancel()
        agenda.await(task)
      end)
      assert.same({}, contexts)
    end)
  end)

  describe("under AGENDA_DEBUG=1", function()
    local on = { env = "AGENDA_DEBUG=1" }

    it("a failed task that nobody awaits is reported at the end of the turn", function()
      assert.equal("early\n", script.output([[
        agenda.run(function()
          local early
          agenda.get_running_loop():set_exception_handler(function(_, context) early = context.exception end)
          local held = agenda.spawn(function() error("early", 0) end)
          agenda.sleep(0)
          agenda.sleep(0)
          print(early)
          return held
        end)
      ]], on))
    end)

    it("it is reported a single time", function()
      assert.equal("1\n", script.output([[
        local count = 0
        agenda.run(function()
          agenda.get_running_loop():set_exception_handler(function() count = count + 1 end)
          agenda.spawn(function() error("once", 0) end)
          agenda.sleep(0)
          agenda.sleep(0)
          collectgarbage()
          collectgarbage()
        end)
        collectgarbage()
        print(count)
      ]], on))
    end)

    it("a failed task that somebody awaits is not reported", function()
      assert.equal("0\n", script.output([[
        local count = 0
        agenda.run(function()
          agenda.get_running_loop():set_exception_handler(function() count = count + 1 end)
          pcall(agenda.await, agenda.spawn(function() error("asked for", 0) end))
          agenda.sleep(0)
        end)
        print(count)
      ]], on))
    end)

    it("SIGUSR1 prints the tasks", function()
      local result = script.run([[
        agenda.run(function()
          agenda.spawn(agenda.sleep, 5):set_name("sleeper-of-five")
          agenda.sleep(0)
          kill("USR1")
          agenda.sleep(0.01)
          print("survived")
        end)
      ]], on)
      assert.equal(0, result.code)
      assert.truthy((result.stdout .. result.stderr):find("sleeper-of-five", 1, true))
      assert.truthy(result.stdout:find("survived", 1, true))
    end)

    it("a handler of the user's for SIGUSR1 goes before", function()
      assert.equal("mine\n", script.output([[
        agenda.run(function()
          local fut = agenda.future()
          agenda.get_running_loop():add_signal_handler("SIGUSR1", function() fut:set_result("mine") end)
          kill("USR1")
          print(agenda.await(fut))
        end)
      ]], on))
    end)
  end)

  it("does not take SIGUSR1 when it is off", function()
    local result = script.run([[
      agenda.run(function()
        kill("USR1")
        agenda.sleep(0.01)
        print("survived")
      end)
    ]], { env = "AGENDA_DEBUG=" })
    assert.equal("", result.stdout)
    assert.equal(128 + 10, result.code)
  end)
end)
