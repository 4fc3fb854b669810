local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors

local parents = {
  GeneratorExit = "BaseError", CancelledError = "BaseError", KeyboardInterrupt = "BaseError",
  Error = "BaseError", RuntimeError = "Error", TypeError = "Error", ValueError = "Error",
  InvalidStateError = "Error", TimeoutError = "Error", StopIteration = "Error",
  StopAsyncIteration = "Error", OSError = "Error", TLSError = "Error", IncompleteReadError = "Error",
  LimitOverrunError = "Error", QueueEmpty = "Error", QueueFull = "Error", QueueShutDown = "Error",
  BrokenBarrierError = "Error", ExceptionGroup = "Error",
}

local function make(name, message)
  return errors[name](message, name == "ExceptionGroup" and { errors = { "one" } } or nil)
end

describe("errors: the classes", function()
  for name, parent in pairs(parents) do
    it(name .. " makes errors that are its own and its parent's", function()
      local err = make(name, "text")
      assert.is_true(errors[name]:is(err))
      assert.is_true(errors[parent]:is(err))
      assert.is_true(errors.BaseError:is(err))
      assert.equal(name, err.name)
    end)
  end

  for _, name in ipairs { "GeneratorExit", "CancelledError", "KeyboardInterrupt" } do
    it(name .. " is no Error", function()
      assert.is_false(errors.Error:is(errors[name]()))
    end)
  end

  it("a parent's error is not its child's", function()
    assert.is_false(errors.ValueError:is(errors.Error("text")))
  end)

  it("a sibling's error is not its own", function()
    assert.is_false(errors.ValueError:is(errors.TypeError("text")))
  end)

  it("StopAsyncIteration is no StopIteration", function()
    assert.is_false(errors.StopIteration:is(errors.StopAsyncIteration()))
  end)

  for label, value in pairs { string = "ValueError: text", number = 1, boolean = true,
      table = { name = "ValueError" }, ["function"] = print } do
    it("is() is false for a " .. label, function()
      assert.is_false(errors.ValueError:is(value))
    end)
  end

  it("is() is false for nil", function()
    assert.is_false(errors.BaseError:is(nil))
  end)

  it("is() is false for a class itself", function()
    assert.is_false(errors.ValueError:is(errors.ValueError))
  end)

  it("is() is false for a foreign table whose metatable looks like a class", function()
    local foreign = setmetatable({ class = {}, name = "ValueError" }, { __index = { message = "x" } })
    assert.is_false(errors.ValueError:is(foreign))
  end)
end)

describe("errors: an error object", function()
  it("knows its class", function()
    assert.equal(errors.ValueError, errors.ValueError("text").class)
  end)

  it("knows its class's name", function()
    assert.equal("ValueError", errors.ValueError("text").name)
  end)

  it("keeps its message", function()
    assert.equal("text", errors.ValueError("text").message)
  end)

  it("has no cause unless given one", function()
    assert.is_nil(errors.ValueError("text").cause)
  end)

  it("merges the fields table", function()
    local err = errors.OSError("refused", { errno = 111, code = "ECONNREFUSED", syscall = "connect" })
    assert.equal(111, err.errno)
    assert.equal("ECONNREFUSED", err.code)
    assert.equal("connect", err.syscall)
  end)

  it("takes a cause among the fields", function()
    local cause = errors.ValueError("below")
    assert.equal(cause, errors.RuntimeError("above", { cause = cause }).cause)
  end)

  it("takes fields of the user's own", function()
    local payload = {}
    assert.equal(payload, errors.Error("text", { payload = payload }).payload)
  end)

  it("does not share its fields with the next", function()
    errors.Error("one", { extra = 1 })
    assert.is_nil(errors.Error("two").extra)
  end)

  it("is no alias of the fields table", function()
    local fields = { extra = 1 }
    local err = errors.Error("text", fields)
    fields.extra = 2
    assert.equal(1, err.extra)
  end)

  it("shows class and message through tostring", function()
    assert.equal("TimeoutError: message", tostring(errors.TimeoutError("message")))
  end)

  it("shows all of a message that has zero bytes", function()
    assert.equal("ValueError: a\0b", tostring(errors.ValueError("a\0b")))
  end)

  it("shows the class alone when there is no message", function()
    assert.equal("TimeoutError", tostring(errors.TimeoutError()))
    assert.equal("TimeoutError", tostring(errors.TimeoutError("")))
    assert.equal("TimeoutError: false", tostring(errors.TimeoutError(false)))
  end)

  it("has no traceback before it is raised", function()
    assert.is_nil(errors.Error("text").traceback)
  end)

  it("two of them with one text are not equal", function()
    assert.are_not.equal(errors.Error("text"), errors.Error("text"))
  end)

  it("travels through error() and pcall unchanged", function()
    local err = errors.Error("text")
    expect.raises_same(err, error, err)
  end)

  it("StopIteration carries what the fields say", function()
    local err = errors.StopIteration(nil, { value = 5, values = table.pack(5, nil) })
    assert.equal(5, err.value)
    assert.equal(2, err.values.n)
  end)

  it("IncompleteReadError carries partial and expected", function()
    local err = errors.IncompleteReadError("short", { partial = "ab", expected = 4 })
    assert.equal("ab", err.partial)
    assert.equal(4, err.expected)
  end)

  it("ExceptionGroup keeps its list", function()
    local one, two = errors.ValueError("one"), "two"
    local group = errors.ExceptionGroup("several", { errors = { one, two } })
    assert.equal(one, group.errors[1])
    assert.equal(two, group.errors[2])
    assert.equal(2, #group.errors)
  end)

  it("takes only a table of fields, its second argument", function()
    expect.bad_argument("bad argument #2 to 'ValueError' (table expected, got number)", function()
      local err = errors.ValueError("message", 5)
      return err
    end)
  end)

  it("ExceptionGroup with no errors is refused", function()
    assert.has_error(function() errors.ExceptionGroup("none", { errors = {} }) end)
  end)

  it("ExceptionGroup without the field is refused", function()
    assert.has_error(function() errors.ExceptionGroup("none") end)
  end)

  it("the class ExceptionGroup in place of an error is refused, and nothing is raised", function()
    local g = agenda.generator(function() agenda.yield(1) agenda.yield(2) end)()
    g:next()
    for _, class in ipairs { errors.ExceptionGroup, errors.class("Mine", errors.ExceptionGroup) } do
      expect.raises(errors.ValueError, "an ExceptionGroup needs a list of at least one error",
        g.throw, g, class)
    end
    assert.equal(2, g:next())
  end)
end)

describe("errors.class", function()
  it("makes a class under Error by default", function()
    local Mine = errors.class("Mine")
    assert.is_true(errors.Error:is(Mine("text")))
    assert.is_true(Mine:is(Mine("text")))
  end)

  it("gives its errors the name", function()
    local err = errors.class("Mine")("text")
    assert.equal("Mine", err.name)
    assert.equal("Mine: text", tostring(err))
  end)

  it("takes a parent", function()
    local Mine = errors.class("Mine", errors.ValueError)
    assert.is_true(errors.ValueError:is(Mine("text")))
    assert.is_false(errors.TypeError:is(Mine("text")))
  end)

  it("may have BaseError as its parent", function()
    local Mine = errors.class("Mine", errors.BaseError)
    assert.is_false(errors.Error:is(Mine("text")))
  end)

  it("may have a class of the user's as its parent", function()
    local Mine = errors.class("Mine")
    local Yours = errors.class("Yours", Mine)
    assert.is_true(Mine:is(Yours("text")))
    assert.is_false(Yours:is(Mine("text")))
  end)

  it("two classes of one name are different classes", function()
    local one, two = errors.class("Same"), errors.class("Same")
    assert.is_false(one:is(two("text")))
  end)

  it("merges fields like the built-in ones", function()
    assert.equal(7, errors.class("Mine")("text", { code = 7 }).code)
  end)
end)

describe("errors: loading the library again", function()
  it("keeps every class's identity", function()
    local again = expect.reloaded()
    for name in pairs(parents) do assert.equal(errors[name], again.errors[name]) end
  end)

  it("knows the earlier copy's errors", function()
    local again = expect.reloaded()
    assert.is_true(again.errors.ValueError:is(errors.ValueError("text")))
  end)
end)
