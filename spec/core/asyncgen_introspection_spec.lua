local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await, suspend = agenda.asyncgen, agenda.yield, agenda.await, agenda.suspend

local function count_to(n) for i = 1, n do agenda.sleep(0) yield(i) end end
local counter = asyncgen("counter", count_to)

describe("async generator: cancellation", function()
  local function waiting(log, after)
    return asyncgen(function()
      local _, err = pcall(agenda.sleep, 60)
      log[#log + 1] = err
      after(err)
    end)
  end

  it("raises CancelledError inside the body at its await", function()
    local log = {}
    agenda.run(function()
      local g = waiting(log, error)()
      local task = agenda.spawn(function() return await(g:anext()) end)
      agenda.sleep(0)
      task:cancel()
      expect.raises(errors.CancelledError, nil, await, task)
    end)
    assert.is_true(errors.CancelledError:is(log[1]))
  end)

  it("not handled finishes the generator", function()
    agenda.run(function()
      local g = asyncgen(function() agenda.sleep(60) yield(1) end)()
      local task = agenda.spawn(function() return await(g:anext()) end)
      agenda.sleep(0)
      task:cancel()
      pcall(await, task)
      assert.is_nil(g.ag_frame)
      expect.raises(errors.StopAsyncIteration, nil, await, g:anext())
    end)
  end)

  it("handled by a yield lets iteration go on", function()
    local log = {}
    agenda.run(function()
      local g = waiting(log, function() yield("handled") yield("more") end)()
      local task = agenda.spawn(function() return await(g:anext()) end)
      agenda.sleep(0)
      task:cancel()
      assert.equal("handled", await(task))
      assert.equal("more", await(g:anext()))
      await(g:aclose())
    end)
  end)

  it("of an asend before its first step acts as athrow", function()
    agenda.run(function()
      local seen
      local g = asyncgen(function()
        local _, err = pcall(yield, 1)
        seen = err
        error(err)
      end)()
      await(g:anext())
      local task = agenda.spawn(g:asend("never seen"))
      task:cancel()
      expect.raises(errors.CancelledError, nil, await, task)
      assert.is_true(errors.CancelledError:is(seen))
    end)
  end)
end)

describe("async generator: introspection", function()
  it("ag_code is the Lua function", function()
    assert.equal(count_to, (counter(1)).ag_code)
  end)

  it("ag_running is true while the body runs and false at a yield", function()
    local g, inside
    g = asyncgen(function() inside = g.ag_running yield(1) end)()
    assert.is_false(g.ag_running)
    expect.now(g:anext())
    assert.is_true(inside)
    assert.is_false(g.ag_running)
  end)

  it("ag_running stays true between the steps of one in flight", function()
    local g = asyncgen(function() suspend() yield(1) end)()
    local aw = g:anext()
    assert.is_false(g.ag_running)
    aw:send()
    assert.is_true(g.ag_running)
    expect.now(aw)
    assert.is_false(g.ag_running)
  end)

  it("ag_running is false after an error and at the end", function()
    local g = asyncgen(function() suspend() error("body", 0) end)()
    local aw = g:anext()
    aw:send()
    pcall(aw.send, aw)
    assert.is_false(g.ag_running)
  end)

  it("ag_suspended is true at a yield", function()
    local g, inside
    g = asyncgen(function() inside = g.ag_suspended yield(1) end)()
    assert.is_false(g.ag_suspended)
    expect.now(g:anext())
    assert.is_false(inside)
    assert.is_true(g.ag_suspended)
    expect.now(g:aclose())
    assert.is_false(g.ag_suspended)
  end)

  it("ag_await is the object awaited now", function()
    local fut = agenda.future()
    local g = asyncgen(function() await(fut) yield(1) end)()
    assert.is_nil(g.ag_await)
    local aw = g:anext()
    aw:send()
    assert.is_true(rawequal(fut, g.ag_await))
    fut:set_result()
    expect.now(aw)
    assert.is_nil(g.ag_await)
  end)

  it("while what it awaits runs, it is running, not suspended, and awaits nothing", function()
    local g, seen
    local inner = agenda.async(function()
      suspend()
      seen = table.pack(g.ag_running, g.ag_suspended, g.ag_await)
    end)
    g = asyncgen(function() await(inner()) yield(1) end)()
    local aw = g:anext()
    aw:send()
    assert.is_true(g.ag_suspended)
    expect.now(aw)
    assert.same({ n = 3, true, false, nil }, seen)
  end)

  it("ag_frame tells where it stands", function()
    local line
    local g = asyncgen("framed", function()
      line = debug.getinfo(1, "l").currentline + 1
      yield(1)
      agenda.sleep(0)
    end)()
    assert.is_table(g.ag_frame)
    expect.now(g:anext())
    assert.equal(line, g.ag_frame.currentline)
    assert.equal("framed", g.ag_frame.name)
    assert.is_truthy(g.ag_frame.source:find("asyncgen_introspection_spec.lua", 1, true))
    expect.now(g:aclose())
    assert.is_nil(g.ag_frame)
  end)

  it("name and qualname may be assigned", function()
    local g = counter(1)
    assert.equal("counter", g.name)
    assert.is_string(g.qualname)
    g.name, g.qualname = "one", "two"
    assert.equal("one", g.name)
    assert.equal("two", g.qualname)
    assert.is_truthy(tostring(g):find("one", 1, true))
  end)

  it("qualname is the name until it is assigned, and does not follow an assigned name", function()
    local g = counter(1)
    assert.equal("counter", g.qualname)
    g.name = "one"
    assert.equal("counter", g.qualname)
    g.name, g.qualname = "two", "mine"
    g.name = "three"
    assert.equal("mine", g.qualname)
  end)

  it("qualname must be a string", function()
    local g = counter(1)
    assert.has_error(function() g.qualname = 123 end)
  end)

  for _, field in ipairs { "ag_await", "ag_running", "ag_suspended", "ag_frame", "ag_code" } do
    it(field .. " is read-only", function()
      local g = counter(1)
      assert.has_error(function() g[field] = true end)
    end)
  end
end)
