local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local fails, turns = loopkit.fails, loopkit.turns
local in_run = loopkit.in_run

local function filled(n)
  local q = agenda.queue()
  for i = 1, n do q:put(i) end
  return q
end

describe("queue:items", function()
  in_run("gives four values, an async generator and what closes it", function()
    local values = table.pack(filled(0):items())
    assert.equal(4, values.n)
    assert.equal("async_generator", agenda.type(values[1]))
    assert.same({ nil, nil, values[1] }, { values[2], values[3], values[4] })
  end)

  in_run("gives what is left and ends at the shutdown", function()
    local q, out = filled(3), {}
    q:shutdown()
    for v in q:items() do out[#out + 1] = v end
    assert.same({ 1, 2, 3 }, out)
  end)

  in_run("waits for items and for the shutdown", function()
    local q, out = agenda.queue(1), {}
    agenda.spawn(function()
      for i = 1, 5 do
        turns(2)
        q:put(i)
      end
      turns(2)
      q:shutdown()
    end)
    for v in q:items() do out[#out + 1] = v end
    assert.same({ 1, 2, 3, 4, 5 }, out)
  end)

  in_run("keeps the rest when it is left early", function()
    local q = filled(3)
    for v in q:items() do
      if v == 2 then break end
    end
    assert.equal(1, q:qsize())
    assert.equal(3, q:get())
  end)

  in_run("takes nothing ahead", function()
    local q = filled(3)
    local sizes = {}
    q:shutdown()
    for v in q:items() do sizes[v] = q:qsize() end
    assert.same({ 2, 1, 0 }, sizes)
  end)

  in_run("gives false", function()
    local q, n = agenda.queue(), 0
    q:put(false)
    q:shutdown()
    for v in q:items() do
      n = n + 1
      assert.is_false(v)
    end
    assert.equal(1, n)
  end)

  in_run("is shared by several tasks", function()
    local q, seen, shares = agenda.queue(2), {}, { 0, 0, 0 }
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = agenda.spawn(function()
        for v in q:items() do
          assert(not seen[v])
          seen[v] = true
          shares[i] = shares[i] + 1
          turns(1)
        end
      end)
    end
    for v = 1, 30 do q:put(v) end
    q:shutdown()
    agenda.await(agenda.gather(tasks))
    assert.equal(30, #seen)
    for i = 1, 3 do assert.is_true(shares[i] > 0) end
  end)

  in_run("ends at once at an immediate shutdown", function()
    local q, n = filled(3), 0
    for _ in q:items() do
      n = n + 1
      q:shutdown(true)
    end
    assert.equal(1, n)
  end)

  in_run("leaves the item when the wait for it is cancelled", function()
    local q = agenda.queue()
    local task = agenda.spawn(function() for _ in q:items() do error "taken" end end)
    turns(2)
    q:put(1)
    task:cancel()
    turns(2)
    assert.is_true(task:cancelled())
    assert.equal(1, q:get_nowait())
  end)

  in_run("works on the other queues", function()
    for _, name in ipairs { "priority_queue", "lifo_queue" } do
      local q, n = agenda[name](), 0
      for i = 1, 3 do q:put(i) end
      q:shutdown()
      for _ in q:items() do n = n + 1 end
      assert.equal(3, n)
    end
  end)

  in_run("raises what the comparison raises", function()
    local q = agenda.priority_queue(0, function(a, b) return a < b end)
    for i = 1, 3 do q:put(i) end
    q.less = function() error(agenda.errors.Error("no order"), 0) end
    local err = fails(agenda.errors.Error, function() for _ in q:items() do turns(0) end end)
    assert.equal("no order", err.message)
    assert.equal(3, q:qsize())
  end)
end)
