local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors

local function here(level) return debug.getinfo(level or 2, "l").currentline end

describe("errors: a class where an error is expected", function()
  local gen = agenda.generator(function() agenda.yield(1) end)

  it("g:throw makes an instance", function()
    local g = gen()
    g:next()
    local err = expect.raises(errors.ValueError, nil, g.throw, g, errors.ValueError)
    assert.equal(errors.ValueError, err.class)
    assert.equal("ValueError", tostring(err))
  end)

  it("co:throw makes an instance", function()
    local co = agenda.async(function() agenda.suspend(1) end)()
    co:send()
    expect.raises(errors.ValueError, nil, co.throw, co, errors.ValueError)
  end)

  it("athrow makes an instance", function()
    local g = agenda.asyncgen(function() agenda.yield(1) end)()
    expect.now(g:anext())
    local aw = g:athrow(errors.ValueError)
    expect.raises(errors.ValueError, nil, aw.send, aw)
  end)

  it("an awaitable's throw makes an instance", function()
    local g = agenda.asyncgen(function() agenda.yield(1) end)()
    expect.now(g:anext())
    local aw = g:anext()
    expect.raises(errors.ValueError, nil, aw.throw, aw, errors.ValueError)
  end)

  it("set_exception makes an instance", function()
    agenda.run(function()
      local fut = agenda.future()
      fut:set_exception(errors.ValueError)
      assert.is_true(errors.ValueError:is(fut:exception()))
    end)
  end)

  it("takes a class of the user's", function()
    local Mine = errors.class("Mine")
    local g = gen()
    g:next()
    expect.raises(Mine, nil, g.throw, g, Mine)
  end)
end)

describe("errors: values of any kind travel unchanged", function()
  local foreign = setmetatable({}, { __tostring = function() return "foreign" end })
  for label, value in pairs { table = foreign, string = "just text", number = 42, boolean = false,
      ["function"] = print, thread = coroutine.create(print) } do
    it("a " .. label .. " out of a generator", function()
      local g = agenda.generator(function() error(value, 0) end)()
      expect.raises_same(value, g.next, g)
    end)

    it("a " .. label .. " thrown into a generator", function()
      local seen
      local g = agenda.generator(function()
        local _, err = pcall(agenda.yield)
        seen = err
        error(err, 0)
      end)()
      g:next()
      expect.raises_same(value, g.throw, g, value)
      assert.is_true(rawequal(value, seen))
    end)

    it("a " .. label .. " out of an awaited coroutine and a run", function()
      local inner = agenda.async(function() agenda.sleep(0) error(value, 0) end)
      expect.raises_same(value, agenda.run, function() agenda.await(inner()) end)
    end)

    it("a " .. label .. " out of an async generator", function()
      local g = agenda.asyncgen(function() error(value, 0) end)()
      local aw = g:anext()
      expect.raises_same(value, aw.send, aw)
    end)
  end

  it("an error object is the same object at the far end", function()
    local err = errors.ValueError("text")
    local inner = agenda.asyncgen(function() agenda.yield(1) error(err) end)
    local outer = agenda.asyncgen(function() for v in inner() do agenda.yield(v) end end)
    expect.raises_same(err, agenda.run, function() for _ in outer() do agenda.sleep(0) end end)
  end)
end)

describe("errors: tracebacks", function()
  it("the object's shows the frame that raised", function()
    local line
    local g = agenda.generator(function()
      line = here() + 1
      error(errors.ValueError("text"))
    end)()
    local err = expect.raises(errors.ValueError, nil, g.next, g)
    assert.is_string(err.traceback)
    assert.is_truthy(err.traceback:find("errors_raised_spec.lua:" .. line, 1, true))
  end)

  it("the object's shows a function called by the body", function()
    local line
    local function deep()
      line = here() + 1
      error(errors.ValueError("text"))
    end
    local co = agenda.async(function() deep() return 1 end)()
    local err = expect.raises(errors.ValueError, nil, co.send, co)
    assert.is_truthy(err.traceback:find("errors_raised_spec.lua:" .. line, 1, true))
  end)

  it("the object's shows those awaiting the one that raised", function()
    local raised, awaited
    local inner = agenda.async(function()
      agenda.sleep(0)
      raised = here() + 1
      error(errors.ValueError("text"))
    end)
    local err = expect.raises(errors.ValueError, nil, agenda.run, function()
      local co = inner()
      awaited = here() + 1
      agenda.await(co)
      return 1
    end)
    assert.is_truthy(err.traceback:find("errors_raised_spec.lua:" .. raised, 1, true))
    assert.is_truthy(err.traceback:find("errors_raised_spec.lua:" .. awaited, 1, true))
  end)

  it("the object's shows the loop over the async generator that raised", function()
    local raised, looped
    local gen = agenda.asyncgen(function()
      agenda.yield(1)
      raised = here() + 1
      error(errors.ValueError("text"))
    end)
    local err = expect.raises(errors.ValueError, nil, agenda.run, function()
      looped = here() + 1
      for _ in gen() do agenda.sleep(0) end
      return 1
    end)
    assert.is_truthy(err.traceback:find("errors_raised_spec.lua:" .. raised, 1, true))
    assert.is_truthy(err.traceback:find("errors_raised_spec.lua:" .. looped, 1, true))
  end)

  for _, label in ipairs { "pcall", "agenda.pcall" } do
    it("an error raised after another was caught with " .. label .. " has its own", function()
      local catch = label == "pcall" and pcall or agenda.pcall
      local failing = agenda.async(function() error(errors.ValueError("first")) end)
      local co = agenda.async(function()
        catch(agenda.await, failing())
        error(errors.ValueError("second"))
      end)()
      local err = expect.raises(errors.ValueError, "second", co.send, co)
      assert.is_truthy(err.traceback:find("errors_raised_spec.lua", 1, true))
    end)
  end

  it("agenda.traceback gives an error object's recorded trace", function()
    local line
    local g = agenda.generator(function()
      line = here() + 1
      error(errors.ValueError("text"))
    end)()
    local err = expect.raises(errors.ValueError, nil, g.next, g)
    assert.is_truthy(agenda.traceback(err):find("errors_raised_spec.lua:" .. line, 1, true))
  end)

  it("agenda.traceback gives the recorded trace of a string", function()
    local line
    local g = agenda.generator(function()
      line = here() + 1
      error("a string that crosses", 0)
    end)()
    local _, err = pcall(g.next, g)
    assert.equal("a string that crosses", err)
    assert.is_truthy(agenda.traceback(err):find("errors_raised_spec.lua:" .. line, 1, true))
  end)

  it("agenda.traceback gives the recorded trace of a foreign table", function()
    local line
    local foreign = {}
    local g = agenda.generator(function()
      line = here() + 1
      error(foreign)
    end)()
    expect.raises_same(foreign, g.next, g)
    assert.is_truthy(agenda.traceback(foreign):find("errors_raised_spec.lua:" .. line, 1, true))
  end)

  it("agenda.traceback serves as a message handler", function()
    local line
    local ok, trace = xpcall(function()
      line = here() + 1
      error("handled text", 0)
    end, agenda.traceback)
    assert.is_false(ok)
    assert.is_truthy(trace:find("handled text", 1, true))
    assert.is_truthy(trace:find("errors_raised_spec.lua:" .. line, 1, true))
  end)

  it("agenda.traceback as a message handler takes error objects", function()
    local _, trace = xpcall(function() error(errors.ValueError("handled object")) end, agenda.traceback)
    assert.is_truthy(tostring(trace):find("ValueError: handled object", 1, true))
  end)
end)

describe("agenda.pcall", function()
  it("returns true and all results", function()
    local results = table.pack(agenda.pcall(function(...) return ... end, 1, nil, 3, nil))
    assert.same({ n = 5, true, 1, nil, 3, nil }, results)
  end)

  for _, value in ipairs { "text", 42, errors.ValueError("text"), errors.StopIteration(), {} } do
    it("catches " .. tostring(value):gsub("0x%x+", ""), function()
      local ok, err = agenda.pcall(error, value, 0)
      assert.is_false(ok)
      assert.is_true(rawequal(value, err))
    end)
  end

  for _, name in ipairs { "CancelledError", "GeneratorExit", "KeyboardInterrupt" } do
    it("lets " .. name .. " through", function()
      local err = errors[name]("text")
      expect.raises_same(err, agenda.pcall, error, err)
    end)
  end

  it("lets a class of the user's under BaseError through", function()
    local err = errors.class("Mine", errors.BaseError)("text")
    expect.raises_same(err, agenda.pcall, error, err)
  end)

  it("may wait inside", function()
    agenda.run(function()
      assert.same({ n = 3, true, 1, 2 }, table.pack(agenda.pcall(agenda.sleep, 0, 1, 2)))
    end)
  end)

  it("catches what is raised after a wait", function()
    agenda.run(function()
      local ok, err = agenda.pcall(function() agenda.sleep(0) error("late", 0) end)
      assert.is_false(ok)
      assert.equal("late", err)
    end)
  end)

  it("lets a generator be closed through it", function()
    local after = false
    local g = agenda.generator(function()
      agenda.pcall(agenda.yield, 1)
      after = true
    end)()
    g:next()
    g:close()
    assert.is_false(after)
  end)

  it("lets a cancellation through", function()
    agenda.run(function()
      local swallowed = false
      local task = agenda.spawn(function()
        agenda.pcall(agenda.sleep, 60)
        swallowed = true
      end)
      agenda.sleep(0)
      task:cancel()
      expect.raises(errors.CancelledError, nil, agenda.await, task)
      assert.is_false(swallowed)
    end)
  end)

  it("records where what it catches was raised #core", function()
    local function raiser(err) error(err) end
    local _, object = agenda.pcall(raiser, errors.ValueError("text"))
    assert.is_truthy(object.traceback:find("errors_raised_spec.lua", 1, true))
    local _, text = agenda.pcall(raiser, "a string caught by agenda.pcall")
    local trace = agenda.traceback(text)
    assert.is_truthy(trace:find("in function <.*errors_raised_spec.lua"))
  end)

  it("refuses a wrong argument as pcall does", function()
    assert.has_error(function() agenda.pcall() end)
  end)
end)
