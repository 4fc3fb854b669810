local script = require "spec.support.script"

-- Each of these is a script in a process of its own.
describe("agenda.main", function()
  it("runs the function with its arguments", function()
    assert.equal("3\t1\tnil\t3\n", script.output([[
      agenda.main(function(...) print(select("#", ...), ...) end, 1, nil, 3)
    ]]))
  end)

  it("waits as run does", function()
    assert.equal("slept\n", script.output([[
      agenda.main(function() print(agenda.sleep(0.001, "slept")) end)
    ]]))
  end)

  it("goes on with the script afterwards", function()
    assert.equal("main\nafter\n", script.output([[
      agenda.main(function() print("main") end)
      print("after")
    ]]))
  end)

  it("exits 0 when nothing failed", function()
    assert.equal(0, script.run("agenda.main(function() end)").code)
  end)

  it("says nothing on stderr when nothing failed", function()
    assert.equal("", script.run("agenda.main(function() agenda.sleep(0) end)").stderr)
  end)

  describe("with an uncaught error", function()
    it("exits 1", function()
      assert.equal(1, script.run("agenda.main(function() error('broken') end)").code)
    end)

    it("prints a string error to stderr", function()
      local result = script.run("agenda.main(function() error('broken', 0) end)")
      assert.truthy(result.stderr:find("broken", 1, true))
      assert.equal("", result.stdout)
    end)

    it("prints an error object with its class", function()
      local result = script.run("agenda.main(function() error(agenda.errors.ValueError('too big')) end)")
      assert.truthy(result.stderr:find("ValueError: too big", 1, true))
    end)

    it("prints a foreign table by its __tostring", function()
      local result = script.run(
        "agenda.main(function() error(setmetatable({}, {__tostring = function() return 'foreign!' end})) end)")
      assert.equal(1, result.code)
      assert.truthy(result.stderr:find("foreign!", 1, true))
    end)

    it("exits 1 for error(nil)", function()
      local result = script.run("agenda.main(function() error(nil) end)")
      assert.equal(1, result.code)
      assert.truthy(result.stderr:find("nil error", 1, true))
    end)

    it("prints the line that raised it", function()
      local result = script.run([[
        local function inner()
          error(agenda.errors.Error("deep"))
        end
        agenda.main(function() inner() end)
      ]])
      assert.truthy(result.stderr:find(result.file .. ":2:", 1, true))
    end)

    it("prints the lines of the coroutines that were awaiting", function()
      local result = script.run([[
        local inner = agenda.async(function()
          agenda.sleep(0)
          error(agenda.errors.Error("deep"))
        end)
        local outer = agenda.async(function()
          agenda.await(inner())
          return 1
        end)
        agenda.main(function()
          agenda.await(outer())
          return 1
        end)
      ]])
      assert.truthy(result.stderr:find(result.file .. ":3:", 1, true))
      assert.truthy(result.stderr:find(result.file .. ":6:", 1, true))
      assert.truthy(result.stderr:find(result.file .. ":10:", 1, true))
    end)

    it("does not go on with the script", function()
      local result = script.run("agenda.main(function() error('broken') end) print('after')")
      assert.equal("", result.stdout)
    end)

    it("keeps what was written before", function()
      local result = script.run("agenda.main(function() io.write('before') error('broken') end)")
      assert.equal("before", result.stdout)
    end)

    it("lets the tasks that are left clean up first", function()
      local result = script.run([[
        agenda.main(function()
          agenda.spawn(function()
            pcall(agenda.sleep, 60)
            agenda.sleep(0.001)
            print("cleaned")
          end)
          agenda.sleep(0)
          error("broken")
        end)
      ]])
      assert.equal("cleaned\n", result.stdout)
      assert.equal(1, result.code)
    end)

    it("exits 1 for a deadlock and names it", function()
      local result = script.run("agenda.main(function() agenda.await(agenda.future()) end)")
      assert.equal(1, result.code)
      assert.truthy(result.stderr:find("deadlock", 1, true))
    end)

    it("exits 1 when what it got cannot be run", function()
      assert.equal(1, script.run("agenda.main(42)").code)
    end)
  end)

  describe("after Ctrl-C", function()
    it("exits 130", function()
      local result = script.run("agenda.main(function() kill('INT') agenda.sleep(5) end)")
      assert.equal(130, result.code)
    end)

    it("lets main clean up first", function()
      local result = script.run([[
        agenda.main(function()
          local _ <close> = setmetatable({}, { __close = function()
            agenda.sleep(0.001)
            print("cleaned")
          end })
          kill("INT")
          agenda.sleep(5)
        end)
      ]])
      assert.equal("cleaned\n", result.stdout)
      assert.equal(130, result.code)
    end)

    it("exits 0 when main handles it and returns", function()
      local result = script.run([[
        agenda.main(function()
          kill("INT")
          pcall(agenda.sleep, 5)
          print("handled")
        end)
      ]])
      assert.equal("handled\n", result.stdout)
      assert.equal(0, result.code)
    end)

    it("exits 130 when a second one interrupts the cleanup", function()
      local result = script.run([[
        agenda.main(function()
          kill("INT")
          pcall(agenda.sleep, 5)
          kill("INT")
          while true do end
        end)
      ]])
      assert.equal(130, result.code)
    end)

    it("exits 130 when KeyboardInterrupt is raised by hand", function()
      assert.equal(130, script.run("agenda.main(function() error(agenda.errors.KeyboardInterrupt()) end)").code)
    end)
  end)
end)
