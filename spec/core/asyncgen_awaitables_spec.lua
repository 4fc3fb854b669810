local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await, suspend = agenda.asyncgen, agenda.yield, agenda.await, agenda.suspend

local REUSED_SEND = "cannot reuse already awaited anext()/asend()"
local REUSED_THROW = "cannot reuse already awaited athrow()/aclose()"

-- A generator at its first yield.
local function begun(body, ...)
  local g = asyncgen(body)(...)
  expect.now(g:anext())
  return g
end

-- An awaitable of a new generator, in flight: its body waits at a suspend("wait").
local function in_flight(body)
  local g = asyncgen(body or function() suspend("wait") yield("value") yield("more") end)()
  local aw = g:anext()
  assert(aw:send() == "wait")
  return aw, g
end

describe("async generator awaitables", function()
  for _, method in ipairs { "anext", "asend", "athrow", "aclose" } do
    it(method .. " does nothing until awaited", function()
      local ran = false
      local g = asyncgen(function() ran = true yield(1) end)()
      local aw = g[method](g, method == "athrow" and "thrown" or nil)
      assert.is_false(ran)
      assert.is_true(agenda.isawaitable(aw))
      assert.equal(1, (expect.now(g:anext())))
    end)

    it(method .. " dropped unawaited says nothing", function()
      local g = asyncgen(function() yield(1) end)()
      assert.same({}, expect.warnings(function() local _ = g[method](g, method == "athrow" and "x" or nil) end))
    end)
  end

  it("their own await method does what agenda.await does, in a gsub callback too", function()
    local g = asyncgen(function() yield(1) yield(2) end)()
    local got = {}
    local co = agenda.async(function()
      string.gsub("x", "x", function() got[1] = await(g:anext()) end)
      string.gsub("x", "x", function() got[2] = g:anext():await() end)
      string.gsub("x", "x", function() got[3] = agenda.async(function() return 3 end)():await() end)
    end)()
    expect.now(co)
    assert.same({ 1, 2, 3 }, got)
  end)

  it("anext: several may wait to be awaited one after the other", function()
    local g = asyncgen(function() yield(1) yield(2) end)()
    local one, two = g:anext(), g:anext()
    assert.equal(1, (expect.now(two)))
    assert.equal(2, (expect.now(one)))
  end)

  it("keep their generator alive", function()
    local aw = asyncgen(function() yield("alive") end)():anext()
    expect.collect()
    assert.equal("alive", (expect.now(aw)))
  end)
end)

describe("anext and asend by hand", function()
  it("a value ends with StopIteration carrying the values", function()
    local g = asyncgen(function() yield(1, nil, 3, nil) end)()
    local aw = g:anext()
    local err = expect.raises(errors.StopIteration, nil, aw.send, aw)
    assert.same({ n = 4, 1, nil, 3, nil }, err.values)
    assert.equal(1, err.value)
  end)

  it("the end is StopAsyncIteration", function()
    local aw = asyncgen(function() end)():anext()
    expect.raises(errors.StopAsyncIteration, nil, aw.send, aw)
  end)

  it("asend's values are the yield's result", function()
    local got
    local g = begun(function() got = table.pack(yield(1)) yield(2) end)
    assert.equal(2, (expect.now(g:asend("a", nil))))
    assert.same({ n = 2, "a", nil }, got)
  end)

  it("anext sends nothing", function()
    local got
    local g = begun(function() got = table.pack(yield(1)) yield(2) end)
    expect.now(g:anext())
    assert.equal(0, got.n)
  end)

  it("asend(v) of a just-started one is TypeError", function()
    local g = asyncgen(function() yield(1) end)()
    local aw = g:asend(0)
    expect.raises(errors.TypeError, "can't send non-nil value to a just-started async generator", aw.send, aw)
  end)

  it("a refused asend leaves the generator not started", function()
    local g = asyncgen(function() yield(1) end)()
    pcall(g.asend(g, 0).send, g:asend(0))
    local aw = g:asend(0)
    pcall(aw.send, aw)
    assert.is_false(g.ag_running)
    assert.equal(1, (expect.now(g:anext())))
  end)

  it("a refused asend is spent", function()
    local g = asyncgen(function() yield(1) end)()
    local aw = g:asend(0)
    pcall(aw.send, aw)
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.send, aw)
  end)

  it("asend(nil) and asend() start one", function()
    local gen = asyncgen(function() yield(1) end)
    local one, two = gen(), gen()
    assert.equal(1, (expect.now(one:asend(nil))))
    assert.equal(1, (expect.now(two:asend())))
  end)

  it("what the first send of anext brings is sent", function()
    local g = begun(function() local v = yield(1) v = yield(v) yield(v * 100) end)
    assert.equal(10, (expect.now(g:anext(), 10)))
    assert.equal(1200, (expect.now(g:anext(), 12)))
  end)

  it("anext whose first send brings a value to a just-started one is TypeError", function()
    local aw = asyncgen(function() yield(1) end)():anext()
    expect.raises(errors.TypeError, "can't send non-nil value to a just-started async generator", aw.send, aw, 100)
  end)

  it("nils that the first send of asend brings do not go with what is sent", function()
    local got
    local g = begun(function() got = table.pack(yield(1)) yield(2) end)
    expect.now(g:asend("a"), nil, nil)
    assert.same({ n = 1, "a" }, got)
  end)

  it("later sends are what the body's awaits return", function()
    local g = asyncgen(function() yield(suspend("one"), suspend("two")) end)()
    local aw = g:anext()
    assert.equal("one", aw:send())
    assert.equal("two", aw:send("a"))
    assert.same({ n = 2, "a", "b" }, table.pack(expect.now(aw, "b")))
  end)

  it("raise what the body raises", function()
    local aw = asyncgen(function() error("body", 0) end)():anext()
    expect.raises_same("body", aw.send, aw)
  end)

  it("are spent after a value", function()
    local g = asyncgen(function() yield(1) yield(2) end)()
    local aw = g:anext()
    expect.now(aw)
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.send, aw)
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.throw, aw, "thrown")
    assert.equal(2, (expect.now(g:anext())))
  end)

  it("are spent after the end", function()
    local aw = asyncgen(function() end)():anext()
    pcall(aw.send, aw)
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.send, aw)
  end)

  it("are spent after an error", function()
    local aw = asyncgen(function() error("body", 0) end)():anext()
    pcall(aw.send, aw)
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.send, aw)
  end)

  it("awaited twice are RuntimeError", function()
    agenda.run(function()
      local g = asyncgen(function() yield(1) yield(2) end)()
      for _, aw in ipairs { g:anext(), g:asend() } do
        await(aw)
        expect.raises(errors.RuntimeError, REUSED_SEND, await, aw)
      end
      await(g:aclose())
    end)
  end)

  it("throw before the first step acts as athrow", function()
    local seen
    local g = begun(function()
      local _, err = pcall(yield, 1)
      seen = err
      yield("handled", nil)
    end)
    local aw = g:anext()
    local err = expect.raises(errors.StopIteration, nil, aw.throw, aw, "thrown")
    assert.same({ n = 2, "handled", nil }, err.values)
    assert.equal("thrown", seen)
  end)

  it("throw before the first step of one not started closes it and raises", function()
    local ran = false
    local g = asyncgen(function() ran = true yield(1) end)()
    local aw = g:anext()
    expect.raises_same("thrown", aw.throw, aw, "thrown")
    assert.is_false(ran)
    local again = g:anext()
    expect.raises(errors.StopAsyncIteration, nil, again.send, again)
  end)

  it("throw that ends the body is StopAsyncIteration", function()
    local g = begun(function() pcall(yield, 1) end)
    local aw = g:anext()
    expect.raises(errors.StopAsyncIteration, nil, aw.throw, aw, "thrown")
  end)

  it("throw in flight is raised at the body's await", function()
    local seen
    local aw = in_flight(function()
      local _, err = pcall(suspend, "wait")
      seen = err
      suspend("again")
      yield("value")
    end)
    assert.equal("again", aw:throw("thrown"))
    assert.equal("thrown", seen)
    assert.equal("value", (expect.now(aw)))
  end)

  it("throw in flight that is not handled ends the generator", function()
    local aw, g = in_flight()
    expect.raises_same("thrown", aw.throw, aw, "thrown")
    assert.is_nil(g.ag_frame)
    assert.is_false(g.ag_running)
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.send, aw)
  end)

  it("closed before it ran cannot be awaited", function()
    local g = asyncgen(function() yield(1) end)()
    local aw = g:anext()
    aw:close()
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.send, aw)
    expect.raises(errors.RuntimeError, REUSED_SEND, aw.throw, aw, "thrown")
  end)

  it("closed before it ran leaves the generator as it was", function()
    local g = begun(function() yield(1) yield(2) end)
    g:anext():close()
    assert.equal(2, (expect.now(g:anext())))
  end)

  it("close in flight raises GeneratorExit in the body and finishes it", function()
    local closed
    local aw, g = in_flight(function()
      local _ <close> = expect.finally(function(err) closed = err end)
      suspend("wait")
    end)
    aw:close()
    assert.is_true(errors.GeneratorExit:is(closed))
    assert.is_nil(g.ag_frame)
    local again = g:anext()
    expect.raises(errors.StopAsyncIteration, nil, again.send, again)
  end)

  it("close in flight of a body that suspends again is RuntimeError", function()
    local aw = in_flight(function() pcall(suspend, "wait") suspend("again") end)
    expect.raises_like(errors.RuntimeError, "ignored GeneratorExit$", aw.close, aw)
  end)

  it("close in flight of a body that waits again leaves the call in flight", function()
    local aw, g = in_flight(function() pcall(suspend, "wait") yield(suspend("again")) end)
    expect.raises(errors.RuntimeError, nil, aw.close, aw)
    assert.is_true(g.ag_running)
    assert.equal("value", (expect.now(aw, "value")))
    assert.is_false(g.ag_running)
  end)

  it("close in flight of a body that waits again may be repeated", function()
    local aw, g = in_flight(function() pcall(suspend, "wait") suspend("again") end)
    expect.raises(errors.RuntimeError, nil, aw.close, aw)
    aw:close()
    assert.is_nil(g.ag_frame)
  end)

  it("close in flight raises what the cleanup raises", function()
    local aw = in_flight(function() pcall(suspend, "wait") error("cleanup", 0) end)
    expect.raises_same("cleanup", aw.close, aw)
  end)

  it("close of a finished one does nothing", function()
    local g = asyncgen(function() yield(1) yield(2) end)()
    local aw = g:anext()
    expect.now(aw)
    aw:close()
    aw:close()
    assert.equal(2, (expect.now(g:anext())))
  end)
end)

describe("athrow", function()
  it("raises at the yield; handled, it gives the next values", function()
    local seen
    local g = begun(function()
      local _, err = pcall(yield, 1)
      seen = err
      yield("handled")
    end)
    assert.equal("handled", (expect.now(g:athrow("thrown"))))
    assert.equal("thrown", seen)
  end)

  it("may wait before the next values", function()
    agenda.run(function()
      local g = asyncgen(function() pcall(yield, 1) agenda.sleep(0) yield("handled") end)()
      await(g:anext())
      assert.equal("handled", await(g:athrow("thrown")))
      await(g:aclose())
    end)
  end)

  it("not handled comes out and ends the generator", function()
    local g = begun(function() yield(1) end)
    local aw = g:athrow("thrown")
    expect.raises_same("thrown", aw.send, aw)
    assert.is_nil(g.ag_frame)
  end)

  it("handled by a body that ends is StopAsyncIteration", function()
    local g = begun(function() pcall(yield, 1) end)
    local aw = g:athrow("thrown")
    expect.raises(errors.StopAsyncIteration, nil, aw.send, aw)
  end)

  it("on one not started raises, closes it and runs nothing", function()
    local ran = false
    local g = asyncgen(function() ran = true yield(1) end)()
    local aw = g:athrow("thrown")
    expect.raises_same("thrown", aw.send, aw)
    assert.is_false(ran)
    local again = g:anext()
    expect.raises(errors.StopAsyncIteration, nil, again.send, again)
  end)

  it("on a finished one raises the error", function()
    agenda.run(function()
      local g = asyncgen(function() end)()
      pcall(await, g:anext())
      expect.raises_same("thrown", await, g:athrow("thrown"))
    end)
  end)

  it("of GeneratorExit may be handled with a value", function()
    local g = begun(function() pcall(yield, 1) yield(2) end)
    assert.equal(2, (expect.now(g:athrow(errors.GeneratorExit))))
  end)

  it("of GeneratorExit not handled comes out", function()
    local g = begun(function() yield(1) end)
    local aw = g:athrow(errors.GeneratorExit)
    expect.raises(errors.GeneratorExit, nil, aw.send, aw)
  end)

  it("of StopAsyncIteration not handled becomes RuntimeError", function()
    local g = begun(function() yield(1) end)
    local aw = g:athrow(errors.StopAsyncIteration)
    expect.raises(errors.RuntimeError, "async generator raised StopAsyncIteration", aw.send, aw)
  end)

  it("awaited twice is RuntimeError", function()
    local g = begun(function() pcall(yield, 1) yield(2) end)
    local aw = g:athrow("thrown")
    expect.now(aw)
    expect.raises(errors.RuntimeError, REUSED_THROW, aw.send, aw)
    expect.raises(errors.RuntimeError, REUSED_THROW, aw.throw, aw, "thrown")
  end)

  it("closed before it ran cannot be awaited", function()
    local g = begun(function() yield(1) yield(2) end)
    local aw = g:athrow("thrown")
    aw:close()
    expect.raises(errors.RuntimeError, REUSED_THROW, aw.send, aw)
    assert.equal(2, (expect.now(g:anext())))
  end)

  it("needs an error", function()
    local g = begun(function() yield(1) end)
    expect.bad_argument("bad argument #1 to 'athrow' (value expected)", function() g:athrow() end)
  end)
end)

describe("athrow and aclose by hand", function()
  for _, method in ipairs { "athrow", "aclose" } do
    it(method .. ": a non-nil value for the first send is RuntimeError, and it is not spent", function()
      local seen
      local g = begun(function() seen = select(2, pcall(yield, 1)) end)
      local aw = g[method](g, method == "athrow" and "thrown" or nil)
      expect.raises(errors.RuntimeError, "can't send non-nil value to a just-started coroutine",
        aw.send, aw, 1)
      assert.is_nil(seen)
      pcall(aw.send, aw, nil)
      assert.is_not_nil(seen)
    end)
  end
end)

describe("aclose awaited", function()
  it("ends with no values", function()
    assert.equal(0, select("#", expect.now(begun(function() yield(1) end):aclose())))
  end)

  it("its waits come out", function()
    local g = begun(function()
      local _ <close> = expect.finally(function() suspend("cleanup") end)
      yield(1)
    end)
    local out = expect.drive(g:aclose())
    assert.same({ { n = 1, "cleanup" } }, out)
  end)

  it("twice is RuntimeError", function()
    local aw = begun(function() yield(1) end):aclose()
    expect.now(aw)
    expect.raises(errors.RuntimeError, REUSED_THROW, aw.send, aw)
  end)

  it("twice in a task is RuntimeError", function()
    agenda.run(function()
      local aw = asyncgen(function() end)():aclose()
      await(aw)
      expect.raises(errors.RuntimeError, REUSED_THROW, await, aw)
    end)
  end)

  for label, make in pairs {
    ["a generator not started"] = function() return (asyncgen(function() yield(1) end)()) end,
    ["a suspended generator"] = function() return begun(function() yield(1) end) end,
    ["a finished generator"] = function()
      local g = begun(function() yield(1) end)
      expect.now(g:aclose())
      return g
    end,
  } do
    it("GeneratorExit thrown into that of " .. label .. " ends it with no error", function()
      local g = make()
      local aw = g:aclose()
      expect.raises(errors.StopIteration, nil, aw.throw, aw, errors.GeneratorExit)
      expect.raises(errors.RuntimeError, REUSED_THROW, aw.throw, aw, errors.GeneratorExit)
      assert.is_nil(g.ag_frame)
    end)

    it("another error thrown into that of " .. label .. " comes out", function()
      local g = make()
      local aw = g:aclose()
      expect.raises_same("thrown", aw.throw, aw, "thrown")
      expect.raises(errors.RuntimeError, REUSED_THROW, aw.throw, aw, "thrown")
      assert.is_nil(g.ag_frame)
    end)
  end

  it("throw in flight is raised at the cleanup's await", function()
    local seen
    local g = begun(function()
      pcall(yield, 1)
      local _, err = pcall(suspend, "cleanup")
      seen = err
    end)
    local aw = g:aclose()
    aw:send()
    expect.raises(errors.StopIteration, nil, aw.throw, aw, "thrown")
    assert.equal("thrown", seen)
  end)
end)
