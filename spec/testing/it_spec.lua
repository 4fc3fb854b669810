local agenda = require "agenda"
local testing = require "agenda.testing"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"

describe("testing.it", function()
  local ran, finished = 0, false

  testing.it("runs its body on a virtual clock", function()
    agenda.sleep(3600)
    assert.equal(3600, testing.clock())
    ran = ran + 1
  end)

  it("has defined a spec", function()
    assert.equal(1, ran)
  end)

  testing.it("leaves finally to the body", function()
    finally(function() finished = true end)
    agenda.sleep(1)
  end)

  it("has called what was given to finally", function()
    assert.is_true(finished)
  end)

  it("refuses what is no function", function()
    loopkit.bad_argument(2, "it", function() testing.it("name") end)
  end)

  it("takes the global `it` of another runner", function()
    assert.equal("it works 5\n", script.output [[
      local testing = require "agenda.testing"
      function it(name, f) io.write("it ", name, " ") f() end
      testing.it("works", function() agenda.sleep(5) print(math.tointeger(testing.clock())) end)
    ]])
  end)

  it("lets the body's error out", function()
    assert.equal("false\tmy error\n", script.output [[
      local testing = require "agenda.testing"
      function it(_, f) print(pcall(f)) end
      testing.it("fails", function() agenda.sleep(5) error("my error", 0) end)
    ]])
  end)

  it("needs a runner", function()
    assert.truthy(script.output([[
      local testing = require "agenda.testing"
      print(pcall(testing.it, "x", print))
    ]]):find("there is no busted", 1, true))
  end)
end)
