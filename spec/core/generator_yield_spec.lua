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

describe("generator: agenda.yield", function()
  it("outside any generator is RuntimeError", function()
    expect.raises(errors.RuntimeError, nil, yield, 1)
  end)

  it("in a task is RuntimeError", function()
    agenda.run(function() expect.raises(errors.RuntimeError, nil, yield, 1) end)
  end)

  it("in a coroutine object is RuntimeError", function()
    local co = agenda.async(function() yield(1) end)()
    expect.raises(errors.RuntimeError, nil, co.send, co)
  end)

  it("in a plain coroutine is RuntimeError", function()
    local ok, err = coroutine.resume(coroutine.create(function() yield(1) end))
    assert.is_false(ok)
    assert.is_true(errors.RuntimeError:is(err))
  end)

  it("in a plain coroutine within a body is RuntimeError, and the body goes on", function()
    local inner_error
    local g = generator(function()
      local _, err = pcall(coroutine.wrap(function() yield(1) end))
      inner_error = err
      yield(2)
    end)()
    assert.equal(2, g:next())
    assert.is_true(errors.RuntimeError:is(inner_error))
  end)

  it("in a coroutine object within a body is RuntimeError", function()
    local inner_error
    local g = generator(function()
      local co = agenda.async(function() yield(1) end)()
      local _, err = pcall(co.send, co)
      inner_error = err
      yield(2)
    end)()
    assert.equal(2, g:next())
    assert.is_true(errors.RuntimeError:is(inner_error))
  end)

  it("works at any call depth of the body", function()
    local function walk(n)
      if n == 0 then yield("bottom") else walk(n - 1) end
      return n
    end
    assert.same({ "bottom" }, collect((generator(function() walk(100) end)())))
  end)

  it("works through pcall", function()
    local g = generator(function() return select(2, pcall(yield, 1)) end)()
    assert.equal(1, g:next())
    assert.equal("sent", expect.raises(errors.StopIteration, nil, g.send, g, "sent").value)
  end)

  it("works in a metamethod", function()
    local thing = setmetatable({}, { __index = function(_, key) return yield(key) end })
    local g = generator(function() return thing.asked end)()
    assert.equal("asked", g:next())
    assert.equal("answer", expect.raises(errors.StopIteration, nil, g.send, g, "answer").value)
  end)

  it("works in an iterator that a for calls", function()
    local g = generator(function()
      local sum = 0
      for v in function() return yield("want") end do sum = sum + v end
      return sum
    end)()
    g:next() g:send(3) g:send(4)
    assert.equal(7, expect.raises(errors.StopIteration, nil, g.next, g).value)
  end)

  it("of an inner generator goes to the inner's consumer", function()
    local g = generator(function()
      local inner = counter(2)
      yield(inner:next() * 10)
      yield(inner:next() * 10)
    end)()
    assert.same({ 10, 20 }, collect(g))
  end)
end)

describe("generator: re-entry", function()
  for _, method in ipairs { "next", "send", "throw", "close" } do
    it(method .. " from within is ValueError", function()
      local g, err
      g = generator(function()
        local _, caught = pcall(g[method], g, method == "throw" and "thrown" or nil)
        err = caught
        yield("goes on")
      end)()
      assert.equal("goes on", g:next())
      assert.is_true(errors.ValueError:is(err))
      assert.equal("generator already executing", err.message)
    end)
  end

  it("a call from within is ValueError", function()
    local g
    g = generator(function() return g() end)()
    expect.raises(errors.ValueError, "generator already executing", g.next, g)
  end)

  it("through another generator is ValueError", function()
    local outer
    local inner = generator(function() outer:next() end)
    outer = generator(function() for _ in inner() do yield() end end)()
    expect.raises(errors.ValueError, "generator already executing", outer.next, outer)
  end)
end)

describe("generator: introspection", function()
  it("gi_code is the Lua function", function()
    local g = counter(1)
    assert.equal(count_to, g.gi_code)
    collect(g)
    assert.equal(count_to, g.gi_code)
  end)

  it("gi_running is true only while it runs", function()
    local g, inside
    g = generator(function() inside = g.gi_running yield() end)()
    assert.is_false(g.gi_running)
    g:next()
    assert.is_true(inside)
    assert.is_false(g.gi_running)
  end)

  it("gi_suspended is true only at a yield", function()
    local g, inside
    g = generator(function() inside = g.gi_suspended yield(1) end)()
    assert.is_false(g.gi_suspended)
    g:next()
    assert.is_false(inside)
    assert.is_true(g.gi_suspended)
    collect(g)
    assert.is_false(g.gi_suspended)
  end)

  it("gi_frame tells where it stands", function()
    local line
    local g = generator("framed", function()
      line = debug.getinfo(1, "l").currentline + 1
      yield(1)
      return 1
    end)()
    g:next()
    assert.equal(line, g.gi_frame.currentline)
    assert.is_truthy(g.gi_frame.source:find("generator_yield_spec.lua", 1, true))
    assert.equal("framed", g.gi_frame.name)
  end)

  it("gi_frame is a table before the start", function()
    assert.is_table((counter(1)).gi_frame)
  end)

  it("gi_frame is nil when it has finished", function()
    local g = counter(0)
    pcall(g.next, g)
    assert.is_nil(g.gi_frame)
  end)

  it("gi_frame is nil when it was closed", function()
    local g = counter(1)
    g:close()
    assert.is_nil(g.gi_frame)
  end)

  it("gi_yieldfrom is nil without a delegation", function()
    local g = counter(1)
    assert.is_nil(g.gi_yieldfrom)
    g:next()
    assert.is_nil(g.gi_yieldfrom)
  end)

  for _, field in ipairs { "gi_running", "gi_suspended", "gi_yieldfrom", "gi_frame", "gi_code" } do
    it(field .. " is read-only", function()
      local g = counter(1)
      assert.has_error(function() g[field] = true end)
    end)
  end
end)
