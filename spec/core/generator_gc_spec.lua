local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local generator, yield = agenda.generator, agenda.yield

-- Drops a suspended generator of `body` and collects it; returns the warnings.
local function drop(body, ...)
  local arguments = table.pack(...)
  return expect.warnings(function()
    local g = generator("dropped", body)(table.unpack(arguments, 1, arguments.n))
    g:next()
  end)
end

describe("generator collected while suspended", function()
  it("is closed", function()
    local seen
    local warnings = drop(function()
      local _ <close> = expect.finally(function(err) seen = err end)
      yield(1)
    end)
    assert.is_true(errors.GeneratorExit:is(seen))
    assert.same({}, warnings)
  end)

  it("may return from its cleanup", function()
    local cleaned = false
    local warnings = drop(function() pcall(yield, 1) cleaned = true return "result" end)
    assert.is_true(cleaned)
    assert.same({}, warnings)
  end)

  it("is closed once", function()
    local times = 0
    drop(function()
      local _ <close> = expect.finally(function() times = times + 1 end)
      yield(1)
    end)
    expect.collect()
    assert.equal(1, times)
  end)

  it("an error of the cleanup becomes a warning", function()
    local warnings = drop(function()
      local _ <close> = expect.finally(function() error("the cleanup fails", 0) end)
      yield(1)
    end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("the cleanup fails", 1, true))
  end)

  it("an error object of the cleanup becomes a warning", function()
    local warnings = drop(function()
      pcall(yield, 1)
      error(errors.ValueError("the cleanup fails"))
    end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("the cleanup fails", 1, true))
  end)

  it("a body that yields again becomes a warning", function()
    local warnings = drop(function() pcall(yield, 1) yield(2) end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("generator ignored GeneratorExit", 1, true))
  end)

  it("the warning names it", function()
    local warnings = drop(function() pcall(yield, 1) error("fails", 0) end)
    assert.is_truthy(warnings[1]:find("dropped", 1, true))
  end)

  it("agenda.pcall in the body does not swallow the exit", function()
    local after = false
    drop(function() agenda.pcall(yield, 1) after = true end)
    assert.is_false(after)
  end)

  it("in a cycle through its own handle is closed", function()
    local closed = false
    expect.warnings(function()
      local g
      g = generator(function()
        local _ <close> = expect.finally(function() closed = g ~= nil end)
        yield(1)
      end)()
      g:next()
    end)
    assert.is_true(closed)
  end)

  it("in a cycle through what was sent to it is closed", function()
    local closed = false
    expect.warnings(function()
      local g = generator(function()
        local _ <close> = expect.finally(function() closed = true end)
        local self = yield(1)
        yield(self)
      end)()
      g:next()
      g:send(g)
    end)
    assert.is_true(closed)
  end)

  it("that holds another closes both, each once", function()
    local order = {}
    local inner = generator(function()
      local _ <close> = expect.finally(function() order[#order + 1] = "inner" end)
      yield(1)
    end)
    local warnings = drop(function()
      local _ <close> = expect.finally(function() order[#order + 1] = "outer" end)
      for v in inner() do yield(v) end
    end)
    assert.same({ "inner", "outer" }, order)
    assert.same({}, warnings)
  end)

  it("that delegates to another closes both, each once", function()
    local order = {}
    local inner = generator(function()
      local _ <close> = expect.finally(function() order[#order + 1] = "inner" end)
      yield(1)
    end)
    local warnings = drop(function()
      local _ <close> = expect.finally(function() order[#order + 1] = "outer" end)
      agenda.yield_from(inner())
    end)
    assert.same({ "inner", "outer" }, order)
    assert.same({}, warnings)
  end)

  it("may be saved by its cleanup", function()
    local saved
    expect.warnings(function()
      local g
      g = generator(function()
        local _ <close> = expect.finally(function() saved = g end)
        yield(1)
      end)()
      g:next()
    end)
    assert.equal("generator", agenda.type(saved))
    expect.raises(errors.StopIteration, nil, saved.next, saved)
  end)

  it("its cleanup sees the values of its body", function()
    local seen
    drop(function(...)
      local kept = { ... }
      local _ <close> = expect.finally(function() seen = kept end)
      yield(1)
    end, "a", "b")
    assert.same({ "a", "b" }, seen)
  end)

  it("a hundred at once are all closed", function()
    local closed = 0
    expect.warnings(function()
      for _ = 1, 100 do
        local g = generator(function()
          local _ <close> = expect.finally(function() closed = closed + 1 end)
          yield(1)
        end)()
        g:next()
      end
    end)
    assert.equal(100, closed)
  end)
end)

describe("generator collected otherwise", function()
  it("not started runs nothing", function()
    local ran = false
    local warnings = expect.warnings(function() generator(function() ran = true end)() end)
    assert.is_false(ran)
    assert.same({}, warnings)
  end)

  it("finished runs nothing more", function()
    local times = 0
    local warnings = expect.warnings(function()
      local g = generator(function()
        local _ <close> = expect.finally(function() times = times + 1 end)
      end)()
      pcall(g.next, g)
    end)
    assert.equal(1, times)
    assert.same({}, warnings)
  end)

  it("leaves no memory behind", function()
    local gen = generator(function() yield({}) end)
    local function round() for _ = 1, 1000 do local g = gen() g:next() end end
    round() expect.collect()
    local before = collectgarbage("count")
    round() expect.collect()
    assert.is_true(collectgarbage("count") - before < 50)
  end)

  it("is kept alive by a for over it", function()
    local closed = false
    local gen = generator(function()
      local _ <close> = expect.finally(function() closed = true end)
      yield(1) yield(2)
    end)
    local seen = 0
    for v in gen() do
      expect.collect()
      assert.is_false(closed)
      seen = v
    end
    assert.equal(2, seen)
  end)

  it("may be weakly held", function()
    local weak = setmetatable({}, { __mode = "v" })
    expect.warnings(function() weak[1] = generator(function() yield(1) end)() end)
    assert.is_nil(weak[1])
  end)

  it("suspended when the state closes ends quietly", function()
    local output, ok = expect.script [[
      local agenda = require "agenda"
      kept = agenda.generator(function() agenda.yield(1) end)()
      kept:next()
      kept_async = agenda.asyncgen(function() agenda.yield(1) end)()
      pcall(kept_async:anext().send, kept_async:anext())
      kept_coroutine = agenda.async(function() agenda.suspend() end)()
      kept_coroutine:send()
      print("end")
    ]]
    assert.is_true(ok)
    assert.is_truthy(output:find("^end\n"))
    assert.is_nil(output:find("abort", 1, true))
  end)
end)
