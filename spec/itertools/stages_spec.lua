local agenda = require "agenda"
local itertools = require "agenda.itertools"
local pipekit = require "spec.support.pipekit"
local loopkit = require "spec.support.loopkit"
local collect, in_run, source = itertools.collect, pipekit.in_run, pipekit.source

local function upto(n) return (source(n)) end

-- A source of the items, each a list of values.
local function items(...)
  local list = { ... }
  return (agenda.asyncgen(function()
    for _, item in ipairs(list) do agenda.yield(table.unpack(item)) end
  end)())
end

local function odd(v) return v % 2 == 1 end

describe("what a stage takes", function()
  in_run("an async generator", function()
    assert.same({ 1, 2 }, collect(itertools.take(2, upto(3))))
  end)

  in_run("a generator", function()
    local gen = agenda.generator(function() agenda.yield("a") agenda.yield("b") end)
    assert.same({ "a", "b" }, collect(itertools.take(5, gen())))
  end)

  in_run("an object with __aiter", function()
    local object = setmetatable({}, { __aiter = function() return upto(2) end })
    assert.same({ 1, 2 }, collect(itertools.take(5, object)))
  end)

  in_run("an iterator function, called with its control value", function()
    local function iterator(_, i)
      i = (i or 0) + 1
      return i <= 3 and i or nil
    end
    assert.same({ 1, 2, 3 }, collect(itertools.take(5, iterator)))
  end)

  in_run("a call of a generator function, which gives four values", function()
    local gen = agenda.asyncgen(function() agenda.yield(1) end)
    assert.same({ 1, 1 }, collect(itertools.chain(gen(), gen())))
  end)

  it("gives four values itself", function()
    local g, a, b, closing = itertools.take(1, upto(1))
    assert.same({ "async_generator", nil, nil, g }, { agenda.type(g), a, b, closing })
  end)
end)

describe("arguments", function()
  for name, call in pairs {
    take = function() itertools.take("x", upto(1)) end,
    drop = function() itertools.drop(nil, upto(1)) end,
    map = function() itertools.map(1, upto(1)) end,
    filter = function() itertools.filter("f", upto(1)) end,
    batch = function() itertools.batch(0, upto(1)) end,
    buffer = function() itertools.buffer(-1, upto(1)) end,
    timeout = function() itertools.timeout("1", upto(1)) end,
    throttle = function() itertools.throttle({}, upto(1)) end,
    tee = function() itertools.tee(1.5, upto(1)) end,
    enumerate = function() itertools.enumerate({}) end,
    flatten = function() itertools.flatten(1) end,
    merge = function() itertools.merge("x") end,
    collect = function() itertools.collect(nil) end,
    reduce = function() itertools.reduce(nil, upto(1)) end,
    count = function() itertools.count({}) end,
  } do
    it("are checked at once: " .. name, function() loopkit.bad_argument(1, name, call) end)
  end

  it("say where the call was", function()
    local _, err = pcall(function() itertools.take("x", upto(1)) end)
    assert.matches("stages_spec.lua:%d+: bad argument #1 to 'take' %(number expected, got string%)", err)
  end)

  it("name the second source that is none", function()
    loopkit.bad_argument(2, "zip", function() itertools.zip(upto(1), 5) end)
  end)

  it("refuse an unknown option", function()
    loopkit.bad_argument(3, "map", function() itertools.map(odd, upto(1), { concurency = 2 }) end)
  end)

  it("refuse a concurrency below 1", function()
    loopkit.bad_argument(3, "foreach", function() itertools.foreach(odd, upto(1), { concurrency = 0 }) end)
  end)
end)

describe("itertools.map", function()
  in_run("passes all values of an item and gives all results", function()
    local g <close> = itertools.map(function(a, b) return b, a end, items({ 1, 2 }))
    assert.same({ 2, 1 }, { g() })
  end)

  in_run("refuses a leading nil from f", function()
    local g <close> = itertools.map(function() end, upto(1))
    loopkit.fails(agenda.errors.RuntimeError, g)
  end)

  in_run("without concurrency pulls when it is asked to", function()
    local x, seen = source(5)
    local g <close> = itertools.map(odd, x)
    g()
    assert.equal(1, seen.pulled)
  end)
end)

describe("itertools.filter, takewhile, dropwhile", function()
  in_run("filter passes what f accepts, with all its values", function()
    local g <close> = itertools.filter(function(a) return a == 2 end, items({ 1, "a" }, { 2, "b" }))
    assert.same({ 2, "b" }, { g() })
    assert.is_nil((g()))
  end)

  in_run("takewhile stops pulling at the first that f refuses", function()
    local x, seen = source(5)
    assert.same({ 1, 2 }, collect(itertools.takewhile(function(v) return v < 3 end, x)))
    assert.equal(3, seen.pulled)
  end)

  in_run("dropwhile gives all from the first that f refuses", function()
    local asked = 0
    local function f(v)
      asked = asked + 1
      return odd(v)
    end
    assert.same({ 2, 3, 4 }, collect(itertools.dropwhile(f, upto(4))))
    assert.equal(2, asked)
  end)
end)

describe("itertools.take and drop", function()
  in_run("take never pulls item n + 1", function()
    local x, seen = source(5)
    collect(itertools.take(2, x))
    assert.equal(2, seen.pulled)
  end)

  in_run("take of 0 pulls nothing", function()
    local x, seen = source(5)
    assert.same({}, collect(itertools.take(0, x)))
    assert.equal(0, seen.begun)
  end)

  in_run("take closes its source before its end is seen", function()
    local x, seen = source(5)
    local g = itertools.take(1, x)
    g()
    assert.equal(0, seen.closed)
    g()
    assert.equal(1, seen.closed)
  end)

  in_run("drop gives what comes after n", function()
    assert.same({ 3, 4 }, collect(itertools.drop(2, upto(4))))
  end)

  in_run("drop of more than there is gives nothing", function()
    assert.same({}, collect(itertools.drop(9, upto(4))))
  end)
end)

describe("itertools.enumerate", function()
  in_run("counts from 1 and keeps the values", function()
    local g <close> = itertools.enumerate(items({ "a", "b" }))
    assert.same({ 1, "a", "b" }, { g() })
  end)

  in_run("counts from another number", function()
    local g <close> = itertools.enumerate(items({ "a" }), 0)
    assert.same({ 0, "a" }, { g() })
  end)
end)

describe("itertools.zip and chain", function()
  in_run("zip ends with the shortest and closes the others", function()
    local a, b = upto(1), nil
    local seen
    b, seen = source(5)
    assert.same({ { 1, 1, n = 2 } }, collect(itertools.zip(a, b)))
    assert.equal(1, seen.closed)
  end)

  in_run("zip of nothing ends at once", function() assert.same({}, collect(itertools.zip())) end)

  in_run("chain begins a source when the one before has ended", function()
    local b, seen = source(1)
    local g <close> = itertools.chain(upto(1), b)
    g()
    assert.equal(0, seen.begun)
    g()
    assert.equal(1, seen.begun)
  end)

  in_run("chain closes a begun source that it has not come to", function()
    local b, seen = source(3)
    b()
    do
      local g <close> = itertools.chain(upto(3), b)
      g()
    end
    assert.equal(1, seen.closed)
  end)
end)

describe("itertools.flatten", function()
  in_run("gives the elements of lists and of generators, one level", function()
    local g = itertools.flatten(items({ { 1, { 2 } } }, { upto(2) }))
    assert.same({ 1, { 2 }, 1, 2 }, collect(g))
  end)

  in_run("closes the item it is in", function()
    local x, seen = source(3)
    do
      local g <close> = itertools.flatten(items({ x }))
      g()
    end
    assert.equal(1, seen.closed)
  end)

  in_run("refuses an item that holds nothing", function()
    loopkit.fails(agenda.errors.TypeError, collect, (itertools.flatten(upto(1))))
  end)
end)

describe("itertools.scan and reduce", function()
  local function add(a, b) return a + b end

  in_run("scan gives the first item first", function()
    assert.same({ 1, 3, 6 }, collect(itertools.scan(add, upto(3))))
  end)

  in_run("scan gives init first", function()
    assert.same({ 10, 11, 13 }, collect(itertools.scan(add, upto(2), 10)))
  end)

  in_run("scan gives a nil result to f as any other", function()
    local seen = {}
    local g = itertools.scan(function(result, item) seen[#seen + 1] = tostring(result) .. item end, upto(3))
    for _ = 1, 3 do agenda.await(g:anext()) end
    assert.same({ "12", "nil3" }, seen)
  end)

  in_run("reduce gives the last result", function()
    assert.equal(16, itertools.reduce(add, upto(3), 10))
  end)

  in_run("reduce of nothing gives init", function()
    assert.equal(10, itertools.reduce(add, upto(0), 10))
  end)

  in_run("reduce keeps a nil result", function()
    local seen = {}
    local function note(result, item)
      seen[#seen + 1] = tostring(result) .. item
    end
    assert.is_nil(itertools.reduce(note, upto(3)))
    assert.same({ "12", "nil3" }, seen)
  end)

  in_run("reduce keeps a false result", function()
    assert.is_false(itertools.reduce(function() return false end, upto(3), true))
  end)
end)

describe("the sinks", function()
  in_run("count counts", function() assert.equal(4, itertools.count(upto(4))) end)

  in_run("collect keeps all values of an item", function()
    local x = agenda.asyncgen(function()
      agenda.yield(1, nil)
      agenda.yield(2)
    end)()
    assert.same({ { 1, nil, n = 2 }, 2 }, collect(x))
  end)

  in_run("foreach passes all values", function()
    local got
    itertools.foreach(function(...) got = { ... } end, items({ 1, 2 }))
    assert.same({ 1, 2 }, got)
  end)

  in_run("foreach closes the source when f fails", function()
    local x, seen = source(3)
    assert.has_error(function() itertools.foreach(function() error("broken", 0) end, x) end, "broken")
    assert.equal(1, seen.closed)
  end)

  in_run("foreach with concurrency runs n calls at once and not more", function()
    local running, most = 0, 0
    itertools.foreach(function()
      running = running + 1
      most = math.max(most, running)
      loopkit.turns(3)
      running = running - 1
    end, upto(9), { concurrency = 3 })
    assert.equal(3, most)
  end)
end)

describe("a deep pipeline", function()
  in_run("of 1000 stages passes items", function()
    local g = upto(3)
    for _ = 1, 1000 do g = (itertools.map(function(v) return v + 1 end, g)) end
    assert.same({ 1001, 1002, 1003 }, collect(g))
  end)

  in_run("of 1000 stages is closed", function()
    local g, seen = source(3)
    for _ = 1, 1000 do g = (itertools.take(3, g)) end
    do
      local owned <close> = g
      owned()
    end
    assert.equal(1, seen.closed)
  end)

  in_run("of 300 buffers passes items", function()
    local g = upto(3)
    for _ = 1, 300 do g = (itertools.buffer(1, g)) end
    assert.same({ 1, 2, 3 }, collect(g))
  end)
end)
