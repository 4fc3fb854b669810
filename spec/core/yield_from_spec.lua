local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local generator, yield, yield_from = agenda.generator, agenda.yield, agenda.yield_from

local function delegate(x) return (generator(function() return yield_from(x) end)()) end

local function collect(g)
  local list = {}
  for v in g do list[#list + 1] = v end
  return list
end

local counter = generator(function(n) for i = 1, n do yield(i) end return "counted", n end)

describe("yield_from a generator", function()
  it("passes its values on", function()
    assert.same({ 1, 2, 3 }, collect(delegate((counter(3)))))
  end)

  it("returns its return values", function()
    local results
    local g = generator(function() results = table.pack(yield_from(counter(1))) end)()
    collect(g)
    assert.same({ n = 2, "counted", 1 }, results)
  end)

  it("may start one that was begun", function()
    local inner = counter(3)
    inner:next()
    assert.same({ 2, 3 }, collect(delegate(inner)))
  end)

  it("of a finished one gives nothing", function()
    local inner = counter(1)
    collect(inner)
    local results
    local g = generator(function() results = table.pack(yield_from(inner)) end)()
    assert.same({}, collect(g))
    assert.equal(0, results.n)
  end)

  it("may be done several times in one body", function()
    local g = generator(function()
      yield_from(counter(2))
      yield("between")
      yield_from(counter(1))
    end)()
    assert.same({ 1, 2, "between", 1 }, collect(g))
  end)

  it("takes the four values of a call", function()
    local g = generator(function() yield_from(counter(2)) end)()
    assert.same({ 1, 2 }, collect(g))
  end)

  it("takes leading nils", function()
    local inner = generator(function() yield(nil, 1) yield() end)
    local g = delegate((inner()))
    assert.same({ n = 2, nil, 1 }, table.pack(g:next()))
    assert.equal(0, select("#", g:next()))
  end)

  it("passes what is sent to the inner one", function()
    local got = {}
    local inner = generator(function()
      got[1] = table.pack(yield(1))
      got[2] = table.pack(yield(2))
    end)
    local g = delegate((inner()))
    g:next()
    g:send("a", nil)
    pcall(g.send, g, "b")
    assert.same({ { n = 2, "a", nil }, { n = 1, "b" } }, got)
  end)

  it("sends to the innermost of several", function()
    local got
    local inner = generator(function() got = yield(1) end)
    local g = delegate(delegate((inner())))
    g:next()
    pcall(g.send, g, "deep")
    assert.equal("deep", got)
  end)

  it("passes a throw to the inner one", function()
    local seen
    local inner = generator(function()
      local _, err = pcall(yield, 1)
      seen = err
      yield("handled")
    end)
    local g = delegate((inner()))
    g:next()
    assert.equal("handled", g:throw("thrown"))
    assert.equal("thrown", seen)
  end)

  it("a throw that the inner one answers with a return goes on", function()
    local inner = generator(function() pcall(yield, 1) return "returned" end)
    local g = generator(function() yield(yield_from((inner()))) end)()
    g:next()
    assert.equal("returned", g:throw("thrown"))
  end)

  it("a throw that the inner one lets pass is raised at the delegation", function()
    local seen
    local inner = generator(function() yield(1) end)
    local g = generator(function()
      local _, err = pcall(yield_from, (inner()))
      seen = err
      yield("outer handles")
    end)()
    g:next()
    assert.equal("outer handles", g:throw("thrown"))
    assert.equal("thrown", seen)
  end)

  it("a throw that nobody handles comes out and ends both", function()
    local inner = counter(3)
    local g = delegate(inner)
    g:next()
    expect.raises_same("thrown", g.throw, g, "thrown")
    assert.is_nil(inner.gi_frame)
    assert.is_nil(g.gi_frame)
  end)

  it("goes on when somebody else has finished the inner one", function()
    local inner = generator(function() yield(1) yield(2) end)()
    local got
    local outer = generator(function() got = table.pack(yield_from(inner)) yield("after") end)()
    outer:next()
    inner:close()
    assert.equal("after", (outer:next()))
    assert.equal(0, got.n)
  end)

  it("takes what somebody else has left of the inner one", function()
    local inner = generator(function() yield(1) yield(2) yield(3) end)()
    local outer = generator(function() yield_from(inner) end)()
    outer:next()
    inner:next()
    assert.equal(3, (outer:next()))
  end)

  for _, method in ipairs { "next", "throw", "close" } do
    it(method .. " of an outer one whose inner one runs is ValueError at the delegation", function()
      local outer, seen
      local inner = generator(function()
        yield(1)
        seen = select(2, pcall(outer[method], outer, method == "throw" and "thrown" or nil))
        yield(2)
      end)()
      outer = delegate(inner)
      outer:next()
      inner:next()
      assert.equal("ValueError: generator already executing", tostring(seen or "nothing seen"))
    end)
  end

  it("an error of the inner one is raised at the delegation", function()
    local inner = generator(function() yield(1) error("inner", 0) end)
    local g = generator(function()
      local _, err = pcall(yield_from, (inner()))
      yield(err)
    end)()
    g:next()
    assert.equal("inner", g:next())
  end)

  it("StopIteration out of the inner one is RuntimeError at the delegation", function()
    local inner = generator(function() error(errors.StopIteration()) end)
    local g = delegate((inner()))
    expect.raises(errors.RuntimeError, nil, g.next, g)
  end)

  it("close closes the inner one first", function()
    local order = {}
    local inner = generator(function()
      local _ <close> = expect.finally(function(err) order[#order + 1] = "inner " .. err.name end)
      yield(1)
    end)
    local g = generator(function()
      local _ <close> = expect.finally(function(err) order[#order + 1] = "outer " .. err.name end)
      yield_from(inner())
    end)()
    g:next()
    g:close()
    assert.same({ "inner GeneratorExit", "outer GeneratorExit" }, order)
  end)

  it("close of an inner one that returns still raises at the delegation", function()
    local seen
    local inner = generator(function() pcall(yield, 1) return "returned" end)
    local g = generator(function()
      local ok, err = pcall(yield_from, (inner()))
      seen = { ok, err }
    end)()
    g:next()
    g:close()
    assert.is_false(seen[1])
    assert.is_true(errors.GeneratorExit:is(seen[2]))
  end)

  it("close of an inner one that yields again is RuntimeError", function()
    local inner = generator(function() pcall(yield, 1) yield(2) end)
    local g = delegate((inner()))
    g:next()
    expect.raises(errors.RuntimeError, "generator ignored GeneratorExit", g.close, g)
  end)

  it("close of an inner one that raises gives that error at the delegation", function()
    local inner = generator(function() pcall(yield, 1) error("inner cleanup", 0) end)
    local g = delegate((inner()))
    g:next()
    expect.raises_same("inner cleanup", g.close, g)
  end)

  it("GeneratorExit thrown in closes the inner one", function()
    local inner = counter(3)
    local g = generator(function()
      pcall(yield_from, inner)
      yield("outer")
    end)()
    g:next()
    assert.equal("outer", g:throw(errors.GeneratorExit))
    assert.is_nil(inner.gi_frame)
  end)

  it("of itself is ValueError", function()
    local g
    g = generator(function() yield_from(g) end)()
    expect.raises(errors.ValueError, "generator already executing", g.next, g)
  end)

  it("of an outer one that runs is ValueError", function()
    local outer
    local inner = generator(function() yield_from(outer) end)
    outer = delegate((inner()))
    expect.raises(errors.ValueError, "generator already executing", outer.next, outer)
  end)

  it("shows in gi_yieldfrom while it is suspended there", function()
    local inner, inside, g
    inner = generator(function() inside = g.gi_yieldfrom yield(1) end)()
    g = generator(function() yield_from(inner) yield(2) end)()
    assert.is_nil(g.gi_yieldfrom)
    g:next()
    assert.is_true(rawequal(inner, g.gi_yieldfrom))
    assert.is_nil(inside)
    g:next()
    assert.is_nil(g.gi_yieldfrom)
    collect(g)
    assert.is_nil(g.gi_yieldfrom)
  end)

  it("walks a tree", function()
    local function walk(tree)
      if tree.left then yield_from(generator(walk)(tree.left)) end
      yield(tree.value)
      if tree.right then yield_from(generator(walk)(tree.right)) end
    end
    local tree = { value = 2, left = { value = 1 }, right = { value = 4, left = { value = 3 } } }
    assert.same({ 1, 2, 3, 4 }, collect((generator(walk)(tree))))
  end)

  it("the inner one may wait", function()
    local inner = generator(function() agenda.sleep(0) yield(1) agenda.sleep(0) yield(2) return "end" end)
    agenda.run(function()
      local list = {}
      for v in generator(function() yield(yield_from(inner())) end)() do list[#list + 1] = v end
      assert.same({ 1, 2, "end" }, list)
    end)
  end)
end)

describe("yield_from a plain iterator", function()
  it("takes what pairs gives", function()
    local seen = {}
    for k, v in generator(function() yield_from(pairs { a = 1, b = 2 }) end)() do seen[k] = v end
    assert.same({ a = 1, b = 2 }, seen)
  end)

  it("takes what ipairs gives", function()
    local seen = {}
    for i, v in generator(function() yield_from(ipairs { "x", "y" }) end)() do seen[i] = v end
    assert.same({ "x", "y" }, seen)
  end)

  it("takes an iterator function", function()
    local n = 0
    assert.same({ 1, 2, 3 }, collect(delegate(function() n = n + 1 if n <= 3 then return n end end)))
  end)

  it("takes a table with __call", function()
    local thing = setmetatable({ n = 0 }, { __call = function(self)
      self.n = self.n + 1
      if self.n <= 2 then return self.n end
    end })
    assert.same({ 1, 2 }, collect(delegate(thing)))
  end)

  it("takes a coroutine.wrap iterator", function()
    local wrapped = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
    assert.same({ 1, 2, 3 }, collect(delegate(wrapped)))
  end)

  it("keeps false apart from the end", function()
    local values = { false, 1 }
    local i = 0
    assert.same({ false, 1 }, collect(delegate(function() i = i + 1 return values[i] end)))
  end)

  it("returns nothing", function()
    local results
    local g = generator(function() results = table.pack(yield_from(ipairs {})) end)()
    collect(g)
    assert.equal(0, results.n)
  end)

  it("passes the state and the control value as a for does", function()
    local seen = {}
    local state = {}
    local function iterator(s, control)
      seen[#seen + 1] = { rawequal(s, state), control }
      if control < 2 then return control + 1 end
    end
    assert.same({ 1, 2 }, collect((generator(function() yield_from(iterator, state, 0) end)())))
    assert.same({ { true, 0 }, { true, 1 }, { true, 2 } }, seen)
  end)

  it("closes its closing value at the end", function()
    local closed = 0
    local closing = expect.finally(function() closed = closed + 1 end)
    collect((generator(function()
      local iterate, list, start = ipairs { 1 }
      yield_from(iterate, list, start, closing)
      yield(closed)
    end)()))
    assert.equal(1, closed)
  end)

  it("closes its closing value when the generator is closed", function()
    local closed_with
    local closing = expect.finally(function(err) closed_with = err end)
    local g = generator(function() yield_from(function() return 1 end, nil, nil, closing) end)()
    g:next()
    g:close()
    assert.is_true(errors.GeneratorExit:is(closed_with))
  end)

  it("closes its closing value when an error is thrown in", function()
    local closed_with
    local closing = expect.finally(function(err) closed_with = err end)
    local g = generator(function() yield_from(function() return 1 end, nil, nil, closing) end)()
    g:next()
    pcall(g.throw, g, "thrown")
    assert.equal("thrown", closed_with)
  end)

  it("a throw acts at the delegation", function()
    local seen
    local g = generator(function()
      local _, err = pcall(yield_from, function() return 1 end)
      seen = err
      yield("outer handles")
    end)()
    g:next()
    assert.equal("outer handles", g:throw("thrown"))
    assert.equal("thrown", seen)
  end)

  it("close acts at the delegation", function()
    local seen
    local g = generator(function()
      local _, err = pcall(yield_from, function() return 1 end)
      seen = err
    end)()
    g:next()
    g:close()
    assert.is_true(errors.GeneratorExit:is(seen))
  end)

  it("sending a non-nil value is TypeError at the delegation", function()
    local seen
    local g = generator(function()
      local _, err = pcall(yield_from, function() return 1 end)
      seen = err
      yield("outer handles")
    end)()
    g:next()
    assert.equal("outer handles", g:send("value"))
    assert.is_true(errors.TypeError:is(seen))
  end)

  it("sending nil goes on", function()
    local n = 0
    local g = delegate(function() n = n + 1 return n end)
    g:next()
    assert.equal(2, g:send(nil))
  end)

  it("an error of the iterator is raised at the delegation", function()
    local g = delegate(function() error("iterator", 0) end)
    expect.raises_same("iterator", g.next, g)
  end)
end)

describe("yield_from a callable object", function()
  local function recorder(calls)
    return setmetatable({}, {
      __call = function(_, ...)
        calls[#calls + 1] = table.pack(...)
        return #calls < 2 and #calls or nil
      end,
    })
  end

  for n = 0, 3 do
    it("calls it with the state and the control value, after " .. n .. " more values", function()
      local calls = {}
      local more = { "state", "control", false }
      local g = generator(function() yield_from(recorder(calls), table.unpack(more, 1, n)) end)()
      assert.same({ 1 }, collect(g))
      local state, control = table.unpack(more, 1, math.min(n, 2))
      assert.same({ n = 2, state, control }, calls[1])
      assert.same({ n = 2, state, 1 }, calls[2])
    end)
  end
end)

describe("yield_from an async generator", function()
  local numbers = agenda.asyncgen(function(log)
    local ok, err = pcall(yield, 1)
    if not ok then
      log[#log + 1] = "closed"
      error(err, 0)
    end
    log[#log + 1] = agenda.suspend("waits")
    yield(2)
  end)

  it("passes its values on, and its waits outward", function()
    local log = {}
    local g = generator(function() yield_from(numbers(log)) end)()
    local co = agenda.async(function() return g:next(), g:next(), g() end)()
    assert.equal("waits", co:send())
    local stop = expect.raises(errors.StopIteration, nil, co.send, co, "resumed")
    assert.same({ n = 3, 1, 2, nil }, stop.values)
    assert.same({ "resumed" }, log)
  end)

  it("closes it with the delegation", function()
    local log = {}
    local g = generator(function() yield_from(numbers(log)) end)()
    expect.now(agenda.async(function() g:next() g:close() end)())
    assert.same({ "closed" }, log)
  end)
end)

describe("yield_from misused", function()
  for label, value in pairs { number = 1, string = "text", boolean = true, ["table without __call"] = {} } do
    it("refuses a " .. label, function()
      local g = delegate(value)
      expect.raises(errors.TypeError, ("'%s' is not iterable"):format(type(value)), g.next, g)
    end)
  end

  it("refuses nil, and no argument", function()
    local g = delegate(nil)
    expect.raises(errors.TypeError, "'nil' is not iterable", g.next, g)
    g = generator(function()
      local values = yield_from()
      return values
    end)()
    expect.bad_argument("bad argument #1 to 'yield_from' (value expected)", g.next, g)
  end)

  it("refuses a coroutine object", function()
    local co = agenda.async(function() return 1 end)()
    local g = delegate(co)
    expect.raises(errors.TypeError, "'coroutine' is not iterable", g.next, g)
    co:close()
  end)

  it("outside any generator is RuntimeError", function()
    expect.raises(errors.RuntimeError, nil, yield_from, (counter(1)))
  end)

  it("inside an async generator is TypeError", function()
    local g = agenda.asyncgen(function() yield_from(counter(1)) end)()
    local aw = g:anext()
    expect.raises(errors.TypeError, nil, aw.send, aw)
  end)

  it("in a coroutine object is RuntimeError", function()
    local co = agenda.async(function() yield_from(counter(1)) end)()
    expect.raises(errors.RuntimeError, nil, co.send, co)
  end)
end)
