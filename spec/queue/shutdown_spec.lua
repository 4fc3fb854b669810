local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails, turns = agenda.errors, loopkit.fails, loopkit.turns
local in_run, started = loopkit.in_run, loopkit.started

for _, name in ipairs { "queue", "priority_queue", "lifo_queue" } do
  describe("shutdown of agenda." .. name, function()
    local new = agenda[name]

    in_run("refuses what is put afterwards", function()
      local q = new()
      q:shutdown()
      fails(errors.QueueShutDown, q.put, q, 1)
      fails(errors.QueueShutDown, q.put_nowait, q, 1)
    end)

    in_run("gives what is left, then raises", function()
      local q = new()
      q:put(1)
      q:put(2)
      q:shutdown()
      assert.equal(3, q:get() + q:get_nowait())
      fails(errors.QueueShutDown, q.get, q)
      fails(errors.QueueShutDown, q.get_nowait, q)
    end)

    in_run("ends the gets that wait", function()
      local q = new()
      local getters = { started(q.get, q), started(q.get, q) }
      q:shutdown()
      for _, getter in ipairs(getters) do fails(errors.QueueShutDown, agenda.await, getter) end
    end)

    in_run("ends the puts that wait, which have put nothing", function()
      local q = new(1)
      q:put(1)
      local putters = { started(q.put, q, 2), started(q.put, q, 3) }
      q:shutdown()
      for _, putter in ipairs(putters) do fails(errors.QueueShutDown, agenda.await, putter) end
      assert.equal(1, q:get())
      assert.is_true(q:empty())
    end)

    in_run("ends a put that was woken and has not run", function()
      local q = new(1)
      q:put(1)
      local putter = started(q.put, q, 2)
      q:get()
      q:shutdown()
      fails(errors.QueueShutDown, agenda.await, putter)
      assert.is_true(q:empty())
    end)

    in_run("leaves a woken get its item", function()
      local q = new()
      local getter = started(q.get, q)
      q:put("x")
      q:shutdown()
      assert.equal("x", agenda.await(getter))
    end)

    in_run("leaves the item of a woken and cancelled get to those who wait", function()
      local q = new()
      local first, second, third = started(q.get, q), started(q.get, q), started(q.get, q)
      q:put("x")
      q:shutdown()
      first:cancel()
      assert.equal("x", agenda.await(second))
      fails(errors.QueueShutDown, agenda.await, third)
    end)

    in_run("ends a late get behind the last woken one", function()
      local q = new()
      local first = started(q.get, q)
      q:put("x")
      q:shutdown()
      fails(errors.QueueShutDown, q.get, q)
      assert.equal("x", agenda.await(first))
    end)

    in_run("may be called twice", function()
      local q = new()
      q:put(1)
      q:shutdown()
      q:shutdown()
      assert.equal(1, q:get())
    end)

    in_run("does not end a join", function()
      local q = new()
      q:put(1)
      local joiner = started(q.join, q)
      q:shutdown()
      turns(2)
      assert.is_false(joiner:done())
      q:get()
      q:task_done()
      agenda.await(joiner)
    end)

    in_run("at once drops what is left", function()
      local q = new()
      for i = 1, 5 do q:put(i) end
      q:shutdown(true)
      assert.equal(0, q:qsize())
      fails(errors.QueueShutDown, q.get, q)
    end)

    in_run("at once ends a join", function()
      local q = new()
      for i = 1, 5 do q:put(i) end
      local joiner = started(q.join, q)
      q:shutdown(true)
      agenda.await(joiner)
      fails(errors.ValueError, q.task_done, q)
    end)

    in_run("at once leaves a join the items that were taken", function()
      local q = new()
      q:put(1)
      q:put(2)
      q:get()
      local joiner = started(q.join, q)
      q:shutdown(true)
      turns(2)
      assert.is_false(joiner:done())
      q:task_done()
      agenda.await(joiner)
    end)

    in_run("at once takes the item of a woken get away", function()
      local q = new()
      local getter = started(q.get, q)
      q:put("x")
      q:shutdown(true)
      fails(errors.QueueShutDown, agenda.await, getter)
      assert.equal(0, q:qsize())
    end)

    -- Three tasks that wait in get, with one item for them, when the queue is shut down.
    local function getters_of_one()
      local q = new()
      local getters = { started(q.get, q), started(q.get, q), started(q.get, q) }
      q:put(1)
      q:shutdown()
      return getters
    end

    in_run("wakes those for whom nothing is left in the same turn", function()
      local getters = getters_of_one()
      turns(1)
      assert.equal(1, getters[1]:result())
      fails(errors.QueueShutDown, getters[2].result, getters[2])
      fails(errors.QueueShutDown, getters[3].result, getters[3])
    end)

    in_run("loses no item whose get was woken and then cancelled", function()
      local getters = getters_of_one()
      getters[1]:cancel()
      turns(2)
      assert.is_true(getters[1]:cancelled())
      assert.equal(1, getters[2]:result())
      fails(errors.QueueShutDown, getters[3].result, getters[3])
    end)

    in_run("may be followed by one at once", function()
      local q = new()
      q:put(1)
      q:shutdown()
      q:shutdown(true)
      fails(errors.QueueShutDown, q.get, q)
    end)
  end)
end
