-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local yield, await = agenda.yield, agenda.await

-- Places where Lua lets nothing yield: each calls `f` once within.
local places = {
  ["a gsub callback"] = function(f) string.gsub("x", "x", function() f() end) end,
  ["a sort comparator"] = function(f)
    local done = false
    table.sort({ 2, 1 }, function(a, b)
      if not done then done = true f() end
      return a < b
    end)
  end,
  ["a load reader"] = function(f)
    local done = false
    local chunk, err = load(function() if not done then done = true f() end end)
    if not chunk then error(err, 0) end
  end,
  ["a coroutine within a gsub callback"] = function(f)
    string.gsub("x", "x", function()
      local ok, err = coroutine.resume(coroutine.create(f))
      if not ok then error(err, 0) end
    end)
  end,
}

-- What `wait` raises there; the place itself is left normally.
local function caught_in(place, wait)
  local seen
  place(function()
    local ok, err = pcall(wait)
    seen = not ok and err
  end)
  return seen
end

local waits = {
  sleep = function() agenda.sleep(0) end,
  suspend = function() agenda.suspend() end,
  checkpoint = function() agenda.checkpoint() end,
  ["await of a pending future"] = function() await(agenda.future()) end,
  ["await of a coroutine that sleeps"] = function() await(agenda.async(function() agenda.sleep(0) end)()) end,
  ["await of anext that sleeps"] = function()
    local g = agenda.asyncgen(function() agenda.sleep(0) yield(1) end)()
    await(g:anext())
  end,
  ["a loop over an async generator that sleeps"] = function()
    for _ in agenda.asyncgen(function() agenda.sleep(0) yield(1) end)() do break end
  end,
  ["a generator that sleeps"] = function()
    for _ in agenda.generator(function() agenda.sleep(0) yield(1) end)() do break end
  end,
}

for label, place in pairs(places) do
  -- A coroutine of the user's own may suspend: that goes to its resumer.
  local plain = label:find("coroutine", 1, true)
  local elsewhere = { suspend = plain, checkpoint = plain }
  describe("in " .. label .. (plain and " #core" or ""), function()
    for name, wait in pairs(waits) do
      if not elsewhere[name] then
        it(name .. " is RuntimeError and the task goes on", function()
          agenda.run(function()
            local err = caught_in(place, wait)
            assert.is_true(errors.RuntimeError:is(err))
            assert.equal("on", agenda.sleep(0, "on"))
          end)
        end)
      end
    end

    if not plain then
      it("the message says that Lua cannot yield there", function()
        agenda.run(function()
          local err = caught_in(place, waits.sleep)
          assert.is_truthy(err.message:find("yield", 1, true))
        end)
      end)

      it("agenda.yield is RuntimeError and the generator goes on #lua54", function()
        local seen
        local g = agenda.generator(function()
          seen = caught_in(place, function() yield("lost") end)
          yield("on")
        end)()
        assert.equal("on", g:next())
        assert.is_true(errors.RuntimeError:is(seen))
      end)

      it("agenda.yield in an async generator is RuntimeError and it goes on #lua54", function()
        local seen
        local g = agenda.asyncgen(function()
          seen = caught_in(place, function() yield("lost") end)
          yield("on")
        end)()
        assert.equal("on", (expect.now(g:anext())))
        assert.is_true(errors.RuntimeError:is(seen))
      end)

      it("suspend in a coroutine driven by hand is RuntimeError and it goes on", function()
        local seen
        local co = agenda.async(function()
          seen = caught_in(place, function() agenda.suspend("lost") end)
          return agenda.suspend("on")
        end)()
        assert.equal("on", co:send())
        assert.is_true(errors.RuntimeError:is(seen))
        co:close()
      end)
    end

    it("a future that was to be awaited there is unharmed", function()
      agenda.run(function()
        local fut = agenda.future()
        caught_in(place, function() await(fut) end)
        agenda.spawn(function() fut:set_result("on") end)
        assert.equal("on", await(fut))
      end)
    end)

    it("a finished future may be awaited #core", function()
      agenda.run(function()
        local fut = agenda.future()
        fut:set_result("done")
        local got
        place(function() got = await(fut) end)
        assert.equal("done", got)
      end)
    end)

    it("a generator that does not wait may be iterated", function()
      agenda.run(function()
        local list = {}
        place(function()
          for v in agenda.generator(function() yield(1) yield(2) end)() do list[#list + 1] = v end
        end)
        assert.same({ 1, 2 }, list)
      end)
    end)

    it("an async generator that does not wait may be iterated", function()
      agenda.run(function()
        local list = {}
        place(function()
          for v in agenda.asyncgen(function() yield(1) yield(2) end)() do list[#list + 1] = v end
        end)
        assert.same({ 1, 2 }, list)
      end)
    end)

    it("a body that handles the error goes on", function()
      agenda.run(function()
        local list = {}
        local gen = agenda.asyncgen(function()
          local _, err = pcall(agenda.sleep, 0)
          yield(errors.RuntimeError:is(err))
        end)
        place(function() for v in gen() do list[#list + 1] = v end end)
        assert.same({ true }, list)
      end)
    end)

    it("an error that nobody handles there comes out of the task", function()
      agenda.run(function()
        local task = agenda.spawn(function() place(waits.sleep) end)
        local _, err = pcall(await, task)
        assert.is_true(errors.RuntimeError:is(err))
        assert.equal("on", agenda.sleep(0, "on"))
      end)
    end)
  end)
end

describe("in a __gc #core", function()
  local function in_gc(f)
    setmetatable({}, { __gc = f })
    expect.collect()
  end

  for name, wait in pairs(waits) do
    it(name .. " is RuntimeError and the task goes on", function()
      agenda.run(function()
        local seen
        in_gc(function() seen = select(2, pcall(wait)) end)
        assert.is_true(errors.RuntimeError:is(seen))
        assert.equal("on", agenda.sleep(0, "on"))
      end)
    end)
  end

  it("agenda.yield is RuntimeError and the generator goes on #lua54", function()
    local seen
    local g = agenda.generator(function()
      in_gc(function() seen = select(2, pcall(yield, "lost")) end)
      yield("on")
    end)()
    assert.equal("on", g:next())
    assert.is_true(errors.RuntimeError:is(seen))
  end)

  it("a generator may be iterated", function()
    local list = {}
    in_gc(function()
      for v in agenda.generator(function() yield(1) yield(2) end)() do list[#list + 1] = v end
    end)
    assert.same({ 1, 2 }, list)
  end)

  it("a task may be spawned", function()
    agenda.run(function()
      local ran = false
      in_gc(function() agenda.spawn(function() ran = true end) end)
      agenda.sleep(0)
      assert.is_true(ran)
    end)
  end)
end)

describe("a coroutine.wrap of the user's between a task and an await #core", function()
  it("is RuntimeError that says what to use instead", function()
    agenda.run(function()
      local wrapped = coroutine.wrap(function() agenda.sleep(0) coroutine.yield(1) end)
      local err = expect.raises(errors.RuntimeError, nil, wrapped)
      assert.is_truthy(err.message:find("agenda.generator", 1, true))
      assert.is_truthy(err.message:find("coroutine.wrap", 1, true))
    end)
  end)

  it("the error may be handled inside, and the coroutine goes on", function()
    agenda.run(function()
      local seen
      local wrapped = coroutine.wrap(function()
        seen = select(2, pcall(agenda.sleep, 0))
        coroutine.yield("on")
      end)
      assert.equal("on", wrapped())
      assert.is_true(errors.RuntimeError:is(seen))
    end)
  end)

  it("the task goes on", function()
    assert.equal("on", agenda.run(function()
      pcall(coroutine.wrap(function() agenda.sleep(0) end))
      return agenda.sleep(0, "on")
    end))
  end)

  it("is no hindrance where nothing waits", function()
    agenda.run(function()
      local list = {}
      for v in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
        agenda.sleep(0)
        list[#list + 1] = v
      end
      assert.same({ 1, 2, 3 }, list)
    end)
  end)

  it("inside an async generator keeps its own yields to itself", function()
    agenda.run(function()
      local list = {}
      local gen = agenda.asyncgen(function()
        for v in coroutine.wrap(function() for i = 1, 2 do coroutine.yield(i) end end) do
          agenda.sleep(0)
          yield(v * 10)
        end
      end)
      for v in gen() do list[#list + 1] = v end
      assert.same({ 10, 20 }, list)
    end)
  end)

  it("inside an async generator an await within it is RuntimeError", function()
    local seen
    agenda.run(function()
      local gen = agenda.asyncgen(function()
        seen = select(2, pcall(coroutine.wrap(function() agenda.sleep(0) end)))
        yield("on")
      end)
      for v in gen() do assert.equal("on", v) end
    end)
    assert.is_true(errors.RuntimeError:is(seen))
  end)

  it("agenda.generator in its place works", function()
    agenda.run(function()
      local list = {}
      for v in agenda.generator(function() agenda.sleep(0) yield(1) end)() do list[#list + 1] = v end
      assert.same({ 1 }, list)
    end)
  end)

  it("a failed await in one leaves no timer or callback that wakes it", function()
    agenda.run(function()
      local wakes = 0
      local thread = coroutine.create(function()
        pcall(agenda.sleep, 0)
        while true do coroutine.yield() wakes = wakes + 1 end
      end)
      coroutine.resume(thread)
      for _ = 1, 5 do agenda.sleep(0) end
      assert.equal(0, wakes)
      assert.equal("suspended", coroutine.status(thread))
    end)
  end)
end)
