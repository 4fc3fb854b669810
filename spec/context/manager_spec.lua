local agenda = require "agenda"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run = loopkit.in_run

-- A factory whose body notes what happens in the list.
local function noting(log, name)
  return agenda.asynccontextmanager(function(...)
    log[#log + 1] = name .. " in"
    local values = table.pack(...)
    expect.ensure(function() agenda.yield(table.unpack(values, 1, values.n)) end, function()
      agenda.sleep(0)
      log[#log + 1] = name .. " out"
    end)
  end)
end

describe("agenda.asynccontextmanager", function()
  it("gives a Lua function", function()
    assert.equal("function", type(agenda.asynccontextmanager(function() end)))
  end)

  it("refuses what is no function", function()
    loopkit.bad_argument(1, "asynccontextmanager", function() agenda.asynccontextmanager({}) end)
  end)

  it("refuses a name without a function", function()
    local err = loopkit.bad_argument(2, "asynccontextmanager",
      function() agenda.asynccontextmanager("name") end)
    assert.truthy(err:find("(function expected, got no value)", 1, true))
  end)

  it("runs nothing when the factory is called", function()
    local ran = false
    agenda.asynccontextmanager(function() ran = true end)()
    assert.is_false(ran)
  end)

  it("names its managers after the body's name", function()
    local manager = agenda.asynccontextmanager("database", function() end)()
    assert.truthy(tostring(manager):find("^<asynccontextmanager database at "))
  end)

  it("names its managers after the body's place by default", function()
    local manager = agenda.asynccontextmanager(function() end)()
    local line = loopkit.here() - 1
    assert.truthy(tostring(manager):find("manager_spec.lua:" .. line, 1, true))
  end)

  it("makes managers with a type", function()
    assert.equal("asynccontextmanager", agenda.type(agenda.asynccontextmanager(function() end)()))
  end)

  it("makes managers with a metatable that has a name", function()
    local manager = agenda.asynccontextmanager(function() end)()
    assert.equal("agenda.asynccontextmanager", getmetatable(manager).__name)
  end)

  in_run("raises a string that the body raises unchanged", function()
    local before = agenda.asynccontextmanager(function() error("before", 0) end)
    local after = agenda.asynccontextmanager(function()
      pcall(agenda.yield)
      error("after", 0)
    end)
    local block = agenda.asynccontextmanager(function() agenda.yield() end)
    local function fail() error("block", 0) end
    assert.same({ false, "before" }, { pcall(agenda.with, before(), fail) })
    assert.same({ false, "after" }, { pcall(agenda.with, after(), fail) })
    assert.same({ false, "after" }, { pcall(agenda.with, after(), function() end) })
    assert.same({ false, "block" }, { pcall(agenda.with, block(), fail) })
  end)

  in_run("gives the arguments of the factory to the body", function()
    local got
    local factory = agenda.asynccontextmanager(function(...)
      got = table.pack(...)
      agenda.yield()
    end)
    agenda.with(factory(1, nil, 3), function() end)
    assert.same({ 1, nil, 3, n = 3 }, got)
  end)

  in_run("enters with the values that the body yields", function()
    local factory = agenda.asynccontextmanager(function() agenda.yield(1, nil, 3, nil) end)
    local got
    agenda.with(factory(), function(...) got = table.pack(...) end)
    assert.same({ 1, nil, 3, nil, n = 4 }, got)
  end)

  in_run("enters with no values when the body yields none", function()
    local factory = agenda.asynccontextmanager(function() agenda.yield() end)
    local n
    agenda.with(factory(), function(...) n = select("#", ...) end)
    assert.equal(0, n)
  end)

  in_run("lets the body await before and after the yield", function()
    local log = {}
    local factory = agenda.asynccontextmanager(function()
      agenda.sleep(0)
      log[#log + 1] = "entered"
      agenda.yield()
      agenda.sleep(0)
      log[#log + 1] = "left"
    end)
    agenda.with(factory(), function() log[#log + 1] = "block" end)
    assert.same({ "entered", "block", "left" }, log)
  end)

  in_run("makes independent managers", function()
    local factory = agenda.asynccontextmanager(function(x) agenda.yield(x) end)
    local one, two = factory(1), factory(2)
    local got = agenda.with(one, function(a)
      return agenda.with(two, function(b) return a .. b end)
    end)
    assert.equal("12", got)
  end)

  in_run("refuses a body that does not yield", function()
    local factory = agenda.asynccontextmanager(function() end)
    local err = fails(errors.RuntimeError, agenda.with, factory(), function() end)
    assert.equal("generator didn't yield", err.message)
  end)

  in_run("does not run the block when the body does not yield", function()
    local factory = agenda.asynccontextmanager(function() end)
    local ran = false
    pcall(agenda.with, factory(), function() ran = true end)
    assert.is_false(ran)
  end)

  in_run("raises what the body raises before the yield", function()
    local raised = errors.ValueError("x")
    local factory = agenda.asynccontextmanager(function() error(raised) end)
    assert.equal(raised, fails(errors.ValueError, agenda.with, factory(), function() end))
  end)

  in_run("enters a manager once", function()
    local manager = agenda.asynccontextmanager(function() agenda.yield() end)()
    agenda.with(manager, function() end)
    local err = fails(errors.RuntimeError, agenda.with, manager, function() end)
    assert.equal("generator didn't yield", err.message)
  end)

  in_run("leaves the body alone when a manager is entered again inside its block", function()
    local log = {}
    local manager = noting(log, "a")()
    agenda.with(manager, function()
      fails(errors.RuntimeError, agenda.with, manager, function() end)
      assert.same({ "a in" }, log)
    end)
    assert.same({ "a in", "a out" }, log)
  end)

  in_run("refuses a body that yields twice", function()
    local factory = agenda.asynccontextmanager(function()
      agenda.yield()
      agenda.yield()
    end)
    local err = fails(errors.RuntimeError, agenda.with, factory(), function() end)
    assert.equal("generator didn't stop", err.message)
  end)

  in_run("closes a body that yields twice", function()
    local closed = false
    local factory = agenda.asynccontextmanager(function()
      local _ <close> = loopkit.on_close(function()
        agenda.sleep(0)
        closed = true
      end)
      agenda.yield()
      agenda.yield()
    end)
    pcall(agenda.with, factory(), function() end)
    assert.is_true(closed)
  end)

  in_run("refuses a body that yields after an error", function()
    local factory = agenda.asynccontextmanager(function()
      pcall(agenda.yield)
      agenda.yield()
    end)
    local err = fails(errors.RuntimeError, agenda.with, factory(), function() error("x") end)
    assert.equal("generator didn't stop", err.message)
  end)

  in_run("closes a body that yields after an error", function()
    local closed = false
    local factory = agenda.asynccontextmanager(function()
      local _ <close> = loopkit.on_close(function() closed = true end)
      pcall(agenda.yield)
      agenda.yield()
    end)
    pcall(agenda.with, factory(), function() error("x") end)
    assert.is_true(closed)
  end)

  in_run("raises the block's error at the yield", function()
    local seen
    local factory = agenda.asynccontextmanager(function()
      local _, err = pcall(agenda.yield)
      seen = err
      error(err, 0)
    end)
    local raised = errors.ValueError("x")
    pcall(agenda.with, factory(), function() error(raised) end)
    assert.equal(raised, seen)
  end)

  in_run("swallows an error that the body handles", function()
    local factory = agenda.asynccontextmanager(function() pcall(agenda.yield) end)
    assert.equal(0, select("#", agenda.with(factory(), function() error("x") end)))
  end)

  in_run("raises what the body raises in place of the block's error", function()
    local other = errors.TypeError("other")
    local factory = agenda.asynccontextmanager(function()
      pcall(agenda.yield)
      error(other)
    end)
    assert.equal(other, fails(errors.TypeError, agenda.with, factory(), function() error("x") end))
  end)

  in_run("raises what the body raises after the block", function()
    local factory = agenda.asynccontextmanager(function()
      agenda.yield()
      error("late", 0)
    end)
    local ok, err = pcall(agenda.with, factory(), function() end)
    assert.is_false(ok)
    assert.equal("late", err)
  end)

  for name, raised in pairs {
    ["a string"] = "text", ["false"] = false, ["a number"] = 3, ["a foreign table"] = {},
    ["an error object"] = errors.ValueError("v"), ["RuntimeError"] = errors.RuntimeError("r"),
    ["StopIteration"] = errors.StopIteration("s"), ["StopAsyncIteration"] = errors.StopAsyncIteration("s"),
    ["GeneratorExit"] = errors.GeneratorExit(), ["CancelledError"] = errors.CancelledError(),
    ["an error class"] = errors.ValueError,
  } do
    in_run("lets the block's own error out as it is: " .. name, function()
      local factory = agenda.asynccontextmanager(function() agenda.yield() end)
      local ok, err = pcall(agenda.with, factory(), function() error(raised, 0) end)
      assert.is_false(ok)
      assert.is_true(rawequal(raised, err))
    end)
  end

  in_run("keeps apart a StopAsyncIteration of the body's own", function()
    local factory = agenda.asynccontextmanager(function()
      pcall(agenda.yield)
      error(errors.StopAsyncIteration("own"))
    end)
    local err = fails(errors.RuntimeError, agenda.with, factory(), function()
      error(errors.StopAsyncIteration("block's"))
    end)
    assert.equal("own", err.cause.message)
  end)

  in_run("keeps a RuntimeError that has the block's error as its cause", function()
    local raised = errors.ValueError("x")
    local factory = agenda.asynccontextmanager(function()
      local _, err = pcall(agenda.yield)
      error(errors.RuntimeError("wrapped", { cause = err }))
    end)
    local err = fails(errors.RuntimeError, agenda.with, factory(), function() error(raised) end)
    assert.equal("wrapped", err.message)
  end)

  in_run("nests", function()
    local log = {}
    agenda.with(noting(log, "a")(), function()
      agenda.with(noting(log, "b")(), function() log[#log + 1] = "block" end)
    end)
    assert.same({ "a in", "b in", "block", "b out", "a out" }, log)
  end)

  in_run("cleans up when the block's task is cancelled", function()
    local log = {}
    local task = agenda.spawn(agenda.with, noting(log, "a")(), function() agenda.sleep(10) end)
    loopkit.turns(1)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.same({ "a in", "a out" }, log)
    assert.is_true(task:cancelled())
  end)

  in_run("raises a cancellation while entering in the body", function()
    local seen, ran
    local factory = agenda.asynccontextmanager(function()
      local _, err = pcall(agenda.sleep, 10)
      seen = err
      error(err, 0)
    end)
    local task = agenda.spawn(agenda.with, factory(), function() ran = true end)
    loopkit.turns(1)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.is_true(errors.CancelledError:is(seen))
    assert.is_nil(ran)
  end)

  in_run("raises a cancellation while exiting in the body", function()
    local seen
    local factory = agenda.asynccontextmanager(function()
      agenda.yield()
      local _, err = pcall(agenda.sleep, 10)
      seen = err
      error(err, 0)
    end)
    local task = agenda.spawn(agenda.with, factory(), function() end)
    loopkit.turns(1)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.is_true(errors.CancelledError:is(seen))
  end)

  in_run("serves in the body of an async generator", function()
    local log = {}
    local gen = agenda.asyncgen(function()
      local _ <close>, value = agenda.enter(noting(log, "a")(5))
      agenda.yield(value)
    end)
    for v in gen() do log[#log + 1] = v end
    assert.same({ "a in", 5, "a out" }, log)
  end)

  in_run("exits when the async generator that entered is left early", function()
    local log = {}
    local gen = agenda.asyncgen(function()
      agenda.with(noting(log, "a")(), function() agenda.yield(1) end)
    end)
    agenda.each(gen(), function() return false end)
    assert.same({ "a in", "a out" }, log)
  end)
end)
