local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors

local function nothing() end

local function empty_generator() return (agenda.generator(nothing)()) end
local function empty_asyncgen() return (agenda.asyncgen(nothing)()) end
local function empty_coroutine()
  local co = agenda.async(nothing)()
  co:close()
  return co
end

describe("conventions: a wrong argument", function()
  it("names the function, the position and both types", function()
    agenda.run(function()
      local err = expect.bad_argument("bad argument #1 to 'sleep' (number expected, got string)",
        function() agenda.sleep("x") return 1 end)
      assert.is_truthy(err:find("conventions_spec.lua:%d+: "))
    end)
  end)

  it("says what is missing", function()
    agenda.run(function()
      expect.bad_argument("bad argument #1 to 'sleep' (number expected, got no value)",
        function() agenda.sleep() return 1 end)
    end)
  end)

  it("names the function by its place where the call has no name for it", function()
    expect.bad_argument("bad argument #1 to 'agenda.sleep' (number expected, got string)", agenda.sleep, "x")
  end)

  for _, maker in ipairs { "generator", "async", "asyncgen" } do
    -- The name in the message comes from the call itself, so each is spelled out.
    local function call(arguments)
      return assert(load(("local agenda = ... agenda.%s(%s) return 1"):format(maker, arguments)))
    end
    local function refuses(arguments, position, got)
      expect.bad_argument(("bad argument #%d to '%s' (function expected, got %s)"):format(position, maker, got),
        call(arguments), agenda)
    end

    it("agenda." .. maker .. " wants a function", function() refuses("42", 1, "number") end)

    it("agenda." .. maker .. " wants a function after a name", function() refuses("'name', {}", 2, "table") end)

    it("agenda." .. maker .. " with a name alone is refused", function() refuses("'name'", 2, "no value") end)

    it("agenda." .. maker .. " refuses no argument at all", function() refuses("", 1, "no value") end)
  end

  for label, receiver in pairs { ["a table"] = {}, ["a string"] = "text", ["another kind of object"] = false } do
    it("a method refuses " .. label .. " as its receiver", function()
      local g = empty_generator()
      local wrong = receiver or empty_asyncgen()
      local ok, err = pcall(function() g.next(wrong) return 1 end)
      assert.is_false(ok)
      assert.is_string(err)
      assert.is_truthy(err:find("bad argument #1 to 'next' (agenda.generator expected, got ", 1, true))
    end)
  end

  it("hooks must be functions", function()
    assert.has_error(function() agenda.set_asyncgen_hooks { firstiter = 42 } end)
    assert.has_error(function() agenda.set_asyncgen_hooks { finalizer = "x" } end)
    assert.has_error(function() agenda.set_asyncgen_hooks(42) end)
  end)

  it("is a plain string, not an error object", function()
    local _, err = pcall(agenda.generator, 42)
    assert.is_string(err)
    assert.is_false(errors.BaseError:is(err))
  end)
end)

describe("conventions: how objects show themselves", function()
  local cases = {
    generator = { empty_generator, "^<generator .+ at 0x%x+>$" },
    coroutine = { empty_coroutine, "^<coroutine .+ at 0x%x+>$" },
    async_generator = { empty_asyncgen, "^<async_generator .+ at 0x%x+>$" },
  }
  for kind, case in pairs(cases) do
    it("tostring of a " .. kind .. " says its kind, name and address", function()
      assert.is_truthy(tostring(case[1]()):find(case[2]))
    end)

    it("a " .. kind .. "'s metatable has a __name of agenda's", function()
      assert.is_truthy(getmetatable(case[1]()).__name:find("^agenda%.%l"))
    end)

    it("agenda.type of a " .. kind, function()
      assert.equal(kind, agenda.type(case[1]()))
    end)

    it("two " .. kind .. "s show different addresses", function()
      local one, two = case[1](), case[1]()
      assert.are_not.equal(tostring(one), tostring(two))
    end)
  end

  it("an async generator's metatable is named agenda.asyncgen", function()
    assert.equal("agenda.asyncgen", getmetatable(empty_asyncgen()).__name)
  end)

  it("awaitables of an async generator show themselves", function()
    local g = empty_asyncgen()
    for _, method in ipairs { "anext", "asend", "aclose" } do
      local aw = g[method](g)
      assert.is_truthy(tostring(aw):find("^<.+ at 0x%x+>$"))
      assert.is_truthy(getmetatable(aw).__name:find("^agenda%."))
      aw:close()
    end
  end)

  it("futures, tasks and loops show themselves", function()
    agenda.run(function()
      for _, object in ipairs { agenda.future(), agenda.current_task(), agenda.get_running_loop() } do
        assert.is_truthy(tostring(object):find("^<.+>$"))
        assert.is_truthy(getmetatable(object).__name:find("^agenda%."))
      end
    end)
  end)

  it("agenda.type knows futures, tasks and loops", function()
    agenda.run(function()
      assert.equal("future", agenda.type(agenda.future()))
      assert.equal("task", agenda.type(agenda.current_task()))
      assert.equal("event_loop", agenda.type(agenda.get_running_loop()))
    end)
  end)

  for label, value in pairs { string = "x", number = 1, table = {}, ["function"] = print,
      thread = coroutine.create(print), ["Lua file"] = io.stdout, boolean = false } do
    it("agenda.type of a " .. label .. " is nil", function()
      assert.is_nil(agenda.type(value))
    end)
  end

  it("agenda.type of nil is nil", function()
    assert.is_nil(agenda.type(nil))
  end)

  it("agenda._VERSION is a string", function()
    assert.is_string(agenda._VERSION)
  end)

  it("a wrong argument of agenda's is named by its __name", function()
    agenda.run(function()
      local _, err = pcall(agenda.sleep, empty_generator())
      assert.is_truthy(err:find("number expected, got agenda.generator", 1, true))
    end)
  end)
end)

describe("conventions: names", function()
  local function body() end
  local line = debug.getinfo(body, "S").linedefined

  for _, maker in ipairs { "generator", "async", "asyncgen" } do
    it("agenda." .. maker .. " takes a name first", function()
      local object = agenda[maker]("ticker", body)()
      assert.equal("ticker", object.name)
      assert.is_truthy(tostring(object):find(" ticker at ", 1, true))
      if maker == "async" then object:close() end
    end)

    it("agenda." .. maker .. " names by file and line otherwise", function()
      local object = agenda[maker](body)()
      assert.is_truthy(object.name:find("conventions_spec%.lua:" .. line .. "$"))
      if maker == "async" then object:close() end
    end)

    it("what agenda." .. maker .. " returns is a Lua function", function()
      assert.equal("function", type(agenda[maker](body)))
    end)

    it("agenda." .. maker .. " passes the arguments to the body", function()
      local seen
      local make = agenda[maker](function(...) seen = table.pack(...) end)
      local object = make(nil, 2, nil, nil)
      if maker == "generator" then pcall(object.next, object)
      elseif maker == "async" then pcall(object.send, object)
      else local aw = object:anext() pcall(aw.send, aw) end
      assert.same({ n = 4, nil, 2, nil, nil }, seen)
    end)
  end

  for _, maker in ipairs { "generator", "asyncgen", "async" } do
    it("an assigned name of agenda." .. maker .. "'s object shows in tostring", function()
      local object = agenda[maker]("before", body)()
      object.name = "after"
      assert.equal("after", object.name)
      assert.is_truthy(tostring(object):find(" after at ", 1, true))
      if maker == "async" then object:close() end
    end)

    it("a name of agenda." .. maker .. "'s object must be a string", function()
      local object = agenda[maker]("kept", body)()
      assert.has_error(function() object.name = 123 end)
      assert.has_error(function() object.name = nil end)
      assert.equal("kept", object.name)
      if maker == "async" then object:close() end
    end)

    it("agenda." .. maker .. "'s object takes no fields of the user's", function()
      local object = agenda[maker]("kept", body)()
      assert.has_error(function() object.whatever = 1 end)
      if maker == "async" then object:close() end
    end)
  end

  it("an unknown field is nil", function()
    assert.is_nil(empty_generator().no_such_field)
    assert.is_nil(empty_asyncgen().no_such_field)
  end)
end)

describe("conventions: warnings", function()
  it("go to the handler when no loop runs", function()
    local seen = expect.warnings(function() agenda.async("forgotten", nothing)() end)
    assert.equal(1, #seen)
    assert.is_truthy(seen[1]:find("coroutine 'forgotten' was never awaited", 1, true))
  end)

  it("go to the running loop's exception handler", function()
    local reports = expect.reports(function()
      agenda.async("forgotten", nothing)()
      expect.collect()
    end)
    assert.equal(1, #reports)
    assert.is_truthy(reports[1].message:find("coroutine 'forgotten' was never awaited", 1, true))
  end)

  it("go to the loop's handler rather than to the other one", function()
    local other = expect.warnings(function()
      expect.reports(function()
        agenda.async("forgotten", nothing)()
        expect.collect()
      end)
    end)
    assert.same({}, other)
  end)

  it("are one line on stderr without either", function()
    local output, ok = expect.script [[
      local agenda = require "agenda"
      agenda.async("forgotten", function() end)()
      collectgarbage() collectgarbage() collectgarbage()
      io.stderr:write("end\n")
    ]]
    assert.is_true(ok)
    assert.is_truthy(output:find("^[^\n]*coroutine 'forgotten' was never awaited[^\n]*\nend\n$"))
  end)

  it("a handler that fails hurts nobody, and both are told on stderr", function()
    local output, ok = expect.script [[
      local agenda = require "agenda"
      agenda.set_warning_handler(function() error("the handler fails") end)
      agenda.async("forgotten", function() end)()
      collectgarbage() collectgarbage() collectgarbage()
    ]]
    assert.is_true(ok)
    assert.is_truthy(output:find("the handler fails", 1, true))
    assert.is_truthy(output:find("coroutine 'forgotten' was never awaited", 1, true))
  end)
end)
