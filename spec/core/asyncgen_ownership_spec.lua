-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await, suspend = agenda.asyncgen, agenda.yield, agenda.await, agenda.suspend

-- An async generator function whose body's cleanup waits and then notes how it was left.
local function noting(log, n)
  return asyncgen(function()
    local _ <close> = expect.finally(function(err)
      agenda.sleep(0)
      agenda.sleep(0)
      log[#log + 1] = err == nil and "end" or err.name or err
    end)
    for i = 1, n or 3 do yield(i) end
  end)
end

describe("async generator ownership: a for that owns", function()
  local loops = {
    ["over the call"] = function(gen) return gen() end,
    ["over aiter"] = function(gen) return agenda.aiter((gen())) end,
  }
  for label, over in pairs(loops) do
    it(label .. " awaits the cleanup at a break before going on", function()
      local log = {}
      agenda.run(function()
        for _ in over(noting(log)) do break end
        log[#log + 1] = "after"
      end)
      assert.same({ "GeneratorExit", "after" }, log)
    end)

    it(label .. " awaits the cleanup at a return", function()
      local log = {}
      agenda.run(function()
        local function first() for v in over(noting(log)) do return v, "more" end end
        assert.same({ 1, "more" }, { first() })
        log[#log + 1] = "after"
      end)
      assert.same({ "GeneratorExit", "after" }, log)
    end)

    it(label .. " awaits the cleanup at a goto", function()
      local log = {}
      agenda.run(function()
        for _ in over(noting(log)) do goto out end
        ::out::
        log[#log + 1] = "after"
      end)
      assert.same({ "GeneratorExit", "after" }, log)
    end)

    it(label .. " awaits the cleanup at an error", function()
      local log = {}
      agenda.run(function()
        expect.raises_same("loop", function() for _ in over(noting(log)) do error("loop", 0) end end)
        log[#log + 1] = "after"
      end)
      assert.same({ "GeneratorExit", "after" }, log)
    end)

    it(label .. " awaits the cleanup at a cancellation of the block", function()
      local log = {}
      agenda.run(function()
        local task = agenda.spawn(function() for _ in over(noting(log)) do agenda.sleep(60) end end)
        agenda.sleep(0)
        task:cancel()
        expect.raises(errors.CancelledError, nil, await, task)
        log[#log + 1] = "after"
      end)
      assert.same({ "GeneratorExit", "after" }, log)
    end)

    it(label .. " raises a cancellation inside a body that waits", function()
      local seen
      agenda.run(function()
        local gen = asyncgen(function()
          local _ <close> = expect.finally(function(err) seen = err end)
          agenda.sleep(60)
          yield(1)
        end)
        local task = agenda.spawn(function() for _ in over(gen) do agenda.sleep(0) end end)
        agenda.sleep(0)
        task:cancel()
        expect.raises(errors.CancelledError, nil, await, task)
      end)
      assert.is_true(errors.CancelledError:is(seen))
    end)

    it(label .. " that ends by itself ends the body normally", function()
      local log = {}
      agenda.run(function() for v in over(noting(log)) do log.last = v end end)
      assert.same({ "end", last = 3 }, log)
    end)

    it(label .. " raises the cleanup's error at a break", function()
      local gen = asyncgen(function() pcall(yield, 1) agenda.sleep(0) error("cleanup", 0) end)
      expect.raises_same("cleanup", agenda.run, function() for _ in over(gen) do break end end)
    end)

    it(label .. " raises RuntimeError when the body yields again at a break", function()
      local gen = asyncgen(function() pcall(yield, 1) yield(2) end)
      expect.raises(errors.RuntimeError, "async generator ignored GeneratorExit", agenda.run,
        function() for _ in over(gen) do break end end)
    end)
  end

  it("leaves two nested loops from the inside outward", function()
    local order = {}
    local function named(name)
      return asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) order[#order + 1] = name end)
        yield(1) yield(2)
      end)
    end
    agenda.run(function()
      local function nest() for _ in named("outer")() do for _ in named("inner")() do return end end end
      nest()
      order[#order + 1] = "after"
    end)
    assert.same({ "inner", "outer", "after" }, order)
  end)

  it("in a coroutine driven by hand hands the cleanup's waits outward", function()
    local gen = asyncgen(function()
      local _ <close> = expect.finally(function() suspend("cleanup") end)
      yield(1)
    end)
    local co = agenda.async(function()
      for _ in gen() do break end
      return "after"
    end)()
    assert.equal("cleanup", co:send())
    assert.equal("after", (expect.now(co)))
  end)

  it("other tasks run while it is left", function()
    agenda.run(function()
      local other = false
      agenda.spawn(function() other = true end)
      for _ in noting({})() do break end
      assert.is_true(other)
    end)
  end)

  it("a cancellation while the cleanup waits is raised in the cleanup", function()
    local seen
    agenda.run(function()
      local gen = asyncgen(function()
        local _ <close> = expect.finally(function()
          local _, err = pcall(agenda.sleep, 60)
          seen = err
          error(err)
        end)
        yield(1)
      end)
      local task = agenda.spawn(function() for _ in gen() do break end end)
      agenda.sleep(0)
      task:cancel()
      expect.raises(errors.CancelledError, nil, await, task)
    end)
    assert.is_true(errors.CancelledError:is(seen))
  end)
end)

describe("async generator ownership: a for that borrows", function()
  it("over the object keeps it open at a break", function()
    local log = {}
    agenda.run(function()
      local g = noting(log)()
      for _ in g do break end
      assert.same({}, log)
      assert.equal(2, await(g:anext()))
      await(g:aclose())
    end)
  end)

  it("over the object keeps it open at an error of the block", function()
    agenda.run(function()
      local g = noting({})()
      pcall(function() for _ in g do error("loop", 0) end end)
      assert.equal(2, await(g:anext()))
      await(g:aclose())
    end)
  end)

  it("several loops share what there is", function()
    agenda.run(function()
      local seen = {}
      local g = noting({})()
      for v in g do seen[#seen + 1] = v break end
      for v in g do seen[#seen + 1] = v end
      assert.same({ 1, 2, 3 }, seen)
    end)
  end)
end)

describe("async generator ownership: <close>", function()
  it("awaits the cleanup at the end of the block", function()
    local log = {}
    agenda.run(function()
      do
        local g <close> = noting(log)()
        await(g:anext())
        assert.same({}, log)
      end
      log[#log + 1] = "after"
    end)
    assert.same({ "GeneratorExit", "after" }, log)
  end)

  it("awaits the cleanup when an error leaves the block", function()
    local log = {}
    expect.raises_same("block", agenda.run, function()
      local g <close> = noting(log)()
      await(g:anext())
      error("block", 0)
    end)
    assert.same({ "GeneratorExit" }, log)
  end)

  it("with a borrowing for inside is the way round Lua 5.4.4's compiler bug", function()
    local log, kept = {}, {}
    agenda.run(function()
      do
        local g <close> = noting(log)()
        for v in g do
          kept[#kept + 1] = function() return v end
          if v == 2 then break end
        end
      end
      log[#log + 1] = "after"
    end)
    assert.same({ "GeneratorExit", "after" }, log)
    assert.equal(2, kept[2]())
  end)

  it("of one not started runs nothing", function()
    local log = {}
    agenda.run(function() local _ <close> = noting(log)() end)
    assert.same({}, log)
  end)

  it("of a finished one does nothing", function()
    local log = {}
    agenda.run(function()
      local g <close> = noting(log, 1)()
      for v in g do log.last = v end
    end)
    assert.same({ "end", last = 1 }, log)
  end)

  it("outside any coroutine closes a body that need not wait", function()
    local closed = false
    do
      local g <close> = asyncgen(function()
        local _ <close> = expect.finally(function() closed = true end)
        yield(1)
      end)()
      expect.now(g:anext())
    end
    assert.is_true(closed)
  end)
end)
