local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local generator, yield = agenda.generator, agenda.yield

local function count_to(n)
  for i = 1, n do yield(i) end
end
local counter = generator("counter", count_to)

local function collect(g)
  local list = {}
  for v in g do list[#list + 1] = v end
  return list
end

describe("generator: errors", function()
  it("an error ends the generator", function()
    local g = generator(function() yield(1) error("body", 0) end)()
    g:next()
    expect.raises_same("body", g.next, g)
    expect.raises(errors.StopIteration, nil, g.next, g)
  end)

  it("StopIteration out of a body becomes RuntimeError", function()
    local stop = errors.StopIteration("mine")
    local g = generator(function() error(stop) end)()
    local err = expect.raises(errors.RuntimeError, "generator raised StopIteration", g.next, g)
    assert.equal(stop, err.cause)
  end)

  it("a leaked StopIteration of another generator becomes RuntimeError", function()
    local g = generator(function()
      local inner = counter(0)
      yield(1)
      inner:next()
    end)()
    g:next()
    local err = expect.raises(errors.RuntimeError, nil, g.next, g)
    assert.is_true(errors.StopIteration:is(err.cause))
  end)

  it("StopIteration out of a body becomes RuntimeError in a for too", function()
    local g = generator(function() yield(1) error(errors.StopIteration()) end)()
    expect.raises(errors.RuntimeError, nil, collect, g)
  end)

  it("StopIteration thrown in and not handled becomes RuntimeError", function()
    local g = counter(2)
    g:next()
    local err = expect.raises(errors.RuntimeError, nil, g.throw, g, errors.StopIteration)
    assert.is_true(errors.StopIteration:is(err.cause))
  end)

  it("StopIteration caught in the body is the body's affair", function()
    local g = generator(function()
      pcall(error, errors.StopIteration())
      yield(42)
    end)()
    assert.same({ 42 }, collect(g))
  end)

  it("StopAsyncIteration passes unchanged", function()
    local stop = errors.StopAsyncIteration("mine")
    local g = generator(function() error(stop) end)()
    expect.raises_same(stop, g.next, g)
  end)

  it("GeneratorExit of the body's own comes out", function()
    local exit = errors.GeneratorExit("mine")
    local g = generator(function() error(exit) end)()
    expect.raises_same(exit, g.next, g)
  end)

  it("error(nil) comes out as an error", function()
    local g = generator(function() error(nil) end)()
    assert.is_false((pcall(g.next, g)))
  end)
end)

describe("generator: throw", function()
  it("raises at the yield", function()
    local seen
    local g = generator(function()
      local _, err = pcall(yield, 1)
      seen = err
      yield(2)
    end)()
    g:next()
    g:throw("thrown")
    assert.equal("thrown", seen)
  end)

  it("returns the next values when handled", function()
    local g = generator(function()
      pcall(yield, 1)
      yield("a", nil)
    end)()
    g:next()
    assert.same({ n = 2, "a", nil }, table.pack(g:throw("thrown")))
  end)

  it("comes out when not handled", function()
    local g = counter(2)
    g:next()
    expect.raises_same("thrown", g.throw, g, "thrown")
  end)

  it("not handled ends the generator", function()
    local g = counter(2)
    g:next()
    pcall(g.throw, g, "thrown")
    expect.raises(errors.StopIteration, nil, g.next, g)
    assert.is_nil(g.gi_frame)
  end)

  it("handled by a body that returns raises StopIteration", function()
    local g = generator(function() pcall(yield, 1) return "result" end)()
    g:next()
    local err = expect.raises(errors.StopIteration, nil, g.throw, g, "thrown")
    assert.equal("result", err.value)
  end)

  it("on one not started raises and ends it without running", function()
    local ran = false
    local g = generator(function() ran = true end)()
    expect.raises_same("thrown", g.throw, g, "thrown")
    assert.is_false(ran)
    expect.raises(errors.StopIteration, nil, g.next, g)
  end)

  it("on a finished one raises the error", function()
    local g = counter(0)
    pcall(g.next, g)
    expect.raises_same("thrown", g.throw, g, "thrown")
  end)

  it("replaced by another error gives that one", function()
    local g = generator(function()
      pcall(yield, 1)
      error("replaced", 0)
    end)()
    g:next()
    expect.raises_same("replaced", g.throw, g, "thrown")
  end)

  it("GeneratorExit may be handled with a value", function()
    local g = generator(function() pcall(yield, 1) yield(2) end)()
    g:next()
    assert.equal(2, g:throw(errors.GeneratorExit))
  end)

  it("may be repeated", function()
    local caught = {}
    local g = generator(function()
      while true do
        local _, err = agenda.pcall(yield, #caught)
        caught[#caught + 1] = err
      end
    end)()
    g:next()
    assert.equal(1, g:throw("one"))
    assert.equal(2, g:throw("two"))
    assert.same({ "one", "two" }, caught)
  end)

  it("runs what is to be closed in the body", function()
    local closed_with
    local g = generator(function()
      local _ <close> = expect.finally(function(err) closed_with = err end)
      yield(1)
    end)()
    g:next()
    pcall(g.throw, g, "thrown")
    assert.equal("thrown", closed_with)
  end)

  it("lets the cleanup yield", function()
    local g = generator(function()
      local _ <close> = expect.finally(function() yield("from the cleanup") end)
      yield(1)
    end)()
    g:next()
    assert.equal("from the cleanup", g:throw("thrown"))
    expect.raises_same("thrown", g.next, g)
  end)

  it("of nil raises nil at the yield", function()
    local g = generator(function() yield(table.pack(pcall(yield))) end)()
    g:next()
    assert.same({ n = 2, false, nil }, (g:throw(nil)))
  end)

  it("needs an error", function()
    local g = counter(2)
    g:next()
    expect.bad_argument("bad argument #1 to 'throw' (value expected)", function() g:throw() end)
    assert.equal(2, (g:next()))
  end)
end)
