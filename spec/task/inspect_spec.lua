local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"
local errors, fails = agenda.errors, loopkit.fails
local in_run = loopkit.in_run

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do set[item] = true end
  return set
end

local function at(line)
  return "inspect_spec.lua:" .. line
end

describe("agenda.current_task", function()
  in_run("is the task that runs", function()
    local inside
    local task = agenda.spawn(function() inside = agenda.current_task() end)
    agenda.await(task)
    assert.equal(task, inside)
  end)

  in_run("is the same after waiting", function()
    local before = agenda.current_task()
    agenda.sleep(0.001)
    assert.equal(before, agenda.current_task())
  end)

  in_run("is each task's own when they take turns", function()
    local right, tasks = 0, {}
    for i = 1, 3 do
      tasks[i] = agenda.spawn(function()
        for _ = 1, 3 do
          if agenda.current_task() == tasks[i] then right = right + 1 end
          agenda.sleep(0)
        end
      end)
    end
    for i = 1, 3 do agenda.await(tasks[i]) end
    assert.equal(9, right)
  end)

  in_run("is the task inside what it awaits", function()
    local task = agenda.current_task()
    local co = agenda.async(function()
      agenda.sleep(0)
      return agenda.current_task()
    end)
    assert.equal(task, agenda.await(co()))
    for inner in agenda.asyncgen(function() agenda.yield(agenda.current_task()) end)() do
      assert.equal(task, inner)
    end
  end)

  in_run("is nil in a callback", function()
    local seen = "unset"
    agenda.get_running_loop():call_soon(function() seen = agenda.current_task() end)
    agenda.sleep(0)
    assert.is_nil(seen)
  end)

  it("with no loop running is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.current_task)
  end)
end)

describe("agenda.all_tasks", function()
  in_run("is a list of the unfinished, the current one among them", function()
    local one, other = agenda.spawn(agenda.sleep, 60), agenda.spawn(agenda.sleep, 60)
    local list = agenda.all_tasks()
    assert.equal(3, #list)
    local set = set_of(list)
    assert.is_true(set[one])
    assert.is_true(set[other])
    assert.is_true(set[agenda.current_task()])
  end)

  in_run("leaves out those that have ended", function()
    agenda.await(agenda.spawn(function() end))
    pcall(agenda.await, agenda.spawn(function() error("failed") end))
    assert.same({ agenda.current_task() }, agenda.all_tasks())
  end)

  in_run("leaves out those that were cancelled", function()
    local task = agenda.spawn(agenda.sleep, 60)
    task:cancel()
    pcall(agenda.await, task)
    assert.equal(1, #agenda.all_tasks())
  end)

  in_run("leaves out futures", function()
    agenda.future()
    agenda.get_running_loop():create_future()
    assert.equal(1, #agenda.all_tasks())
  end)

  in_run("is a new list each time", function()
    local list = agenda.all_tasks()
    list[1] = nil
    assert.equal(1, #agenda.all_tasks())
  end)

  it("leaves out the tasks of other loops", function()
    loopkit.with_loop(function(other)
      local task = other:create_task(function() end)
      agenda.run(function() assert.is_nil(set_of(agenda.all_tasks())[task]) end)
      other:run_until_complete(task)
    end)
  end)

  in_run("works in a callback", function()
    local count
    agenda.get_running_loop():call_soon(function() count = #agenda.all_tasks() end)
    agenda.sleep(0)
    assert.equal(1, count)
  end)

  it("with no loop running is a RuntimeError", function()
    fails(errors.RuntimeError, agenda.all_tasks)
  end)
end)

describe("agenda.print_tasks", function()
  in_run("prints every task by its name", function()
    local file <close>, written = loopkit.scratch_file()
    agenda.current_task():set_name("the first")
    agenda.spawn(agenda.sleep, 60):set_name("the second")
    agenda.sleep(0)
    agenda.print_tasks(file)
    local text = written()
    assert.truthy(text:find("the first", 1, true))
    assert.truthy(text:find("the second", 1, true))
  end)

  in_run("prints where a task waits", function()
    local line
    agenda.spawn(function()
      line = loopkit.here() + 1
      agenda.sleep(60)
    end)
    agenda.sleep(0)
    local file <close>, written = loopkit.scratch_file()
    agenda.print_tasks(file)
    assert.truthy(written():find(at(line), 1, true))
  end)

  in_run("prints what a task awaits", function()
    local inner = agenda.spawn(agenda.sleep, 60)
    inner:set_name("awaited one")
    agenda.spawn(function() agenda.await(inner) end):set_name("awaiting one")
    loopkit.turns(2)
    local file <close>, written = loopkit.scratch_file()
    agenda.print_tasks(file)
    local _, mentions = written():gsub("awaited one", "")
    assert.is_true(mentions >= 2)
  end)

  in_run("leaves out tasks that have ended", function()
    local task = agenda.spawn(function() end)
    task:set_name("ended one")
    agenda.await(task)
    local file <close>, written = loopkit.scratch_file()
    agenda.print_tasks(file)
    assert.is_nil(written():find("ended one", 1, true))
  end)

  in_run("refuses what is no file", function()
    for _, file in ipairs { 5, "file", true } do
      loopkit.bad_argument(1, "print_tasks", function() agenda.print_tasks(file) end)
    end
  end)

  it("prints to a standard stream when no file is given", function()
    local result = script.run([[
      agenda.run(function()
        agenda.current_task():set_name("to be printed")
        agenda.print_tasks()
      end)
    ]])
    assert.truthy((result.stdout .. result.stderr):find("to be printed", 1, true))
  end)
end)

describe("a task's name", function()
  in_run("is Task- and a number by default", function()
    assert.truthy(agenda.spawn(function() end):get_name():match("^Task%-%d+$"))
  end)

  in_run("is not another task's", function()
    local one, other = agenda.spawn(function() end), agenda.spawn(function() end)
    assert.not_equal(one:get_name(), other:get_name())
  end)

  in_run("stays", function()
    local task = agenda.spawn(function() end)
    local name = task:get_name()
    agenda.await(task)
    assert.equal(name, task:get_name())
  end)

  in_run("may be set, also afterwards", function()
    local task = agenda.spawn(function() end)
    task:set_name("before")
    assert.equal("before", task:get_name())
    agenda.await(task)
    task:set_name("after")
    assert.equal("after", task:get_name())
  end)
end)

describe("task:get_coro", function()
  in_run("gives the coroutine object that the task was made of", function()
    local co = agenda.async(function() end)()
    local task = agenda.spawn(co)
    assert.equal(co, task:get_coro())
    agenda.await(task)
  end)
end)

describe("task:get_stack", function()
  in_run("shows where a suspended task waits", function()
    local line
    local task = agenda.spawn(function()
      line = loopkit.here() + 1
      agenda.sleep(60)
    end)
    agenda.sleep(0)
    local lines = {}
    for _, frame in ipairs(task:get_stack()) do
      assert.is_string(frame.source)
      lines[frame.currentline] = true
    end
    assert.is_true(lines[line])
  end)

  in_run("is empty for a task that has ended", function()
    local task = agenda.spawn(function() end)
    agenda.await(task)
    assert.same({}, task:get_stack())
  end)
end)

describe("task:print_stack", function()
  in_run("prints where a suspended task waits", function()
    local line
    local task = agenda.spawn(function()
      line = loopkit.here() + 1
      agenda.sleep(60)
    end)
    agenda.sleep(0)
    local file <close>, written = loopkit.scratch_file()
    task:print_stack(file)
    assert.truthy(written():find(at(line), 1, true))
  end)

  in_run("prints the functions that were called on the way", function()
    local inner_line, outer_line
    local function inner()
      inner_line = loopkit.here() + 1
      agenda.sleep(60)
      return 1
    end
    local task = agenda.spawn(function()
      outer_line = loopkit.here() + 1
      inner()
      return 1
    end)
    agenda.sleep(0)
    local file <close>, written = loopkit.scratch_file()
    task:print_stack(file)
    local text = written()
    assert.truthy(text:find(at(inner_line), 1, true))
    assert.truthy(text:find(at(outer_line), 1, true))
  end)

  in_run("prints the coroutines that the task awaits", function()
    local inner_line, outer_line
    local inner = agenda.async(function()
      inner_line = loopkit.here() + 1
      agenda.sleep(60)
      return 1
    end)
    local task = agenda.spawn(function()
      outer_line = loopkit.here() + 1
      agenda.await(inner())
      return 1
    end)
    agenda.sleep(0)
    local file <close>, written = loopkit.scratch_file()
    task:print_stack(file)
    local text = written()
    assert.truthy(text:find(at(inner_line), 1, true))
    assert.truthy(text:find(at(outer_line), 1, true))
  end)

  in_run("refuses what is no file", function()
    local task = agenda.current_task()
    for _, file in ipairs { 5, "file", true } do
      loopkit.bad_argument(1, "print_stack", function() task:print_stack(file) end)
    end
  end)
end)

describe("the traceback of an error", function()
  -- Raises value two coroutine objects deep; gives the lines that matter.
  local function raise_deep(value)
    local lines = {}
    local inner = agenda.async(function()
      agenda.sleep(0)
      lines.raised = loopkit.here() + 1
      error(value, 0)
    end)
    local outer = agenda.async(function()
      lines.outer = loopkit.here() + 1
      agenda.await(inner())
      return 1
    end)
    local task = agenda.spawn(function()
      lines.task = loopkit.here() + 1
      agenda.await(outer())
      return 1
    end)
    local _, err = pcall(agenda.await, task)
    return lines, err
  end

  in_run("shows the coroutine that raised it", function()
    local lines, err = raise_deep(errors.ValueError("deep"))
    assert.is_string(err.traceback)
    assert.truthy(err.traceback:find(at(lines.raised), 1, true))
  end)

  in_run("shows the coroutines that were awaiting", function()
    local lines, err = raise_deep(errors.ValueError("deep"))
    assert.truthy(err.traceback:find(at(lines.outer), 1, true))
    assert.truthy(err.traceback:find(at(lines.task), 1, true))
  end)

  in_run("shows the innermost first", function()
    local lines, err = raise_deep(errors.ValueError("deep"))
    local raised = err.traceback:find(at(lines.raised), 1, true)
    local outer = err.traceback:find(at(lines.outer), 1, true)
    assert.is_true(raised < outer)
  end)

  in_run("shows who was given it, and none that were given it before", function()
    local task = agenda.spawn(function() error(errors.ValueError("once")) end)
    local _, err = pcall(agenda.await, task)
    local first = err.traceback
    for _ = 1, 3 do
      pcall(task.result, task)
      fails(errors.ValueError, agenda.await, task)
      assert.equal(select(2, first:gsub("awaited by", "")),
        select(2, err.traceback:gsub("awaited by", "")))
    end
  end)

  in_run("does not grow when an error that nobody raised is awaited again", function()
    local fut = agenda.future()
    fut:set_exception(errors.ValueError("set"))
    local lengths = {}
    for i = 1, 3 do
      local task = agenda.spawn(function() return agenda.await(fut), 1 end)
      lengths[i] = #fails(errors.ValueError, agenda.await, task).traceback
    end
    assert.same({lengths[1], lengths[1], lengths[1]}, lengths)
  end)

  in_run("shows who awaited a future that failed without being raised, also when caught there", function()
    local fut = agenda.future()
    fut:set_exception(errors.ValueError("set"))
    local line = loopkit.here() + 1
    local _, err = pcall(function() return agenda.await(fut), 1 end)
    assert.truthy(err.traceback:find(at(line), 1, true))
  end)

  describe("that cancels", function()
    local waiting
    local function nested()
      waiting = loopkit.here() + 1
      agenda.sleep(60)
      return "never"
    end

    -- The CancelledError of a task that awaits a cancelled one by `get`, whose line is the second.
    local function cancelled(get)
      local line
      local inner = agenda.spawn(nested)
      local outer = agenda.spawn(function()
        agenda.sleep(0)
        inner:cancel()
        line = loopkit.here() + 1
        get(inner)
        return "never"
      end)
      return fails(errors.CancelledError, agenda.await, outer), line
    end

    in_run("shows where the cancelled task waited and who awaited it", function()
      local err, line = cancelled(agenda.await)
      assert.truthy(err.traceback:find(at(waiting) .. ".*" .. at(line)))
    end)

    in_run("shows it when exception() raises it", function()
      local err, line = cancelled(function(task)
        agenda.wait({task})
        task:exception()
      end)
      assert.truthy(err.traceback:find(at(waiting) .. ".*" .. at(line)))
    end)

    in_run("shows of a future who awaited it", function()
      local fut = agenda.future()
      fut:cancel()
      local line = loopkit.here() + 1
      local task = agenda.spawn(function() return agenda.await(fut), 1 end)
      local err = fails(errors.CancelledError, agenda.await, task)
      assert.truthy(err.traceback:find(at(line), 1, true))
    end)

    in_run("is found as the cause of a timeout", function()
      local task = agenda.spawn(agenda.with_timeout, 0.001, nested)
      local err = fails(errors.TimeoutError, agenda.await, task)
      assert.truthy(err.cause.traceback:find(at(waiting), 1, true))
    end)
  end)

  in_run("is what agenda.traceback gives", function()
    local lines, err = raise_deep(errors.ValueError("deep"))
    assert.truthy(agenda.traceback(err):find(at(lines.raised), 1, true))
  end)

  in_run("is given by agenda.traceback for a string too", function()
    local lines, err = raise_deep("a string that was raised")
    assert.equal("a string that was raised", err)
    assert.truthy(agenda.traceback(err):find(at(lines.raised), 1, true))
  end)

  in_run("is given by agenda.traceback for a foreign table too", function()
    local mark = {}
    local lines, err = raise_deep(mark)
    assert.equal(mark, err)
    assert.truthy(agenda.traceback(err):find(at(lines.raised), 1, true))
    assert.is_nil(next(mark))
  end)

  in_run("shows the async generators on the way", function()
    local raised_line, loop_line
    local gen = agenda.asyncgen(function()
      agenda.yield(1)
      agenda.sleep(0)
      raised_line = loopkit.here() + 1
      error(errors.ValueError("in a generator"))
    end)
    local task = agenda.spawn(function()
      loop_line = loopkit.here() + 1
      for _ in gen() do agenda.sleep(0) end
    end)
    local err = fails(errors.ValueError, agenda.await, task)
    assert.truthy(err.traceback:find(at(raised_line), 1, true))
    assert.truthy(err.traceback:find(at(loop_line), 1, true))
  end)

  it("is there for an error that came out of run", function()
    local line
    local err = fails(errors.ValueError, agenda.run, function()
      agenda.sleep(0)
      line = loopkit.here() + 1
      error(errors.ValueError("of main"))
    end)
    assert.truthy(err.traceback:find(at(line), 1, true))
  end)
end)
