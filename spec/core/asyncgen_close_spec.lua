-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await, suspend = agenda.asyncgen, agenda.yield, agenda.await, agenda.suspend

-- An async generator function whose body's cleanup waits and then notes how it was left.
local function noting(log, n)
  return asyncgen(function()
    expect.ensure(function() for i = 1, n or 3 do yield(i) end end, function(err)
      agenda.sleep(0)
      agenda.sleep(0)
      log[#log + 1] = err == nil and "end" or err.name or err
    end)
  end)
end

local function begun(body, ...)
  local g = asyncgen(body)(...)
  expect.now(g:anext())
  return g
end

describe("aclose", function()
  it("raises GeneratorExit at the yield", function()
    local seen
    local g = begun(function()
      local _, err = pcall(yield, 1)
      seen = err
    end)
    expect.now(g:aclose())
    assert.is_true(errors.GeneratorExit:is(seen))
  end)

  it("runs a cleanup that awaits to its end", function()
    agenda.run(function()
      local log = {}
      local g = noting(log)()
      await(g:anext())
      await(g:aclose())
      assert.same({ "GeneratorExit" }, log)
    end)
  end)

  it("of a body that swallows it and returns is fine", function()
    local after = false
    local g = begun(function() pcall(yield, 1) after = true end)
    expect.now(g:aclose())
    assert.is_true(after)
    assert.is_nil(g.ag_frame)
  end)

  it("of a body that yields again is RuntimeError", function()
    local g = begun(function() pcall(yield, 1) yield(2) end)
    local aw = g:aclose()
    expect.raises(errors.RuntimeError, "async generator ignored GeneratorExit", aw.send, aw)
  end)

  it("of a body that waits and then yields again is RuntimeError", function()
    agenda.run(function()
      local g = asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) yield(12) end)
        yield(1)
      end)()
      await(g:anext())
      expect.raises(errors.RuntimeError, "async generator ignored GeneratorExit", await, g:aclose())
    end)
  end)

  it("raises what the cleanup raises", function()
    local g = begun(function() pcall(yield, 1) error("cleanup", 0) end)
    local aw = g:aclose()
    expect.raises_same("cleanup", aw.send, aw)
    assert.is_nil(g.ag_frame)
  end)

  it("of a cleanup that raises StopAsyncIteration is RuntimeError", function()
    local g = begun(function() pcall(yield, 1) error(errors.StopAsyncIteration()) end)
    local aw = g:aclose()
    expect.raises(errors.RuntimeError, "async generator raised StopAsyncIteration", aw.send, aw)
  end)

  it("of a body that returns a value is TypeError", function()
    local g = asyncgen(function() pcall(yield, 1) return "value" end)()
    expect.now(g:anext())
    local aw = g:aclose()
    expect.raises(errors.TypeError, "async generator returned a value", aw.send, aw)
    assert.is_nil(g.ag_frame)
  end)

  it("on one not started runs nothing and ends it", function()
    local ran = false
    local g = asyncgen(function() ran = true yield(1) end)()
    expect.now(g:aclose())
    assert.is_false(ran)
    local aw = g:anext()
    expect.raises(errors.StopAsyncIteration, nil, aw.send, aw)
  end)

  it("on a finished one does nothing", function()
    agenda.run(function()
      local log = {}
      local g = noting(log, 1)()
      for _ in g do log.ran = true end
      await(g:aclose())
      assert.same({ "end", ran = true }, log)
    end)
  end)

  it("twice, by two awaitables, does nothing the second time", function()
    agenda.run(function()
      local log = {}
      local g = noting(log)()
      await(g:anext())
      await(g:aclose())
      await(g:aclose())
      assert.same({ "GeneratorExit" }, log)
    end)
  end)

  it("after it anext and asend are StopAsyncIteration, athrow its error", function()
    agenda.run(function()
      local g = noting({})()
      await(g:anext())
      await(g:aclose())
      expect.raises(errors.StopAsyncIteration, nil, await, g:anext())
      expect.raises(errors.StopAsyncIteration, nil, await, g:asend(1))
      expect.raises_same("thrown", await, g:athrow("thrown"))
    end)
  end)

  it("of a generator whose body awaits a task in its cleanup gets the task's error there", function()
    local seen
    agenda.run(function()
      local g = asyncgen(function()
        local task = agenda.spawn(function() agenda.sleep(0) error("task", 0) end)
        local _ <close> = expect.finally(function()
          local _, err = pcall(await, task)
          seen = err
        end)
        yield(1)
      end)()
      await(g:anext())
      await(g:aclose())
    end)
    assert.equal("task", seen)
  end)

  it("closes the inner generator of a nested loop first", function()
    local order = {}
    agenda.run(function()
      local function closing(name, f)
        return asyncgen(function()
          local _ <close> = expect.finally(function() agenda.sleep(0) order[#order + 1] = name end)
          f()
        end)
      end
      local inner = closing("inner", function() yield(1) end)
      local g = closing("outer", function() for v in inner() do yield(v) end end)()
      await(g:anext())
      await(g:aclose())
    end)
    assert.same({ "inner", "outer" }, order)
  end)

  it("is handed on by agenda.pcall", function()
    local after = false
    local g = begun(function() agenda.pcall(yield, 1) after = true end)
    expect.now(g:aclose())
    assert.is_false(after)
  end)
end)

describe("async generator: where a <close> cannot await #close", function()
  local function waiting_cleanup(log)
    return asyncgen("stuck", function()
      local _ <close> = expect.finally(function()
        log[#log + 1] = "begun"
        agenda.sleep(0)
        log[#log + 1] = "finished"
      end)
      yield(1)
    end)
  end

  it("#core coroutine.close hands the rest of the cleanup to the running loop", function()
    local log = {}
    agenda.run(function()
      local gen = waiting_cleanup(log)
      local thread = coroutine.create(function() for _ in gen() do coroutine.yield() end end)
      coroutine.resume(thread)
      coroutine.close(thread)
      assert.same({ "begun" }, log)
      for _ = 1, 5 do agenda.sleep(0) end
      assert.same({ "begun", "finished" }, log)
    end)
  end)

  it("#core a gsub callback hands the rest of the cleanup to the running loop", function()
    local log = {}
    agenda.run(function()
      local gen = waiting_cleanup(log)
      string.gsub("x", "x", function() for _ in gen() do break end end)
      assert.same({ "begun" }, log)
      for _ = 1, 5 do agenda.sleep(0) end
      assert.same({ "begun", "finished" }, log)
    end)
  end)

  it("#core the run waits for a cleanup that was handed to it", function()
    local log = {}
    agenda.run(function()
      local gen = waiting_cleanup(log)
      string.gsub("x", "x", function() for _ in gen() do break end end)
    end)
    assert.same({ "begun", "finished" }, log)
  end)

  it("one that waits is closed when its plain coroutine is", function()
    local log = {}
    local g = asyncgen(function()
      local _ <close> = expect.finally(function(err) log[#log + 1] = tostring(err) end)
      agenda.suspend("waiting")
      yield(1)
    end)
    local co = coroutine.create(function() for _ in g() do error("no value") end end)
    assert.same({ true, "waiting" }, { coroutine.resume(co) })
    assert.is_true(coroutine.close(co))
    assert.same({ "GeneratorExit" }, log)
  end)

  it("a coroutine object that waits is closed when its plain coroutine is", function()
    local log = {}
    local object = agenda.async(function()
      local _ <close> = expect.finally(function(err) log[#log + 1] = tostring(err) end)
      agenda.suspend("waiting")
    end)()
    local co = coroutine.create(function()
      local owned <close> = object
      agenda.await(owned)
    end)
    assert.same({ true, "waiting" }, { coroutine.resume(co) })
    assert.is_true(coroutine.close(co))
    assert.same({ "GeneratorExit" }, log)
  end)

  -- The RuntimeError of a generator whose cleanup waits where no loop runs.
  local function stuck(wait)
    local gen = asyncgen("stuck", function()
      local _ <close> = expect.finally(wait)
      yield(1)
    end)
    return expect.raises(errors.RuntimeError, nil, function()
      local g <close> = gen()
      expect.now(g:anext())
    end)
  end

  it("with no loop it is RuntimeError naming the object", function()
    local err = stuck(function() suspend("cleanup") end)
    assert.is_truthy(err.message:find("stuck", 1, true))
    assert.is_truthy(err.message:find("cannot finish its cleanup here", 1, true))
  end)

  it("an error that is the cleanup's own stays itself, whatever it says", function()
    local own = errors.RuntimeError("cannot open the log")
    local gen = asyncgen(function()
      local _ <close> = expect.finally(function() error(own, 0) end)
      yield(1)
    end)
    local _, err = pcall(function()
      local g <close> = gen()
      expect.now(g:anext())
    end)
    assert.equal(own, err)
  end)

  for name, wait in pairs {
    sleep = function() agenda.sleep(1) end,
    checkpoint = function() agenda.checkpoint() end,
    suspend = suspend,
    future = function() agenda.await(agenda.new_event_loop():create_future()) end,
    read_file = function() agenda.read_file("/dev/null") end,
  } do
    it("where no loop runs the error of a cleanup that must wait names the object: " .. name .. " #core", function()
      assert.is_truthy(stuck(wait).message:find("^<async_generator stuck at .* cannot finish its cleanup here"))
    end)
  end

  it("a cleanup that need not wait is done in place", function()
    local closed = false
    agenda.run(function()
      local gen = asyncgen(function()
        local _ <close> = expect.finally(function() closed = true end)
        yield(1)
      end)
      string.gsub("x", "x", function() for _ in gen() do break end end)
      assert.is_true(closed)
    end)
  end)
end)
