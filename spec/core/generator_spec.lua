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

describe("generator: calling a generator function", function()
  it("runs nothing", function()
    local ran = false
    generator(function() ran = true end)()
    assert.is_false(ran)
  end)

  it("returns the generator, nil, nil and the generator", function()
    local results = table.pack(counter(1))
    assert.equal(4, results.n)
    assert.equal("generator", agenda.type(results[1]))
    assert.is_nil(results[2])
    assert.is_nil(results[3])
    assert.is_true(rawequal(results[1], results[4]))
  end)

  it("makes a new generator each time", function()
    local one, two = (counter(2)), (counter(2))
    assert.equal(1, one:next())
    assert.equal(1, two:next())
    assert.equal(2, one:next())
  end)

  it("needs no yield in the body", function()
    assert.same({}, collect((generator(function() end)())))
  end)

  it("each generator has a Lua thread of its own", function()
    local threads = {}
    local gen = generator(function() threads[#threads + 1] = coroutine.running() yield() end)
    local one, two = gen(), gen()
    one:next() two:next()
    assert.are_not.equal(threads[1], threads[2])
  end)
end)

describe("generator: a for loop", function()
  it("over the call gives the values", function()
    local list = {}
    for v in counter(3) do list[#list + 1] = v end
    assert.same({ 1, 2, 3 }, list)
  end)

  it("over the object gives the values", function()
    assert.same({ 1, 2, 3 }, collect((counter(3))))
  end)

  it("over the object goes on where next() stopped", function()
    local g = counter(3)
    g:next()
    assert.same({ 2, 3 }, collect(g))
  end)

  it("over a finished generator does nothing", function()
    local g = counter(1)
    collect(g)
    assert.same({}, collect(g))
  end)

  it("left early over the object keeps the generator", function()
    local g = counter(3)
    for v in g do if v == 1 then break end end
    assert.equal(2, g:next())
  end)

  it("g() gives the next values and nil at the end", function()
    local g = counter(1)
    assert.equal(1, g())
    assert.is_nil(g())
    assert.is_nil(g())
  end)

  it("drops the return values", function()
    local g = generator(function() yield(1) return "result" end)()
    assert.equal(1, g())
    assert.is_nil(g())
  end)

  it("raises what the body raises", function()
    local g = generator(function() yield(1) error("body", 0) end)()
    expect.raises_same("body", collect, g)
  end)

  it("refuses a leading nil", function()
    local g = generator(function() yield(nil, 2) end)()
    expect.raises(errors.RuntimeError, nil, collect, g)
  end)

  it("refuses a yield of no values", function()
    local g = generator(function() yield() end)()
    expect.raises(errors.RuntimeError, nil, collect, g)
  end)

  it("g() refuses a leading nil", function()
    local g = generator(function() yield(nil, 2) end)()
    expect.raises(errors.RuntimeError, nil, g)
  end)

  it("sends nothing", function()
    local got = {}
    local g = generator(function()
      got[1] = table.pack(yield(1))
      got[2] = table.pack(yield(2))
    end)()
    collect(g)
    assert.same({ { n = 0 }, { n = 0 } }, got)
  end)

  it("may be nested over generators of one function", function()
    local pairs_seen = {}
    for a in counter(2) do
      for b in counter(2) do pairs_seen[#pairs_seen + 1] = a * 10 + b end
    end
    assert.same({ 11, 12, 21, 22 }, pairs_seen)
  end)
end)

describe("generator: next and send", function()
  it("next gives the yielded values", function()
    local g = counter(2)
    assert.equal(1, g:next())
    assert.equal(2, g:next())
  end)

  it("next sends nothing, whatever it is called with", function()
    local got
    local g = generator(function() got = table.pack(yield(1)) yield(2) end)()
    g:next("dropped")
    g:next("dropped")
    assert.equal(0, got.n)
  end)

  it("next takes a leading nil", function()
    local g = generator(function() yield(nil, 2) end)()
    assert.same({ n = 2, nil, 2 }, table.pack(g:next()))
  end)

  it("next at the end raises StopIteration", function()
    local g = counter(0)
    expect.raises(errors.StopIteration, nil, g.next, g)
  end)

  it("StopIteration carries the return values", function()
    local g = generator(function() return 1, nil, 3, nil end)()
    local err = expect.raises(errors.StopIteration, nil, g.next, g)
    assert.same({ n = 4, 1, nil, 3, nil }, err.values)
    assert.equal(1, err.value)
  end)

  it("StopIteration of a body that returns nothing carries nothing", function()
    local g = counter(0)
    local err = expect.raises(errors.StopIteration, nil, g.next, g)
    assert.equal(0, err.values.n)
    assert.is_nil(err.value)
  end)

  it("StopIteration carries the return values once alone", function()
    local g = generator(function() return "result" end)()
    pcall(g.next, g)
    local err = expect.raises(errors.StopIteration, nil, g.next, g)
    assert.equal(0, err.values.n)
  end)

  it("a StopIteration object may be returned as a value", function()
    local value = errors.StopIteration(nil, { value = 2 })
    local g = generator(function() return value end)()
    local err = expect.raises(errors.StopIteration, nil, g.next, g)
    assert.equal(value, err.value)
  end)

  it("a StopIteration object may be yielded as a value", function()
    local value = errors.StopIteration()
    local g = generator(function() yield(value) end)()
    assert.equal(value, g:next())
  end)

  it("send's values become the result of the yield", function()
    local got
    local g = generator(function() got = table.pack(yield(1)) yield(2) end)()
    g:next()
    assert.equal(2, g:send("a", nil, "c"))
    assert.same({ n = 3, "a", nil, "c" }, got)
  end)

  it("send at the end raises StopIteration with the return values", function()
    local g = generator(function() return yield(1) end)()
    g:next()
    local err = expect.raises(errors.StopIteration, nil, g.send, g, "x", "y")
    assert.same({ n = 2, "x", "y" }, err.values)
  end)

  it("send on a finished generator raises StopIteration", function()
    local g = counter(0)
    pcall(g.next, g)
    expect.raises(errors.StopIteration, nil, g.send, g, 1)
  end)

  it("send() starts a generator", function()
    local g = counter(1)
    assert.equal(1, g:send())
  end)

  it("send(nil) starts a generator", function()
    local g = counter(1)
    assert.equal(1, g:send(nil))
  end)

  it("send of a non-nil value to a just-started one is TypeError", function()
    local g = counter(1)
    expect.raises(errors.TypeError, "can't send non-nil value to a just-started generator", g.send, g, 0)
  end)

  it("send of false to a just-started one is TypeError", function()
    local g = counter(1)
    expect.raises(errors.TypeError, nil, g.send, g, false)
  end)

  it("a refused send leaves it not started", function()
    local g = counter(1)
    pcall(g.send, g, 0)
    assert.equal(1, g:next())
  end)

  it("the arguments reach the body", function()
    local g = generator(function(...) yield(...) end)(1, nil, 3)
    assert.same({ n = 3, 1, nil, 3 }, table.pack(g:next()))
  end)

  it("keeps running totals between sends", function()
    local totals = {}
    local g = generator(function()
      local total = 0
      while true do
        total = total + yield()
        totals[#totals + 1] = total
      end
    end)()
    g:next()
    g:send(10) g:send(10) g:send(10)
    assert.same({ 10, 20, 30 }, totals)
  end)
end)
