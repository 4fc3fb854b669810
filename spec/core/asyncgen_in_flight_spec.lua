local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await, suspend = agenda.asyncgen, agenda.yield, agenda.await, agenda.suspend

local RUNNING = "asynchronous generator is already running"

-- A generator at its first yield.
local function begun(body, ...)
  local g = asyncgen(body)(...)
  expect.now(g:anext())
  return g
end

-- An awaitable of a new generator, in flight: its body waits at a suspend("wait").
local function in_flight(body)
  local g = asyncgen(body or function() suspend("wait") yield("value") yield("more") end)()
  local aw = g:anext()
  assert(aw:send() == "wait")
  return aw, g
end

describe("while one awaitable is in flight", function()
  for _, method in ipairs { "anext", "asend", "athrow", "aclose" } do
    local argument = method == "athrow" and "thrown" or nil

    it(method .. " is RuntimeError and leaves the first alone", function()
      local aw, g = in_flight()
      local other = g[method](g, argument)
      expect.raises(errors.RuntimeError, RUNNING, other.send, other)
      assert.equal("value", (expect.now(aw)))
      assert.equal("more", (expect.now(g:anext())))
    end)

    it(method .. " refused is spent", function()
      local aw, g = in_flight()
      local other = g[method](g, argument)
      pcall(other.send, other)
      expect.now(aw)
      expect.raises_like(errors.RuntimeError, "^cannot reuse already awaited", other.send, other)
    end)

    it("throw on an awaitable of " .. method .. " is RuntimeError", function()
      local aw, g = in_flight()
      local other = g[method](g, argument)
      expect.raises(errors.RuntimeError, RUNNING, other.throw, other, "thrown too")
      assert.equal("value", (expect.now(aw)))
    end)

    it(method .. " from within the body is RuntimeError", function()
      local g, seen
      g = asyncgen(function()
        local _, err = pcall(await, g[method](g, argument))
        seen = err
        yield("on")
      end)()
      assert.equal("on", (expect.now(g:anext())))
      assert.is_true(errors.RuntimeError:is(seen))
      assert.equal(RUNNING, seen.message)
    end)
  end

  it("a loop over the generator is RuntimeError", function()
    agenda.run(function()
      local fut = agenda.future()
      local g = asyncgen(function() await(fut) yield("value") end)()
      local task = agenda.spawn(g:anext())
      agenda.sleep(0)
      expect.raises(errors.RuntimeError, RUNNING, function() for _ in g do agenda.sleep(0) end end)
      fut:set_result()
      assert.equal("value", await(task))
    end)
  end)

  it("a call of the generator is RuntimeError", function()
    local aw, g = in_flight()
    local co = agenda.async(function() return g() end)()
    expect.raises(errors.RuntimeError, RUNNING, co.send, co)
    expect.now(aw)
  end)

  it("anext beside a waiting loop is RuntimeError", function()
    agenda.run(function()
      local fut = agenda.future()
      local g = asyncgen(function() await(fut) yield("value") end)()
      local task = agenda.spawn(function() return g() end)
      agenda.sleep(0)
      expect.raises(errors.RuntimeError, RUNNING, await, g:anext())
      fut:set_result()
      assert.equal("value", await(task))
    end)
  end)

  it("anext beside an aclose in flight is RuntimeError", function()
    local g = begun(function() pcall(yield, 1) suspend("cleanup") end)
    local aw = g:aclose()
    assert.equal("cleanup", aw:send())
    local other = g:anext()
    expect.raises(errors.RuntimeError, RUNNING, other.send, other)
    expect.now(aw)
  end)

  it("two tasks with anext: the second fails, the first gets the value", function()
    agenda.run(function()
      local g = asyncgen(function() agenda.sleep(0) yield("value") end)()
      local one, two = agenda.spawn(g:anext()), agenda.spawn(g:anext())
      expect.raises(errors.RuntimeError, RUNNING, await, two)
      assert.equal("value", await(one))
    end)
  end)
end)
