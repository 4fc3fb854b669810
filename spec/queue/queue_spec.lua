local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails, turns = agenda.errors, loopkit.fails, loopkit.turns
local in_run, started = loopkit.in_run, loopkit.started

for _, name in ipairs { "queue", "priority_queue", "lifo_queue" } do
  describe("agenda." .. name, function()
    local new = agenda[name]

    in_run("gives what was put", function()
      local q = new()
      q:put(1)
      assert.equal(1, q:get())
    end)

    in_run("has one result of get and none of put", function()
      local q = new()
      assert.equal(0, select("#", q:put(1)))
      assert.equal(0, select("#", q:put_nowait(2)))
      assert.equal(1, select("#", q:get()))
    end)

    in_run("does not switch while there is room and there are items", function()
      local q, ran = new(5), false
      agenda.spawn(function() ran = true end)
      for i = 1, 5 do q:put(i) end
      for _ = 1, 5 do q:get() end
      assert.is_false(ran)
    end)

    in_run("tells its size", function()
      local q = new(2)
      assert.is_true(q:empty())
      assert.is_false(q:full())
      q:put(1)
      assert.equal(1, q:qsize())
      q:put(2)
      assert.is_true(q:full())
      assert.is_false(q:empty())
      assert.equal(2, q.maxsize)
    end)

    in_run("has no limit by default", function()
      local q = new()
      assert.equal(0, q.maxsize)
      for i = 1, 3000 do q:put_nowait(i) end
      assert.is_false(q:full())
      assert.equal(3000, q:qsize())
    end)

    in_run("has no limit with one below 1", function()
      local q = new(-1)
      for i = 1, 10 do q:put_nowait(i) end
      assert.is_false(q:full())
    end)

    in_run("makes put wait while it is full", function()
      local q = new(1)
      q:put(1)
      local putter = agenda.spawn(q.put, q, 2)
      turns(3)
      assert.is_false(putter:done())
      q:get()
      agenda.await(putter)
      assert.equal(2, q:get())
    end)

    in_run("makes get wait while it is empty", function()
      local q = new()
      local getter = agenda.spawn(q.get, q)
      turns(3)
      assert.is_false(getter:done())
      q:put("x")
      assert.equal("x", agenda.await(getter))
    end)

    in_run("put_nowait raises QueueFull", function()
      local q = new(1)
      q:put_nowait(1)
      fails(errors.QueueFull, q.put_nowait, q, 2)
      assert.equal(1, q:qsize())
    end)

    in_run("get_nowait raises QueueEmpty", function()
      local q = new()
      fails(errors.QueueEmpty, q.get_nowait, q)
    end)

    in_run("refuses nil", function()
      local q = new()
      fails(errors.TypeError, q.put, q, nil)
      fails(errors.TypeError, q.put_nowait, q, nil)
      assert.equal(0, q:qsize())
    end)

    it("refuses a limit that is no number", function()
      loopkit.bad_argument(1, name, function() new("x") end)
      loopkit.bad_argument(1, name, function() new(0 / 0) end)
    end)

    it("takes any number as its limit", function()
      local q = new(1.3)
      q:put(1)
      assert.is_false(q:full())
      q:put(2)
      assert.is_true(q:full())
      fails(errors.QueueFull, q.put_nowait, q, 3)
      assert.equal(1.3, q.maxsize)
      q = new(math.huge)
      for i = 1, 2000 do q:put(i) end
      assert.is_false(q:full())
    end)

    it("works without a loop while nobody waits", function()
      local q = new(1)
      q:put(1)
      assert.equal(1, q:get())
      fails(errors.RuntimeError, q.get, q)
    end)

    in_run("serves getters first in, first out", function()
      local q, order = new(), {}
      for i = 1, 3 do
        agenda.spawn(function() q:get() order[#order + 1] = i end)
      end
      turns(1)
      for i = 1, 3 do q:put(i) end
      turns(1)
      assert.same({ 1, 2, 3 }, order)
    end)

    in_run("serves putters first in, first out", function()
      local q, order = new(1), {}
      q:put(0)
      for i = 1, 3 do
        agenda.spawn(function() q:put(i) order[#order + 1] = i end)
      end
      turns(1)
      for _ = 1, 4 do q:get() end
      assert.same({ 1, 2, 3 }, order)
    end)

    in_run("does not let a late get overtake", function()
      local q, order = new(), {}
      started(function() q:get() order[1] = "waiter" end)
      q:put(1)
      agenda.spawn(function() turns(2) q:put(2) end)
      q:get()
      order[#order + 1] = "late"
      assert.same({ "waiter", "late" }, order)
    end)

    in_run("does not let a late put overtake", function()
      local q, order = new(1), {}
      q:put(1)
      started(function() q:put(2) order[1] = "waiter" end)
      q:get()
      agenda.spawn(function() turns(2) q:get() end)
      q:put(3)
      order[#order + 1] = "late"
      assert.same({ "waiter", "late" }, order)
    end)

    in_run("does not let a late get overtake when there is enough for both", function()
      local q, order = new(), {}
      started(function() q:get() order[1] = "waiter" end)
      q:put(1)
      q:put(2)
      q:get()
      order[#order + 1] = "late"
      assert.same({ "waiter", "late" }, order)
    end)

    in_run("does not let a late put overtake when there is room for both", function()
      local q, order = new(2), {}
      q:put(1)
      q:put(2)
      started(function() q:put(3) order[1] = "waiter" end)
      q:get()
      q:get()
      q:put(4)
      order[#order + 1] = "late"
      assert.same({ "waiter", "late" }, order)
    end)

    in_run("keeps for a woken get what it was woken for", function()
      local q = new()
      local getter = started(q.get, q)
      q:put(1)
      assert.is_true(q:empty())
      fails(errors.QueueEmpty, q.get_nowait, q)
      assert.equal(1, agenda.await(getter))
    end)

    in_run("keeps for a woken put the place it was woken for", function()
      local q = new(1)
      q:put(1)
      local putter = started(q.put, q, 2)
      q:get()
      assert.is_true(q:full())
      fails(errors.QueueFull, q.put_nowait, q, 3)
      agenda.await(putter)
      assert.equal(2, q:get())
    end)

    in_run("wakes only as many as there are items for", function()
      local q, woken = new(), 0
      local getters = {}
      for i = 1, 5 do
        getters[i] = agenda.spawn(function() q:get() woken = woken + 1 end)
      end
      turns(1)
      q:put(1)
      q:put(2)
      turns(3)
      assert.equal(2, woken)
      for i = 3, 5 do getters[i]:cancel() end
    end)

    in_run("gives the item of a woken and cancelled get to the next", function()
      local q = new()
      local first, second = started(q.get, q), started(q.get, q)
      q:put("x")
      first:cancel()
      assert.equal("x", agenda.await(second))
      assert.is_true(first:cancelled())
    end)

    in_run("gives the place of a woken and cancelled put to the next", function()
      local q = new(1)
      q:put(1)
      local first, second = started(q.put, q, 2), started(q.put, q, 3)
      q:get()
      first:cancel()
      agenda.await(second)
      assert.is_true(first:cancelled())
      assert.equal(3, q:get())
    end)

    in_run("does not make a late get wait for one that was cancelled", function()
      local q = new()
      local getter = started(q.get, q)
      getter:cancel()
      q:put(1)
      assert.equal(1, q:get_nowait())
    end)

    in_run("loses nothing to wait_for", function()
      for late = 0, 12 do
        local q, taken = new(), 0
        agenda.spawn(function() turns(late) q:put(1) end)
        for _, seconds in ipairs { 0, 0.0002 } do
          if pcall(agenda.wait_for, function() return q:get() end, seconds) then taken = taken + 1 end
        end
        turns(late + 2)
        assert.equal(1, taken + q:qsize())
        assert.is_nil(q.getters.first)
      end
    end)

    it("has a type and a text", function()
      assert.equal(name, agenda.type(new()))
      assert.matches("^<" .. name .. " at 0x%x+>$", tostring(new()))
      assert.equal("agenda." .. name, getmetatable(new()).__name)
    end)
  end)

  describe("task_done and join of agenda." .. name, function()
    local new = agenda[name]

    in_run("join does not wait when nothing was put", function()
      local ran = false
      agenda.spawn(function() ran = true end)
      new():join()
      assert.is_false(ran)
    end)

    in_run("join waits until all is done", function()
      local q = new()
      q:put(1)
      q:put(2)
      local joiner = agenda.spawn(q.join, q)
      for _ = 1, 2 do
        turns(2)
        assert.is_false(joiner:done())
        q:get()
        q:task_done()
      end
      agenda.await(joiner)
    end)

    in_run("task_done is refused when nothing is left", function()
      local q = new()
      fails(errors.ValueError, q.task_done, q)
      q:put(1)
      q:task_done()
      fails(errors.ValueError, q.task_done, q)
    end)

    in_run("a cancelled join leaves the others", function()
      local q = new()
      q:put(1)
      local first, second = started(q.join, q), started(q.join, q)
      first:cancel()
      q:task_done()
      agenda.await(second)
      assert.is_true(first:cancelled())
    end)
  end)
end

describe("agenda.queue", function()
  in_run("is first in, first out", function()
    local q, out = agenda.queue(), {}
    for i = 1, 100 do q:put(i) end
    for i = 1, 100 do out[i] = q:get() end
    for i = 1, 100 do assert(out[i] == i) end
  end)

  in_run("keeps the order while its ring turns and grows", function()
    local q, put, got = agenda.queue(), 0, 0
    for round = 1, 200 do
      for _ = 1, round % 37 do put = put + 1 q:put(put) end
      for _ = 1, math.min(round % 23, q:qsize()) do
        got = got + 1
        assert(q:get() == got)
      end
    end
    while not q:empty() do
      got = got + 1
      assert(q:get() == got)
    end
    assert.equal(put, got)
  end)

  in_run("holds its limit when that is no power of two, or large", function()
    for _, limit in ipairs { 1, 3, 15, 16, 17, 100, 1500 } do
      local q = agenda.queue(limit)
      for i = 1, limit do q:put_nowait(i) end
      fails(errors.QueueFull, q.put_nowait, q, 0)
      for i = 1, limit do assert(q:get_nowait() == i) end
    end
  end)

  in_run("takes any value but nil", function()
    local q, t = agenda.queue(), {}
    q:put(false)
    q:put(t)
    q:put(0 / 0)
    assert.is_false(q:get())
    assert.equal(t, q:get())
    local nan = q:get()
    assert.is_true(nan ~= nan)
  end)

  for _, make in ipairs { "queue", "priority_queue", "lifo_queue" } do
    local ways = {
      get = function(q, box)
        q:put(table.remove(box))
        q:get()
      end,
      get_nowait = function(q, box)
        q:put(table.remove(box))
        q:get_nowait()
      end,
      ["get that waited"] = function(q, box)
        local getter = agenda.spawn(function() q:get() end)
        turns(1)
        q:put(table.remove(box))
        getter:await()
      end,
      ["shutdown(true)"] = function(q, box)
        q:put(table.remove(box))
        q:shutdown(true)
      end,
    }
    for name, take in pairs(ways) do
      in_run(("lets go of what was taken from a %s by %s"):format(make, name), function()
        local box = { {} }
        local weak = setmetatable({ box[1] }, { __mode = "v" })
        local q = agenda[make](0, make == "priority_queue" and function() return false end or nil)
        take(q, box)
        collectgarbage()
        assert.is_nil(weak[1])
        assert.equal(0, q:qsize())
      end)
    end
  end

  in_run("carries everything from several producers to several consumers", function()
    local q, seen, n = agenda.queue(3), {}, 0
    local tasks = {}
    for p = 1, 4 do
      tasks[#tasks + 1] = agenda.spawn(function()
        for i = 1, 50 do q:put(p * 1000 + i) end
      end)
    end
    for _ = 1, 5 do
      tasks[#tasks + 1] = agenda.spawn(function()
        for _ = 1, 40 do
          local item = q:get()
          assert(not seen[item])
          seen[item], n = true, n + 1
          assert(q:qsize() <= 3)
        end
      end)
    end
    agenda.await(agenda.gather(tasks))
    assert.equal(200, n)
  end)
end)
