local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails, turns = agenda.errors, loopkit.fails, loopkit.turns
local in_run, started = loopkit.in_run, loopkit.started

describe("agenda.barrier", function()
  local function party(barrier, n)
    local tasks = {}
    for i = 1, n do tasks[i] = agenda.spawn(barrier.wait, barrier) end
    turns(2)
    return tasks
  end

  in_run("lets all go when the last has come", function()
    local barrier = agenda.barrier(3)
    local tasks = party(barrier, 2)
    assert.is_false(tasks[1]:done() or tasks[2]:done())
    assert.equal(2, barrier:wait())
    turns(1)
    assert.equal(0, tasks[1]:result())
    assert.equal(1, tasks[2]:result())
  end)

  in_run("tells its parties and how many wait", function()
    local barrier = agenda.barrier(3)
    assert.equal(3, barrier.parties)
    assert.equal(0, barrier.n_waiting)
    local tasks = party(barrier, 2)
    assert.equal(2, barrier.n_waiting)
    barrier:wait()
    assert.equal(0, barrier.n_waiting)
    agenda.await(agenda.gather(tasks))
  end)

  in_run("does not switch for the last one", function()
    local barrier, ran = agenda.barrier(1), false
    agenda.spawn(function() ran = true end)
    assert.equal(0, barrier:wait())
    assert.is_false(ran)
  end)

  in_run("serves one round after the other", function()
    local barrier = agenda.barrier(2)
    local results = agenda.await(agenda.gather(party(barrier, 6)))
    table.sort(results)
    assert.same({ 0, 0, 0, 1, 1, 1, n = 6 }, results)
    assert.equal(0, barrier.n_waiting)
  end)

  in_run("does not count one that was cancelled", function()
    local barrier = agenda.barrier(2)
    local first = started(barrier.wait, barrier)
    first:cancel()
    local second = started(barrier.wait, barrier)
    assert.is_false(second:done())
    assert.equal(1, barrier.n_waiting)
    assert.equal(1, barrier:wait())
    assert.equal(0, agenda.await(second))
  end)

  in_run("does not count one that was cancelled and has not run yet", function()
    local barrier = agenda.barrier(2)
    local first = started(barrier.wait, barrier)
    local third = agenda.spawn(function() turns(2) return barrier:wait() end)
    first:cancel()
    assert.equal(0, barrier:wait())
    assert.equal(1, agenda.await(third))
  end)

  in_run("gives each a number of its own after a cancellation", function()
    local barrier = agenda.barrier(3)
    local tasks = party(barrier, 2)
    tasks[1]:cancel()
    turns(1)
    local third = started(barrier.wait, barrier)
    assert.equal(2, barrier:wait())
    assert.equal(0, agenda.await(tasks[2]))
    assert.equal(1, agenda.await(third))
  end)

  in_run("is broken by abort for those who wait and who come", function()
    local barrier = agenda.barrier(3)
    local tasks = party(barrier, 2)
    barrier:abort()
    assert.is_true(barrier.broken)
    for _, task in ipairs(tasks) do fails(errors.BrokenBarrierError, agenda.await, task) end
    fails(errors.BrokenBarrierError, barrier.wait, barrier)
  end)

  in_run("is mended by reset", function()
    local barrier = agenda.barrier(1)
    barrier:abort()
    barrier:reset()
    assert.is_false(barrier.broken)
    assert.equal(0, barrier:wait())
  end)

  in_run("reset breaks those who wait, and it goes on", function()
    local barrier = agenda.barrier(2)
    local task = started(barrier.wait, barrier)
    barrier:reset()
    local other = agenda.spawn(barrier.wait, barrier)
    fails(errors.BrokenBarrierError, agenda.await, task)
    turns(1)
    assert.equal(1, barrier:wait())
    assert.equal(0, agenda.await(other))
  end)

  -- Six tasks; the third to go on calls `stop`. How many went on, and how many it was broken for.
  local function stopped_half_way(barrier, stop)
    local passed, broken, tasks = 0, 0, {}
    for i = 1, 6 do
      tasks[i] = agenda.spawn(function()
        local ok, err = pcall(barrier.wait, barrier)
        if ok then
          passed = passed + 1
          if passed == 3 then stop() end
        elseif errors.BrokenBarrierError:is(err) then
          broken = broken + 1
        end
      end)
    end
    agenda.await(agenda.gather(tasks))
    return passed, broken
  end

  in_run("is broken by abort for those who were let go and have not run", function()
    local barrier = agenda.barrier(6)
    assert.same({ 3, 3 }, { stopped_half_way(barrier, function() barrier:abort() end) })
    assert.is_true(barrier.broken)
    assert.equal(0, barrier.n_waiting)
  end)

  in_run("reset breaks those who were let go and have not run, not who came after them", function()
    local barrier = agenda.barrier(2)
    local first = started(barrier.wait, barrier)
    local late = agenda.spawn(barrier.wait, barrier)
    agenda.spawn(barrier.reset, barrier)
    assert.equal(1, barrier:wait())
    fails(errors.BrokenBarrierError, agenda.await, first)
    assert.is_false(late:done())
    assert.equal(1, barrier.n_waiting)
    assert.equal(1, barrier:wait())
    assert.equal(0, agenda.await(late))
  end)

  in_run("reset breaks those who were let go and have not run", function()
    local barrier = agenda.barrier(6)
    assert.same({ 3, 3 }, { stopped_half_way(barrier, function() barrier:reset() end) })
    assert.is_false(barrier.broken)
    local tasks = party(barrier, 5)
    assert.equal(5, barrier:wait())
    agenda.await(agenda.gather(tasks))
  end)

  for _, stop in ipairs { "abort", "reset" } do
    in_run(stop .. " counts right when one was cancelled and has not run yet", function()
      local barrier = agenda.barrier(3)
      local tasks = party(barrier, 2)
      tasks[1]:cancel()
      barrier[stop](barrier)
      fails(errors.CancelledError, agenda.await, tasks[1])
      fails(errors.BrokenBarrierError, agenda.await, tasks[2])
      barrier:reset()
      assert.equal(0, barrier.n_waiting)
      tasks = party(barrier, 2)
      assert.equal(2, barrier.n_waiting)
      assert.equal(2, barrier:wait())
      agenda.await(agenda.gather(tasks))
    end)
  end

  in_run("keeps who comes waiting while those before are let go", function()
    local barrier = agenda.barrier(2)
    local first = started(barrier.wait, barrier)
    assert.equal(1, barrier:wait())
    local log = {}
    local late = agenda.spawn(function() log[1] = barrier:wait() end)
    assert.is_false(first:done())
    assert.equal(0, barrier:wait())
    agenda.await(late)
    assert.same({ 1 }, log)
    assert.equal(0, first:result())
  end)

  in_run("reset leaves alone who came while those before were let go", function()
    local barrier = agenda.barrier(2)
    local results = {}
    local function twice(after_the_last)
      return function()
        barrier:wait()
        if after_the_last then barrier:reset() end
        table.insert(results, (select(2, pcall(barrier.wait, barrier))))
      end
    end
    local last = agenda.spawn(twice(true))
    local first = agenda.spawn(twice(false))
    agenda.await(agenda.gather(last, first))
    table.sort(results)
    assert.same({ 0, 1 }, results)
    assert.equal(0, barrier.n_waiting)
  end)

  in_run("has no other fields", function()
    assert.is_nil(agenda.barrier(1).no_such_field)
  end)

  in_run("is entered by waiting", function()
    local barrier = agenda.barrier(1)
    assert.equal(0, getmetatable(barrier).__aenter(barrier))
    assert.is_nil(getmetatable(barrier).__aexit(barrier))
  end)

  it("refuses less than one party and what is no integer", function()
    fails(errors.ValueError, agenda.barrier, 0)
    loopkit.bad_argument(1, "barrier", function() agenda.barrier() end)
  end)

  it("has a type and a text", function()
    assert.equal("barrier", agenda.type(agenda.barrier(1)))
    assert.matches("^<barrier at 0x%x+>$", tostring(agenda.barrier(1)))
  end)
end)
