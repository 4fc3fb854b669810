-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await = agenda.asyncgen, agenda.yield, agenda.await

local function collect(...)
  local list = {}
  for v in ... do list[#list + 1] = v end
  return list
end

local counter = asyncgen("counter", function(n) for i = 1, n do agenda.sleep(0) yield(i) end end)

local Numbers = {}
Numbers.__index = Numbers
function Numbers.__aiter(self) self.aiters = (self.aiters or 0) + 1 return self end
Numbers.__anext = agenda.async("Numbers.__anext", function(self)
  self.at = (self.at or 0) + 1
  if self.at % 2 == 0 then agenda.sleep(0) end
  if self.at > self.last then error(errors.StopAsyncIteration()) end
  return self.at, self.at * 10
end)

local function numbers(last) return setmetatable({ last = last }, Numbers) end

describe("aiter", function()
  it("of an async generator gives it, nil, nil and what closes it", function()
    local g = counter(1)
    local results = table.pack(agenda.aiter(g))
    assert.equal(4, results.n)
    assert.is_true(rawequal(g, results[1]))
    assert.is_nil(results[2])
    assert.is_nil(results[3])
    assert.is_function(getmetatable(results[4]).__close)
  end)

  it("twice gives the same one", function()
    local g = counter(1)
    assert.is_true(rawequal(g, (agenda.aiter((agenda.aiter(g))))))
  end)

  it("of an object calls __aiter once and __anext for each", function()
    agenda.run(function()
      local object, list = numbers(5), {}
      for a, b in agenda.aiter(object) do list[#list + 1] = a + b end
      assert.same({ 11, 22, 33, 44, 55 }, list)
      assert.equal(1, object.aiters)
    end)
  end)

  it("of what aiter made of an object is the same, with what closes it", function()
    local closing = setmetatable({ last = 3 }, {
      __index = Numbers, __anext = Numbers.__anext, __close = function(self) self.closed = true end,
    })
    local object = setmetatable({}, { __aiter = function() return closing end })
    local it = agenda.aiter(object)
    assert.is_true(rawequal(it, (agenda.aiter(it))))
    assert.is_truthy(tostring(it):find("^<async_iterator of table: "))
    agenda.run(function() agenda.each(it, function() return false end) end)
    assert.is_true(closing.closed)
  end)

  it("of an object may be the last of several sources", function()
    local itertools = require "agenda.itertools"
    agenda.run(function()
      assert.equal(5, itertools.count(itertools.chain(agenda.aiter(numbers(2)), agenda.aiter(numbers(3)))))
    end)
  end)

  it("of an object may be left early", function()
    agenda.run(function()
      local object = numbers(5)
      for a in agenda.aiter(object) do if a == 2 then break end end
      assert.equal(2, object.at)
    end)
  end)

  it("of an object whose __aiter gives another", function()
    agenda.run(function()
      local object = setmetatable({}, { __aiter = function() return numbers(3) end })
      assert.same({ 1, 2, 3 }, collect(agenda.aiter(object)))
    end)
  end)

  it("of an object whose __aiter is an async generator function", function()
    agenda.run(function()
      local object = setmetatable({ 7, 8 }, { __aiter = asyncgen(function(self)
        for _, v in ipairs(self) do agenda.sleep(0) yield(v) end
      end) })
      assert.same({ 7, 8 }, collect(agenda.aiter(object)))
    end)
  end)

  it("what such an __aiter made is closed with the loop at the latest", function()
    local closed = false
    agenda.run(function()
      local object = setmetatable({}, { __aiter = asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) closed = true end)
        while true do yield(1) end
      end) })
      for _ in agenda.aiter(object) do break end
    end)
    assert.is_true(closed)
  end)

  it("of an object whose __aiter is a generator function gives its values and closes it", function()
    local closed = false
    local object = setmetatable({}, { __aiter = agenda.generator(function()
      local _ <close> = expect.finally(function() closed = true end)
      yield(1) yield(2)
    end) })
    agenda.run(function()
      local seen
      for v in agenda.aiter(object) do seen = v break end
      assert.equal(1, seen)
      assert.is_true(closed)
    end)
  end)

  it("of an object whose iterator has __close calls that when the loop is left #close", function()
    local closed = 0
    local object = numbers(3)
    local metatable = {
      __aiter = function() return object end, __anext = Numbers.__anext, __index = Numbers,
      __close = function() agenda.sleep(0) closed = closed + 1 end,
    }
    setmetatable(object, metatable)
    agenda.run(function()
      for _ in agenda.aiter(object) do break end
      assert.equal(1, closed)
    end)
  end)

  it("of an object whose __anext gives a leading nil is RuntimeError, never a silent end", function()
    local object = setmetatable({}, {
      __aiter = function(self) return self end,
      __anext = agenda.async(function() return nil, 2 end),
    })
    agenda.run(function()
      expect.raises_like(errors.RuntimeError, "leading nil", collect, agenda.aiter(object))
    end)
  end)

  it("of a generator gives its values and closes it", function()
    local closed = false
    local gen = agenda.generator(function()
      local _ <close> = expect.finally(function() closed = true end)
      yield(1) yield(2)
    end)
    agenda.run(function()
      local seen
      for v in agenda.aiter((gen())) do seen = v break end
      assert.equal(1, seen)
      assert.is_true(closed)
    end)
  end)

  it("passes a plain iterator triple through", function()
    local results = table.pack(agenda.aiter(pairs { a = 1 }))
    assert.equal(next, results[1])
    assert.equal("table", type(results[2]))
    assert.is_nil(results[3])
    agenda.run(function()
      local seen = {}
      for k, v in agenda.aiter(pairs { a = 1, b = 2 }) do seen[k] = v end
      assert.same({ a = 1, b = 2 }, seen)
    end)
  end)

  for label, value in pairs { number = 1, string = "text", boolean = true, table = {} } do
    it("refuses a " .. label .. " with TypeError", function()
      expect.raises(errors.TypeError, nil, agenda.aiter, value)
    end)
  end

  it("refuses nil", function()
    assert.is_false((pcall(agenda.aiter, nil)))
    assert.is_false((pcall(agenda.aiter)))
  end)

  it("refuses an object whose __aiter gives no async iterator", function()
    agenda.run(function()
      local object = setmetatable({}, { __aiter = function() return 42 end })
      expect.raises(errors.TypeError, nil, function() return collect(agenda.aiter(object)) end)
    end)
  end)

  it("refuses an object with __aiter and no __anext", function()
    agenda.run(function()
      local object = setmetatable({}, { __aiter = function(self) return self end })
      expect.raises(errors.TypeError, nil, function() return collect(agenda.aiter(object)) end)
    end)
  end)

  it("an error in __aiter comes out", function()
    local object = setmetatable({}, { __aiter = function() error("in __aiter", 0) end })
    expect.raises_same("in __aiter", agenda.run, function() return collect(agenda.aiter(object)) end)
  end)

  it("an error in __anext comes out of the loop", function()
    local object = setmetatable({}, {
      __aiter = function(self) return self end,
      __anext = agenda.async(function() agenda.sleep(0) error("in __anext", 0) end),
    })
    expect.raises_same("in __anext", agenda.run, function() return collect(agenda.aiter(object)) end)
  end)

  for label, value in pairs { table = {}, number = 42, ["function"] = print } do
    it("an __anext that gives a " .. label .. " is TypeError", function()
      local object = setmetatable({}, {
        __aiter = function(self) return self end,
        __anext = function() return value end,
      })
      agenda.run(function()
        expect.raises(errors.TypeError, nil, function() return collect(agenda.aiter(object)) end)
      end)
    end)
  end

  it("an __anext that gives a generator is TypeError", function()
    local object = setmetatable({}, {
      __aiter = function(self) return self end,
      __anext = agenda.generator(function() yield(1) end),
    })
    agenda.run(function()
      expect.raises(errors.TypeError, nil, function() return collect(agenda.aiter(object)) end)
    end)
  end)

  it("an __anext may give a Future", function()
    agenda.run(function()
      local object = setmetatable({ n = 0 }, {
        __aiter = function(self) return self end,
        __anext = function(self)
          self.n = self.n + 1
          local fut = agenda.future()
          if self.n > 2 then fut:set_exception(errors.StopAsyncIteration()) else fut:set_result(self.n) end
          return fut
        end,
      })
      assert.same({ 1, 2 }, collect(agenda.aiter(object)))
    end)
  end)
end)

describe("agenda.anext", function()
  it("of an async generator gives an awaitable of the next values", function()
    agenda.run(function()
      local g = counter(2)
      assert.equal(1, await(agenda.anext(g)))
      assert.equal(2, await(agenda.anext(g)))
      expect.raises(errors.StopAsyncIteration, nil, await, agenda.anext(g))
    end)
  end)

  it("of an object gives an awaitable of the next values", function()
    agenda.run(function()
      local object = numbers(1)
      assert.same({ n = 2, 1, 10 }, table.pack(await(agenda.anext(object))))
      expect.raises(errors.StopAsyncIteration, nil, await, agenda.anext(object))
    end)
  end)

  for label, make in pairs { ["an async generator"] = function() return (counter(1)) end,
      ["an object"] = function() return numbers(1) end } do
    it("of " .. label .. " gives the default at the end, each time", function()
      agenda.run(function()
        local it = make()
        assert.equal(1, (await(agenda.anext(it, "default"))))
        assert.equal("default", (await(agenda.anext(it, "default"))))
        assert.equal("default", (await(agenda.anext(it, "default"))))
      end)
    end)
  end

  it("takes several default values, nils among them", function()
    agenda.run(function()
      assert.same({ n = 3, nil, 2, nil }, table.pack(await(agenda.anext((counter(0)), nil, 2, nil))))
    end)
  end)

  it("keeps default values that only look like such a call", function()
    agenda.run(function()
      assert.same({ n = 4, 5, nil, nil, 5 }, table.pack(await(agenda.anext((counter(0)), 5, nil, nil, 5))))
    end)
  end)

  it("takes nil as a default", function()
    agenda.run(function()
      assert.same({ n = 1, nil }, table.pack(await(agenda.anext((counter(0)), nil))))
    end)
  end)

  it("of a call of a generator function has no default", function()
    agenda.run(function()
      expect.raises(errors.StopAsyncIteration, nil, await, agenda.anext(counter(0)))
    end)
  end)

  it("with such a call as default gives the generator alone", function()
    agenda.run(function()
      local results = table.pack(await(agenda.anext((counter(0)), counter(1))))
      assert.equal(1, results.n)
      assert.is_true(agenda.isasyncgen(results[1]))
    end)
  end)

  it("takes what aiter makes of an object", function()
    agenda.run(function()
      local it = agenda.aiter(numbers(2))
      assert.same({ n = 2, 1, 10 }, table.pack(await(agenda.anext(it))))
      assert.same({ n = 2, 2, 20 }, table.pack(it()))
      expect.raises(errors.StopAsyncIteration, nil, await, agenda.anext(it))
      assert.equal("default", (await(agenda.anext(it, "default"))))
    end)
  end)

  it("does nothing until awaited", function()
    local ran = false
    local g = asyncgen(function() ran = true yield(1) end)()
    assert.is_true(agenda.isawaitable(agenda.anext(g)))
    assert.is_false(ran)
  end)

  it("with a default may be driven by hand", function()
    local g = asyncgen(function() agenda.suspend("wait") end)()
    local aw = agenda.anext(g, "default")
    assert.equal("wait", aw:send())
    assert.equal("default", (expect.now(aw)))
  end)

  it("with a default hands a throw to the body", function()
    local seen
    local g = asyncgen(function()
      local _, err = pcall(agenda.suspend, 1)
      seen = err
      agenda.suspend(2)
    end)()
    local aw = agenda.anext(g, "default")
    assert.equal(1, aw:send())
    assert.equal(2, aw:throw("thrown"))
    assert.equal("thrown", seen)
    assert.equal("default", (expect.now(aw)))
  end)

  it("with a default lets a throw that is not handled out", function()
    local g = asyncgen(function() agenda.suspend(1) end)()
    local aw = agenda.anext(g, "default")
    aw:send()
    expect.raises_same("thrown", aw.throw, aw, "thrown")
  end)

  it("with a default and closed cannot be awaited again", function()
    local g = asyncgen(function() agenda.suspend(1) end)()
    local aw = agenda.anext(g, "default")
    aw:send()
    aw:close()
    expect.raises_like(errors.RuntimeError, "cannot reuse", aw.send, aw)
  end)

  it("with a default lets other errors out", function()
    agenda.run(function()
      expect.raises_same("body", await, agenda.anext((asyncgen(function() error("body", 0) end)()), "default"))
    end)
  end)

  it("an error of an object's awaitable comes out, default or not", function()
    local failing = setmetatable({}, { __await = function() error("awaited", 0) end })
    local object = setmetatable({}, { __anext = function() return failing end })
    agenda.run(function()
      expect.raises_same("awaited", function() return await(agenda.anext(object)) end)
      expect.raises_same("awaited", function() return await(agenda.anext(object, "default")) end)
    end)
  end)

  it("of an object whose __anext gives nothing to await is TypeError", function()
    local object = setmetatable({}, { __anext = function() return {} end })
    agenda.run(function()
      expect.raises(errors.TypeError, nil, function() return await(agenda.anext(object)) end)
      expect.raises(errors.TypeError, nil, function() return await(agenda.anext(object, "default")) end)
    end)
  end)

  it("of such an object is refused by the await, not by the call", function()
    local object = setmetatable({}, { __anext = function() return {} end })
    local bare, defaulted = agenda.anext(object), agenda.anext(object, "default")
    agenda.run(function()
      expect.raises(errors.TypeError, nil, await, bare)
      expect.raises(errors.TypeError, nil, await, defaulted)
    end)
  end)

  for label, value in pairs { number = 1, table = {}, string = "text" } do
    it("refuses a " .. label, function()
      agenda.run(function()
        expect.raises(errors.TypeError, nil, function() return await(agenda.anext(value)) end)
      end)
    end)
  end

  it("refuses no argument", function()
    assert.is_false((pcall(agenda.anext)))
  end)
end)
