local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors = agenda.errors

local function group(...)
  return errors.ExceptionGroup("several", { errors = { ... } })
end

describe("ExceptionGroup:split", function()
  local value, kind = errors.ValueError("v"), errors.TypeError("t")

  it("gives the errors of the class, and the others", function()
    local yes, no = group(value, kind, "text"):split(errors.ValueError)
    assert.same({ value }, yes.errors)
    assert.same({ kind, "text" }, no.errors)
  end)

  it("gives ExceptionGroups", function()
    local yes, no = group(value, kind):split(errors.ValueError)
    assert.is_true(errors.ExceptionGroup:is(yes))
    assert.is_true(errors.ExceptionGroup:is(no))
  end)

  it("counts descendants of the class", function()
    local yes, no = group(value, kind):split(errors.Error)
    assert.same({ value, kind }, yes.errors)
    assert.is_nil(no)
  end)

  it("gives nil for a group without errors of the class", function()
    local yes, no = group(value):split(errors.OSError)
    assert.is_nil(yes)
    assert.same({ value }, no.errors)
  end)

  it("gives nil for a group without others", function()
    local yes, no = group(value):split(errors.ValueError)
    assert.same({ value }, yes.errors)
    assert.is_nil(no)
  end)

  it("keeps nested groups nested", function()
    local yes, no = group(kind, group(value, group(kind, value))):split(errors.ValueError)
    assert.equal(1, #yes.errors)
    assert.equal(value, yes.errors[1].errors[1])
    assert.same({ value }, yes.errors[1].errors[2].errors)
    assert.equal(kind, no.errors[1])
    assert.same({ kind }, no.errors[2].errors[1].errors)
  end)

  it("leaves nested groups without errors out", function()
    local yes, no = group(group(kind), value):split(errors.ValueError)
    assert.same({ value }, yes.errors)
    assert.equal(1, #no.errors)
    assert.same({ kind }, no.errors[1].errors)
  end)

  it("gives the group itself if it is of the class", function()
    local whole = group(value)
    local yes, no = whole:split(errors.ExceptionGroup)
    assert.equal(whole, yes)
    assert.is_nil(no)
  end)

  it("keeps message and cause", function()
    local whole = errors.ExceptionGroup("m", { errors = { value, kind }, cause = "c" })
    local yes, no = whole:split(errors.ValueError)
    assert.equal("m", yes.message)
    assert.equal("c", no.cause)
  end)

  it("keeps the names of the tasks", function()
    local whole = errors.ExceptionGroup("m", { errors = { value, kind }, tasks = { "a", "b" } })
    local yes, no = whole:split(errors.ValueError)
    assert.same({ "a" }, yes.tasks)
    assert.same({ "b" }, no.tasks)
  end)

  it("keeps the class of a descendant", function()
    local Mine = errors.class("Mine", errors.ExceptionGroup)
    local yes = Mine("m", { errors = { value, kind } }):split(errors.ValueError)
    assert.is_true(Mine:is(yes))
  end)

  it("by the class of all errors looks at the errors, not at the group", function()
    local yes, no = group(value, "text"):split(errors.BaseError)
    assert.same({ value }, yes.errors)
    assert.same({ "text" }, no.errors)
  end)

  it("gives nested groups of a class of groups whole", function()
    local Mine = errors.class("Mine", errors.ExceptionGroup)
    local mine = Mine("m", { errors = { value } })
    local yes, no = group(mine, value):split(Mine)
    assert.equal(mine, yes.errors[1])
    assert.same({ value }, no.errors)
  end)

  it("leaves the group as it was", function()
    local whole = group(value, kind)
    whole:split(errors.ValueError)
    assert.same({ value, kind }, whole.errors)
  end)

  it("takes a function", function()
    local yes, no = group("a", "b"):split(function(err) return err == "a" end)
    assert.same({ "a" }, yes.errors)
    assert.same({ "b" }, no.errors)
  end)

  it("puts values of any kind among the others", function()
    local yes, no = group("text", 42, false):split(errors.Error)
    assert.is_nil(yes)
    assert.same({ "text", 42, false }, no.errors)
  end)

  it("refuses what is no class", function()
    loopkit.bad_argument(2, "split", function() group(value):split("ValueError") end)
  end)

  it("refuses what is no group", function()
    loopkit.bad_argument(1, "split", function() errors.ExceptionGroup.split(value, errors.Error) end)
  end)
end)

describe("tostring of an ExceptionGroup", function()
  it("shows the errors", function()
    assert.equal("ExceptionGroup: several (2 errors)\n+- ValueError: v\n+- text",
      tostring(group(errors.ValueError("v"), "text")))
  end)

  it("shows nested groups as a tree", function()
    assert.equal(table.concat({
      "ExceptionGroup: several (2 errors)",
      "+- ExceptionGroup: several (2 errors)",
      "|  +- a",
      "|  +- b",
      "+- ExceptionGroup: several (1 error)",
      "   +- c",
    }, "\n"), tostring(group(group("a", "b"), group("c"))))
  end)

  it("shows the names of the tasks", function()
    local err = errors.ExceptionGroup("m", { errors = { "a", "b" }, tasks = { "Task-7", false } })
    assert.equal("ExceptionGroup: m (2 errors)\n+- Task-7: a\n+- b", tostring(err))
  end)

  it("indents the lines of a long message", function()
    assert.equal("ExceptionGroup: several (2 errors)\n+- a\n|  b\n+- c\n   d", tostring(group("a\nb", "c\nd")))
  end)

  it("does without a message", function()
    assert.equal("ExceptionGroup (1 error)\n+- a", tostring(errors.ExceptionGroup(nil, { errors = { "a" } })))
  end)

  it("shows a group that is in there twice as often", function()
    local inner = group("a")
    local part = "+- ExceptionGroup: several (1 error)\n"
    assert.equal("ExceptionGroup: several (2 errors)\n" .. part .. "|  +- a\n" .. part .. "   +- a",
      tostring(group(inner, inner)))
  end)

  it("copes with a group that holds itself", function()
    local err = group("a")
    err.errors[2] = err
    assert.truthy(tostring(err):find("...", 1, true))
  end)

  it("shows that of a task group with the tasks' names", function()
    agenda.run(function()
      local err = loopkit.fails(errors.ExceptionGroup, agenda.with_taskgroup, function(tg)
        tg:spawn(error, "wrong", 0):set_name("worker")
        pcall(agenda.sleep, 60)
        error("block", 0)
      end)
      assert.truthy(tostring(err):find("\n+- worker: wrong\n+- block", 1, true))
    end)
  end)

  it("is the same after the module is loaded anew #core", function()
    local before = group("a")
    local name = "agenda.exception_group"
    local loaded = package.loaded[name]
    package.loaded[name] = nil
    require(name)
    package.loaded[name] = loaded
    assert.equal("ExceptionGroup: several (1 error)\n+- a", tostring(before))
    assert.is_nil((before:split(errors.OSError)))
  end)
end)
