-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local generator, yield = agenda.generator, agenda.yield

-- A generator function whose body notes in `log` what it was closed with.
local function noting(log, n)
  return generator(function()
    expect.ensure(function() for i = 1, n or 3 do yield(i) end end, function(err)
      log[#log + 1] = err == nil and "end" or err.name or err
    end)
  end)
end

describe("generator close()", function()
  it("raises GeneratorExit at the yield", function()
    local seen
    local g = generator(function()
      local _, err = pcall(yield, 1)
      seen = err
    end)()
    g:next()
    g:close()
    assert.is_true(errors.GeneratorExit:is(seen))
  end)

  it("runs what is to be closed", function()
    local log = {}
    local g = noting(log)()
    g:next()
    g:close()
    assert.same({ "GeneratorExit" }, log)
  end)

  it("returns nothing when GeneratorExit comes out", function()
    local g = noting({})()
    g:next()
    assert.equal(0, select("#", g:close()))
  end)

  it("returns the return values of a body that returns", function()
    local g = generator(function() pcall(yield, 1) return "a", nil end)()
    g:next()
    assert.same({ n = 2, "a", nil }, table.pack(g:close()))
  end)

  it("takes a GeneratorExit of the body's own for the end", function()
    local g = generator(function()
      pcall(yield, 1)
      error(errors.GeneratorExit("another"))
    end)()
    g:next()
    assert.equal(0, select("#", g:close()))
  end)

  it("of a body that yields again is RuntimeError", function()
    local g = generator(function() pcall(yield, 1) yield(2) end)()
    g:next()
    expect.raises(errors.RuntimeError, "generator ignored GeneratorExit", g.close, g)
  end)

  it("of a cleanup that yields is RuntimeError", function()
    local g = generator(function()
      local _ <close> = expect.finally(function() yield(2) end)
      yield(1)
    end)()
    g:next()
    expect.raises(errors.RuntimeError, "generator ignored GeneratorExit", g.close, g)
  end)

  it("may be called again after GeneratorExit was ignored", function()
    local g = generator(function() pcall(yield, 1) yield(2) end)()
    g:next()
    pcall(g.close, g)
    g:close()
    expect.raises(errors.StopIteration, nil, g.next, g)
  end)

  it("raises what the cleanup raises", function()
    local g = generator(function()
      local _ <close> = expect.finally(function() error("cleanup", 0) end)
      yield(1)
    end)()
    g:next()
    expect.raises_same("cleanup", g.close, g)
  end)

  it("a cleanup that raises finishes the generator", function()
    local g = generator(function() pcall(yield, 1) error("cleanup", 0) end)()
    g:next()
    pcall(g.close, g)
    assert.is_nil(g.gi_frame)
    assert.equal(0, select("#", g:close()))
  end)

  it("a cleanup that raises StopIteration gives RuntimeError", function()
    local g = generator(function() pcall(yield, 1) error(errors.StopIteration()) end)()
    g:next()
    expect.raises(errors.RuntimeError, nil, g.close, g)
  end)

  it("on one not started runs nothing", function()
    local ran = false
    local g = generator(function() ran = true end)()
    assert.equal(0, select("#", g:close()))
    assert.is_false(ran)
    expect.raises(errors.StopIteration, nil, g.next, g)
  end)

  it("on a finished one does nothing", function()
    local g = generator(function() return "result" end)()
    pcall(g.next, g)
    assert.equal(0, select("#", g:close()))
  end)

  it("twice does nothing the second time", function()
    local log = {}
    local g = noting(log)()
    g:next()
    g:close()
    g:close()
    assert.same({ "GeneratorExit" }, log)
  end)

  it("after it next raises StopIteration", function()
    local g = noting({})()
    g:next()
    g:close()
    expect.raises(errors.StopIteration, nil, g.next, g)
    expect.raises(errors.StopIteration, nil, g.send, g, 1)
    assert.is_nil(g())
  end)

  it("closes the inner variables first", function()
    local order = {}
    local g = generator(function()
      local _ <close> = expect.finally(function() order[#order + 1] = "outer" end)
      local _ <close> = expect.finally(function() order[#order + 1] = "inner" end)
      yield(1)
    end)()
    g:next()
    g:close()
    assert.same({ "inner", "outer" }, order)
  end)

  it("is the same error object in every close of the body", function()
    local seen = {}
    local g = generator(function()
      local _ <close> = expect.finally(function(err) seen[#seen + 1] = err end)
      local _ <close> = expect.finally(function(err) seen[#seen + 1] = err end)
      yield(1)
    end)()
    g:next()
    g:close()
    assert.equal(2, #seen)
    assert.is_true(rawequal(seen[1], seen[2]))
  end)
end)

describe("generator ownership: a for over the call #close", function()
  it("closes at a break", function()
    local log = {}
    for _ in noting(log)() do break end
    assert.same({ "GeneratorExit" }, log)
  end)

  it("closes at a return", function()
    local log = {}
    local function first() for v in noting(log)() do return v end end
    assert.equal(1, (first()))
    assert.same({ "GeneratorExit" }, log)
  end)

  it("closes at a goto", function()
    local log = {}
    for _ in noting(log)() do goto out end
    ::out::
    assert.same({ "GeneratorExit" }, log)
  end)

  it("closes at an error, which comes out", function()
    local log = {}
    expect.raises_same("loop", function() for _ in noting(log)() do error("loop", 0) end end)
    assert.same({ "GeneratorExit" }, log)
  end)

  it("closes before what follows the loop", function()
    local log = {}
    for _ in noting(log)() do break end
    log[#log + 1] = "after"
    assert.same({ "GeneratorExit", "after" }, log)
  end)

  it("lets a loop that ends by itself end the body normally", function()
    local log = {}
    for _ in noting(log)() do log.ran = true end
    assert.same({ "end", ran = true }, log)
  end)

  it("closes nested ones from the inside", function()
    local order = {}
    local function named(name)
      return generator(function()
        local _ <close> = expect.finally(function() order[#order + 1] = name end)
        yield(1)
      end)
    end
    local function nest()
      for _ in named("outer")() do for _ in named("inner")() do return end end
    end
    nest()
    assert.same({ "inner", "outer" }, order)
  end)

  it("closes when the enclosing generator is closed", function()
    local log = {}
    local g = generator(function() for v in noting(log)() do yield(v) end end)()
    g:next()
    g:close()
    assert.same({ "GeneratorExit" }, log)
  end)

  it("closes when the task is cancelled", function()
    local log = {}
    agenda.run(function()
      local task = agenda.spawn(function() for _ in noting(log)() do agenda.sleep(60) end end)
      agenda.sleep(0)
      task:cancel()
      pcall(agenda.await, task)
    end)
    assert.same({ "GeneratorExit" }, log)
  end)

  it("an error of the cleanup comes out of the loop", function()
    local gen = generator(function()
      local _ <close> = expect.finally(function() error("cleanup", 0) end)
      yield(1)
    end)
    expect.raises_same("cleanup", function() for _ in gen() do break end end)
  end)

  it("a body that yields again is RuntimeError", function()
    local gen = generator(function() pcall(yield, 1) yield(2) end)
    expect.raises(errors.RuntimeError, "generator ignored GeneratorExit",
      function() for _ in gen() do break end end)
  end)
end)

describe("generator ownership: <close> #close", function()
  it("closes at the end of the block", function()
    local log = {}
    do
      local g <close> = noting(log)()
      g:next()
      assert.same({}, log)
    end
    assert.same({ "GeneratorExit" }, log)
  end)

  it("closes when the block is left by an error", function()
    local log = {}
    expect.raises_same("block", function()
      local g <close> = noting(log)()
      g:next()
      error("block", 0)
    end)
    assert.same({ "GeneratorExit" }, log)
  end)

  it("of one not started runs nothing", function()
    local log = {}
    do local _ <close> = noting(log)() end
    assert.same({}, log)
  end)

  it("of a finished one does nothing", function()
    local log = {}
    do
      local g <close> = noting(log, 0)()
      pcall(g.next, g)
    end
    assert.same({ "end" }, log)
  end)

  it("a for over the object within borrows", function()
    local log = {}
    do
      local g <close> = noting(log)()
      for _ in g do break end
      assert.same({}, log)
    end
    assert.same({ "GeneratorExit" }, log)
  end)
end)
