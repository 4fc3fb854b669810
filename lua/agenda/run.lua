--- Running a program: `agenda.run`, `agenda.main`, and how a loop is wound up.
-- @module agenda
local core = require "agenda.core"
local check = require "agenda.check"

local errors = core.errors
local pack, unpack = table.pack, table.unpack

local STOPPED = "Event loop stopped before Future completed."

local function check_loop(loop, name)
  if core.type(loop) ~= "event_loop" then
    check.refuse(1, name, "agenda.event_loop", loop, 3)
  end
end

--- Whether a pcall caught what must go on outward: an interrupt, or the cancellation of this task.
local function must_go_on(err)
  return errors.KeyboardInterrupt:is(err)
    or errors.CancelledError:is(err) and core.current_task():cancelling() > 0
end

-- ----- async generators ------------------------------------------------------------------

-- One after the other, in the order of first iteration: a generator is closed before those that it
-- iterates, which its own cleanup closes.
local close_generators = core.async("shutdown_asyncgens", function(loop)
  local seen, found = {}, true
  while found do
    found = false
    for _, generator in ipairs(core._loop_generators(loop)) do
      if not seen[generator] then
        seen[generator], found = true, true
        local ok, err = pcall(core.await, generator:aclose())
        if not ok then
          if must_go_on(err) then error(err, 0) end
          loop:call_exception_handler {
            message = "an error occurred during closing of asynchronous generator "
              .. tostring(generator),
            exception = err,
            asyncgen = generator,
          }
        end
      end
    end
  end
end)

--- Closes every async generator that was first iterated on the loop and is still open. What a
-- cleanup raises goes to the exception handler. As in asyncio.
-- @function loop:shutdown_asyncgens
-- @treturn coroutine an awaitable that does nothing until it is awaited
function core._loop_methods.shutdown_asyncgens(loop)
  check_loop(loop, "shutdown_asyncgens")
  return close_generators(loop)
end

-- ----- the end of a run ------------------------------------------------------------------

--- Reports the error of a finished task that nobody asked for.
local function report_failure(loop, task, message)
  if not task:cancelled() and task:exception() ~= nil then
    loop:call_exception_handler {
      message = message,
      exception = task:exception(),
      task = task,
    }
  end
end

--- Cancels the tasks that are left, each once, but for the cleanups that a finalizer started.
-- @tparam event_loop loop
-- @tparam table left list of the tasks to await, which is added to
-- @tparam[opt] task me the one that does this
local function cancel_tasks(loop, left, me)
  for _, task in ipairs(loop:_tasks()) do
    if task ~= me and not left[task] then
      left[task] = true
      left[#left + 1] = task
      if not core._is_cleanup(task) then task:cancel() end
    end
  end
end

--- Awaits the tasks that are left, and those that they leave.
-- @treturn boolean whether there were any
local function finish_tasks(loop, left)
  local me, any = core.current_task(), false
  cancel_tasks(loop, left, me)
  while #left > 0 do
    any = true
    local task = table.remove(left, 1)
    local ok, err = pcall(core.await, task)
    if not ok and must_go_on(err) and not task:done() then error(err, 0) end
    if not core._is_kept(task) then
      report_failure(loop, task, "unhandled error in a task that was left at the end of the run")
    end
    cancel_tasks(loop, left, me)
  end
  return any
end

--- Collects what nobody holds, so that it is reported, or its cleanup started, while the loop runs.
-- A full collection may take long: that is no slow callback of the user's.
local function collect(loop, left)
  loop.slow_callback_duration = math.huge
  repeat
    for _ = 1, 3 do collectgarbage() end
  until not finish_tasks(loop, left)
end

--- Reports the errors of tasks that somebody holds but has not asked for them.
local function report_failed(loop)
  local failed, numbers = loop:_failed_tasks(), {}
  for number in pairs(failed) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  for _, number in ipairs(numbers) do
    report_failure(loop, failed[number], "Task exception was never retrieved")
  end
end

local steps = {
  finish_tasks,
  function(loop)
    core.await(loop:shutdown_asyncgens())
  end,
  function(loop)
    if loop.shutdown_default_executor then core.await(loop:shutdown_default_executor()) end
  end,
  function(loop)
    if core._finish_standard then core._finish_standard(loop) end
  end,
  collect,
  report_failed,
}

--- Runs a step to its end, whoever calls stop() meanwhile.
local function run_step(loop, step, left)
  local task = loop:create_task(step, loop, left)
  while true do
    local ok, err = pcall(loop.run_until_complete, loop, task)
    if ok then return true end
    if task:done() or not errors.RuntimeError:is(err) or err.message ~= STOPPED then
      if task:cancel() then pcall(loop.run_once, loop, 0) end
      return false, err
    end
  end
end

--- Winds the loop up: what has not begun yet is cancelled before it does. An interrupt cuts the
-- rest short.
-- @return the interrupt, or nil
local function shut_down(loop)
  local left = {}
  cancel_tasks(loop, left)
  for _, step in ipairs(steps) do
    local ok, err = run_step(loop, step, left)
    if not ok and errors.KeyboardInterrupt:is(err) then return err end
  end
end

--- Has a loop that a host runs wound up: cancels its tasks now, and does the rest in a task. For
-- agenda_shutdown and agenda_detach.
-- @tparam event_loop loop
-- @treturn task
function core._wind_up(loop)
  local left = {}
  cancel_tasks(loop, left)
  return loop:create_task(function()
    for _, step in ipairs(steps) do step(loop, left) end
  end)
end

-- ----- running ---------------------------------------------------------------------------

--- Runs main as a task; Ctrl-C cancels it.
local function run_main(loop, main, ...)
  local task = loop:create_task(main, ...)
  core._catch_interrupts(loop, task)
  if loop:get_debug() then
    core._add_silent_signal_handler(loop, "SIGUSR1", function()
      io.stderr:write(loop:_describe_tasks())
    end)
  end
  local outcome = pack(pcall(loop.run_until_complete, loop, task))
  if not outcome[1] and errors.CancelledError:is(outcome[2]) and core._interrupted(loop)
      and task:uncancel() == 0 then
    outcome[2] = errors.KeyboardInterrupt()
  end
  return outcome
end

--- Runs main on a new loop, which is closed at the end. What main leaves is wound up first: tasks
-- are cancelled and awaited (cleanups that a finalizer started are only awaited), async generators
-- closed, errors that nobody took reported. SIGINT cancels main, which makes it KeyboardInterrupt
-- unless main handles it; a second one interrupts at once. As in asyncio.
-- @function run
-- @tparam function|awaitable main
-- @param ... the function's arguments
-- @return main's results
-- @raise main's error; RuntimeError inside a running loop, or when nothing can wake main
-- ("deadlock", with the tasks that wait); TypeError for what is neither; KeyboardInterrupt
local function run(main, ...)
  if pcall(core.get_running_loop) then
    error(errors.RuntimeError("agenda.run() cannot be called from a running event loop"), 0)
  end
  local loop = core.new_event_loop()
  local started, outcome = pcall(run_main, loop, main, ...)
  if not started then outcome = { false, outcome, n = 2 } end
  local interrupt = shut_down(loop)
  core._release_interrupts(loop)
  loop:close()
  if interrupt then error(interrupt, 0) end
  if not outcome[1] then error(outcome[2], 0) end
  return unpack(outcome, 2, outcome.n)
end

--- For scripts: `run`; an error is printed with its trace to stderr and ends the process.
-- The exit code is 1, or 130 after Ctrl-C.
-- @function main
-- @tparam function|awaitable f
-- @param ... the function's arguments
-- @return f's results
local function main(f, ...)
  local outcome = pack(pcall(run, f, ...))
  if outcome[1] then return unpack(outcome, 2, outcome.n) end
  local err = outcome[2]
  io.stdout:flush()
  if errors.KeyboardInterrupt:is(err) then
    io.stderr:write(tostring(err), "\n")
    os.exit(130, true)
  end
  io.stderr:write(core.traceback(err), "\n")
  os.exit(1, true)
end

return { run = run, main = main }
