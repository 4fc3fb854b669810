-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, suspend = agenda.asyncgen, agenda.yield, agenda.suspend

local function nothing() end

local function simple() return asyncgen("simple", function() yield(1) yield(2) end) end

describe("async generator hooks", function()
  after_each(function() agenda.set_asyncgen_hooks { firstiter = false, finalizer = false } end)

  it("are none at first", function()
    assert.same({}, agenda.get_asyncgen_hooks())
  end)

  it("get gives what was set", function()
    local function first() end
    local function final() end
    agenda.set_asyncgen_hooks { firstiter = first, finalizer = final }
    assert.same({ firstiter = first, finalizer = final }, agenda.get_asyncgen_hooks())
  end)

  it("an absent field stays", function()
    local function final() end
    agenda.set_asyncgen_hooks { finalizer = final }
    agenda.set_asyncgen_hooks { firstiter = nothing }
    assert.equal(final, agenda.get_asyncgen_hooks().finalizer)
    assert.equal(nothing, agenda.get_asyncgen_hooks().firstiter)
  end)

  it("false clears one", function()
    agenda.set_asyncgen_hooks { firstiter = nothing, finalizer = nothing }
    agenda.set_asyncgen_hooks { firstiter = false }
    assert.same({ finalizer = nothing }, agenda.get_asyncgen_hooks())
  end)

  it("an empty table changes nothing", function()
    agenda.set_asyncgen_hooks { firstiter = nothing }
    agenda.set_asyncgen_hooks {}
    assert.same({ firstiter = nothing }, agenda.get_asyncgen_hooks())
  end)

  it("changing the table that get gave changes nothing", function()
    agenda.get_asyncgen_hooks().firstiter = nothing
    assert.is_nil(agenda.get_asyncgen_hooks().firstiter)
  end)

  it("a bad field leaves both as they were", function()
    agenda.set_asyncgen_hooks { firstiter = nothing }
    pcall(agenda.set_asyncgen_hooks, { firstiter = function() end, finalizer = 42 })
    assert.same({ firstiter = nothing }, agenda.get_asyncgen_hooks())
  end)

  it("set_asyncgen_finalizer sets the finalizer alone", function()
    local function final() end
    agenda.set_asyncgen_hooks { firstiter = nothing }
    agenda.set_asyncgen_finalizer(final)
    assert.equal(final, agenda.get_asyncgen_finalizer())
    assert.same({ firstiter = nothing, finalizer = final }, agenda.get_asyncgen_hooks())
  end)

  it("get_asyncgen_finalizer is nil when there is none", function()
    assert.is_nil(agenda.get_asyncgen_finalizer())
  end)
end)

describe("async generator hooks: firstiter", function()
  after_each(function() agenda.set_asyncgen_hooks { firstiter = false, finalizer = false } end)

  local first_steps = {
    anext = function(g) expect.now(g:anext()) end,
    asend = function(g) expect.now(g:asend()) end,
    ["a loop"] = function(g) agenda.async(function() for _ in g do break end end)():await() end,
  }
  for label, step in pairs(first_steps) do
    it("is called with the generator at its first iteration, by " .. label, function()
      local seen = {}
      agenda.set_asyncgen_hooks { firstiter = function(g) seen[#seen + 1] = g end }
      local g = simple()()
      assert.same({}, seen)
      coroutine.wrap(function() step(g) end)()
      assert.equal(1, #seen)
      assert.is_true(rawequal(g, seen[1]))
    end)
  end

  it("is called once for each generator", function()
    local count = 0
    agenda.set_asyncgen_hooks { firstiter = function() count = count + 1 end }
    local gen = simple()
    local one, two = gen(), gen()
    expect.now(one:anext()) expect.now(one:anext())
    expect.now(two:anext())
    assert.equal(2, count)
  end)

  it("is called before the body runs", function()
    local order = {}
    agenda.set_asyncgen_hooks { firstiter = function() order[#order + 1] = "hook" end }
    expect.now(asyncgen(function() order[#order + 1] = "body" yield(1) end)():anext())
    assert.same({ "hook", "body" }, order)
  end)

  it("an error in it comes out of the first iteration", function()
    agenda.set_asyncgen_hooks { firstiter = function() error("hook", 0) end }
    local aw = simple()():anext()
    expect.raises_same("hook", aw.send, aw)
  end)

  for label, step in pairs {
    ["a call"] = function(g) return g() end,
    ["anext by hand"] = function(g) return expect.now(g:anext()) end,
    ["anext awaited"] = function(g)
      return expect.now(agenda.async(function() return agenda.await(g:anext()) end)())
    end,
  } do
    local function used(hook)
      agenda.set_asyncgen_hooks { firstiter = hook }
      return asyncgen(function() yield(1) yield(2) agenda.suspend() yield(3) end)()
    end

    it("may iterate the generator: " .. label, function()
      assert.equal(2, step(used(function(g) expect.now(g:anext()) end)))
    end)

    it("may close the generator: " .. label, function()
      local ok, err = pcall(step, used(function(g) expect.now(g:aclose()) end))
      if label == "a call" then
        assert.is_nil(err)
      else
        assert.is_false(ok)
        assert.is_truthy(tostring(err):find("StopAsyncIteration", 1, true))
      end
    end)

    it("may leave the generator in flight: " .. label, function()
      local g = used(function(g)
        expect.now(g:anext())
        expect.now(g:anext())
        g:anext():send()
      end)
      local _, err = pcall(step, g)
      assert.is_truthy(tostring(err):find("asynchronous generator is already running", 1, true))
    end)
  end

  it("is not called by aclose of one not started", function()
    local called = false
    agenda.set_asyncgen_hooks { firstiter = function() called = true end, finalizer = function() called = true end }
    assert.same({}, expect.warnings(function() expect.now(simple()():aclose()) end))
    assert.is_false(called)
  end)

  it("is not called for plain generators", function()
    local called = false
    agenda.set_asyncgen_hooks { firstiter = function() called = true end }
    agenda.generator(function() yield(1) end)():next()
    assert.is_false(called)
  end)

  it("is the one in force at the first iteration, not at the making", function()
    local seen = {}
    agenda.set_asyncgen_hooks { firstiter = function() seen[#seen + 1] = "old" end }
    local g = simple()()
    agenda.set_asyncgen_hooks { firstiter = function() seen[#seen + 1] = "new" end }
    expect.now(g:anext())
    assert.same({ "new" }, seen)
  end)
end)

describe("async generator hooks: finalizer", function()
  after_each(function() agenda.set_asyncgen_hooks { firstiter = false, finalizer = false } end)

  it("is handed a generator collected while suspended, alive", function()
    local saved
    agenda.set_asyncgen_hooks { finalizer = function(g) saved = g end }
    expect.warnings(function() expect.now(simple()():anext()) end)
    assert.equal("async_generator", agenda.type(saved))
    assert.equal(2, (expect.now(saved:anext())))
    expect.now(saved:aclose())
  end)

  it("may close it", function()
    local closed = false
    agenda.set_asyncgen_hooks { finalizer = function(g) expect.now(g:aclose()) end }
    local warnings = expect.warnings(function()
      local g = asyncgen(function()
        local _ <close> = expect.finally(function() closed = true end)
        yield(1)
      end)()
      expect.now(g:anext())
    end)
    assert.is_true(closed)
    assert.same({}, warnings)
  end)

  it("is called once; dropped again, the generator is closed", function()
    local times, saved, closed = 0, nil, false
    agenda.set_asyncgen_hooks { finalizer = function(g) times, saved = times + 1, g end }
    expect.warnings(function()
      expect.now(asyncgen(function()
        local _ <close> = expect.finally(function() closed = true end)
        yield(1)
      end)():anext())
    end)
    assert.is_not_nil(saved)
    assert.is_false(closed)
    expect.warnings(function() saved = nil end)
    assert.equal(1, times)
    assert.is_true(closed)
  end)

  it("is the one in force at the generator's first iteration", function()
    local seen = {}
    agenda.set_asyncgen_hooks { finalizer = function(g) seen[#seen + 1] = "first" expect.now(g:aclose()) end }
    expect.warnings(function()
      local g = simple()()
      expect.now(g:anext())
      agenda.set_asyncgen_hooks { finalizer = function() seen[#seen + 1] = "second" end }
      expect.now(g:anext())
    end)
    assert.same({ "first" }, seen)
  end)

  it("is not called for one that was not started", function()
    local called = false
    agenda.set_asyncgen_hooks { finalizer = function() called = true end }
    expect.warnings(function() simple()() end)
    assert.is_false(called)
  end)

  it("is not called for one that has finished", function()
    local called = false
    agenda.set_asyncgen_hooks { finalizer = function() called = true end }
    expect.warnings(function()
      local g = asyncgen(function() yield(1) end)()
      expect.now(g:anext())
      local aw = g:anext()
      pcall(aw.send, aw)
    end)
    assert.is_false(called)
  end)

  it("is not called for one that was closed", function()
    local called = false
    agenda.set_asyncgen_hooks { finalizer = function() called = true end }
    expect.warnings(function()
      local g = simple()()
      expect.now(g:anext())
      expect.now(g:aclose())
    end)
    assert.is_false(called)
  end)

  it("an error in it becomes a warning", function()
    agenda.set_asyncgen_hooks { finalizer = function() error("the finalizer fails", 0) end }
    local warnings = expect.warnings(function() expect.now(simple()():anext()) end)
    assert.is_truthy(table.concat(warnings, "\n"):find("the finalizer fails", 1, true))
  end)

  it("a generator kept by its own body is collected", function()
    local called = false
    agenda.set_asyncgen_hooks { finalizer = function(g) called = true expect.now(g:aclose()) end }
    expect.warnings(function()
      local holder = {}
      holder.rows = asyncgen(function(self) yield(1) yield(self) end)(holder)
      expect.now(holder.rows:anext())
    end)
    assert.is_true(called)
  end)
end)

describe("async generator collected with no finalizer", function()
  it("gets GeneratorExit at once", function()
    local seen
    local warnings = expect.warnings(function()
      local g = asyncgen(function()
        local _ <close> = expect.finally(function(err) seen = err end)
        yield(1)
      end)()
      expect.now(g:anext())
    end)
    assert.is_true(errors.GeneratorExit:is(seen))
    assert.same({}, warnings)
  end)

  it("a cleanup that wants to wait cannot, and a warning names it", function()
    local went_on = false
    local warnings = expect.warnings(function()
      local g = asyncgen("waiter", function()
        local _ <close> = expect.finally(function() suspend("cleanup") went_on = true end)
        yield(1)
      end)()
      expect.now(g:anext())
    end)
    assert.is_false(went_on)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("waiter", 1, true))
  end)

  it("a cleanup that fails gives a warning that names it", function()
    local warnings = expect.warnings(function()
      local g = asyncgen("failer", function() pcall(yield, 1) error("cleanup", 0) end)()
      expect.now(g:anext())
    end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("failer", 1, true))
  end)

  it("a body that yields again gives a warning that names it", function()
    local warnings = expect.warnings(function()
      local g = asyncgen("stubborn", function() pcall(yield, 1) yield(2) end)()
      expect.now(g:anext())
    end)
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("stubborn", 1, true))
  end)

  it("not started says and runs nothing", function()
    local ran = false
    assert.same({}, expect.warnings(function() asyncgen(function() ran = true end)() end))
    assert.is_false(ran)
  end)
end)
