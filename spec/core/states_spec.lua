local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors

-- Runs a script that must exit with 0; returns its output.
local function output_of(code)
  local output, ok = expect.script(code)
  assert.is_true(ok, output)
  return output
end

describe("loading the library", function()
  it("sets no globals", function()
    assert.equal("none\n", output_of [[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      require "agenda"
      local added = {}
      for name in pairs(_G) do if not before[name] then added[#added + 1] = name end end
      print(added[1] and table.concat(added, " ") or "none")
    ]])
  end)

  it("from inside a coroutine that then ends #core", function()
    assert.equal("1\t2\tdone\n", output_of [[
      local agenda = coroutine.wrap(function() return require "agenda" end)()
      collectgarbage() collectgarbage()
      local list = {}
      for v in agenda.generator(function() agenda.yield(1) agenda.yield(2) end)() do list[#list + 1] = v end
      local done = agenda.run(function() return agenda.sleep(0, "done") end)
      print(list[1], list[2], done)
    ]])
  end)

  it("from inside a coroutine, and used in it #core", function()
    assert.equal("done\n", output_of [[
      coroutine.wrap(function()
        local agenda = require "agenda"
        print(agenda.run(function()
          for _ in agenda.asyncgen(function() agenda.sleep(0) agenda.yield(1) end)() do
            return agenda.sleep(0, "done")
          end
        end))
      end)()
    ]])
  end)

  it("from inside a coroutine, with finalizers afterwards", function()
    assert.equal("closed\n", output_of [[
      local agenda = coroutine.wrap(function() return require "agenda" end)()
      local function drop()
        local g = agenda.generator(function()
          local _ <close> = setmetatable({}, { __close = function() print("closed") end })
          agenda.yield(1)
        end)()
        g:next()
      end
      drop()
      collectgarbage() collectgarbage() collectgarbage()
    ]])
  end)

  it("twice works with the objects of both", function()
    local again = expect.reloaded()
    local g = agenda.generator(function() again.yield(1) agenda.yield(2) end)()
    assert.equal(1, g:next())
    assert.equal(2, g:next())
    g:close()
  end)

  it("twice gives objects that the other knows", function()
    local again = expect.reloaded()
    local g = again.generator(function() end)()
    assert.equal("generator", agenda.type(g))
    assert.is_true(agenda.isgenerator(g))
    assert.is_true(agenda.isgeneratorfunction(again.generator(print)))
  end)

  it("twice awaits the other's awaitables", function()
    local again = expect.reloaded()
    agenda.run(function()
      assert.equal("done", agenda.await(again.async(function() return again.sleep(0, "done") end)()))
      local g = again.asyncgen(function() agenda.sleep(0) again.yield(1) end)()
      assert.equal(1, again.await(g:anext()))
      agenda.await(g:aclose())
    end)
  end)

  it("twice shares the running loop", function()
    local again = expect.reloaded()
    agenda.run(function()
      assert.equal(agenda.get_running_loop(), again.get_running_loop())
      expect.raises(errors.RuntimeError, nil, again.run, function() end)
    end)
  end)

  it("twice raises errors that the other's classes know", function()
    local again = expect.reloaded()
    local g = again.generator(function() again.yield() end)()
    g:next()
    local err = expect.raises(agenda.errors.ValueError, nil, g.throw, g, again.errors.ValueError("text"))
    assert.is_true(again.errors.ValueError:is(err))
  end)

  it("twice shares the async generator hooks", function()
    local again = expect.reloaded()
    local function hook() end
    agenda.set_asyncgen_hooks { firstiter = hook }
    local seen = again.get_asyncgen_hooks().firstiter
    agenda.set_asyncgen_hooks { firstiter = false }
    assert.equal(hook, seen)
  end)

  it("twice keeps an object of the first's alive and well", function()
    local g = agenda.generator(function() agenda.yield(1) agenda.yield(2) end)()
    g:next()
    expect.reloaded()
    expect.collect()
    assert.equal(2, g:next())
    g:close()
  end)
end)

describe("using the library from any coroutine", function()
  it("a generator may be stepped from several", function()
    local g = agenda.generator(function() for i = 1, 4 do agenda.yield(i) end end)()
    assert.equal(1, g:next())
    assert.equal(2, coroutine.wrap(function() return g:next() end)())
    assert.equal(3, coroutine.wrap(function() return (coroutine.wrap(function() return g:next() end)()) end)())
    assert.equal(4, g:next())
  end)

  it("a generator made in a coroutine outlives it", function()
    local g = coroutine.wrap(function()
      local made = agenda.generator(function() agenda.yield(1) agenda.yield(2) end)()
      made:next()
      return made
    end)()
    expect.collect()
    assert.equal(2, g:next())
    g:close()
  end)

  it("agenda.run in a plain coroutine works", function()
    assert.equal("done", coroutine.wrap(function()
      return agenda.run(function() return agenda.sleep(0, "done") end)
    end)())
  end)

  it("a task's generator may be finished outside the run", function()
    local g
    agenda.run(function()
      g = agenda.generator(function() agenda.sleep(0) agenda.yield(1) agenda.yield(2) end)()
      g:next()
    end)
    assert.equal(2, g:next())
    g:close()
  end)
end)

describe("closing the state", function()
  it("with a loop's tasks still suspended says so and exits with 0 #core", function()
    assert.is_truthy(output_of([[
      local agenda = require "agenda"
      loop = agenda.new_event_loop()
      loop:run_until_complete(function()
        for _ = 1, 3 do agenda.spawn(function() agenda.suspend() agenda.suspend() end) end
      end)
      print("end")
      io.stdout:flush()
    ]]):find("^end\n"))
  end)

  it("by os.exit within a task exits with that code #core", function()
    assert.is_truthy(output_of([[
      local agenda = require "agenda"
      agenda.run(function()
        local g = agenda.asyncgen(function() agenda.yield(1) end)()
        agenda.await(g:anext())
        print("end")
        io.stdout:flush()
        os.exit(0, true)
      end)
    ]]):find("^end\n"))
  end)

  it("by os.exit within a generator is quiet", function()
    assert.equal("end\n", output_of [[
      local agenda = require "agenda"
      for _ in agenda.generator(function() agenda.yield(1) end)() do
        print("end")
        io.stdout:flush()
        os.exit(0, true)
      end
    ]])
  end)

  it("with every object half used is quiet #core", function()
    assert.equal("end\n", output_of [[
      local agenda = require "agenda"
      keep = {}
      local gen = agenda.generator(function() agenda.yield(1) end)
      local agen = agenda.asyncgen(function() agenda.suspend() agenda.yield(1) end)
      for i = 1, 10 do
        local g = gen() g:next()
        local a = agen()
        local aw = a:anext() aw:send()
        local c = agenda.async(function() agenda.await(agenda.future()) end)() c:send()
        keep[i] = { g, a, aw, c, a:aclose(), agenda.future() }
      end
      print("end")
    ]])
  end)
end)
