local script = require "spec.support.script"

-- In processes of their own, which send themselves the signal.
describe("SIGINT during agenda.run", function()
  it("cancels main", function()
    assert.equal("true\n", script.output([[
      pcall(agenda.run, function()
        kill("INT")
        local ok, err = pcall(agenda.sleep, 5)
        print(not ok and agenda.errors.CancelledError:is(err))
      end)
    ]]))
  end)

  it("raises KeyboardInterrupt out of the run", function()
    assert.equal("true\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        kill("INT")
        agenda.sleep(5)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("interrupts a wait in the system", function()
    assert.equal("true\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        kill_after(0.02, "INT")
        agenda.sleep(5)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("lets main's cleanup wait", function()
    assert.equal("cleaned\ntrue\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        local _ <close> = setmetatable({}, { __close = function()
          agenda.sleep(0.002)
          print("cleaned")
        end })
        kill("INT")
        agenda.sleep(5)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("cancels the other tasks as every end of a run does", function()
    assert.equal("other cleaned\n", script.output([[
      pcall(agenda.run, function()
        agenda.spawn(function()
          pcall(agenda.sleep, 5)
          agenda.sleep(0.001)
          print("other cleaned")
        end)
        agenda.sleep(0)
        kill("INT")
        agenda.sleep(5)
      end)
    ]]))
  end)

  it("cancels what main awaits", function()
    assert.equal("inner cancelled\n", script.output([[
      pcall(agenda.run, function()
        agenda.await(agenda.spawn(function()
          kill("INT")
          local ok, err = pcall(agenda.sleep, 5)
          if not ok and agenda.errors.CancelledError:is(err) then print("inner cancelled") end
          error(err)
        end))
      end)
    ]]))
  end)

  it("leaves a main that handles it its own result", function()
    assert.equal("own result\n", script.output([[
      print(agenda.run(function()
        kill("INT")
        pcall(agenda.sleep, 5)
        return "own result"
      end))
    ]]))
  end)

  it("leaves a main that handles it its own error", function()
    assert.equal("false\town error\n", script.output([[
      print(pcall(agenda.run, function()
        kill("INT")
        pcall(agenda.sleep, 5)
        error("own error", 0)
      end))
    ]]))
  end)

  it("waits for main's next await", function()
    assert.equal("went on\ntrue\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        kill("INT")
        for _ = 1, 1e5 do end
        print("went on")
        agenda.sleep(5)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("cancels but once", function()
    assert.equal("1\n", script.output([[
      agenda.run(function()
        kill("INT")
        local cancelled = 0
        if not pcall(agenda.sleep, 5) then cancelled = cancelled + 1 end
        for _ = 1, 3 do
          if not pcall(agenda.sleep, 0.001) then cancelled = cancelled + 1 end
        end
        print(cancelled)
      end)
    ]]))
  end)

  it("interrupts a busy loop when it comes twice", function()
    assert.equal("true\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        kill("INT")
        kill("INT")
        while true do end
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("interrupts a busy loop in another task when it comes twice", function()
    assert.equal("true\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        agenda.spawn(function()
          kill("INT")
          kill("INT")
          while true do end
        end)
        agenda.sleep(5)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("interrupts a busy callback when it comes twice", function()
    assert.equal("true\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        agenda.get_running_loop():call_soon(function()
          kill("INT")
          kill("INT")
          while true do end
        end)
        agenda.sleep(5)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("interrupts a busy generator when it comes twice", function()
    assert.equal("true\n", script.output([[
      local endless = agenda.asyncgen(function()
        while true do agenda.yield(1) end
      end)
      local ok, err = pcall(agenda.run, function()
        kill("INT")
        kill("INT")
        for _ in endless() do end
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)

  it("interrupts a cleanup that waits when it comes twice", function()
    local result = script.run([[
      local ok, err = pcall(agenda.run, function()
        kill("INT")
        pcall(agenda.sleep, 5)
        kill("INT")
        agenda.sleep(30)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]], { seconds = 5 })
    assert.equal("true\n", result.stdout)
  end)

  it("is as before once the run is over", function()
    assert.equal("true\n", script.output([[
      agenda.run(function() agenda.sleep(0) end)
      -- The stand-alone interpreter has a handler of its own.
      local ok, err = pcall(function()
        kill("INT")
        for _ = 1, 1e7 do end
      end)
      print(not ok and tostring(err):find("interrupted!", 1, true) ~= nil)
    ]]))
  end)

  it("is as before once an interrupted run is over", function()
    assert.equal("true\n", script.output([[
      pcall(agenda.run, function()
        kill("INT")
        agenda.sleep(5)
      end)
      local ok, err = pcall(function()
        kill("INT")
        for _ = 1, 1e7 do end
      end)
      print(not ok and tostring(err):find("interrupted!", 1, true) ~= nil)
    ]]))
  end)

  it("begins anew with the next run", function()
    assert.equal("1\ttrue\n2\ttrue\n", script.output([[
      for i = 1, 2 do
        local ok, err = pcall(agenda.run, function()
          kill("INT")
          agenda.sleep(5)
        end)
        print(i, not ok and agenda.errors.KeyboardInterrupt:is(err))
      end
    ]]))
  end)

  it("is the run's again when the handler for it was removed", function()
    assert.equal("true\n", script.output([[
      local ok, err = pcall(agenda.run, function()
        local loop = agenda.get_running_loop()
        loop:add_signal_handler("SIGINT", function() print("mine") end)
        loop:remove_signal_handler("SIGINT")
        kill("INT")
        agenda.sleep(5)
      end)
      print(not ok and agenda.errors.KeyboardInterrupt:is(err))
    ]]))
  end)
end)

describe("SIGINT while a loop runs outside of agenda.run", function()
  it("is Lua's own, which a wait in the system notices", function()
    local result = script.run [[
      local loop = agenda.new_event_loop()
      loop:call_later(5, function() loop:stop() end)
      kill_after(0.02, "INT")
      loop:run_forever()
      print("stopped")
    ]]
    assert.equal("", result.stdout)
    assert.equal(1, result.code)
    assert.truthy(result.stderr:find("interrupted!", 1, true))
  end)
end)
