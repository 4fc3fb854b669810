local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local sweep = require "spec.support.sweep"
local errors, turns = agenda.errors, loopkit.turns

-- n tasks of f(i), the victims of them first.
local function tasks_of(n, f)
  local tasks = {}
  for i = 1, n do tasks[i] = agenda.spawn(f, i) end
  return tasks
end

-- Some of the tasks, by their numbers.
local function some(tasks, numbers)
  local chosen = {}
  for _, i in ipairs(numbers) do chosen[#chosen + 1] = tasks[i] end
  return chosen
end

local CHOICES = { { 1 }, { 2 }, { 3 }, { 1, 2 }, { 2, 3 }, { 1, 3 }, { 1, 2, 3 } }

local function finish(tasks)
  for i, task in ipairs(tasks) do
    turns(20)
    assert(task:done(), "task " .. i .. " is left waiting")
    if not task:cancelled() then task:result() end
  end
end

for _, choice in ipairs(CHOICES) do
  local name = table.concat(choice, ", ")

  describe("cancelling tasks " .. name .. " at any turn", function()
    it("leaves no lock held and nobody waiting", function()
      assert.is_true(sweep(function()
        local lock, inside = agenda.lock(), 0
        local tasks = tasks_of(4, function()
          for _ = 1, 2 do
            local _ <close> = lock:guard()
            inside = inside + 1
            assert(inside == 1)
            local _ <close> = loopkit.on_close(function() inside = inside - 1 end)
            turns(1)
          end
        end)
        return some(tasks, choice), function()
          finish(tasks)
          assert.is_false(lock:locked())
          assert.is_nil(lock.first)
        end
      end) > 0)
    end)

    it("leaves nobody waiting for an event", function()
      sweep(function()
        local event = agenda.event()
        local tasks = tasks_of(4, function() event:wait() end)
        agenda.spawn(function() turns(3) event:set() event:clear() end)
        return some(tasks, choice), function(k)
          finish(tasks)
          assert.is_nil(event.first)
          assert.equal(k > 4, not tasks[choice[1]]:cancelled())
          assert.is_false(tasks[4]:cancelled())
        end
      end)
    end)

    for _, n in ipairs { 1, 2 } do
      it("keeps a semaphore of " .. n .. " whole", function()
        sweep(function()
          local semaphore, inside = agenda.bounded_semaphore(n), 0
          local tasks = tasks_of(5, function()
            for _ = 1, 2 do
              local _ <close> = semaphore:guard()
              inside = inside + 1
              assert(inside <= n)
              local _ <close> = loopkit.on_close(function() inside = inside - 1 end)
              turns(1)
            end
          end)
          return some(tasks, choice), function()
            finish(tasks)
            assert.equal(n, semaphore.value)
            assert.is_nil(semaphore.first)
          end
        end)
      end)
    end

    it("loses no notification of a condition", function()
      sweep(function()
        local condition, tokens, taken = agenda.condition(), 0, 0
        local tasks = tasks_of(5, function()
          local _ <close> = condition:guard()
          local ok, err = pcall(condition.wait_for, condition, function() return tokens > 0 end)
          assert(condition:locked())
          if not ok then error(err, 0) end
          tokens, taken = tokens - 1, taken + 1
        end)
        local giver = agenda.spawn(function()
          turns(3)
          for _ = 1, 5 do
            local _ <close> = condition:guard()
            tokens = tokens + 1
            condition:notify()
            turns(1)
          end
        end)
        return some(tasks, choice), function()
          agenda.await(giver)
          finish(tasks)
          assert.equal(5, tokens + taken)
          assert.is_false(condition:locked())
          assert.is_nil(condition.waiting.first)
        end
      end)
    end)

    it("lets the others of a barrier go with others in their place", function()
      sweep(function()
        local barrier, numbers = agenda.barrier(3), {}
        local tasks = tasks_of(3, function(i)
          turns(i)
          numbers[#numbers + 1] = barrier:wait()
        end)
        return some(tasks, choice), function()
          local spare = {}
          turns(6)
          while barrier.n_waiting > 0 do
            spare[#spare + 1] = agenda.spawn(barrier.wait, barrier)
            turns(2)
          end
          finish(tasks)
          finish(spare)
          assert.is_nil(barrier.waiting.first)
          assert.equal(0, barrier.leaving)
          local seen = {}
          for _, number in ipairs(numbers) do
            assert(not seen[number] and number >= 0 and number <= 2)
            seen[number] = true
          end
        end
      end)
    end)

    it("leaves a barrier that is aborted and reset usable", function()
      sweep(function()
        local barrier = agenda.barrier(4)
        local tasks = tasks_of(3, function()
          local ok, err = pcall(barrier.wait, barrier)
          if not ok and not errors.BrokenBarrierError:is(err) then error(err, 0) end
        end)
        local other = agenda.spawn(function() turns(2) barrier:abort() turns(1) barrier:reset() end)
        return some(tasks, choice), function()
          agenda.await(other)
          finish(tasks)
          local four = tasks_of(4, function() return barrier:wait() end)
          finish(four)
          assert.equal(0, barrier.n_waiting)
        end
      end)
    end)
  end)
end
