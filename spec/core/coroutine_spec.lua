local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local async, suspend = agenda.async, agenda.suspend

-- A coroutine object that suspends n times and returns what it was sent.
local function pausing(n)
  return async("pausing", function()
    local got = {}
    for i = 1, n do got[i] = suspend(i) end
    return table.unpack(got, 1, n)
  end)()
end

describe("coroutine: calling a coroutine function", function()
  it("returns one coroutine object and runs nothing", function()
    local ran = false
    local results = table.pack(async(function() ran = true end)())
    assert.equal(1, results.n)
    assert.equal("coroutine", agenda.type(results[1]))
    assert.is_false(ran)
    results[1]:close()
  end)

  it("makes a new one each time", function()
    local make = async(function() return 1 end)
    local one, two = make(), make()
    assert.are_not.equal(one, two)
    expect.now(one) expect.now(two)
  end)
end)

describe("coroutine: send", function()
  it("runs to the end and raises StopIteration with the return values", function()
    assert.same({ n = 3, 10, nil, 30 }, table.pack(expect.now(async(function() return 10, nil, 30 end)())))
  end)

  it("StopIteration's value is the first of them", function()
    local co = async(function() return "spam", 2 end)()
    assert.equal("spam", expect.raises(errors.StopIteration, nil, co.send, co).value)
  end)

  it("returns what it suspends with", function()
    local co = pausing(1)
    assert.equal(1, co:send())
    co:close()
  end)

  it("becomes the result of suspend", function()
    local co = pausing(2)
    co:send()
    co:send("a")
    assert.same({ n = 2, "a", "b" }, table.pack(expect.now(co, "b")))
  end)

  it("returns the very Future that it is blocked on", function()
    local fut = agenda.future()
    local co = async(function() return agenda.await(fut) end)()
    assert.is_true(rawequal(fut, co:send()))
    co:close()
  end)

  it("goes on when that Future is done", function()
    local fut = agenda.future()
    local co = async(function() return agenda.await(fut) end)()
    co:send()
    fut:set_result("a", nil)
    assert.same({ n = 2, "a", nil }, table.pack(expect.now(co)))
  end)

  it("passes outward through coroutines awaited within", function()
    local inner = async(function() return suspend("inner") end)
    local co = async(function() return agenda.await(inner()) end)()
    assert.equal("inner", co:send())
    assert.equal("back", (expect.now(co, "back")))
  end)

  it("of a non-nil value to a just-started one is TypeError", function()
    local co = pausing(1)
    expect.raises(errors.TypeError, "can't send non-nil value to a just-started coroutine", co.send, co, "spam")
    co:close()
  end)

  it("of nil starts it", function()
    local co = pausing(1)
    assert.equal(1, co:send(nil))
    co:close()
  end)

  it("raises what the body raises", function()
    local co = async(function() error("body", 0) end)()
    expect.raises_same("body", co.send, co)
  end)

  it("on a finished one is RuntimeError", function()
    local co = async(function() return "spam" end)()
    expect.now(co)
    expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", co.send, co)
  end)

  it("on one that failed is RuntimeError", function()
    local co = async(function() error("body", 0) end)()
    pcall(co.send, co)
    expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", co.send, co)
  end)

  it("on a closed one is RuntimeError", function()
    local co = pausing(1)
    co:close()
    expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", co.send, co)
  end)

  it("StopIteration out of a body becomes RuntimeError", function()
    local stop = errors.StopIteration("mine")
    local co = async(function() error(stop) end)()
    local err = expect.raises(errors.RuntimeError, "coroutine raised StopIteration", co.send, co)
    assert.equal(stop, err.cause)
  end)

  it("StopAsyncIteration passes unchanged", function()
    local stop = errors.StopAsyncIteration("mine")
    local co = async(function() error(stop) end)()
    expect.raises_same(stop, co.send, co)
  end)

  it("a StopIteration object may be returned", function()
    local value = errors.StopIteration()
    assert.equal(value, (expect.now(async(function() return value end)())))
  end)

  it("works from any coroutine", function()
    local co = pausing(2)
    assert.equal(1, co:send())
    assert.equal(2, coroutine.wrap(function() return co:send() end)())
    co:close()
  end)
end)

describe("coroutine: throw", function()
  it("raises at the suspension", function()
    local seen
    local co = async(function()
      local _, err = pcall(suspend, 1)
      seen = err
      suspend(2)
    end)()
    co:send()
    assert.equal(2, co:throw("thrown"))
    assert.equal("thrown", seen)
    co:close()
  end)

  it("raises StopIteration when the body handles it and returns", function()
    local co = async(function() pcall(suspend) return "handled" end)()
    co:send()
    assert.equal("handled", expect.raises(errors.StopIteration, nil, co.throw, co, "thrown").value)
  end)

  it("comes out when not handled", function()
    local co = pausing(1)
    co:send()
    expect.raises_same("thrown", co.throw, co, "thrown")
    assert.is_nil(co.cr_frame)
  end)

  it("reaches the innermost of several", function()
    local seen
    local inner = async(function()
      local _, err = pcall(suspend, 1)
      seen = err
      error("replaced", 0)
    end)
    local co = async(function() agenda.await(inner()) end)()
    co:send()
    expect.raises_same("replaced", co.throw, co, "thrown")
    assert.equal("thrown", seen)
  end)

  it("reaches a body blocked on a Future", function()
    local fut = agenda.future()
    local co = async(function() return select(2, pcall(agenda.await, fut)) end)()
    co:send()
    assert.equal("thrown", expect.raises(errors.StopIteration, nil, co.throw, co, "thrown").value)
  end)

  it("on one not started raises without running", function()
    local ran = false
    local co = async(function() ran = true end)()
    expect.raises_same("thrown", co.throw, co, "thrown")
    assert.is_false(ran)
    expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", co.send, co)
  end)

  it("on a finished one is RuntimeError", function()
    local co = async(function() end)()
    expect.now(co)
    expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", co.throw, co, "thrown")
  end)
end)

describe("coroutine: close", function()
  it("raises GeneratorExit at the suspension", function()
    local seen
    local co = async(function()
      local _ <close> = expect.finally(function(err) seen = err end)
      suspend()
    end)()
    co:send()
    co:close()
    assert.is_true(errors.GeneratorExit:is(seen))
  end)

  it("reaches the innermost first", function()
    local order = {}
    local inner = async(function()
      local _ <close> = expect.finally(function() order[#order + 1] = "inner" end)
      suspend()
    end)
    local co = async(function()
      local _ <close> = expect.finally(function() order[#order + 1] = "outer" end)
      agenda.await(inner())
    end)()
    co:send()
    co:close()
    assert.same({ "inner", "outer" }, order)
  end)

  it("of a body that suspends again is RuntimeError", function()
    local co = async(function() pcall(suspend, 1) suspend(2) end)()
    co:send()
    expect.raises(errors.RuntimeError, "coroutine ignored GeneratorExit", co.close, co)
    pcall(co.close, co)
  end)

  it("of a body that returns is fine", function()
    local co = async(function() pcall(suspend) end)()
    co:send()
    assert.is_true((pcall(co.close, co)))
    assert.is_nil(co.cr_frame)
  end)

  it("raises what the cleanup raises", function()
    local co = async(function() pcall(suspend) error("cleanup", 0) end)()
    co:send()
    expect.raises_same("cleanup", co.close, co)
  end)

  it("on one not started runs nothing and warns nobody", function()
    local ran = false
    local warnings = expect.warnings(function() async(function() ran = true end)():close() end)
    assert.is_false(ran)
    assert.same({}, warnings)
  end)

  it("returns what the body returns", function()
    local co = async(function() pcall(suspend) return nil, "two" end)()
    co:send()
    assert.same({ n = 2, nil, "two" }, table.pack(co:close()))
    assert.equal(0, select("#", co:close()))
  end)

  it("of a body that does not handle it returns nothing", function()
    local co = async(function() suspend() return "end" end)()
    co:send()
    assert.equal(0, select("#", co:close()))
  end)

  it("may be repeated", function()
    local times = 0
    local co = async(function()
      local _ <close> = expect.finally(function() times = times + 1 end)
      suspend()
    end)()
    co:send()
    for _ = 1, 3 do co:close() end
    assert.equal(1, times)
  end)

  it("on a finished one does nothing", function()
    local co = async(function() end)()
    expect.now(co)
    assert.is_true((pcall(co.close, co)))
  end)
end)

describe("coroutine: re-entry", function()
  for _, method in ipairs { "send", "throw", "close" } do
    it(method .. " from within is ValueError", function()
      local co, seen
      co = async(function()
        local _, err = pcall(co[method], co, method == "throw" and "thrown" or nil)
        seen = err
      end)()
      expect.now(co)
      assert.is_true(errors.ValueError:is(seen))
      assert.equal("coroutine already executing", seen.message)
    end)
  end

  it("await from within is ValueError, also of one that another awaits", function()
    local seen = {}
    local function awaits_itself()
      local co
      co = async(function() seen[#seen + 1] = select(2, pcall(agenda.await, co)) end)()
      return co
    end
    expect.now(awaits_itself())
    expect.now(async(function() agenda.await(awaits_itself()) end)())
    for i = 1, 2 do
      assert.equal("ValueError: coroutine already executing", tostring(seen[i]))
    end
  end)
end)

describe("coroutine: introspection", function()
  it("cr_code is the Lua function", function()
    local function body() end
    local co = async(body)()
    assert.equal(body, co.cr_code)
    co:close()
  end)

  it("cr_running is true only while it runs", function()
    local co, inside
    co = async(function() inside = co.cr_running suspend() end)()
    assert.is_false(co.cr_running)
    co:send()
    assert.is_true(inside)
    assert.is_false(co.cr_running)
    co:close()
  end)

  it("cr_suspended is true only while it is suspended", function()
    local co, inside
    co = async(function() inside = co.cr_suspended suspend() end)()
    assert.is_false(co.cr_suspended)
    co:send()
    assert.is_false(inside)
    assert.is_true(co.cr_suspended)
    co:close()
    assert.is_false(co.cr_suspended)
  end)

  it("cr_await is the coroutine awaited now", function()
    local inner = pausing(1)
    local co = async(function() agenda.await(inner) return suspend() end)()
    assert.is_nil(co.cr_await)
    co:send()
    assert.is_true(rawequal(inner, co.cr_await))
    co:send()
    assert.is_nil(co.cr_await)
    co:close()
  end)

  it("cr_await is the Future awaited now", function()
    local fut = agenda.future()
    local co = async(function() agenda.await(fut) end)()
    co:send()
    assert.is_true(rawequal(fut, co.cr_await))
    co:close()
    assert.is_nil(co.cr_await)
  end)

  it("while what it awaits runs, it runs too", function()
    local co
    local seen = {}
    local function look() seen[#seen + 1] = table.pack(co.cr_running, co.cr_suspended, co.cr_await) end
    local inner = async(function() look() suspend() look() end)
    co = async(function() agenda.await(inner()) end)()
    co:send()
    assert.is_true(co.cr_suspended)
    pcall(co.send, co)
    assert.same({ { n = 3, true, false, nil }, { n = 3, true, false, nil } }, seen)
  end)

  it("cr_frame tells where it stands", function()
    local line
    local co = async("framed", function()
      line = debug.getinfo(1, "l").currentline + 1
      suspend()
      return 1
    end)()
    co:send()
    assert.equal(line, co.cr_frame.currentline)
    assert.equal("framed", co.cr_frame.name)
    assert.is_truthy(co.cr_frame.source:find("coroutine_spec.lua", 1, true))
    co:close()
    assert.is_nil(co.cr_frame)
  end)

  for _, field in ipairs { "cr_await", "cr_running", "cr_suspended", "cr_frame", "cr_code" } do
    it(field .. " is read-only", function()
      local co = pausing(0)
      assert.has_error(function() co[field] = true end)
      co:close()
    end)
  end

  it("is no iterator", function()
    local co = pausing(1)
    assert.is_false((pcall(function() for _ in co do error("looped") end end)))
    co:close()
  end)
end)

describe("coroutine: collected", function()
  it("never awaited gives a warning that names it", function()
    local warnings = expect.warnings(function() async("lonely", function() end)() end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("coroutine 'lonely' was never awaited", 1, true))
  end)

  it("never awaited in a task gives one report", function()
    local reports = expect.reports(function() async("lonely", function() end)() expect.collect() end)
    assert.equal(1, #reports)
    assert.is_truthy(reports[1].message:find("coroutine 'lonely' was never awaited", 1, true))
  end)

  it("after a send that was refused gives a warning", function()
    local warnings = expect.warnings(function()
      local co = async("lonely", function() end)()
      pcall(co.send, co, "early")
    end)
    assert.equal(1, #warnings)
  end)

  it("thrown into gives no warning", function()
    local warnings = expect.warnings(function()
      local co = async(function() end)()
      pcall(co.throw, co, "thrown")
    end)
    assert.same({}, warnings)
  end)

  it("finished gives no warning", function()
    assert.same({}, expect.warnings(function() expect.now(async(function() end)()) end))
  end)

  it("suspended gets GeneratorExit so that its cleanup runs", function()
    local seen
    local warnings = expect.warnings(function()
      local co = async(function()
        local _ <close> = expect.finally(function(err) seen = err end)
        suspend()
      end)()
      co:send()
    end)
    assert.is_true(errors.GeneratorExit:is(seen))
    assert.same({}, warnings)
  end)

  it("suspended, with a cleanup that fails, gives a warning", function()
    local warnings = expect.warnings(function()
      local co = async("failing", function() pcall(suspend) error("the cleanup fails", 0) end)()
      co:send()
    end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("the cleanup fails", 1, true))
  end)

  it("suspended and suspending again gives a warning", function()
    local warnings = expect.warnings(function()
      local co = async("stubborn", function() pcall(suspend) suspend() end)()
      co:send()
    end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("stubborn", 1, true))
  end)
end)
