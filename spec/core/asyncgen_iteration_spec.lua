local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await, suspend = agenda.asyncgen, agenda.yield, agenda.await, agenda.suspend

local function count_to(n) for i = 1, n do agenda.sleep(0) yield(i) end end
local counter = asyncgen("counter", count_to)

local function collect(g)
  local list = {}
  for v in g do list[#list + 1] = v end
  return list
end

describe("async generator: calling its function", function()
  it("runs nothing", function()
    local ran = false
    asyncgen(function() ran = true end)()
    assert.is_false(ran)
  end)

  it("returns the generator, nil, nil and the generator", function()
    local results = table.pack(counter(1))
    assert.equal(4, results.n)
    assert.equal("async_generator", agenda.type(results[1]))
    assert.is_nil(results[2])
    assert.is_nil(results[3])
    assert.is_true(rawequal(results[1], results[4]))
  end)

  it("needs no loop", function()
    assert.equal("async_generator", agenda.type((counter(1))))
  end)

  it("needs no yield in the body", function()
    agenda.run(function() assert.same({}, collect((asyncgen(function() agenda.sleep(0) end)()))) end)
  end)
end)

describe("async generator: a for loop", function()
  it("over the call gives the values", function()
    agenda.run(function()
      local list = {}
      for v in counter(3) do list[#list + 1] = v end
      assert.same({ 1, 2, 3 }, list)
    end)
  end)

  it("over aiter gives the values", function()
    agenda.run(function()
      local list = {}
      for v in agenda.aiter(counter(3)) do list[#list + 1] = v end
      assert.same({ 1, 2, 3 }, list)
    end)
  end)

  it("over the object gives the values", function()
    agenda.run(function() assert.same({ 1, 2, 3 }, collect((counter(3)))) end)
  end)

  it("g() gives the next values, then nil", function()
    agenda.run(function()
      local g = counter(1)
      assert.equal(1, g())
      assert.is_nil(g())
      assert.is_nil(g())
    end)
  end)

  it("gives all values of a step", function()
    agenda.run(function()
      for a, b, c in asyncgen(function() yield(1, nil, 3) end)() do
        assert.same({ 1, nil, 3 }, { a, b, c })
      end
    end)
  end)

  it("over a finished one does nothing", function()
    agenda.run(function()
      local g = counter(2)
      collect(g)
      assert.same({}, collect(g))
    end)
  end)

  it("goes on where anext stopped", function()
    agenda.run(function()
      local g = counter(3)
      await(g:anext())
      assert.same({ 2, 3 }, collect(g))
    end)
  end)

  it("sends nothing", function()
    local got = {}
    agenda.run(function()
      collect((asyncgen(function()
        got[1] = table.pack(yield(1))
        got[2] = table.pack(yield(2))
      end)()))
    end)
    assert.same({ { n = 0 }, { n = 0 } }, got)
  end)

  it("refuses a leading nil", function()
    agenda.run(function()
      local g = asyncgen(function() yield(nil, 2) end)()
      expect.raises(errors.RuntimeError, nil, collect, g)
    end)
  end)

  it("refuses a yield of no values", function()
    agenda.run(function()
      local g = asyncgen(function() agenda.sleep(0) yield() end)()
      expect.raises(errors.RuntimeError, nil, collect, g)
    end)
  end)

  it("raises what the body raises", function()
    agenda.run(function()
      local g = asyncgen(function() yield(1) agenda.sleep(0) error("body", 0) end)()
      expect.raises_same("body", collect, g)
    end)
  end)

  it("works where nothing waits, without a loop, driven by hand", function()
    local co = agenda.async(function() return collect((asyncgen(function() yield(1) yield(2) end)())) end)()
    assert.same({ 1, 2 }, (expect.now(co)))
  end)

  it("lets other tasks run while the body waits", function()
    agenda.run(function()
      local order = {}
      agenda.spawn(function() for i = 1, 2 do order[#order + 1] = "task" .. i agenda.sleep(0) end end)
      for v in counter(2) do order[#order + 1] = "loop" .. v end
      assert.same({ "task1", "loop1", "task2", "loop2" }, order)
    end)
  end)

  it("does not let other tasks run where the body does not wait", function()
    agenda.run(function()
      local others = false
      agenda.spawn(function() others = true end)
      for _ in asyncgen(function() for i = 1, 10 do yield(i) end end)() do assert.is_false(others) end
    end)
  end)

  it("two tasks may iterate two generators of one function", function()
    agenda.run(function()
      local one = agenda.spawn(function() return collect((counter(3))) end)
      local two = agenda.spawn(function() return collect((counter(2))) end)
      assert.same({ 1, 2, 3 }, await(one))
      assert.same({ 1, 2 }, await(two))
    end)
  end)
end)

describe("async generator: routing of yields", function()
  it("an await-yield comes out of the awaitable, a value-yield ends it", function()
    local g = asyncgen(function() suspend("wait 1") yield("value 1") suspend("wait 2") yield("value 2") end)()
    local aw = g:anext()
    assert.equal("wait 1", aw:send())
    assert.equal("value 1", (expect.now(aw)))
    aw = g:anext()
    assert.equal("wait 2", aw:send())
    assert.equal("value 2", (expect.now(aw)))
    aw = g:anext()
    expect.raises(errors.StopAsyncIteration, nil, aw.send, aw)
  end)

  it("awaits pass three generators, values stop at each", function()
    local one = asyncgen(function() for i = 1, 2 do suspend("wait", i) yield(i) end end)
    local two = asyncgen(function() for v in one() do yield(v * 10) end end)
    local three = asyncgen(function() for v in two() do yield(v + 1) end end)
    local out, results = expect.drive(agenda.async(function() return collect((three())) end)())
    assert.same({ { n = 2, "wait", 1 }, { n = 2, "wait", 2 } }, out)
    assert.same({ 11, 21 }, results[1])
  end)

  it("the values of an await may be anything that a value may", function()
    local value = {}
    local g = asyncgen(function() yield((suspend(value))) end)()
    local aw = g:anext()
    assert.is_true(rawequal(value, aw:send()))
    assert.is_true(rawequal(value, (expect.now(aw, value))))
  end)

  it("a body awaits at any call depth and yields at any call depth", function()
    local function deep(n, f, ...) if n == 0 then return f(...) end return (deep(n - 1, f, ...)) end
    agenda.run(function()
      local g = asyncgen(function() yield(deep(50, agenda.sleep, 0, "slept")) deep(50, yield, "yielded") end)
      assert.same({ "slept", "yielded" }, collect((g())))
    end)
  end)

  it("a plain generator within a body may wait", function()
    local inner = agenda.generator(function() for i = 1, 2 do agenda.sleep(0) yield(i) end end)
    local outer = asyncgen(function() for v in inner() do agenda.sleep(0) yield(v * 10) end end)
    agenda.run(function() assert.same({ 10, 20 }, collect((outer()))) end)
  end)

  it("an async generator within a plain generator may wait", function()
    local outer = agenda.generator(function() for v in counter(2) do yield(v * 10) end end)
    agenda.run(function() assert.same({ 10, 20 }, collect((outer()))) end)
  end)

  it("a coroutine object awaited within cannot yield for the body", function()
    local seen
    local inner = agenda.async(function() yield(1) end)
    local g = asyncgen(function()
      local _, err = pcall(await, inner())
      seen = err
      yield("on")
    end)
    agenda.run(function() assert.same({ "on" }, collect((g()))) end)
    assert.is_true(errors.RuntimeError:is(seen))
  end)
end)

describe("async generator: its end", function()
  it("is StopAsyncIteration for anext, each time", function()
    agenda.run(function()
      local g = counter(1)
      await(g:anext())
      expect.raises(errors.StopAsyncIteration, nil, await, g:anext())
      expect.raises(errors.StopAsyncIteration, nil, await, g:anext())
      expect.raises(errors.StopAsyncIteration, nil, await, g:asend(1))
    end)
  end)

  it("after an error is StopAsyncIteration", function()
    agenda.run(function()
      local g = asyncgen(function() yield(1) error("body", 0) end)()
      await(g:anext())
      expect.raises_same("body", await, g:anext())
      expect.raises(errors.StopAsyncIteration, nil, await, g:anext())
    end)
  end)

  for _, name in ipairs { "StopIteration", "StopAsyncIteration" } do
    it(name .. " out of a body becomes RuntimeError", function()
      agenda.run(function()
        local stop = errors[name]("mine")
        local g = asyncgen(function() yield(1) error(stop) end)()
        await(g:anext())
        local err = expect.raises(errors.RuntimeError, "async generator raised " .. name, await, g:anext())
        assert.equal(stop, err.cause)
      end)
    end)

    it(name .. " out of a body becomes RuntimeError in a for", function()
      agenda.run(function()
        local g = asyncgen(function() yield(1) error(errors[name]()) end)()
        expect.raises(errors.RuntimeError, "async generator raised " .. name, collect, g)
      end)
    end)

    it(name .. " raised after a wait becomes RuntimeError", function()
      agenda.run(function()
        local g = asyncgen(function() agenda.sleep(0) error(errors[name]()) end)()
        expect.raises(errors.RuntimeError, "async generator raised " .. name, await, g:anext())
      end)
    end)

    it(name .. " raised by a loop's own block comes out of the loop", function()
      agenda.run(function()
        local stop = errors[name]("mine")
        expect.raises_same(stop, function() for _ in counter(2) do error(stop) end end)
      end)
    end)
  end

  it("the StopAsyncIteration of an inner generator that leaks becomes RuntimeError", function()
    agenda.run(function()
      local outer = asyncgen(function()
        local inner = counter(0)
        await(inner:anext())
      end)()
      local err = expect.raises(errors.RuntimeError, nil, await, outer:anext())
      assert.is_true(errors.StopAsyncIteration:is(err.cause))
    end)
  end)

  it("returning a non-nil value is TypeError", function()
    agenda.run(function()
      local g = asyncgen(function() yield(1) return 2 end)()
      await(g:anext())
      expect.raises(errors.TypeError, "async generator returned a value", await, g:anext())
      expect.raises(errors.StopAsyncIteration, nil, await, g:anext())
    end)
  end)

  it("returning false is TypeError", function()
    agenda.run(function()
      local g = asyncgen(function() return false end)()
      expect.raises(errors.TypeError, "async generator returned a value", await, g:anext())
    end)
  end)

  it("returning nil and something is TypeError", function()
    agenda.run(function()
      local g = asyncgen(function() return nil, 2 end)()
      expect.raises(errors.TypeError, "async generator returned a value", await, g:anext())
    end)
  end)

  it("returning a value in a for is TypeError", function()
    agenda.run(function()
      local g = asyncgen(function() return 1 end)()
      expect.raises(errors.TypeError, "async generator returned a value", collect, g)
    end)
  end)

  it("returning nils is an end", function()
    agenda.run(function()
      assert.same({}, collect((asyncgen(function() return nil, nil end)())))
    end)
  end)

  it("a StopAsyncIteration object may be yielded as a value", function()
    agenda.run(function()
      local value = errors.StopAsyncIteration()
      local g = asyncgen(function() yield(value) end)()
      assert.equal(value, (await(g:anext())))
      await(g:aclose())
    end)
  end)

  it("GeneratorExit of the body's own comes out of anext", function()
    agenda.run(function()
      local exit = errors.GeneratorExit("mine")
      local g = asyncgen(function() error(exit) end)()
      expect.raises_same(exit, await, g:anext())
    end)
  end)
end)
