-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await = agenda.asyncgen, agenda.yield, agenda.await

local counter = asyncgen("counter", function(n) for i = 1, n do agenda.sleep(0) yield(i) end end)

describe("agenda.each", function()
  it("calls the function for each step's values", function()
    agenda.run(function()
      local rows = {}
      agenda.each((asyncgen(function() yield(1, nil, 3) yield(2) end)()), function(...)
        rows[#rows + 1] = table.pack(...)
      end)
      assert.same({ { n = 3, 1, nil, 3 }, { n = 1, 2 } }, rows)
    end)
  end)

  it("stops at false and closes before it returns", function()
    agenda.run(function()
      local log = {}
      local g = asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) log[#log + 1] = "closed" end)
        for i = 1, 5 do yield(i) end
      end)()
      agenda.each(g, function(v) log[#log + 1] = v return v ~= 2 end)
      assert.same({ 1, 2, "closed" }, log)
    end)
  end)

  it("nil does not stop it", function()
    agenda.run(function()
      local count = 0
      agenda.each((counter(3)), function() count = count + 1 end)
      assert.equal(3, count)
    end)
  end)

  it("closes when the function fails", function()
    agenda.run(function()
      local g = counter(3)
      expect.raises_same("callback", agenda.each, g, function() error("callback", 0) end)
      assert.is_nil(g.ag_frame)
    end)
  end)

  it("closes when it is cancelled", function()
    local closed = false
    agenda.run(function()
      local gen = asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) closed = true end)
        yield(1)
      end)
      local task = agenda.spawn(function() agenda.each((gen()), function() agenda.sleep(60) end) end)
      agenda.sleep(0)
      task:cancel()
      expect.raises(errors.CancelledError, nil, await, task)
    end)
    assert.is_true(closed)
  end)

  it("its function may wait", function()
    agenda.run(function()
      local seen = {}
      agenda.each((counter(2)), function(v) seen[#seen + 1] = agenda.sleep(0, v * 10) end)
      assert.same({ 10, 20 }, seen)
    end)
  end)

  it("its variable may be captured, whatever the compiler does", function()
    agenda.run(function()
      local kept = {}
      agenda.each((counter(5)), function(v)
        kept[#kept + 1] = function() return v end
        return v < 2
      end)
      assert.equal(2, #kept)
      assert.equal(2, kept[2]())
    end)
  end)

  it("raises the body's error", function()
    agenda.run(function()
      local g = asyncgen(function() yield(1) error("body", 0) end)()
      expect.raises_same("body", agenda.each, g, function() end)
    end)
  end)
end)

describe("agenda.aclosing", function()
  it("refuses what cannot be closed", function()
    expect.raises(errors.TypeError, "'table' object cannot be closed: it has neither aclose nor __close",
      agenda.aclosing, {}, print)
  end)

  it("calls the function once with the generator and closes it after", function()
    agenda.run(function()
      local calls, inside = {}, nil
      local g = counter(3)
      agenda.aclosing(g, function(...)
        calls[#calls + 1] = table.pack(...)
        await(g:anext())
        inside = g.ag_frame
      end)
      assert.equal(1, #calls)
      assert.is_true(rawequal(g, calls[1][1]))
      assert.is_not_nil(inside)
      assert.is_nil(g.ag_frame)
    end)
  end)

  it("closes it when the function fails", function()
    agenda.run(function()
      local g = counter(3)
      expect.raises_same("callback", agenda.aclosing, g, function()
        await(g:anext())
        error("callback", 0)
      end)
      assert.is_nil(g.ag_frame)
    end)
  end)

  it("awaits the cleanup", function()
    agenda.run(function()
      local closed = false
      agenda.aclosing((asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) closed = true end)
        yield(1)
      end)()), function(g) await(g:anext()) end)
      assert.is_true(closed)
    end)
  end)
end)

describe("agenda.each and agenda.aclosing", function()
  for _, name in ipairs { "each", "aclosing" } do
    it(name .. " refuses what cannot be called, and does not begin", function()
      local g = (agenda.asyncgen(function() agenda.yield(1) end)())
      expect.bad_argument(("bad argument #2 to '%s' (function expected, got number)"):format(name),
        function() agenda[name](g, 42) end)
      assert.is_table(g.ag_frame)
      assert.is_false(g.ag_suspended)
    end)
  end
end)

describe("the is... functions", function()
  local function nothing() end
  local genfun, cofun, agenfun = agenda.generator(nothing), agenda.async(nothing), agenda.asyncgen(nothing)
  local makers = {
    generator = genfun, ["coroutine object"] = cofun, ["async generator"] = agenfun,
    future = function() return agenda.future() end,
    anext = function() return agenfun():anext() end,
    aclose = function() return agenfun():aclose() end,
    ["object with __await"] = function() return setmetatable({}, { __await = nothing }) end,
    ["generator function"] = function() return genfun end,
    ["coroutine function"] = function() return cofun end,
    ["async generator function"] = function() return agenfun end,
    ["Lua function"] = function() return nothing end,
    table = function() return {} end, number = function() return 1 end,
    string = function() return "text" end, boolean = function() return false end,
    ["nil"] = function() return nil end, thread = function() return coroutine.create(nothing) end,
  }
  local answers = {
    isgenerator = { generator = true },
    isgeneratorfunction = { ["generator function"] = true },
    iscoroutine = { ["coroutine object"] = true },
    iscoroutinefunction = { ["coroutine function"] = true },
    isasyncgen = { ["async generator"] = true },
    isasyncgenfunction = { ["async generator function"] = true },
    isfuture = { future = true },
    isawaitable = { ["coroutine object"] = true, future = true, anext = true, aclose = true,
      ["object with __await"] = true },
  }
  for name, true_for in pairs(answers) do
    for label, make in pairs(makers) do
      local wanted = true_for[label] or false
      it(("%s is %s for: %s%s"):format(name, wanted, label, name == "isfuture" and " #core" or ""), function()
        local value = (make())
        local got = agenda[name](value)
        if agenda.iscoroutine(value) then value:close() end
        assert.is_true(rawequal(wanted, got))
      end)
    end
  end

  it("a task is a future, an awaitable and no coroutine", function()
    agenda.run(function()
      local task = agenda.current_task()
      assert.is_true(agenda.isfuture(task))
      assert.is_true(agenda.isawaitable(task))
      assert.is_false(agenda.iscoroutine(task))
    end)
  end)
end)
