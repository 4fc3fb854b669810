-- What a Lua that the core cannot run on is told.
describe("require 'agenda' without Lua 5.4", function()
  it("names the portable edition", function()
    local close = coroutine.close
    coroutine.close = nil -- luacheck: ignore
    local loaded, err = pcall(assert(loadfile(package.searchpath("agenda", package.path))))
    coroutine.close = close -- luacheck: ignore
    assert.is_false(loaded)
    assert.truthy(tostring(err):find("agenda.portable", 1, true))
  end)
end)
