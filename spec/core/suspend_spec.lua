-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local async, await, suspend, yield = agenda.async, agenda.await, agenda.suspend, agenda.yield

describe("suspend: in a coroutine driven by hand", function()
  it("hands its values outward with exact arity", function()
    local co = async(function() suspend() suspend(nil) suspend(1, nil, nil) end)()
    assert.equal(0, select("#", co:send()))
    assert.equal(1, select("#", co:send()))
    assert.equal(3, select("#", co:send()))
    expect.now(co)
  end)

  it("returns what it is resumed with, with exact arity", function()
    local got = {}
    local co = async(function()
      for i = 1, 3 do got[i] = table.pack(suspend()) end
    end)()
    co:send()
    co:send()
    co:send("a", nil)
    pcall(co.send, co, nil, nil)
    assert.same({ { n = 0 }, { n = 2, "a", nil }, { n = 2, nil, nil } }, got)
  end)

  it("raises what is thrown in", function()
    local co = async(function() suspend() end)()
    co:send()
    expect.raises_same("thrown", co.throw, co, "thrown")
  end)

  it("passes every coroutine on the way", function()
    local level
    level = async(function(n)
      if n == 0 then return suspend("bottom") end
      return await(level(n - 1))
    end)
    local co = level(20)
    assert.equal("bottom", co:send())
    assert.equal("answer", (expect.now(co, "answer")))
  end)

  it("passes plain generators on the way", function()
    local g = agenda.generator(function() yield(suspend("from below")) end)
    local co = async(function()
      for v in g() do return v end
    end)()
    assert.equal("from below", co:send())
    assert.equal("answer", (expect.now(co, "answer")))
  end)

  it("passes async generators on the way", function()
    local g = agenda.asyncgen(function() yield(suspend("from below")) end)
    local co = async(function()
      local list = {}
      for v in g() do list[#list + 1] = v end
      return list
    end)()
    assert.equal("from below", co:send())
    assert.same({ "answer" }, (expect.now(co, "answer")))
  end)

  it("passes a mixture of both, several deep", function()
    local g1 = agenda.asyncgen(function() yield(suspend(1)) end)
    local g2 = agenda.generator(function() for v in g1() do yield(v) end end)
    local g3 = agenda.asyncgen(function() for v in g2() do yield(v) end end)
    local co = async(function() for v in g3() do return v end end)()
    assert.equal(1, co:send())
    assert.equal("answer", (expect.now(co, "answer")))
  end)

  it("in a generator's method call passes outward too", function()
    local co = async(function()
      local g = agenda.generator(function() yield(suspend("below"), 2) end)()
      return g:next()
    end)()
    assert.equal("below", co:send())
    assert.same({ n = 2, "answer", 2 }, table.pack(expect.now(co, "answer")))
  end)

  it("in a generator's cleanup passes outward", function()
    local g = agenda.generator(function()
      local _ <close> = expect.finally(function() suspend("cleanup") end)
      yield(1)
    end)
    local co = async(function()
      for _ in g() do break end
      return "after"
    end)()
    assert.equal("cleanup", co:send())
    assert.equal("after", (expect.now(co)))
  end)

  it("in yield_from's generator passes outward", function()
    local inner = agenda.generator(function() yield(suspend("below")) end)
    local outer = agenda.generator(function() agenda.yield_from(inner()) end)
    local co = async(function() for v in outer() do return v end end)()
    assert.equal("below", co:send())
    assert.equal("answer", (expect.now(co, "answer")))
  end)

  it("a generator that waits is running for everybody else", function()
    local g = agenda.generator(function() suspend() yield(1) end)()
    local co = async(function() return g:next() end)()
    co:send()
    expect.raises(errors.ValueError, "generator already executing", g.next, g)
    assert.equal(1, (expect.now(co)))
  end)
end)

describe("suspend: in a task", function()
  it("with no values takes one turn", function()
    agenda.run(function()
      local order = {}
      agenda.spawn(function() order[#order + 1] = "other" end)
      suspend()
      order[#order + 1] = "main"
      assert.same({ "other", "main" }, order)
    end)
  end)

  it("with no values returns nothing", function()
    agenda.run(function() assert.equal(0, select("#", suspend())) end)
  end)

  it("with values is RuntimeError #core", function()
    agenda.run(function() expect.raises_like(errors.RuntimeError, "^task got bad yield", suspend, 1) end)
  end)

  it("with a nil value is RuntimeError #core", function()
    agenda.run(function() expect.raises_like(errors.RuntimeError, "^task got bad yield", suspend, nil) end)
  end)

  it("with values within a generator is RuntimeError there #core", function()
    local seen
    local g = agenda.asyncgen(function()
      local _, err = pcall(suspend, "bad")
      seen = err
      yield("on")
    end)
    agenda.run(function() for v in g() do assert.equal("on", v) end end)
    assert.is_true(errors.RuntimeError:is(seen))
  end)

  it("a bare coroutine.yield with values is the same RuntimeError #core", function()
    agenda.run(function()
      expect.raises_like(errors.RuntimeError, "^task got bad yield", function()
        coroutine.yield("bad")
        return 1
      end)
    end)
  end)

  it("a bare coroutine.yield() takes a turn", function()
    agenda.run(function()
      local turned = false
      agenda.spawn(function() turned = true end)
      assert.equal(0, select("#", coroutine.yield()))
      assert.is_true(turned)
    end)
  end)

  it("the task goes on after a bad yield", function()
    assert.equal("on", agenda.run(function()
      pcall(suspend, 1)
      pcall(function() coroutine.yield(1) end)
      return agenda.sleep(0, "on")
    end))
  end)

  it("a cancellation is raised there", function()
    agenda.run(function()
      local seen
      local task = agenda.spawn(function()
        local _, err = pcall(suspend)
        seen = err
        error(err)
      end)
      agenda.sleep(0)
      task:cancel()
      expect.raises(errors.CancelledError, nil, await, task)
      assert.is_true(errors.CancelledError:is(seen))
    end)
  end)
end)

describe("await in generators within a task", function()
  it("a plain generator may sleep between its values", function()
    local g = agenda.generator(function() for i = 1, 3 do agenda.sleep(0) yield(i) end end)
    agenda.run(function()
      local list = {}
      for v in g() do list[#list + 1] = v end
      assert.same({ 1, 2, 3 }, list)
    end)
  end)

  it("next, send, throw and close of a plain generator may wait", function()
    local log = {}
    local gen = agenda.generator(function()
      local _ <close> = expect.finally(function() agenda.sleep(0) log[#log + 1] = "closed" end)
      agenda.sleep(0)
      log[#log + 1] = yield(1)
      agenda.sleep(0)
      local _, err = pcall(yield, 2)
      agenda.sleep(0)
      log[#log + 1] = err
      yield(3)
    end)
    agenda.run(function()
      local g = gen()
      assert.equal(1, g:next())
      assert.equal(2, g:send("sent"))
      assert.equal(3, g:throw("thrown"))
      g:close()
    end)
    assert.same({ "sent", "thrown", "closed" }, log)
  end)

  it("others run meanwhile", function()
    agenda.run(function()
      local order = {}
      agenda.spawn(function() for i = 1, 2 do order[#order + 1] = "other " .. i agenda.sleep(0) end end)
      for v in agenda.generator(function() for i = 1, 2 do agenda.sleep(0) yield(i) end end)() do
        order[#order + 1] = "loop " .. v
      end
      assert.same({ "other 1", "loop 1", "other 2", "loop 2" }, order)
    end)
  end)
end)

describe("suspend and loops in a plain coroutine of the user's", function()
  it("suspend goes to its resumer", function()
    local co = coroutine.create(function(...) return "got", suspend("out", nil), ... end)
    assert.same({ n = 3, true, "out", nil }, table.pack(coroutine.resume(co, "first")))
    assert.same({ n = 4, true, "got", "in", "first" }, table.pack(coroutine.resume(co, "in")))
  end)

  it("suspend has exact arity both ways", function()
    local got
    local co = coroutine.create(function() got = table.pack(suspend()) suspend(nil, nil) end)
    assert.equal(1, select("#", coroutine.resume(co)))
    assert.equal(3, select("#", coroutine.resume(co)))
    assert.equal(0, got.n)
  end)

  it("a loop over an async generator works", function()
    local g = agenda.asyncgen(function() for i = 1, 2 do yield(i) end end)
    local co = coroutine.wrap(function()
      local list = {}
      for v in g() do list[#list + 1] = v end
      return list
    end)
    assert.same({ 1, 2 }, co())
  end)

  it("the pauses of an async generator go to its resumer", function()
    local g = agenda.asyncgen(function() yield(suspend("pause one")) yield(suspend("pause two")) end)
    local co = coroutine.wrap(function()
      local list = {}
      for v in g() do list[#list + 1] = v end
      return list
    end)
    assert.equal("pause one", co())
    assert.equal("pause two", co("a"))
    assert.same({ "a", "b" }, co("b"))
  end)

  it("await of a coroutine object works", function()
    local inner = async(function() return suspend("pause") end)
    local co = coroutine.wrap(function() return await(inner()) end)
    assert.equal("pause", co())
    assert.equal("answer", co("answer"))
  end)

  it("sleep in an async generator there is RuntimeError in its body", function()
    local seen
    local g = agenda.asyncgen(function()
      local _, err = pcall(agenda.sleep, 0)
      seen = err
      yield("on")
    end)
    local co = coroutine.wrap(function() for v in g() do return v end end)
    assert.equal("on", co())
    assert.is_true(errors.RuntimeError:is(seen))
  end)

  it("a plain generator's pauses go to its resumer", function()
    local g = agenda.generator(function() yield(suspend("pause")) end)
    local co = coroutine.wrap(function() for v in g() do return v end end)
    assert.equal("pause", co())
    assert.equal("answer", co("answer"))
  end)
end)
