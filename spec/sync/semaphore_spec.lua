local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails, turns = agenda.errors, loopkit.fails, loopkit.turns
local in_run, started = loopkit.in_run, loopkit.started

for _, name in ipairs { "semaphore", "bounded_semaphore" } do
  describe("agenda." .. name, function()
    local new = agenda[name]

    in_run("lets n in without a switch", function()
      local semaphore, ran = new(3), false
      agenda.spawn(function() ran = true end)
      for _ = 1, 3 do assert.is_true(semaphore:acquire()) end
      assert.is_false(ran)
      assert.is_true(semaphore:locked())
    end)

    in_run("starts with 1", function()
      local semaphore = new()
      semaphore:acquire()
      assert.is_true(semaphore:locked())
      semaphore:release()
      assert.is_false(semaphore:locked())
    end)

    in_run("may start with 0", function()
      assert.is_true(new(0):locked())
    end)

    it("refuses a negative number", function()
      fails(errors.ValueError, new, -1)
    end)

    it("refuses what is no integer", function()
      loopkit.bad_argument(1, name, function() new("x") end)
      loopkit.bad_argument(1, name, function() new(1.5) end)
    end)

    in_run("serves first in, first out", function()
      local semaphore, order = new(1), {}
      semaphore:acquire()
      for i = 1, 4 do
        agenda.spawn(function()
          semaphore:acquire()
          order[#order + 1] = i
          semaphore:release()
        end)
      end
      turns(1)
      semaphore:release()
      turns(8)
      assert.same({ 1, 2, 3, 4 }, order)
    end)

    in_run("is not taken by who comes before the woken one ran", function()
      local semaphore, order = new(1), {}
      semaphore:acquire()
      started(function() semaphore:acquire() order[1] = "waiter" semaphore:release() end)
      semaphore:release()
      semaphore:acquire()
      order[#order + 1] = "late"
      assert.same({ "waiter", "late" }, order)
    end)

    in_run("passes on what a woken and cancelled waiter was to have", function()
      local semaphore = new(1)
      semaphore:acquire()
      local first, second = started(semaphore.acquire, semaphore), started(semaphore.acquire, semaphore)
      semaphore:release()
      first:cancel()
      assert.is_true(agenda.await(second))
      assert.is_true(first:cancelled())
      semaphore:release()
      assert.is_false(semaphore:locked())
    end)

    in_run("wakes as many as are released in one turn", function()
      local semaphore, n = new(3), 0
      for _ = 1, 3 do semaphore:acquire() end
      for _ = 1, 3 do
        agenda.spawn(function() semaphore:acquire() n = n + 1 end)
      end
      turns(1)
      for _ = 1, 3 do semaphore:release() end
      turns(1)
      assert.equal(3, n)
    end)

    in_run("is locked while somebody is being woken", function()
      local semaphore = new(2)
      semaphore:acquire()
      semaphore:acquire()
      started(semaphore.acquire, semaphore)
      semaphore:release()
      assert.is_true(semaphore:locked())
      turns(1)
      assert.is_true(semaphore:locked())
    end)

    in_run("is held for a block by guard", function()
      local semaphore = new(1)
      do
        local _ <close> = semaphore:guard()
        assert.is_true(semaphore:locked())
      end
      assert.is_false(semaphore:locked())
    end)

    in_run("keeps the number in use at n or less", function()
      local semaphore, used, most = new(3), 0, 0
      local tasks = {}
      for i = 1, 20 do
        tasks[i] = agenda.spawn(function()
          local _ <close> = semaphore:guard()
          used = used + 1
          most = math.max(most, used)
          turns(i % 4)
          used = used - 1
        end)
      end
      agenda.await(agenda.gather(tasks))
      assert.equal(3, most)
    end)

    it("has a type and a text", function()
      assert.equal(name, agenda.type(new()))
      assert.matches("^<" .. name .. " at 0x%x+>$", tostring(new()))
    end)
  end)
end

describe("releasing a semaphore more often than it was acquired", function()
  in_run("adds to a plain one", function()
    local semaphore = agenda.semaphore(0)
    semaphore:release()
    semaphore:release()
    semaphore:acquire()
    assert.is_false(semaphore:locked())
  end)

  in_run("is refused by a bounded one", function()
    local semaphore = agenda.bounded_semaphore(1)
    fails(errors.ValueError, semaphore.release, semaphore)
    semaphore:acquire()
    semaphore:release()
    fails(errors.ValueError, semaphore.release, semaphore)
  end)
end)
