local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"
local errors, fails = agenda.errors, loopkit.fails

-- Signals are sent to processes of their own: a handler that is not there ends them.
describe("signals", function()
  describe("loop:add_signal_handler", function()
    local loop

    before_each(function() loop = agenda.new_event_loop() end)
    after_each(function()
      loop:close()
      loop = nil
    end)

    it("calls when the signal comes", function()
      assert.equal("called\n", script.output([[
        agenda.run(function()
          local fut = agenda.future()
          agenda.get_running_loop():add_signal_handler("SIGTERM", function() fut:set_result("called") end)
          kill("TERM")
          print(agenda.await(fut))
        end)
      ]]))
    end)

    it("passes its arguments, nils included", function()
      assert.equal("4\t1\tnil\tx\tnil\n", script.output([[
        agenda.run(function()
          local fut = agenda.future()
          agenda.get_running_loop():add_signal_handler("SIGUSR1", function(...)
            fut:set_result(select("#", ...), ...)
          end, 1, nil, "x", nil)
          kill("USR1")
          print(agenda.await(fut))
        end)
      ]]))
    end)

    it("takes a number", function()
      assert.equal("called\n", script.output([[
        agenda.run(function()
          local fut = agenda.future()
          agenda.get_running_loop():add_signal_handler(15, function() fut:set_result("called") end)
          kill("TERM")
          print(agenda.await(fut))
        end)
      ]]))
    end)

    it("wakes a loop that waits in the system", function()
      assert.equal("woken\n", script.output([[
        agenda.run(function()
          local fut = agenda.future()
          agenda.get_running_loop():add_signal_handler("SIGHUP", function() fut:set_result("woken") end)
          kill_after(0.02, "HUP")
          print(agenda.await(fut))
        end)
      ]]))
    end)

    it("calls in the loop's turn, not amid running code", function()
      assert.equal("before\nafter\ncalled\n", script.output([[
        agenda.run(function()
          agenda.get_running_loop():add_signal_handler("SIGUSR1", function() print("called") end)
          print("before")
          kill("USR1")
          for _ = 1, 1e5 do end
          print("after")
          agenda.sleep(0.002)
        end)
      ]]))
    end)

    it("calls each time", function()
      assert.equal("3\n", script.output([[
        agenda.run(function()
          local count = 0
          agenda.get_running_loop():add_signal_handler("SIGUSR1", function() count = count + 1 end)
          for i = 1, 3 do
            kill("USR1")
            while count < i do agenda.sleep(0.001) end
          end
          print(count)
        end)
      ]]))
    end)

    it("keeps signals apart", function()
      assert.equal("usr2 usr1\n", script.output([[
        agenda.run(function()
          local loop, log = agenda.get_running_loop(), {}
          loop:add_signal_handler("SIGUSR1", function() log[#log + 1] = "usr1" end)
          loop:add_signal_handler("SIGUSR2", function() log[#log + 1] = "usr2" end)
          kill("USR2")
          while #log < 1 do agenda.sleep(0.001) end
          kill("USR1")
          while #log < 2 do agenda.sleep(0.001) end
          print(table.concat(log, " "))
        end)
      ]]))
    end)

    it("replaces the handler that was there", function()
      assert.equal("second\n", script.output([[
        agenda.run(function()
          local loop, fut = agenda.get_running_loop(), agenda.future()
          loop:add_signal_handler("SIGUSR1", function() print("first") end)
          loop:add_signal_handler("SIGUSR1", function() fut:set_result("second") end)
          kill("USR1")
          print(agenda.await(fut))
        end)
      ]]))
    end)

    it("works when it was called before the loop ran", function()
      assert.equal("called\n", script.output([[
        local loop = agenda.new_event_loop()
        local fut = loop:create_future()
        loop:add_signal_handler("SIGUSR1", function() fut:set_result("called") end)
        loop:call_soon(kill, "USR1")
        print(loop:run_until_complete(fut))
        loop:close()
      ]]))
    end)

    it("reports an error of the handler and goes on", function()
      assert.equal("reported oops\n", script.output([[
        agenda.run(function()
          local loop, fut = agenda.get_running_loop(), agenda.future()
          loop:set_exception_handler(function(_, context) fut:set_result(context.exception) end)
          loop:add_signal_handler("SIGUSR1", function() error("oops", 0) end)
          kill("USR1")
          print("reported " .. agenda.await(fut))
        end)
      ]]))
    end)

    it("outlives the coroutine that called it", function()
      assert.equal("called\n", script.output([[
        agenda.run(function()
          local fut = agenda.future()
          coroutine.wrap(function()
            agenda.get_running_loop():add_signal_handler("SIGUSR1", function() fut:set_result("called") end)
          end)()
          collectgarbage()
          collectgarbage()
          kill("USR1")
          print(agenda.await(fut))
        end)
      ]]))
    end)

    it("ends with its loop", function()
      local result = script.run([[
        agenda.run(function()
          agenda.get_running_loop():add_signal_handler("SIGUSR1", function() end)
        end)
        io.stdout:write("closed\n"):flush()
        kill("USR1")
        print("survived")
      ]])
      assert.equal("closed\n", result.stdout)
      assert.equal(128 + 10, result.code)
    end)

    it("takes SIGINT over", function()
      assert.equal("mine\n", script.output([[
        agenda.run(function()
          local fut = agenda.future()
          agenda.get_running_loop():add_signal_handler("SIGINT", function() fut:set_result("mine") end)
          kill("INT")
          print(agenda.await(fut))
        end)
      ]]))
    end)

    it("takes any number of SIGINTs over", function()
      assert.equal("3\n", script.output([[
        agenda.run(function()
          local count = 0
          agenda.get_running_loop():add_signal_handler("SIGINT", function() count = count + 1 end)
          for i = 1, 3 do
            kill("INT")
            while count < i do agenda.sleep(0.001) end
          end
          print(count)
        end)
      ]]))
    end)

    it("refuses an unknown name", function()
      fails(errors.ValueError, loop.add_signal_handler, loop, "SIGNONSENSE", print)
    end)

    it("refuses a number that is no signal", function()
      fails(errors.ValueError, loop.add_signal_handler, loop, 1000, print)
      fails(errors.ValueError, loop.add_signal_handler, loop, 0, print)
      fails(errors.ValueError, loop.add_signal_handler, loop, -1, print)
    end)

    it("refuses SIGKILL", function()
      fails(errors.ValueError, loop.add_signal_handler, loop, "SIGKILL", print)
      fails(errors.ValueError, loop.add_signal_handler, loop, 9, print)
    end)

    it("has none of SIGKILL to remove", function()
      assert.is_false(loop:remove_signal_handler("SIGKILL"))
      fails(errors.ValueError, loop.remove_signal_handler, loop, "SIGNONSENSE")
    end)

    it("refuses SIGSTOP", function()
      fails(errors.ValueError, loop.add_signal_handler, loop, "SIGSTOP", print)
    end)

    it("refuses what is neither name nor number", function()
      loopkit.bad_argument(1, "add_signal_handler", function() loop:add_signal_handler({}, print) end)
    end)

    it("refuses a handler that is no function", function()
      loopkit.bad_argument(2, "add_signal_handler", function() loop:add_signal_handler("SIGUSR1", 1) end)
    end)

    it("refuses a coroutine function, which nobody would await", function()
      local err = fails(errors.TypeError, loop.add_signal_handler, loop, "SIGUSR1", agenda.async(print))
      assert.equal("coroutines cannot be used with add_signal_handler()", err.message)
      assert.is_false(loop:remove_signal_handler("SIGUSR1"))
    end)

    it("knows the real time signals by name", function()
      for _, name in ipairs {"SIGRTMIN", "SIGRTMIN+3", "SIGRTMIN+29"} do
        loop:add_signal_handler(name, print)
        assert.is_true(loop:remove_signal_handler(name))
      end
      -- NB: valgrind keeps the last one for itself.
      local ok, err = pcall(loop.add_signal_handler, loop, "SIGRTMAX", print)
      assert.is_true(ok or err.message == "signal 64 cannot be caught: Invalid argument", err)
      loop:remove_signal_handler("SIGRTMAX")
      for _, name in ipairs {"SIGRTMIN+", "SIGRTMIN+-1", "SIGRTMIN+1x", "SIGRTMIN+100", "SIGRTMINX"} do
        fails(errors.ValueError, loop.add_signal_handler, loop, name, print)
      end
    end)

    it("is refused by a closed loop", function()
      loop:close()
      local err = fails(errors.RuntimeError, loop.add_signal_handler, loop, "SIGUSR1", print)
      assert.equal("Event loop is closed", err.message)
    end)
  end)

  describe("loop:remove_signal_handler", function()
    local loop

    before_each(function() loop = agenda.new_event_loop() end)
    after_each(function()
      loop:close()
      loop = nil
    end)

    it("tells that there was one", function()
      loop:add_signal_handler("SIGUSR1", print)
      assert.is_true(loop:remove_signal_handler("SIGUSR1"))
    end)

    it("tells that there was none", function()
      assert.is_false(loop:remove_signal_handler("SIGUSR1"))
    end)

    it("tells that there is none any more", function()
      loop:add_signal_handler("SIGUSR1", print)
      loop:remove_signal_handler("SIGUSR1")
      assert.is_false(loop:remove_signal_handler("SIGUSR1"))
    end)

    it("knows a signal by its name and its number", function()
      loop:add_signal_handler("SIGTERM", print)
      assert.is_true(loop:remove_signal_handler(15))
      assert.is_false(loop:remove_signal_handler("SIGTERM"))
    end)

    it("refuses an unknown name", function()
      fails(errors.ValueError, loop.remove_signal_handler, loop, "SIGNONSENSE")
    end)

    it("brings the signal's default back", function()
      local result = script.run([[
        agenda.run(function()
          local loop = agenda.get_running_loop()
          loop:add_signal_handler("SIGUSR1", function() end)
          loop:remove_signal_handler("SIGUSR1")
          kill("USR1")
          agenda.sleep(0.01)
          print("survived")
        end)
      ]])
      assert.equal("", result.stdout)
      assert.equal(128 + 10, result.code)
    end)
  end)
end)
