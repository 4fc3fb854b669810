local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run = loopkit.in_run

-- An exit function that notes its name and the error; it returns `result` or raises `raised`.
local function exit(log, name, options)
  options = options or {}
  return function(err)
    log[#log + 1] = name .. ": " .. tostring(err)
    if options.raised ~= nil then error(options.raised, 0) end
    return options.result
  end
end

local function manager(log, name, options, ...)
  local values, leave = table.pack(...), exit(log, name, options)
  return setmetatable({}, {
    __name = name,
    __aenter = function()
      log[#log + 1] = name .. " in"
      return table.unpack(values, 1, values.n)
    end,
    __aexit = function(_, err) return leave(err) end,
  })
end

describe("agenda.exitstack", function()
  it("has a type and a text", function()
    local stack = agenda.exitstack()
    stack:defer(print)
    assert.equal("exitstack", agenda.type(stack))
    assert.truthy(tostring(stack):find("^<exitstack of 1 at "))
  end)

  it("checks that its methods are called on a stack", function()
    for _, name in ipairs { "enter", "push", "defer", "pop_all", "aclose" } do
      loopkit.bad_argument(1, name, function() agenda.exitstack()[name]({}) end)
    end
  end)

  it("closes when empty", function()
    assert.equal(0, select("#", agenda.exitstack():aclose()))
  end)

  it("runs the exits in reverse order", function()
    local log, stack = {}, agenda.exitstack()
    for _, name in ipairs { "a", "b", "c" } do stack:push(exit(log, name)) end
    stack:aclose()
    assert.same({ "c: nil", "b: nil", "a: nil" }, log)
  end)

  it("runs each exit once, however often it is closed", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a"))
    stack:aclose()
    stack:aclose()
    assert.same({ "a: nil" }, log)
  end)

  it("may be used again after aclose", function()
    local log, stack = {}, agenda.exitstack()
    stack:aclose()
    stack:push(exit(log, "a"))
    stack:aclose()
    assert.same({ "a: nil" }, log)
  end)

  it("closes at the end of the block", function()
    local log = {}
    do
      local stack <close> = agenda.exitstack()
      stack:push(exit(log, "a"))
    end
    assert.same({ "a: nil" }, log)
  end)

  it("closes what was pushed before the block failed", function()
    local log = {}
    pcall(function()
      local stack <close> = agenda.exitstack()
      stack:push(exit(log, "a"))
      error("x", 0)
    end)
    assert.same({ "a: x" }, log)
  end)

  in_run("awaits in the exits", function()
    local log, stack = {}, agenda.exitstack()
    stack:defer(function() agenda.sleep(0) log[#log + 1] = "first" end)
    stack:defer(function() agenda.sleep(0) log[#log + 1] = "second" end)
    stack:aclose()
    assert.same({ "second", "first" }, log)
  end)

  it("runs what is pushed while it exits", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a"))
    stack:defer(function()
      log[#log + 1] = "b"
      stack:push(exit(log, "late"))
    end)
    stack:aclose()
    assert.same({ "b", "late: nil", "a: nil" }, log)
  end)

  it("shows a later exit the newest error", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a"))
    stack:push(exit(log, "b", { raised = "second" }))
    stack:push(exit(log, "c", { raised = "first" }))
    local ok, err = pcall(stack.aclose, stack)
    assert.is_false(ok)
    assert.equal("second", err)
    assert.same({ "c: nil", "b: first", "a: second" }, log)
  end)

  it("runs every exit although one fails", function()
    local log, stack = {}, agenda.exitstack()
    for _, name in ipairs { "a", "b", "c" } do stack:push(exit(log, name, { raised = name })) end
    local _, err = pcall(stack.aclose, stack)
    assert.equal("a", err)
    assert.equal(3, #log)
  end)

  it("makes RuntimeError of an exit's error(nil)", function()
    local stack = agenda.exitstack()
    stack:defer(error, nil)
    assert.equal("nil error", fails(errors.RuntimeError, stack.aclose, stack).message)
  end)

  it("lets an exit swallow the error of a later one under aclose", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a"))
    stack:push(exit(log, "b", { result = true }))
    stack:push(exit(log, "c", { raised = "x" }))
    stack:aclose()
    assert.same({ "c: nil", "b: x", "a: nil" }, log)
  end)

  it("raises an error that comes after a swallowed one", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a", { raised = "y" }))
    stack:push(exit(log, "b", { result = true }))
    stack:push(exit(log, "c", { raised = "x" }))
    local _, err = pcall(stack.aclose, stack)
    assert.equal("y", err)
  end)

  it("swallows the block's error under with", function()
    local log = {}
    local n = select("#", agenda.with(agenda.exitstack(), function(stack)
      stack:push(exit(log, "a"))
      stack:push(exit(log, "b", { result = true }))
      error("x", 0)
    end))
    assert.equal(0, n)
    assert.same({ "b: x", "a: nil" }, log)
  end)

  it("raises the block's error under with when no exit swallows it", function()
    local log = {}
    local _, err = pcall(agenda.with, agenda.exitstack(), function(stack)
      stack:push(exit(log, "a"))
      error("x", 0)
    end)
    assert.equal("x", err)
    assert.same({ "a: x" }, log)
  end)

  it("raises the newest error under with", function()
    local _, err = pcall(agenda.with, agenda.exitstack(), function(stack)
      stack:push(exit({}, "a", { raised = "y" }))
      error("x", 0)
    end)
    assert.equal("y", err)
  end)

  it("returns f's results under with", function()
    assert.equal(5, agenda.with(agenda.exitstack(), function() return 5 end))
  end)

  it("does not swallow the block's error under <close>", function()
    local log = {}
    local _, err = pcall(function()
      local stack <close> = agenda.exitstack()
      stack:push(exit(log, "a"))
      stack:push(exit(log, "b", { result = true }))
      error("x", 0)
    end)
    assert.equal("x", err)
    assert.same({ "b: x", "a: x" }, log)
  end)

  it("swallows the error of an exit under <close>", function()
    local log = {}
    do
      local stack <close> = agenda.exitstack()
      stack:push(exit(log, "a"))
      stack:push(exit(log, "b", { result = true }))
      stack:push(exit(log, "c", { raised = "x" }))
    end
    assert.same({ "c: nil", "b: x", "a: nil" }, log)
  end)

  it("is itself what agenda.enter gives", function()
    local stack = agenda.exitstack()
    local closing, value = agenda.enter(stack)
    assert.equal(stack, closing)
    assert.equal(stack, value)
  end)

  it("may hold another stack", function()
    local log, outer, inner = {}, agenda.exitstack(), agenda.exitstack()
    outer:push(exit(log, "a"))
    assert.equal(inner, outer:enter(inner))
    inner:push(exit(log, "b"))
    outer:aclose()
    assert.same({ "b: nil", "a: nil" }, log)
  end)

  it("unwinds many exits", function()
    local n, stack = 0, agenda.exitstack()
    for _ = 1, 10000 do stack:defer(function() n = n + 1 end) end
    stack:aclose()
    assert.equal(10000, n)
  end)

  in_run("runs the other exits when one is cancelled", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(function(err)
      agenda.sleep(0)
      log[#log + 1] = errors.CancelledError:is(err)
    end)
    stack:defer(agenda.sleep, 10)
    local task = agenda.spawn(stack.aclose, stack)
    loopkit.turns(1)
    task:cancel()
    fails(errors.CancelledError, agenda.await, task)
    assert.same({ true }, log)
  end)

  it("does not take a cancellation for swallowed in debug mode", function()
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      local stack = agenda.exitstack()
      stack:defer(agenda.sleep, 0)
      stack:defer(agenda.sleep, 10)
      local task = agenda.spawn(stack.aclose, stack)
      loopkit.turns(1)
      task:cancel()
      pcall(agenda.await, task)
    end)
    assert.same({}, contexts)
  end)
end)

describe("exitstack:enter", function()
  it("returns the values entered with", function()
    local got = table.pack(agenda.exitstack():enter(manager({}, "a", nil, 1, nil, 3)))
    assert.same({ 1, nil, 3, n = 3 }, got)
  end)

  it("pushes the exit", function()
    local log, stack = {}, agenda.exitstack()
    stack:enter(manager(log, "a"))
    stack:enter(manager(log, "b"))
    stack:aclose()
    assert.same({ "a in", "b in", "b: nil", "a: nil" }, log)
  end)

  it("lets the exit swallow", function()
    agenda.with(agenda.exitstack(), function(stack)
      stack:enter(manager({}, "a", { result = true }))
      error("x")
    end)
  end)

  it("pushes nothing when entering raises", function()
    local log, stack = {}, agenda.exitstack()
    local cm = setmetatable({}, { __aenter = function() error("no", 0) end, __aexit = exit(log, "a") })
    local _, err = pcall(stack.enter, stack, cm)
    assert.equal("no", err)
    stack:aclose()
    assert.same({}, log)
  end)

  it("returns what has __close itself", function()
    local stack, cm = agenda.exitstack(), loopkit.on_close(function() end)
    assert.equal(cm, stack:enter(cm))
  end)

  it("calls __close with the object and the error", function()
    local got
    local cm = setmetatable({}, { __close = function(...) got = table.pack(...) end })
    pcall(agenda.with, agenda.exitstack(), function(stack)
      stack:enter(cm)
      error("x", 0)
    end)
    assert.same({ cm, "x", n = 2 }, got)
  end)

  it("does not let a __close swallow", function()
    local ok = pcall(agenda.with, agenda.exitstack(), function(stack)
      stack:enter(setmetatable({}, { __close = function() return true end }))
      error("x", 0)
    end)
    assert.is_false(ok)
  end)

  it("refuses what is no context manager", function()
    local stack = agenda.exitstack()
    fails(errors.TypeError, stack.enter, stack, {})
  end)

  it("refuses half a protocol before it enters", function()
    local ran, stack = false, agenda.exitstack()
    local cm = setmetatable({}, { __aenter = function() ran = true end })
    assert.truthy(fails(errors.TypeError, stack.enter, stack, cm).message:find("no __aexit", 1, true))
    assert.is_false(ran)
  end)

  in_run("takes the managers of asynccontextmanager", function()
    local log, stack = {}, agenda.exitstack()
    local factory = agenda.asynccontextmanager(function(x)
      agenda.sleep(0)
      agenda.yield(x)
      agenda.sleep(0)
      log[#log + 1] = x
    end)
    assert.equal(1, stack:enter(factory(1)))
    assert.equal(2, stack:enter(factory(2)))
    stack:aclose()
    assert.same({ 2, 1 }, log)
  end)
end)

describe("exitstack:push", function()
  it("does not enter", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(manager(log, "a"))
    stack:aclose()
    assert.same({ "a: nil" }, log)
  end)

  it("returns what it was given", function()
    local cm = manager({}, "a")
    assert.equal(cm, agenda.exitstack():push(cm))
  end)

  it("needs no __aenter", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(setmetatable({}, { __aexit = function() log[#log + 1] = "exit" end }))
    stack:aclose()
    assert.same({ "exit" }, log)
  end)

  it("takes what has __close", function()
    local closed, stack = false, agenda.exitstack()
    stack:push(loopkit.on_close(function() closed = true end))
    stack:aclose()
    assert.is_true(closed)
  end)

  it("gives a function the error and lets it swallow", function()
    local log = {}
    agenda.with(agenda.exitstack(), function(stack)
      stack:push(exit(log, "f", { result = true }))
      error("x", 0)
    end)
    assert.same({ "f: x" }, log)
  end)

  it("refuses anything else", function()
    local stack = agenda.exitstack()
    fails(errors.TypeError, stack.push, stack, {})
    fails(errors.TypeError, stack.push, stack, nil)
  end)
end)

describe("exitstack:defer", function()
  it("calls f with its arguments and not the error", function()
    local got
    pcall(agenda.with, agenda.exitstack(), function(stack)
      stack:defer(function(...) got = table.pack(...) end, 1, nil)
      error("x")
    end)
    assert.same({ 1, nil, n = 2 }, got)
  end)

  it("cannot swallow", function()
    local ok = pcall(agenda.with, agenda.exitstack(), function(stack)
      stack:defer(function() return true end)
      error("x")
    end)
    assert.is_false(ok)
  end)

  it("returns f", function()
    assert.equal(print, agenda.exitstack():defer(print))
  end)

  it("refuses what cannot be called", function()
    loopkit.bad_argument(1, "defer", function() agenda.exitstack():defer(5) end)
  end)
end)

describe("exitstack:pop_all", function()
  it("moves the exits in their order", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a"))
    stack:push(exit(log, "b"))
    stack:pop_all():aclose()
    assert.same({ "b: nil", "a: nil" }, log)
  end)

  it("leaves the stack empty", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a"))
    local moved = stack:pop_all()
    stack:aclose()
    assert.same({}, log)
    moved:aclose()
  end)

  it("keeps what succeeded open past the block", function()
    local log, kept = {}, nil
    do
      local stack <close> = agenda.exitstack()
      stack:enter(manager(log, "a"))
      kept = stack:pop_all()
    end
    assert.same({ "a in" }, log)
    kept:aclose()
    assert.same({ "a in", "a: nil" }, log)
  end)

  it("lets the stack be used again", function()
    local log, stack = {}, agenda.exitstack()
    stack:push(exit(log, "a"))
    stack:pop_all()
    stack:push(exit(log, "b"))
    stack:aclose()
    assert.same({ "b: nil" }, log)
  end)
end)
