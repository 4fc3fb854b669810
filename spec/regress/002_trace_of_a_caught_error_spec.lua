local agenda = require "agenda"

-- The awaiting function's frames belong to the trace also when it catches the error.
describe("the trace of an error that the awaiting function catches", function()
  local function raised_by(err)
    local caught
    local failing = agenda.async("failing", function()
      local function innermost()
        error(err, 0)
      end
      agenda.sleep(0)
      innermost()
    end)
    agenda.run(function()
      local function waiting()
        agenda.await(failing())
        return "never"
      end
      local _
      _, caught = pcall(function()
        local result = waiting()
        return result
      end)
    end)
    return caught
  end

  it("shows where an error object was raised and who awaited", function()
    local err = raised_by(agenda.errors.ValueError("bad"))
    assert.truthy(err.traceback:find("innermost", 1, true))
    assert.truthy(err.traceback:find("awaited by:.*waiting"))
  end)

  it("shows the same for a string", function()
    local text = agenda.traceback(raised_by("a string that is raised once"))
    assert.truthy(text:find("innermost", 1, true))
    assert.truthy(text:find("awaited by:.*waiting"))
  end)

  it("shows where a string was raised that nobody catches on the way", function()
    local inner = agenda.async("inner", function()
      local function innermost() error("a string that crosses three coroutines") end
      agenda.sleep(0)
      innermost()
    end)
    local outer = agenda.async("outer", function()
      agenda.await(inner())
      return "never"
    end)
    local err
    agenda.run(function() err = select(2, pcall(agenda.await, agenda.spawn(outer()))) end)
    local text = agenda.traceback(err)
    assert.truthy(text:find("innermost.*awaited by:"))
  end)

  it("is not shown twice when nobody catches it on the way", function()
    local err
    local inner = agenda.async("inner", function() error(agenda.errors.ValueError("bad")) end)
    local outer = agenda.async("outer", function()
      local function between()
        agenda.await(inner())
        return 1
      end
      return between() + 1
    end)
    agenda.run(function()
      err = select(2, pcall(agenda.await, outer()))
    end)
    local _, count = err.traceback:gsub("between", "")
    assert.equal(1, count)
  end)
end)
