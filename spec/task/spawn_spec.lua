local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

local not_awaitable = "argument 1 is not awaitable; pass a function"

describe("agenda.spawn", function()
  it("gives a task", function()
    agenda.run(function()
      local task = agenda.spawn(function() end)
      assert.equal("task", agenda.type(task))
      assert.is_true(agenda.isfuture(task))
      assert.is_true(agenda.isawaitable(task))
    end)
  end)

  it("does not run it at once", function()
    agenda.run(function()
      local began = false
      agenda.spawn(function() began = true end)
      assert.is_false(began)
      agenda.sleep(0)
      assert.is_true(began)
    end)
  end)

  it("passes the arguments, nils included", function()
    local got = table.pack(agenda.run(function()
      return agenda.await(agenda.spawn(function(...) return select("#", ...), ... end, nil, "b", nil))
    end))
    assert.same({ 3, nil, "b", nil, n = 4 }, got)
  end)

  it("passes many arguments", function()
    agenda.run(function()
      local many = {}
      for i = 1, 200 do many[i] = i end
      local task = agenda.spawn(function(...) return { ... } end, table.unpack(many))
      assert.same(many, agenda.await(task))
    end)
  end)

  it("starts tasks first in, first out", function()
    local log = {}
    agenda.run(function()
      for i = 1, 5 do agenda.spawn(function() log[#log + 1] = i end) end
      agenda.sleep(0)
    end)
    assert.same({ 1, 2, 3, 4, 5 }, log)
  end)

  it("leaves a task spawned by a task for the next turn", function()
    local log = {}
    agenda.run(function()
      agenda.spawn(function()
        agenda.spawn(function() log[#log + 1] = "grandchild" end)
        log[#log + 1] = "child"
      end)
      agenda.sleep(0)
      assert.same({ "child" }, log)
      agenda.sleep(0)
    end)
    assert.same({ "child", "grandchild" }, log)
  end)

  it("takes a coroutine object", function()
    local co = agenda.async(function(...) return agenda.sleep(0, ...) end)
    assert.same({ 1, 2 }, { agenda.run(function() return agenda.await(agenda.spawn(co(1, 2))) end) })
  end)

  it("takes a future", function()
    assert.equal("of the future", agenda.run(function()
      local fut = agenda.future()
      local task = agenda.spawn(fut)
      fut:set_result("of the future")
      return agenda.await(task)
    end))
  end)

  it("takes an async generator's awaitable", function()
    agenda.run(function()
      local g = agenda.asyncgen(function()
        local sent = agenda.yield("first")
        agenda.yield(sent)
      end)()
      assert.equal("first", agenda.await(agenda.spawn(g:anext())))
      assert.equal("sent", agenda.await(agenda.spawn(g:asend("sent"))))
      agenda.await(agenda.spawn(g:aclose()))
    end)
  end)

  it("takes an object with __await", function()
    local thing = setmetatable({}, { __await = function() return agenda.sleep(0, "thing") end })
    assert.equal("thing", agenda.run(function() return agenda.await(agenda.spawn(thing)) end))
  end)

  it("refuses anything else", function()
    agenda.run(function()
      for _, wrong in ipairs { 1, "text", {}, true } do
        assert.equal(not_awaitable, fails(errors.TypeError, agenda.spawn, wrong).message)
      end
    end)
  end)

  it("refuses nil", function()
    agenda.run(function()
      assert.equal(not_awaitable, fails(errors.TypeError, agenda.spawn, nil).message)
      assert.equal(not_awaitable, fails(errors.TypeError, agenda.spawn).message)
      assert.equal(not_awaitable, fails(errors.TypeError, agenda.ensure_future).message)
    end)
  end)

  it("refuses an async generator, which is no awaitable", function()
    agenda.run(function()
      local g = agenda.asyncgen(function() agenda.yield(1) end)()
      fails(errors.TypeError, agenda.spawn, g)
    end)
  end)

  it("with no loop running is a RuntimeError", function()
    assert.equal("no running event loop", fails(errors.RuntimeError, agenda.spawn, function() end).message)
  end)

  it("works in a callback", function()
    agenda.run(function()
      local task
      agenda.get_running_loop():call_soon(function() task = agenda.spawn(function() return "child" end) end)
      agenda.sleep(0)
      assert.equal("child", agenda.await(task))
    end)
  end)

  it("copes with many tasks", function()
    local total = agenda.run(function()
      local tasks, sum = {}, 0
      for i = 1, 10000 do
        tasks[i] = agenda.spawn(function()
          agenda.sleep(0)
          return i
        end)
      end
      for _, task in ipairs(tasks) do sum = sum + agenda.await(task) end
      return sum
    end)
    assert.equal(50005000, total)
  end)

  it("copes with a long chain of awaiting tasks", function()
    local depth = agenda.run(function()
      local function descend(n)
        if n == 0 then return 0 end
        return agenda.await(agenda.spawn(descend, n - 1)) + 1
      end
      return descend(1000)
    end)
    assert.equal(1000, depth)
  end)

  it("keeps a task alive that nobody holds", function()
    local ended = false
    agenda.run(function()
      agenda.spawn(function()
        agenda.sleep(0.001)
        ended = true
      end)
      agenda.sleep(0)
      loopkit.collect()
      agenda.sleep(0.003)
    end)
    assert.is_true(ended)
  end)

  it("lets go of a task that ended", function()
    agenda.run(function()
      local weak = setmetatable({}, { __mode = "k" });
      (function() weak[agenda.spawn(function() end)] = true end)()
      loopkit.turns(2)
      loopkit.collect()
      assert.is_nil(next(weak))
    end)
  end)
end)

describe("agenda.create_task", function()
  it("makes a task as spawn does", function()
    assert.equal(3, agenda.run(function()
      return agenda.await(agenda.create_task(function(a, b) return a + b end, 1, 2))
    end))
  end)

  it("with no loop running is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.create_task, function() end)
  end)
end)

describe("agenda.ensure_future", function()
  it("gives a future as it is", function()
    agenda.run(function()
      local fut = agenda.future()
      assert.equal(fut, agenda.ensure_future(fut))
    end)
  end)

  it("gives a task as it is", function()
    agenda.run(function()
      local task = agenda.spawn(function() end)
      assert.equal(task, agenda.ensure_future(task))
    end)
  end)

  it("makes a task of a coroutine object", function()
    agenda.run(function()
      local task = agenda.ensure_future(agenda.async(function() return "co" end)())
      assert.equal("task", agenda.type(task))
      assert.equal("co", agenda.await(task))
    end)
  end)

  it("makes a task of a function", function()
    agenda.run(function()
      local task = agenda.ensure_future(function() return "function" end)
      assert.equal("task", agenda.type(task))
      assert.equal("function", agenda.await(task))
    end)
  end)

  it("makes a task of an object with __await", function()
    agenda.run(function()
      local thing = setmetatable({}, { __await = function() return agenda.sleep(0, "thing") end })
      assert.equal("thing", agenda.await(agenda.ensure_future(thing)))
    end)
  end)

  it("refuses anything else", function()
    agenda.run(function()
      assert.equal(not_awaitable, fails(errors.TypeError, agenda.ensure_future, 5).message)
    end)
  end)

  it("gives a future as it is with no loop running", function()
    local fut = agenda.future()
    assert.equal(fut, agenda.ensure_future(fut))
  end)

  it("of a function with no loop running is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.ensure_future, function() end)
  end)
end)
