-- A chain that was woken is resumed at its leaf, so the outermost part of it looks suspended while
-- the innermost runs. Driven by hand from there, it was resumed where it did not wait.
local agenda = require "agenda"
local errors = agenda.errors
local async, asyncgen, await, suspend = agenda.async, agenda.asyncgen, agenda.await, agenda.suspend

-- Waits, then calls the method of what `find()` gives; suspends with the error.
local function meddler(find, method)
  return async(function()
    suspend("first")
    local x = find()
    local ok, err = pcall(x[method], x, method == "throw" and "thrown" or nil)
    suspend(ok or err)
    return "done"
  end)
end

local function finish(x)
  local ok, err = pcall(x.send, x)
  assert.is_false(ok)
  assert.is_true(errors.StopIteration:is(err))
  assert.equal("done", err.value)
end

describe("driven by hand from within, after a wait,", function()
  for _, method in ipairs { "send", "throw", "close" } do
    it("a coroutine is executing: " .. method, function()
      local outer
      local inner = meddler(function() return outer end, method)
      outer = async(function() return await(inner()) end)()
      assert.equal("first", outer:send())
      assert.equal("ValueError: coroutine already executing", tostring(outer:send()))
      finish(outer)
    end)

    it("a coroutine awaited by another is executing: " .. method, function()
      local middle
      local inner = meddler(function() return middle end, method)
      middle = async(function() return await(inner()) end)()
      local outer = async(function() return await(middle) end)()
      assert.equal("first", outer:send())
      assert.equal("ValueError: coroutine already executing", tostring(outer:send()))
      finish(outer)
    end)

    it("an awaitable's generator is running: " .. method, function()
      local aw
      local inner = meddler(function() return aw end, method)
      local g = asyncgen(function() agenda.yield(await(inner())) end)()
      aw = g:anext()
      assert.equal("first", aw:send())
      assert.equal("RuntimeError: asynchronous generator is already running", tostring(aw:send()))
      finish(aw)
    end)

    it("an awaitable's generator is running, by the body itself: " .. method, function()
      local aw
      local g = asyncgen(function()
        suspend("first")
        suspend(select(2, pcall(aw[method], aw, method == "throw" and "thrown" or nil)))
        agenda.yield("done")
      end)()
      aw = g:anext()
      assert.equal("first", aw:send())
      assert.equal("RuntimeError: asynchronous generator is already running", tostring(aw:send()))
      finish(aw)
    end)
  end

  it("a coroutine cannot be awaited", function()
    local outer
    local inner = async(function()
      suspend("first")
      suspend(select(2, pcall(await, outer)))
      return "done"
    end)
    outer = async(function() return await(inner()) end)()
    assert.equal("first", outer:send())
    assert.equal("ValueError: coroutine already executing", tostring(outer:send()))
    finish(outer)
  end)
end)
