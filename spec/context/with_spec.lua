local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run = loopkit.in_run

-- A manager of the user's own; `exits` gets what the exits are called with.
local function manager(exits, swallow, ...)
  local values = table.pack(...)
  return setmetatable({}, {
    __name = "mine",
    __aenter = function() return table.unpack(values, 1, values.n) end,
    __aexit = function(_, err)
      exits[#exits + 1] = err == nil and "no error" or err
      return swallow
    end,
  })
end

describe("agenda.with", function()
  it("refuses a function that cannot be called", function()
    loopkit.bad_argument(2, "with", function() agenda.with(manager {}, 5) end)
    local err = loopkit.bad_argument(2, "with", function() agenda.with(manager {}) end)
    assert.truthy(err:find("(function expected, got no value)", 1, true))
  end)

  it("takes a table that can be called", function()
    local f = setmetatable({}, { __call = function(_, x) return x end })
    assert.equal(4, agenda.with(manager({}, false, 4), f))
  end)

  for name, value in pairs { ["a table"] = {}, ["a number"] = 5, ["a string"] = "x", ["false"] = false,
      ["a function"] = print } do
    it("refuses " .. name, function()
      local err = fails(errors.TypeError, agenda.with, value, function() end)
      assert.truthy(err.message:find("no __aenter and __aexit, nor __close", 1, true))
    end)
  end

  it("refuses nil", function()
    fails(errors.TypeError, agenda.with, nil, function() end)
  end)

  it("names the __aexit that lacks, before anything runs", function()
    local ran = false
    local cm = setmetatable({}, { __name = "half", __aenter = function() ran = true end })
    local err = fails(errors.TypeError, agenda.with, cm, function() end)
    assert.equal("'half' object is not a context manager: it has no __aexit", err.message)
    assert.is_false(ran)
  end)

  it("names the __aenter that lacks", function()
    local cm = setmetatable({}, { __aexit = function() end })
    local err = fails(errors.TypeError, agenda.with, cm, function() end)
    assert.equal("'table' object is not a context manager: it has no __aenter", err.message)
  end)

  it("looks in the metatable, not in the object", function()
    local cm = { __aenter = function() end, __aexit = function() end }
    fails(errors.TypeError, agenda.with, cm, function() end)
  end)

  it("sees behind a __metatable field, as Lua does", function()
    local closed = false
    local cm = setmetatable({}, { __metatable = false, __close = function() closed = true end })
    agenda.with(cm, function() end)
    assert.is_true(closed)
  end)

  it("calls f with the values entered with and then the arguments", function()
    local got
    agenda.with(manager({}, false, 1, nil), function(...) got = table.pack(...) end, 3, nil)
    assert.same({ 1, nil, 3, nil, n = 4 }, got)
  end)

  it("returns all results of f", function()
    local got = table.pack(agenda.with(manager {}, function() return 1, nil, 3, nil end))
    assert.same({ 1, nil, 3, nil, n = 4 }, got)
  end)

  it("exits without an error at the end", function()
    local exits = {}
    agenda.with(manager(exits), function() end)
    assert.same({ "no error" }, exits)
  end)

  it("ignores a true value from the exit when there is no error", function()
    assert.equal(6, agenda.with(manager({}, true), function() return 6 end))
  end)

  it("exits with f's error", function()
    local exits, raised = {}, errors.ValueError("x")
    fails(errors.ValueError, agenda.with, manager(exits), function() error(raised) end)
    assert.equal(raised, exits[1])
  end)

  it("raises f's error as the same object", function()
    local raised = {}
    local _, err = pcall(agenda.with, manager {}, function() error(raised) end)
    assert.equal(raised, err)
  end)

  it("returns nothing when the exit swallows the error", function()
    assert.equal(0, select("#", agenda.with(manager({}, true), function() error("x") end)))
  end)

  it("lets false as an error be swallowed", function()
    local exits = {}
    agenda.with(manager(exits, true), function() error(false) end)
    assert.same({ false }, exits)
  end)

  it("makes RuntimeError of error(nil)", function()
    local exits = {}
    local err = fails(errors.RuntimeError, agenda.with, manager(exits), function() error(nil) end)
    assert.equal("nil error", err.message)
    assert.is_true(errors.RuntimeError:is(exits[1]))
  end)

  it("raises what the exit raises in place of f's error", function()
    local cm = setmetatable({}, { __aenter = function() end, __aexit = function() error("exit", 0) end })
    local ok, err = pcall(agenda.with, cm, function() error("block", 0) end)
    assert.is_false(ok)
    assert.equal("exit", err)
  end)

  it("does not exit when entering raises", function()
    local exited = false
    local cm = setmetatable({}, { __aenter = function() error("no", 0) end, __aexit = function() exited = true end })
    local _, err = pcall(agenda.with, cm, function() end)
    assert.equal("no", err)
    assert.is_false(exited)
  end)

  it("keeps with an error object where it was raised", function()
    local function culprit() error(errors.ValueError("x")) end
    local err = fails(errors.ValueError, agenda.with, manager {}, function() culprit() end)
    assert.truthy(err.traceback:find("culprit", 1, true))
  end)

  in_run("awaits in entering, in f and in exiting", function()
    local cm = setmetatable({}, { __aenter = function() agenda.sleep(0) return 1 end,
      __aexit = function() agenda.sleep(0) end })
    assert.equal(3, agenda.with(cm, function(x) agenda.sleep(0) return x + 2 end))
  end)

  in_run("lets an exit that awaits swallow", function()
    local cm = setmetatable({}, { __aenter = function() end,
      __aexit = function() agenda.sleep(0) return true end })
    agenda.with(cm, function() error("x") end)
  end)

  it("gives what has __close itself", function()
    local cm = loopkit.on_close(function() end)
    assert.equal(cm, agenda.with(cm, function(x) return x end))
  end)

  it("calls __close with the object and the error", function()
    local got
    local cm = setmetatable({}, { __close = function(...) got = table.pack(...) end })
    pcall(agenda.with, cm, function() error("x", 0) end)
    assert.same({ cm, "x", n = 2 }, got)
  end)

  it("swallows nothing for a __close that returns true", function()
    local cm = setmetatable({}, { __close = function() return true end })
    local ok, err = pcall(agenda.with, cm, function() error("x", 0) end)
    assert.is_false(ok)
    assert.equal("x", err)
  end)

  it("takes files", function()
    local file = assert(io.tmpfile())
    agenda.with(file, function(f, text) f:write(text) end, "x")
    assert.equal("closed file", io.type(file))
  end)

  in_run("takes async generators, which it closes", function()
    local gen = agenda.asyncgen(function() agenda.yield(1) end)
    local g = gen()
    agenda.with(gen(), function(own) assert.equal(1, own()) end)
    agenda.with(g, function() agenda.await(g:anext()) end)
    assert.is_nil(g.ag_frame)
  end)

  it("prefers __aexit to __close", function()
    local log = {}
    local cm = setmetatable({}, { __aenter = function() end, __aexit = function() log[#log + 1] = "exit" end,
      __close = function() log[#log + 1] = "close" end })
    agenda.with(cm, function() end)
    assert.same({ "exit" }, log)
  end)

  it("exits when the coroutine is closed inside the block #core", function()
    local exits = {}
    local co = coroutine.create(function() agenda.with(manager(exits), coroutine.yield) end)
    coroutine.resume(co)
    assert.is_true(coroutine.close(co))
    assert.equal(1, #exits)
  end)

  it("does not take a cancellation for swallowed in debug mode", function()
    local cm = setmetatable({}, { __aenter = function() end, __aexit = function() agenda.sleep(0) end })
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      local task = agenda.spawn(agenda.with, cm, function() agenda.sleep(10) end)
      loopkit.turns(1)
      task:cancel()
      pcall(agenda.await, task)
    end)
    assert.same({}, contexts)
  end)
end)

describe("agenda.enter", function()
  it("refuses what is no context manager", function()
    fails(errors.TypeError, agenda.enter, {})
  end)

  it("refuses half a protocol", function()
    local cm = setmetatable({}, { __aenter = function() end })
    assert.truthy(fails(errors.TypeError, agenda.enter, cm).message:find("__aexit", 1, true))
  end)

  it("gives a to-be-closed value and the values entered with", function()
    local got = table.pack(agenda.enter(manager({}, false, 1, nil, 3, nil)))
    assert.equal(5, got.n)
    assert.same({ 1, nil, 3, nil }, { table.unpack(got, 2, 5) })
  end)

  it("exits at the end of the block", function()
    local exits = {}
    do
      local _ <close> = agenda.enter(manager(exits))
      assert.same({}, exits)
    end
    assert.same({ "no error" }, exits)
  end)

  it("exits with the block's error", function()
    local exits = {}
    pcall(function()
      local _ <close> = agenda.enter(manager(exits))
      error("x", 0)
    end)
    assert.same({ "x" }, exits)
  end)

  it("swallows nothing", function()
    local ok, err = pcall(function()
      local _ <close> = agenda.enter(manager({}, true))
      error("x", 0)
    end)
    assert.is_false(ok)
    assert.equal("x", err)
  end)

  it("raises what the exit raises", function()
    local cm = setmetatable({}, { __aenter = function() end, __aexit = function() error("exit", 0) end })
    local _, err = pcall(function()
      local _ <close> = agenda.enter(cm)
      error("block", 0)
    end)
    assert.equal("exit", err)
  end)

  it("gives what has __close twice: to close, and as the value", function()
    local cm = loopkit.on_close(function() end)
    local closing, value = agenda.enter(cm)
    assert.equal(cm, closing)
    assert.equal(cm, value)
  end)

  it("enters by __aenter and exits by __close what has all three", function()
    local log = {}
    local cm = setmetatable({}, { __aenter = function() return 5 end, __aexit = function() log[#log + 1] = "exit" end,
      __close = function() log[#log + 1] = "close" end })
    do
      local _ <close>, value = agenda.enter(cm)
      assert.equal(5, value)
    end
    assert.same({ "close" }, log)
  end)

  it("shows what was entered", function()
    assert.truthy(tostring((agenda.enter(manager {}))):find("^<entered mine at "))
  end)

  in_run("awaits in the exit", function()
    local log = {}
    local cm = setmetatable({}, { __aenter = function() agenda.sleep(0) end,
      __aexit = function() agenda.sleep(0) log[#log + 1] = "out" end })
    do
      local _ <close> = agenda.enter(cm)
      log[#log + 1] = "in"
    end
    assert.same({ "in", "out" }, log)
  end)

  in_run("raises the block's own StopAsyncIteration as the same object", function()
    local raised = errors.StopAsyncIteration("x")
    local factory = agenda.asynccontextmanager(function() agenda.yield() end)
    local _, err = pcall(function()
      local _ <close> = agenda.enter(factory())
      error(raised)
    end)
    assert.equal(raised, err)
  end)

  in_run("raises the block's error although the body handles it", function()
    local factory = agenda.asynccontextmanager(function() pcall(agenda.yield) end)
    local ok, err = pcall(function()
      local _ <close> = agenda.enter(factory())
      error("x", 0)
    end)
    assert.is_false(ok)
    assert.equal("x", err)
  end)
end)

describe("agenda.defer", function()
  it("refuses what cannot be called", function()
    loopkit.bad_argument(1, "defer", function() agenda.defer(nil) end)
  end)

  it("calls nothing before the end of the block", function()
    local called = 0
    do
      local _ <close> = agenda.defer(function() called = called + 1 end)
      assert.equal(0, called)
    end
    assert.equal(1, called)
  end)

  it("calls f with its arguments", function()
    local got
    do
      local _ <close> = agenda.defer(function(...) got = table.pack(...) end, 1, nil, nil)
    end
    assert.same({ 1, nil, nil, n = 3 }, got)
  end)

  it("does not give f the error", function()
    local got
    pcall(function()
      local _ <close> = agenda.defer(function(...) got = table.pack(...) end)
      error("x")
    end)
    assert.same({ n = 0 }, got)
  end)

  it("swallows nothing", function()
    local ok = pcall(function()
      local _ <close> = agenda.defer(function() return true end)
      error("x")
    end)
    assert.is_false(ok)
  end)

  in_run("may await", function()
    local done = false
    do
      local _ <close> = agenda.defer(function() agenda.sleep(0) done = true end)
    end
    assert.is_true(done)
  end)

  in_run("calls f when the task is cancelled", function()
    local done = false
    local task = agenda.spawn(function()
      local _ <close> = agenda.defer(function() agenda.sleep(0) done = true end)
      agenda.sleep(10)
    end)
    loopkit.turns(1)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.is_true(done)
  end)

  it("has a type and a text", function()
    local deferred = agenda.defer(print)
    assert.equal("deferred", agenda.type(deferred))
    assert.truthy(tostring(deferred):find("^<deferred call at "))
  end)
end)
