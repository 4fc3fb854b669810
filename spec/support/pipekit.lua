--- What the specs of pipelines share: a counting source, and cancelling at every turn.
local agenda = require "agenda"
local busted = require "busted"
local edition = require "spec.support.edition"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"

local pipekit = {}

--- A source of 1 .. n that counts what is pulled of it and how often it was closed.
-- @tparam integer n
-- @tparam[opt] table options `turns` it takes before each item, `fail` (raised after the items)
-- @treturn asyncgen it
-- @treturn table `pulled` (items asked for), `given`, `begun`, `closed`, `cleaned` (the cleanup's end)
function pipekit.source(n, options)
  options = options or {}
  local seen = { pulled = 0, given = 0, closed = 0, begun = 0, cleaned = 0 }
  local make = agenda.asyncgen("source", function()
    seen.begun = seen.begun + 1
    expect.ensure(function()
      for i = 1, n do
        seen.pulled = seen.pulled + 1
        loopkit.turns(options.turns or 0)
        seen.given = seen.given + 1
        agenda.yield(i)
      end
      seen.pulled = seen.pulled + 1
      loopkit.turns(options.turns or 0)
      if options.fail then error(options.fail, 0) end
    end, function()
      seen.closed = seen.closed + 1
      loopkit.turns(options.cleanup_turns or 0)
      seen.cleaned = seen.cleaned + 1
    end)
  end)
  return (make()), seen
end

-- Runs the body, which is to leave no task, as a main function of `run`.
local function checked(run, body)
  return function()
    run(function()
      body()
      if edition.portable then return end
      local me = agenda.current_task()
      for _, task in ipairs(agenda.all_tasks()) do
        if task ~= me then error("a task is left: " .. tostring(task), 0) end
      end
    end)
  end
end

--- Defines an `it` whose body runs under agenda.run and leaves no task.
function pipekit.in_run(name, body)
  return busted.it(name, checked(agenda.run, body))
end

--- The same on a virtual clock, which the portable edition's runs have anyway.
function pipekit.on_virtual_clock(name, body)
  local run = edition.portable and agenda.run or require("agenda.testing").run
  return busted.it(name, checked(run, body))
end

--- Runs scenario(seen) in a task that is cancelled after k turns, for k = 0, 1, 2 ... until it ends
-- by itself. `seen` is a list to which the scenario adds what `source` gave; each source that was
-- begun must have been closed once, and no task be left.
-- @tparam function scenario
-- @tparam[opt] function check called with `seen` after each
-- @treturn integer the number of turns after which it ended by itself
function pipekit.cancelled_at_every_turn(scenario, check)
  for k = 0, 500 do
    local seen = {}
    local by_itself = agenda.run(function()
      local me = agenda.current_task()
      local task = agenda.spawn(scenario, seen)
      loopkit.turns(k)
      local ended = task:done()
      task:cancel()
      local ok, err = pcall(agenda.await, task)
      if not ok and not agenda.errors.CancelledError:is(err) then error(err, 0) end
      if ok and not ended then error(("turn %d: the cancellation was swallowed"):format(k), 0) end
      for _, other in ipairs(agenda.all_tasks()) do
        if other ~= me then error(("turn %d: left: %s"):format(k, tostring(other)), 0) end
      end
      for i, counts in ipairs(seen) do
        if counts.closed ~= counts.begun then
          error(("turn %d: source %d: begun %d, closed %d"):format(k, i, counts.begun, counts.closed), 0)
        end
      end
      if check then check(seen, ended) end
      return ended
    end)
    if by_itself then return k end
  end
  error("the scenario does not end by itself", 2)
end

--- The items of x as a list, taking `turns` turns after each.
function pipekit.slowly(x, turns, each)
  local list = {}
  agenda.each(x, function(v)
    list[#list + 1] = v
    if each then each(v) end
    loopkit.turns(turns)
  end)
  return list
end

return pipekit
