local program = require "spec.support.program"

if not program.available() then return end

describe("a Lua state a thread", function()
  it("runs and is posted to in four threads at once #slow", function()
    local ok, output = program.checked("threads")
    assert.equal("", output)
    assert.is_true(ok)
  end)
end)
