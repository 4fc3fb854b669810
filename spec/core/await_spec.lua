local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local async, await, suspend = agenda.async, agenda.await, agenda.suspend

describe("await: what it takes", function()
  it("a coroutine object, for its return values", function()
    local inner = async(function(...) return ... end)
    local co = async(function() return await(inner(1, nil, 3)) end)()
    assert.same({ n = 3, 1, nil, 3 }, table.pack(expect.now(co)))
  end)

  it("a coroutine object that returns another, which is awaited apart", function()
    local inner = async(function() return 42 end)
    local outer = async(function() return inner() end)
    local co = async(function() return await(await(outer())) end)()
    assert.equal(42, (expect.now(co)))
  end)

  it("a Future", function()
    agenda.run(function()
      local fut = agenda.future()
      agenda.spawn(function() fut:set_result("result") end)
      assert.equal("result", await(fut))
    end)
  end)

  it("a Future that fails", function()
    agenda.run(function()
      local fut = agenda.future()
      agenda.spawn(function() fut:set_exception(errors.ValueError("text")) end)
      expect.raises(errors.ValueError, "text", await, fut)
    end)
  end)

  it("a Future that is cancelled", function()
    agenda.run(function()
      local fut = agenda.future()
      agenda.spawn(function() fut:cancel() end)
      expect.raises(errors.CancelledError, nil, await, fut)
    end)
  end)

  it("a finished Future without a switch", function()
    agenda.run(function()
      local turned = false
      agenda.get_running_loop():call_soon(function() turned = true end)
      local fut = agenda.future()
      fut:set_result(1)
      await(fut)
      assert.is_false(turned)
    end)
  end)

  it("a Task", function()
    agenda.run(function()
      assert.equal("result", await(agenda.spawn(function() agenda.sleep(0) return "result" end)))
    end)
  end)

  it("a Task by several at once", function()
    agenda.run(function()
      local task = agenda.spawn(function() agenda.sleep(0) return "result" end)
      local one = agenda.spawn(function() return await(task) end)
      local two = agenda.spawn(function() return await(task) end)
      assert.equal("result", await(one))
      assert.equal("result", await(two))
    end)
  end)

  it("an async generator's awaitable", function()
    agenda.run(function()
      local g = agenda.asyncgen(function() agenda.sleep(0) agenda.yield(1, 2) end)()
      assert.same({ n = 2, 1, 2 }, table.pack(await(g:anext())))
      await(g:aclose())
    end)
  end)

  it("x:await() does the same", function()
    agenda.run(function()
      local fut = agenda.future()
      fut:set_result("future")
      assert.equal("future", fut:await())
      assert.equal("task", agenda.spawn(function() return "task" end):await())
      assert.equal("coroutine", async(function() return "coroutine" end)():await())
      local g = agenda.asyncgen(function() agenda.yield("values", nil) end)()
      assert.same({ n = 2, "values", nil }, table.pack(g:anext():await()))
      g:aclose():await()
    end)
  end)

  for label, value in pairs { number = 1, string = "text", table = {}, boolean = true, ["function"] = print,
      thread = coroutine.create(print) } do
    it("refuses a " .. label .. " with TypeError", function()
      agenda.run(function() expect.raises(errors.TypeError, nil, await, value) end)
    end)

    it("refuses a " .. label .. " in a coroutine driven by hand", function()
      local co = async(function() await(value) end)()
      expect.raises(errors.TypeError, nil, co.send, co)
    end)
  end

  it("refuses nil with TypeError", function()
    agenda.run(function() expect.raises(errors.TypeError, nil, await, nil) end)
  end)

  it("refuses a generator with TypeError", function()
    agenda.run(function()
      expect.raises(errors.TypeError, nil, await, (agenda.generator(function() end)()))
    end)
  end)

  it("refuses an async generator with TypeError", function()
    agenda.run(function()
      expect.raises(errors.TypeError, nil, await, (agenda.asyncgen(function() end)()))
    end)
  end)

  it("the task goes on after a refusal", function()
    assert.equal("on", agenda.run(function()
      pcall(await, 1)
      agenda.sleep(0)
      return "on"
    end))
  end)
end)

describe("await: __await", function()
  local function awaitable(f) return setmetatable({}, { __await = f }) end

  it("is called with the object", function()
    local seen
    local thing = awaitable(function(self) seen = self end)
    agenda.run(function() await(thing) end)
    assert.is_true(rawequal(thing, seen))
  end)

  it("is called in the awaiting coroutine", function()
    local inside
    local thing = awaitable(function() inside = coroutine.running() end)
    agenda.run(function()
      await(thing)
      assert.equal(coroutine.running(), inside)
    end)
  end)

  it("gives its results", function()
    local thing = awaitable(function() return 1, nil, 3, nil end)
    agenda.run(function() assert.same({ n = 4, 1, nil, 3, nil }, table.pack(await(thing))) end)
  end)

  it("may await", function()
    local thing = awaitable(function() return agenda.sleep(0, "slept") end)
    assert.equal("slept", agenda.run(function() return await(thing) end))
  end)

  it("may suspend when driven by hand", function()
    local thing = awaitable(function() return suspend(42), 100 end)
    local co = async(function() return await(thing) end)()
    assert.equal(42, co:send())
    assert.same({ n = 2, "sent", 100 }, table.pack(expect.now(co, "sent")))
  end)

  it("may raise", function()
    local thing = awaitable(function() error("in __await", 0) end)
    expect.raises_same("in __await", agenda.run, function() await(thing) end)
  end)

  it("may return an awaitable, which is not awaited", function()
    local co = async(function() return 1 end)()
    local thing = awaitable(function() return co end)
    assert.equal(co, agenda.run(function() return await(thing) end))
    co:close()
  end)

  it("may be awaited twice", function()
    local times = 0
    local thing = awaitable(function() times = times + 1 return times end)
    agenda.run(function()
      assert.equal(1, await(thing))
      assert.equal(2, await(thing))
    end)
  end)

  it("is looked up in the metatable alone", function()
    agenda.run(function()
      expect.raises(errors.TypeError, nil, await, { __await = function() return 1 end })
    end)
  end)

  it("an error thrown in while it waits is raised there", function()
    local seen
    local thing = awaitable(function()
      local _, err = pcall(suspend)
      seen = err
      return "handled"
    end)
    local co = async(function() return await(thing) end)()
    co:send()
    assert.equal("handled", expect.raises(errors.StopIteration, nil, co.throw, co, "thrown").value)
    assert.equal("thrown", seen)
  end)
end)

describe("await: a coroutine object twice", function()
  it("is RuntimeError after it has finished", function()
    agenda.run(function()
      local co = async(function() return "spam" end)()
      assert.equal("spam", await(co))
      expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", await, co)
    end)
  end)

  it("is RuntimeError after it has failed", function()
    agenda.run(function()
      local co = async(function() error("body", 0) end)()
      expect.raises_same("body", await, co)
      expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", await, co)
    end)
  end)

  it("is RuntimeError after it was closed", function()
    agenda.run(function()
      local co = async(function() end)()
      co:close()
      expect.raises(errors.RuntimeError, "cannot reuse already awaited coroutine", await, co)
    end)
  end)

  it("is RuntimeError while something else awaits it", function()
    agenda.run(function()
      local fut = agenda.future()
      local co = async(function() return await(fut) end)()
      local task = agenda.spawn(function() return await(co) end)
      agenda.sleep(0)
      expect.raises(errors.RuntimeError, nil, await, co)
      fut:set_result("unharmed")
      assert.equal("unharmed", await(task))
    end)
  end)

  it("is RuntimeError while a task owns it #core", function()
    agenda.run(function()
      local co = async(function() agenda.sleep(0) return "unharmed" end)()
      local task = agenda.spawn(co)
      expect.raises(errors.RuntimeError, nil, await, co)
      assert.equal("unharmed", await(task))
    end)
  end)

  for _, method in ipairs { "send", "throw", "close" } do
    it("driven by hand while a task owns it is RuntimeError: " .. method .. " #core", function()
      agenda.run(function()
        local co = agenda.async(function() agenda.sleep(0) return "result" end)()
        local task = agenda.spawn(co)
        for _ = 1, 2 do
          local err = expect.raises(errors.RuntimeError, nil, co[method], co, method == "throw" and "x" or nil)
          assert.equal("coroutine belongs to a task", err.message)
          agenda.sleep(0)
        end
        assert.equal("result", agenda.await(task))
      end)
    end)
  end

  for _, method in ipairs { "send", "throw", "close" } do
    it("driven by hand while something else awaits it is RuntimeError: " .. method, function()
      local inner = agenda.async(function() return agenda.suspend("first") end)()
      local outer = agenda.async(function() return agenda.await(inner) end)()
      assert.equal("first", outer:send())
      expect.raises(errors.RuntimeError, "coroutine is being awaited already", inner[method], inner,
        method == "throw" and "thrown" or nil)
      assert.equal("sent", (expect.now(outer, "sent")))
    end)
  end

  it("is RuntimeError when it was begun by hand elsewhere and is awaited by two", function()
    local inner = async(function() suspend(1) suspend(2) end)()
    local one = async(function() await(inner) end)()
    one:send()
    local two = async(function() await(inner) end)()
    expect.raises(errors.RuntimeError, nil, two.send, two)
    one:close()
  end)

  it("awaiting itself is refused", function()
    local co, seen
    co = async(function()
      local _, err = pcall(await, co)
      seen = err
    end)()
    expect.now(co)
    assert.is_true(errors.BaseError:is(seen))
  end)
end)

describe("await: where it cannot", function()
  it("the main thread is RuntimeError for a pending Future", function()
    local fut = agenda.future()
    expect.raises(errors.RuntimeError, nil, await, fut)
  end)

  it("the main thread is TypeError for what cannot be awaited anywhere", function()
    expect.raises_like(errors.TypeError, "can't be used in 'await' expression", agenda.await, 42)
  end)

  it("the main thread is RuntimeError for sleep", function()
    expect.raises(errors.RuntimeError, nil, agenda.sleep, 0)
  end)

  it("the main thread is RuntimeError for a coroutine object that suspends", function()
    local co = async(function() suspend() end)()
    expect.raises(errors.RuntimeError, nil, await, co)
    co:close()
  end)

  it("the main thread is RuntimeError for suspend", function()
    expect.raises(errors.RuntimeError, nil, suspend)
  end)

  it("a plain coroutine is RuntimeError for a pending Future", function()
    local fut = agenda.future()
    local ok, err = coroutine.resume(coroutine.create(function() await(fut) end))
    assert.is_false(ok)
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("a plain coroutine is RuntimeError for sleep", function()
    local ok, err = coroutine.resume(coroutine.create(function() agenda.sleep(0) end))
    assert.is_false(ok)
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("a plain coroutine takes a finished Future", function()
    local fut = agenda.future()
    fut:set_result("done")
    assert.equal("done", coroutine.wrap(function() return await(fut) end)())
  end)

  it("a Future refused in a plain coroutine is unharmed", function()
    agenda.run(function()
      local fut = agenda.future()
      pcall(coroutine.wrap(function() await(fut) end))
      agenda.spawn(function() fut:set_result("on") end)
      assert.equal("on", await(fut))
    end)
  end)
end)

describe("await: at any depth", function()
  it("of calls within a task", function()
    local function deep(n) if n == 0 then return agenda.sleep(0, "deep") end return (deep(n - 1)) end
    assert.equal("deep", agenda.run(function() return deep(150) end))
  end)

  it("of coroutines awaiting coroutines", function()
    local level
    level = async(function(n)
      if n == 0 then agenda.sleep(0) return 0 end
      return await(level(n - 1)) + 1
    end)
    assert.equal(500, agenda.run(function() return await(level(500)) end))
  end)

  it("through pcall, metamethods and iterators", function()
    agenda.run(function()
      local thing = setmetatable({}, { __add = function() return agenda.sleep(0, "added") end })
      assert.equal("added", select(2, pcall(function() return thing + 1 end)))
      local seen
      for v in function(_, last) if not last then return agenda.sleep(0, "looped") end end do seen = v end
      assert.equal("looped", seen)
    end)
  end)

  it("in a __close, at a normal end and at an error", function()
    agenda.run(function()
      local order = {}
      pcall(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) order[#order + 1] = "closed" end)
        error("block", 0)
      end)
      do
        local _ <close> = expect.finally(function() agenda.sleep(0) order[#order + 1] = "closed again" end)
      end
      assert.same({ "closed", "closed again" }, order)
    end)
  end)

  it("in a __close while an error leaves a task", function()
    local order = {}
    expect.raises_same("out", agenda.run, function()
      local _ <close> = expect.finally(function() agenda.sleep(0) order[#order + 1] = "closed" end)
      error("out", 0)
    end)
    assert.same({ "closed" }, order)
  end)
end)
