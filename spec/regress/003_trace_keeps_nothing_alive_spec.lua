local agenda = require "agenda"

-- A trace named the functions it went through by the functions themselves, and so kept alive
-- what they had captured.
describe("the trace of an error", function()
  local function captured_by_failing(err)
    local captured = setmetatable({}, {__mode = "v"})
    do
      local object = {}
      captured[1] = object
      local failing = agenda.generator(function()
        agenda.yield(object)
        error(err, 0)
      end)
      local g = failing()
      g:next()
      pcall(g.next, g)
    end
    collectgarbage()
    collectgarbage()
    return captured[1]
  end

  it("keeps nothing alive when the error is a string", function()
    assert.is_nil(captured_by_failing("a string that keeps nothing alive"))
  end)

  it("keeps nothing alive when the error is an object that is kept", function()
    local err = agenda.errors.ValueError("kept")
    assert.is_nil(captured_by_failing(err))
    assert.truthy(err.traceback:find("in function <", 1, true))
  end)
end)
