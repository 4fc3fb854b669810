local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails
local in_run, after = loopkit.in_run, loopkit.after

-- Runs f(tg) in a block with a group.
local function in_group(f)
  local tg <close> = agenda.taskgroup()
  f(tg)
end

describe("agenda.taskgroup", function()
  in_run("waits for its tasks at the end of the block", function()
    local ended = 0
    do
      local tg <close> = agenda.taskgroup()
      for i = 1, 3 do
        tg:spawn(function()
          loopkit.turns(i)
          ended = ended + 1
        end)
      end
    end
    assert.equal(3, ended)
  end)

  in_run("waits when the block is left by return", function()
    local ended = false
    local function block()
      local tg <close> = agenda.taskgroup()
      tg:spawn(function()
        agenda.sleep(0.001)
        ended = true
      end)
      return "result"
    end
    assert.equal("result", block())
    assert.is_true(ended)
  end)

  in_run("waits when the block is left by break", function()
    local ended = false
    for i = 1, 5 do
      local tg <close> = agenda.taskgroup()
      tg:spawn(function()
        loopkit.turns(2)
        ended = true
      end)
      if i == 1 then break end
    end
    assert.is_true(ended)
  end)

  in_run("runs its tasks at the same time", function()
    local log = {}
    in_group(function(tg)
      for _, name in ipairs { "a", "b" } do
        tg:spawn(function()
          log[#log + 1] = name .. 1
          agenda.sleep(0)
          log[#log + 1] = name .. 2
        end)
      end
    end)
    assert.same({ "a1", "b1", "a2", "b2" }, log)
  end)

  in_run("does not switch when it is empty", function()
    local switched = false
    agenda.spawn(function() switched = true end)
    in_group(function() end)
    assert.is_false(switched)
  end)

  in_run("does not switch when its tasks are done", function()
    local switched = false
    in_group(function(tg)
      tg:spawn(after(0))
      loopkit.turns(3)
      agenda.spawn(function() switched = true end)
    end)
    assert.is_false(switched)
  end)

  in_run("leaves tasks that are not its own alone", function()
    local other = agenda.spawn(agenda.sleep, 60)
    in_group(function(tg) tg:spawn(after(1)) end)
    assert.is_false(other:done())
    other:cancel()
  end)

  in_run("may be nested", function()
    local log = {}
    in_group(function(outer)
      outer:spawn(function()
        in_group(function(inner)
          inner:spawn(function()
            loopkit.turns(2)
            log[#log + 1] = "inner"
          end)
        end)
        log[#log + 1] = "outer"
      end)
    end)
    assert.same({ "inner", "outer" }, log)
  end)

  in_run("forgets tasks that are done, and cancels those that are not", function()
    local first, last
    local weak = setmetatable({}, { __mode = "k" })
    fails(errors.ExceptionGroup, in_group, function(tg)
      first = tg:spawn(agenda.sleep, 60)
      for _ = 1, 1000 do
        weak[tg:spawn(after(0))] = true
        agenda.sleep(0)
      end
      last = tg:spawn(agenda.sleep, 60)
      agenda.sleep(0)
      loopkit.collect()
      local left = 0
      for _ in pairs(weak) do left = left + 1 end
      assert.is_true(left < 200)
      error("end")
    end)
    assert.is_true(first:cancelled())
    assert.is_true(last:cancelled())
  end)

  in_run("may be closed twice", function()
    local tg
    in_group(function(group)
      tg = group
      group:spawn(after(1))
    end)
    getmetatable(tg).__close(tg)
    assert.truthy(tostring(tg):find("finished", 1, true))
  end)

  it("reports a failure that comes when the task that made it is done", function()
    local contexts = loopkit.reports(function()
      local child
      agenda.await(agenda.spawn(function()
        child = agenda.taskgroup():spawn(after(3, "late", true))
      end))
      pcall(agenda.await, child)
      loopkit.turns(2)
    end)
    assert.equal(1, #contexts)
    assert.equal("late", contexts[1].exception)
  end)

  it("reports each such failure, though the handler interrupts the run", function()
    local reported = 0
    fails(errors.KeyboardInterrupt, agenda.run, function()
      agenda.get_running_loop():set_exception_handler(function()
        reported = reported + 1
        error(errors.KeyboardInterrupt())
      end)
      agenda.await(agenda.spawn(function()
        local tg = agenda.taskgroup()
        for _ = 1, 2 do tg:spawn(after(3, "late", true)) end
      end))
      agenda.sleep(60)
    end)
    assert.equal(2, reported)
  end)

  in_run("keeps few of the tasks that are done, and none in the end", function()
    local tasks, held = setmetatable({}, { __mode = "k" }), 0
    local tg <close> = agenda.taskgroup()
    local last = tg:spawn(agenda.sleep, 60)
    for _ = 1, 500 do
      tasks[tg:spawn(after(0))] = true
      agenda.sleep(0)
    end
    loopkit.collect()
    for _ in pairs(tasks) do held = held + 1 end
    assert.is_true(held < 100)
    last:cancel()
    pcall(agenda.await, last)
    agenda.sleep(0)
    loopkit.collect()
    assert.is_nil(next(tasks))
  end)

  in_run("copes with many tasks", function()
    local ended = 0
    in_group(function(tg)
      for i = 1, 2000 do
        tg:spawn(function()
          loopkit.turns(i % 3)
          ended = ended + 1
        end)
      end
    end)
    assert.equal(2000, ended)
  end)

  it("outside a task is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.taskgroup)
  end)

  it("in a plain callback is a RuntimeError", function()
    loopkit.with_loop(function(loop)
      local ok, err
      loop:call_soon(function() ok, err = pcall(agenda.taskgroup) end)
      loop:run_once(0)
      assert.is_false(ok)
      assert.is_true(errors.RuntimeError:is(err))
    end)
  end)

  in_run("has methods that are called on groups only", function()
    local tg <close> = agenda.taskgroup()
    for _, name in ipairs { "spawn", "cancel" } do
      loopkit.bad_argument(1, name, function() tg[name]({}, print) end)
    end
  end)

  in_run("has a type and a description", function()
    local tg <close> = agenda.taskgroup()
    tg:spawn(after(0))
    assert.equal("taskgroup", agenda.type(tg))
    assert.truthy(tostring(tg):find("^<taskgroup active tasks=1 at 0x%x+>$"))
  end)

  in_run("shows what it does", function()
    local log = {}
    local group
    pcall(in_group, function(tg)
      group = tg
      tg:spawn(function()
        log[1] = tostring(tg):match("^<taskgroup (%a+ tasks=%d) at ")
        tg:cancel()
        log[2] = tostring(tg):match("^<taskgroup (%a+ tasks=%d) at ")
      end)
    end)
    log[3] = tostring(group):match("^<taskgroup (%a+ tasks=%d) at ")
    assert.same({ "exiting tasks=1", "cancelling tasks=1", "finished tasks=0" }, log)
  end)

  describe("spawn", function()
    in_run("returns a task", function()
      local task
      in_group(function(tg) task = tg:spawn(after(1, "result")) end)
      assert.equal("task", agenda.type(task))
      assert.equal("result", task:result())
    end)

    in_run("passes arguments", function()
      local task
      in_group(function(tg) task = tg:spawn(function(...) return ... end, 1, nil, 3) end)
      assert.same({ 1, nil, 3, n = 3 }, table.pack(task:result()))
    end)

    in_run("takes a coroutine object", function()
      local task
      in_group(function(tg) task = tg:spawn(agenda.async(function() return "co" end)()) end)
      assert.equal("co", task:result())
    end)

    in_run("refuses what cannot be awaited", function()
      local err
      in_group(function(tg) err = fails(errors.TypeError, tg.spawn, tg, 5) end)
      assert.equal("argument 1 is not awaitable; pass a function", err.message)
    end)

    in_run("by a task of the group adds to it", function()
      local ended = false
      in_group(function(tg)
        tg:spawn(function()
          tg:spawn(function()
            loopkit.turns(3)
            ended = true
          end)
        end)
      end)
      assert.is_true(ended)
    end)

    in_run("at the end of the block still works while there are tasks", function()
      local log = {}
      in_group(function(tg)
        tg:spawn(function()
          loopkit.turns(3)
          tg:spawn(function() log[#log + 1] = "late" end)
        end)
      end)
      assert.same({ "late" }, log)
    end)

    in_run("on a finished group is a RuntimeError", function()
      local tg
      in_group(function(group) tg = group end)
      local err = fails(errors.RuntimeError, tg.spawn, tg, after(0))
      assert.truthy(err.message:find("is finished", 1, true))
    end)

    in_run("on a group that is shutting down is a RuntimeError", function()
      local err
      pcall(in_group, function(tg)
        tg:spawn(after(0, "failed", true))
        tg:spawn(function()
          pcall(agenda.sleep, 60)
          err = fails(errors.RuntimeError, tg.spawn, tg, after(0))
        end)
      end)
      assert.truthy(err.message:find("shutting down", 1, true))
    end)

    it("that is refused does not report the coroutine object as never awaited", function()
      local contexts = loopkit.reports(function()
        local tg
        in_group(function(group) tg = group end)
        fails(errors.RuntimeError, tg.spawn, tg, agenda.async(function() end)())
        loopkit.collect()
        agenda.sleep(0)
      end)
      assert.same({}, contexts)
    end)
  end)

  describe("when a task fails", function()
    in_run("raises an ExceptionGroup with its error, even alone", function()
      local mark = {}
      local err = fails(errors.ExceptionGroup, in_group, function(tg) tg:spawn(after(0, mark, true)) end)
      assert.equal(1, #err.errors)
      assert.equal(mark, err.errors[1])
    end)

    in_run("names the task of each error", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(after(0, "wrong", true)):set_name("worker")
      end)
      assert.same({ "worker" }, err.tasks)
    end)

    in_run("takes error values of any kind", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(after(0, "text", true))
        tg:spawn(after(0, 42, true))
        tg:spawn(after(0, false, true))
        tg:spawn(after(0, errors.ValueError("object"), true))
      end)
      assert.equal("text", err.errors[1])
      assert.equal(42, err.errors[2])
      assert.is_false(err.errors[3])
      assert.equal("object", err.errors[4].message)
    end)

    in_run("cancels the others once, however many fail", function()
      local requests = {}
      pcall(in_group, function(tg)
        tg:spawn(function()
          pcall(agenda.sleep, 60)
          loopkit.turns(3)
          requests[1] = agenda.current_task():cancelling()
        end)
        for _ = 1, 2 do
          tg:spawn(function()
            pcall(agenda.sleep, 60)
            error("failed when it was cancelled", 0)
          end)
        end
        tg:spawn(after(1, "failed", true))
        pcall(agenda.sleep, 60)
        requests[2] = agenda.current_task():cancelling()
      end)
      assert.same({ 1, 1 }, requests)
      assert.equal(0, agenda.current_task():cancelling())
    end)

    in_run("cancels the others", function()
      local other
      pcall(in_group, function(tg)
        other = tg:spawn(agenda.sleep, 60)
        tg:spawn(after(0, "failed", true))
      end)
      assert.is_true(other:cancelled())
    end)

    in_run("cancels the others in the order of their spawning", function()
      local log, expected = {}, {}
      pcall(in_group, function(tg)
        for i = 1, 20 do
          expected[i] = i
          tg:spawn(function()
            local _ <close> = loopkit.on_close(function() log[#log + 1] = i end)
            agenda.sleep(60)
          end)
        end
        tg:spawn(after(0, "failed", true))
      end)
      assert.same(expected, log)
    end)

    in_run("waits for the cleanup of the others", function()
      local cleaned = false
      pcall(in_group, function(tg)
        tg:spawn(function()
          local _ <close> = loopkit.on_close(function()
            agenda.sleep(0.001)
            cleaned = true
          end)
          agenda.sleep(60)
        end)
        tg:spawn(after(0, "failed", true))
      end)
      assert.is_true(cleaned)
    end)

    in_run("cancels the block", function()
      local inside
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(after(0, "failed", true))
        local ok, caught = pcall(agenda.sleep, 60)
        inside = not ok and caught
        error(caught, 0)
      end)
      assert.is_true(errors.CancelledError:is(inside))
      assert.same({ "failed" }, err.errors)
    end)

    in_run("leaves no request to cancel behind", function()
      pcall(in_group, function(tg)
        tg:spawn(after(0, "failed", true))
        agenda.sleep(60)
      end)
      assert.equal(0, agenda.current_task():cancelling())
      agenda.sleep(0)
    end)

    in_run("raises the group though the block handled the cancellation", function()
      fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(after(0, "failed", true))
        pcall(agenda.sleep, 60)
      end)
      assert.equal(0, agenda.current_task():cancelling())
    end)

    in_run("adds the errors of the cleanups", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(after(0, "first", true))
        tg:spawn(function()
          pcall(agenda.sleep, 60)
          error("second", 0)
        end)
      end)
      assert.same({ "first", "second" }, err.errors)
    end)

    in_run("adds the block's own error", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(after(0, "task's", true))
        pcall(agenda.sleep, 60)
        error("block's", 0)
      end)
      assert.same({ "task's", "block's" }, err.errors)
      assert.is_false(err.tasks[2])
    end)

    in_run("puts the group of an inner one into that of the outer", function()
      local err = fails(errors.ExceptionGroup, in_group, function(outer)
        outer:spawn(in_group, function(inner) inner:spawn(after(0, "deep", true)) end)
      end)
      assert.is_true(errors.ExceptionGroup:is(err.errors[1]))
      assert.same({ "deep" }, err.errors[1].errors)
    end)

    in_run("in an inner group leaves the outer block running when it is handled", function()
      local went_on = false
      in_group(function(outer)
        outer:spawn(after(2))
        fails(errors.ExceptionGroup, in_group, function(inner)
          inner:spawn(after(0, "failed", true))
          agenda.sleep(60)
        end)
        agenda.sleep(0.001)
        went_on = true
      end)
      assert.is_true(went_on)
    end)

    in_run("in the outer group while the inner one waits cancels both", function()
      local inner_task
      local err = fails(errors.ExceptionGroup, in_group, function(outer)
        outer:spawn(after(2, "outer", true))
        in_group(function(inner) inner_task = inner:spawn(agenda.sleep, 60) end)
      end)
      assert.same({ "outer" }, err.errors)
      assert.is_true(inner_task:cancelled())
      assert.equal(0, agenda.current_task():cancelling())
    end)

    it("reports nothing", function()
      local contexts = loopkit.reports(function()
        pcall(in_group, function(tg)
          tg:spawn(after(0, "first", true))
          tg:spawn(after(0, "second", true))
        end)
        loopkit.collect()
        agenda.sleep(0)
      end)
      assert.same({}, contexts)
    end)

    in_run("that was not the last one started, all failing at once, raises all", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        for i = 1, 5 do tg:spawn(after(0, i, true)) end
      end)
      assert.same({ 1, 2, 3, 4, 5 }, err.errors)
    end)
  end)

  describe("when a task is cancelled alone", function()
    in_run("does not fail", function()
      in_group(function(tg)
        local task = tg:spawn(agenda.sleep, 60)
        agenda.sleep(0)
        task:cancel()
      end)
      assert.equal(0, agenda.current_task():cancelling())
    end)

    in_run("leaves the others running", function()
      local other
      in_group(function(tg)
        local task = tg:spawn(agenda.sleep, 60)
        other = tg:spawn(after(4, "other"))
        agenda.sleep(0)
        task:cancel()
      end)
      assert.equal("other", other:result())
    end)

    in_run("before it began does not fail", function()
      local ran = false
      in_group(function(tg) tg:spawn(function() ran = true end):cancel() end)
      assert.is_false(ran)
    end)
  end)

  describe("left by an error", function()
    in_run("raises an ExceptionGroup with it alone", function()
      local mark = {}
      local err = fails(errors.ExceptionGroup, in_group, function() error(mark) end)
      assert.equal(1, #err.errors)
      assert.equal(mark, err.errors[1])
    end)

    in_run("cancels the tasks and waits for them", function()
      local task
      fails(errors.ExceptionGroup, in_group, function(tg)
        task = tg:spawn(agenda.sleep, 60)
        agenda.sleep(0)
        error("block")
      end)
      assert.is_true(task:cancelled())
    end)

    in_run("raises the errors of the tasks' cleanups too", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(function()
          pcall(agenda.sleep, 60)
          error("cleanup", 0)
        end)
        agenda.sleep(0)
        error("block", 0)
      end)
      assert.same({ "cleanup", "block" }, err.errors)
    end)

    in_run("does not switch when it is empty", function()
      local switched = false
      agenda.spawn(function() switched = true end)
      pcall(in_group, error)
      assert.is_false(switched)
    end)
  end)

  describe("and KeyboardInterrupt", function()
    in_run("of the block comes out bare", function()
      local interrupt, task = errors.KeyboardInterrupt(), nil
      local ok, err = pcall(in_group, function(tg)
        task = tg:spawn(agenda.sleep, 60)
        error(interrupt, 0)
      end)
      assert.is_false(ok)
      assert.equal(interrupt, err)
      assert.is_true(task:cancelled())
    end)

    it("of a task comes out of the run bare", function()
      local interrupt = errors.KeyboardInterrupt("stop")
      local ok, err = pcall(agenda.run, in_group, function(tg) tg:spawn(error, interrupt) end)
      assert.is_false(ok)
      assert.equal(interrupt, err)
    end)

    it("of a task comes out of the block bare when the loop runs on", function()
      loopkit.with_loop(function(loop)
        local interrupt, seen, other = errors.KeyboardInterrupt("stop"), nil, nil
        local task = loop:create_task(function()
          local _
          _, seen = pcall(in_group, function(tg)
            other = tg:spawn(agenda.sleep, 60)
            tg:spawn(error, interrupt)
          end)
        end)
        fails(errors.KeyboardInterrupt, loop.run_until_complete, loop, task)
        loop:run_until_complete(task)
        assert.equal(interrupt, seen)
        assert.is_true(other:cancelled())
      end)
    end)
  end)

  describe("cancelled from outside", function()
    -- Starts a group's block as a task, and cancels that after the turns.
    local function cancelled_after(turns, block)
      local task = agenda.spawn(in_group, block)
      loopkit.turns(turns)
      task:cancel("outside")
      return task, select(2, pcall(agenda.await, task))
    end

    in_run("in its block cancels the tasks and raises CancelledError", function()
      local child
      local task, err = cancelled_after(2, function(tg)
        child = tg:spawn(agenda.sleep, 60)
        agenda.sleep(60)
      end)
      assert.is_true(errors.CancelledError:is(err))
      assert.equal("outside", err.message)
      assert.is_true(task:cancelled())
      assert.is_true(child:cancelled())
    end)

    in_run("as it waits for the tasks cancels them and raises CancelledError", function()
      local child
      local task, err = cancelled_after(2, function(tg) child = tg:spawn(agenda.sleep, 60) end)
      assert.is_true(errors.CancelledError:is(err))
      assert.equal("outside", err.message)
      assert.is_true(task:cancelled())
      assert.is_true(child:cancelled())
    end)

    in_run("waits for the tasks' cleanup", function()
      local cleaned = false
      cancelled_after(2, function(tg)
        tg:spawn(function()
          local _ <close> = loopkit.on_close(function()
            agenda.sleep(0.001)
            cleaned = true
          end)
          agenda.sleep(60)
        end)
      end)
      assert.is_true(cleaned)
    end)

    in_run("twice waits for the tasks' cleanup", function()
      local cleaned = false
      local task = agenda.spawn(in_group, function(tg)
        tg:spawn(function()
          local _ <close> = loopkit.on_close(function()
            agenda.sleep(0.002)
            cleaned = true
          end)
          agenda.sleep(60)
        end)
      end)
      loopkit.turns(2)
      task:cancel()
      loopkit.turns(2)
      task:cancel()
      fails(errors.CancelledError, agenda.await, task)
      assert.is_true(cleaned)
    end)

    in_run("raises the group when a cleanup fails", function()
      local _, err = cancelled_after(2, function(tg)
        tg:spawn(function()
          pcall(agenda.sleep, 60)
          error("cleanup", 0)
        end)
      end)
      assert.is_true(errors.ExceptionGroup:is(err))
    end)

    in_run("keeps the count when a cleanup fails, and cancels the next await", function()
      local count, next_await
      local task = agenda.spawn(function()
        pcall(in_group, function(tg)
          tg:spawn(function()
            pcall(agenda.sleep, 60)
            error("cleanup", 0)
          end)
        end)
        count = agenda.current_task():cancelling()
        local ok, err = pcall(agenda.sleep, 0)
        next_await = not ok and err
      end)
      loopkit.turns(2)
      task:cancel()
      agenda.await(task)
      assert.equal(1, count)
      assert.is_true(errors.CancelledError:is(next_await))
    end)

    in_run("together with a failure keeps the count", function()
      local task, count
      task = agenda.spawn(function()
        pcall(in_group, function(tg)
          tg:spawn(function()
            agenda.sleep(0)
            task:cancel()
            error("failed", 0)
          end)
          agenda.sleep(60)
        end)
        count = agenda.current_task():cancelling()
      end)
      pcall(agenda.await, task)
      assert.equal(1, count)
    end)

    in_run("after any number of turns leaves no task and stays cancelled", function()
      for turns = 0, 14 do
        local begun, ended, finished = 0, 0, false
        local task = agenda.spawn(function()
          in_group(function(tg)
            for i = 1, 3 do
              tg:spawn(function()
                begun = begun + 1
                local _ <close> = loopkit.on_close(function() ended = ended + 1 end)
                loopkit.turns(i)
              end)
            end
            loopkit.turns(2)
          end)
          finished = true
        end)
        loopkit.turns(turns)
        local taken = task:cancel()
        local ok = pcall(agenda.await, task)
        assert.equal(not taken, ok)
        assert.equal(not taken, finished)
        assert.equal(begun, ended)
        assert.equal(1, #agenda.all_tasks())
      end
    end)

    in_run("after any number of turns, with a failing task, is not lost", function()
      for turns = 0, 12 do
        local count, left = nil, nil
        local task = agenda.spawn(function()
          pcall(in_group, function(tg)
            tg:spawn(after(3, "failed", true))
            tg:spawn(agenda.sleep, 60)
            loopkit.turns(2)
          end)
          count, left = agenda.current_task():cancelling(), #agenda.all_tasks()
        end)
        loopkit.turns(turns)
        local taken = task:cancel()
        pcall(agenda.await, task)
        if count then
          assert.equal(2, left)
          assert.equal(taken and 1 or 0, count)
        else
          assert.is_true(task:cancelled())
        end
      end
    end)
  end)

  describe("within a timeout", function()
    in_run("ends with TimeoutError and cancelled tasks", function()
      local child
      fails(errors.TimeoutError, function()
        local _ <close> = agenda.timeout(0.001)
        in_group(function(tg) child = tg:spawn(agenda.sleep, 60) end)
      end)
      assert.is_true(child:cancelled())
      assert.equal(0, agenda.current_task():cancelling())
    end)

    in_run("in its block collects the TimeoutError", function()
      local err = fails(errors.ExceptionGroup, in_group, function()
        local _ <close> = agenda.timeout(0.001)
        agenda.sleep(60)
      end)
      assert.is_true(errors.TimeoutError:is(err.errors[1]))
    end)

    in_run("in a task collects the TimeoutError", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(agenda.with_timeout, 0.001, agenda.sleep, 60)
      end)
      assert.is_true(errors.TimeoutError:is(err.errors[1]))
    end)
  end)

  describe("cancel", function()
    in_run("cancels the tasks and ends a block at its end without error", function()
      local child
      in_group(function(tg)
        child = tg:spawn(agenda.sleep, 60)
        agenda.sleep(0)
        tg:cancel()
      end)
      assert.is_true(child:cancelled())
      assert.equal(0, agenda.current_task():cancelling())
      agenda.sleep(0)
    end)

    in_run("by a task ends the wait for the others", function()
      local winner
      in_group(function(tg)
        for i = 1, 3 do
          tg:spawn(function()
            loopkit.turns(i * 3)
            winner = i
            tg:cancel()
          end)
        end
      end)
      assert.equal(1, winner)
    end)

    in_run("passes its message on", function()
      local seen
      in_group(function(tg)
        tg:spawn(function()
          local _, err = pcall(agenda.sleep, 60)
          seen = err.message
          error(err, 0)
        end)
        agenda.sleep(0)
        tg:cancel("enough")
      end)
      assert.equal("enough", seen)
    end)

    in_run("twice is the same as once", function()
      in_group(function(tg)
        tg:spawn(agenda.sleep, 60)
        tg:cancel()
        tg:cancel()
      end)
      assert.equal(0, agenda.current_task():cancelling())
    end)

    in_run("and then a cancellation from outside leaves the task cancelled", function()
      local group
      local task = loopkit.started(in_group, function(tg)
        group = tg
        tg:spawn(function()
          pcall(agenda.sleep, 60)
          loopkit.turns(3)
        end)
      end)
      loopkit.turns(2)
      group:cancel()
      loopkit.turns(1)
      task:cancel("outside")
      local err = fails(errors.CancelledError, agenda.await, task)
      assert.equal("outside", err.message)
      assert.is_true(task:cancelled())
    end)

    in_run("of a finished group has no effect", function()
      local tg
      in_group(function(group) tg = group end)
      tg:cancel()
      agenda.sleep(0)
      assert.equal(0, agenda.current_task():cancelling())
    end)

    in_run("makes spawn a RuntimeError", function()
      in_group(function(tg)
        tg:cancel()
        fails(errors.RuntimeError, tg.spawn, tg, after(0))
      end)
    end)

    in_run("still raises the errors of the cleanups", function()
      local err = fails(errors.ExceptionGroup, in_group, function(tg)
        tg:spawn(function()
          pcall(agenda.sleep, 60)
          error("cleanup", 0)
        end)
        agenda.sleep(0)
        tg:cancel()
      end)
      assert.same({ "cleanup" }, err.errors)
    end)
  end)

  describe("in a generator's body", function()
    in_run("makes a yield out of it a RuntimeError that names the scope", function()
      local g = agenda.asyncgen(function()
        in_group(function() agenda.yield(1) end)
      end)()
      local err = fails(errors.ExceptionGroup, function() agenda.await(g:anext()) end)
      assert.is_true(errors.RuntimeError:is(err.errors[1]))
      assert.truthy(err.errors[1].message:find("taskgroup", 1, true))
    end)

    in_run("lets it yield after the block", function()
      local g = agenda.asyncgen(function()
        in_group(function(tg) tg:spawn(after(1)) end)
        agenda.yield("after")
      end)()
      assert.equal("after", agenda.await(g:anext()))
      agenda.await(g:aclose())
    end)

    in_run("lets it yield after a block that failed", function()
      local g = agenda.asyncgen(function()
        pcall(in_group, function(tg) tg:spawn(after(1, "failed", true)) end)
        agenda.yield("after")
      end)()
      assert.equal("after", agenda.await(g:anext()))
      agenda.await(g:aclose())
    end)

    in_run("lets GeneratorExit out bare when the body is closed at an await", function()
      local child, seen
      local g = agenda.asyncgen(function()
        local _
        _, seen = pcall(in_group, function(tg)
          child = tg:spawn(agenda.sleep, 60)
          error(errors.GeneratorExit("closing"), 0)
        end)
        agenda.yield(1)
      end)()
      agenda.await(g:anext())
      agenda.await(g:aclose())
      assert.is_true(errors.GeneratorExit:is(seen))
      assert.is_true(child:cancelled())
    end)

    in_run("lets its tasks run generators", function()
      local gen, sum = agenda.asyncgen(function()
        agenda.yield(1)
        agenda.yield(2)
      end), 0
      in_group(function(tg)
        tg:spawn(function()
          for v in gen() do sum = sum + v end
        end)
      end)
      assert.equal(3, sum)
    end)
  end)
end)

describe("agenda.with_taskgroup", function()
  in_run("cannot be entered again when it has ended", function()
    local group
    agenda.with_taskgroup(function(tg) group = tg end)
    local called = false
    local err = fails(errors.RuntimeError, agenda.with, group, function() called = true end)
    assert.matches("is finished$", err.message)
    assert.is_false(called)
  end)

  in_run("calls f with a group", function()
    assert.equal("taskgroup", agenda.with_taskgroup(agenda.type))
  end)

  in_run("returns f's results", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(agenda.with_taskgroup(function() return 1, nil, 3 end)))
  end)

  in_run("waits for the tasks first", function()
    local ended = false
    assert.equal("result", agenda.with_taskgroup(function(tg)
      tg:spawn(function()
        agenda.sleep(0.001)
        ended = true
      end)
      return "result"
    end))
    assert.is_true(ended)
  end)

  in_run("raises the ExceptionGroup of a failing task", function()
    local err = fails(errors.ExceptionGroup, agenda.with_taskgroup, function(tg)
      tg:spawn(after(0, "failed", true))
      agenda.sleep(60)
    end)
    assert.same({ "failed" }, err.errors)
  end)

  in_run("takes a table that can be called", function()
    local callable = setmetatable({}, { __call = function(_, tg) return agenda.type(tg) end })
    assert.equal("taskgroup", agenda.with_taskgroup(callable))
    loopkit.bad_argument(1, "with_taskgroup", function() agenda.with_taskgroup(setmetatable({}, {})) end)
  end)

  in_run("makes RuntimeError of f's error(nil)", function()
    local err = fails(errors.ExceptionGroup, agenda.with_taskgroup, function(tg)
      tg:spawn(agenda.sleep, 60)
      error(nil)
    end)
    assert.equal("RuntimeError: nil error", tostring(err.errors[1]))
  end)

  in_run("raises the ExceptionGroup of f's own error", function()
    local err = fails(errors.ExceptionGroup, agenda.with_taskgroup, function() error("own", 0) end)
    assert.same({ "own" }, err.errors)
  end)

  in_run("returns nothing when tg:cancel() cut f short", function()
    local went_on = false
    assert.equal(0, select("#", agenda.with_taskgroup(function(tg)
      tg:spawn(tg.cancel, tg)
      agenda.sleep(60)
      went_on = true
    end)))
    assert.is_false(went_on)
    assert.equal(0, agenda.current_task():cancelling())
  end)

  in_run("returns f's results when tg:cancel() came late", function()
    assert.equal("result", agenda.with_taskgroup(function(tg)
      tg:spawn(agenda.sleep, 60)
      tg:cancel()
      return "result"
    end))
  end)

  in_run("lets a cancellation from outside through after tg:cancel()", function()
    local task
    task = agenda.spawn(agenda.with_taskgroup, function(tg)
      tg:spawn(function()
        tg:cancel()
        task:cancel()
      end)
      agenda.sleep(60)
    end)
    fails(errors.CancelledError, agenda.await, task)
    assert.is_true(task:cancelled())
  end)

  in_run("lets a CancelledError of f's own through", function()
    local mark = errors.CancelledError("own")
    local ok, err = pcall(agenda.with_taskgroup, function() error(mark, 0) end)
    assert.is_false(ok)
    assert.equal(mark, err)
  end)

  in_run("absorbs tg:cancel() alone in a task that had been cancelled before", function()
    local went_on = false
    local task = agenda.spawn(function()
      pcall(agenda.sleep, 60)
      agenda.with_taskgroup(function(tg)
        tg:spawn(tg.cancel, tg)
        agenda.sleep(60)
      end)
      went_on = true
    end)
    agenda.sleep(0)
    task:cancel()
    agenda.await(task)
    assert.is_true(went_on)
    assert.equal(1, task:cancelling())
  end)

  in_run("refuses what is no function", function()
    loopkit.bad_argument(1, "with_taskgroup", function() agenda.with_taskgroup(5) end)
    local err = loopkit.bad_argument(1, "with_taskgroup", function() agenda.with_taskgroup() end)
    assert.truthy(err:find("(function expected, got no value)", 1, true))
  end)

  it("outside a task is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.with_taskgroup, print)
  end)

  it("tells debug mode nothing while it cleans up", function()
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      local task = agenda.spawn(agenda.with_taskgroup, function(tg)
        tg:spawn(function()
          local _ <close> = loopkit.on_close(function() loopkit.turns(3) end)
          agenda.sleep(60)
        end)
      end)
      loopkit.turns(2)
      task:cancel()
      pcall(agenda.await, task)
    end)
    assert.same({}, contexts)
  end)
end)
