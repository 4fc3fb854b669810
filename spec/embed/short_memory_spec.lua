local program = require "spec.support.program"

if not program.available() then return end

-- Each of some hundred runs requires the library anew.
describe("a host", function()
  it("survives that each allocation in turn is refused #slow", function()
    local ok, output = program.checked("short_memory", "2>/dev/null")
    assert.equal("ok\n", output)
    assert.is_true(ok)
  end)
end)
