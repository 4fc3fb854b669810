local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local yield, await = agenda.yield, agenda.await

local DEEP = 10000

-- A function that nests `depth` generators of the kind that `maker` makes round `leaf`.
local function nested(maker, depth, leaf)
  local make = agenda[maker]
  local level
  level = make(function(n)
    if n == 0 then return leaf() end
    for v in level(n - 1) do yield(v) end
  end)
  return function() return level(depth) end
end

local function collect(...)
  local list = {}
  for v in ... do list[#list + 1] = v end
  return list
end

local function degenerate_tree(depth)
  local tree
  for i = depth, 1, -1 do tree = { value = i, left = tree } end
  return tree
end

describe("depth #slow", function()
  it("10,000 nested async generators", function()
    agenda.run(function()
      assert.same({ 1, 2 }, collect(nested("asyncgen", DEEP, function() yield(1) yield(2) end)()))
    end)
  end)

  it("10,000 nested async generators whose innermost waits", function()
    agenda.run(function()
      local got = collect(nested("asyncgen", DEEP, function()
        agenda.sleep(0) yield(1) agenda.sleep(0) yield(2)
      end)())
      assert.same({ 1, 2 }, got)
    end)
  end)

  it("an error from the bottom of 10,000 comes out unchanged", function()
    local err = errors.ValueError("bottom")
    agenda.run(function()
      expect.raises_same(err, function()
        return collect(nested("asyncgen", DEEP, function() agenda.sleep(0) error(err) end)())
      end)
    end)
  end)

  it("10,000 are closed from the inside outward when the loop is left", function()
    agenda.run(function()
      local order = {}
      local level
      level = agenda.asyncgen(function(n)
        local _ <close> = expect.finally(function() order[#order + 1] = n end)
        if n == 0 then yield(1) return end
        for v in level(n - 1) do yield(v) end
      end)
      for _ in level(DEEP) do break end -- luacheck: ignore 512
      assert.equal(DEEP + 1, #order)
      assert.equal(0, order[1])
      assert.equal(DEEP, order[#order])
    end)
  end)

  it("a cancellation reaches the bottom of 10,000", function()
    local seen
    agenda.run(function()
      local gen = nested("asyncgen", DEEP, function()
        local _ <close> = expect.finally(function(err) seen = err end)
        agenda.sleep(60)
      end)
      local task = agenda.spawn(function() return collect(gen()) end)
      agenda.sleep(0)
      agenda.sleep(0)
      task:cancel()
      expect.raises(errors.CancelledError, nil, await, task)
    end)
    assert.is_true(errors.CancelledError:is(seen))
  end)

  it("a recursive walk of a tree 10,000 deep", function()
    agenda.run(function()
      local walk
      walk = agenda.asyncgen(function(tree)
        if tree.left then for v in walk(tree.left) do yield(v) end end
        agenda.sleep(0)
        yield(tree.value)
      end)
      -- Every value passes all levels above it: take enough to have been at the bottom.
      local seen = {}
      agenda.each((walk(degenerate_tree(DEEP))), function(v)
        seen[#seen + 1] = v
        return #seen < 20
      end)
      assert.equal(DEEP, seen[1])
      assert.equal(DEEP - 19, seen[20])
    end)
  end)

  it("a whole recursive walk of a tree 1,000 deep", function()
    agenda.run(function()
      local walk
      walk = agenda.asyncgen(function(tree)
        if tree.left then for v in walk(tree.left) do yield(v) end end
        yield(tree.value)
      end)
      local count, sum = 0, 0
      for v in walk(degenerate_tree(1000)) do count, sum = count + 1, sum + v end
      assert.equal(1000, count)
      assert.equal(500500, sum)
    end)
  end)

  it("10,000 nested generators in a task", function()
    agenda.run(function()
      assert.same({ 1, 2 }, collect(nested("generator", DEEP, function() yield(1) yield(2) end)()))
    end)
  end)

  it("10,000 nested generators in a coroutine driven by hand", function()
    local co = agenda.async(function()
      return collect(nested("generator", DEEP, function() yield(1) yield(2) end)())
    end)()
    assert.same({ 1, 2 }, (expect.now(co)))
  end)

  it("10,000 nested generators from the main thread", function()
    assert.same({ 1, 2 }, collect(nested("generator", DEEP, function() yield(1) yield(2) end)()))
  end)

  it("10,000 nested generators from a plain coroutine", function()
    local co = coroutine.wrap(function()
      return collect(nested("generator", DEEP, function() yield(1) yield(2) end)())
    end)
    assert.same({ 1, 2 }, co())
  end)

  it("yield_from 10,000 deep", function()
    local level
    level = agenda.generator(function(n)
      if n == 0 then return "bottom", yield(1) end
      return agenda.yield_from(level(n - 1))
    end)
    local g = level(DEEP)
    assert.equal(1, g:next())
    local err = expect.raises(errors.StopIteration, nil, g.send, g, "sent")
    assert.same({ n = 2, "bottom", "sent" }, err.values)
  end)

  it("a throw reaches the bottom of yield_from 10,000 deep", function()
    local level, seen
    level = agenda.generator(function(n)
      if n == 0 then
        local _, err = pcall(yield, 1)
        seen = err
        yield(2)
        return
      end
      agenda.yield_from(level(n - 1))
    end)
    local g = level(DEEP)
    g:next()
    assert.equal(2, g:throw("thrown"))
    assert.equal("thrown", seen)
  end)

  it("close reaches the bottom of yield_from 10,000 deep", function()
    local level
    local order = {}
    level = agenda.generator(function(n)
      local _ <close> = expect.finally(function() order[#order + 1] = n end)
      if n == 0 then yield(1) else agenda.yield_from(level(n - 1)) end
    end)
    local g = level(DEEP)
    g:next()
    g:close()
    assert.equal(DEEP + 1, #order)
    assert.equal(0, order[1])
  end)

  it("10,000 coroutine objects awaiting one another", function()
    agenda.run(function()
      local level
      level = agenda.async(function(n)
        if n == 0 then return agenda.sleep(0, 0) end
        return await(level(n - 1)) + 1
      end)
      assert.equal(DEEP, await(level(DEEP)))
    end)
  end)

  it("a thousand nested generators dropped at once are all closed", function()
    local closed = 0
    local warnings = expect.warnings(function()
      local level
      level = agenda.generator(function(n)
        local _ <close> = expect.finally(function() closed = closed + 1 end)
        if n == 0 then yield(1) return end
        for v in level(n - 1) do yield(v) end
      end)
      local g = level(1000)
      g:next()
    end)
    assert.equal(1001, closed)
    assert.same({}, warnings)
  end)

  it("many levels of generators deep within a call chain near Lua's C limit", function()
    -- Each string.gsub is a C call: what is left of the 200 is for the generators.
    local function below(n, f)
      if n == 0 then return f() end
      local result
      string.gsub("x", "x", function() result = below(n - 1, f) end)
      return result
    end
    local got = below(30, function()
      return collect(nested("generator", 20, function() yield(1) end)())
    end)
    assert.same({ 1 }, got)
  end)
end)
