--- Tests without waiting: a virtual clock, a look at when all is blocked, a leak gate.
-- `require "agenda.testing"`; the ideas are Trio's.
-- @module agenda.testing

local core = require "agenda.core"
local check = require "agenda.check"
local run = require "agenda.run".run

local errors = core.errors
local pack, unpack = table.pack, table.unpack

local testing = {}

-- Objects of agenda are finalized in two stages, what they held after them.
local MAX_COLLECTIONS = 6

-- ----- the clock -------------------------------------------------------------------------------

local function use_virtual_clock()
  local loop = core.get_running_loop()
  core._use_virtual_clock(loop, 0)
  core._loop_extra(loop).has_virtual_clock = true
end

local function virtual_loop()
  local loop = core.get_running_loop()
  if not core._loop_extra(loop).has_virtual_clock then
    error(errors.RuntimeError("the running loop has no virtual clock; use agenda.testing.run"), 0)
  end
  return loop
end

--- Like `agenda.run`, on a clock that begins at 0, stands still while anything can run, and jumps
-- to the next deadline when every task is blocked, so that `sleep(3600)` takes no time.
-- @function run
-- @tparam function|awaitable main
-- @param ... the function's arguments
-- @return main's results
-- @raise what `agenda.run` raises: main's error; RuntimeError "deadlock" with every task and what
-- it awaits, when main waits, there is no deadline, and no descriptor or child is watched
function testing.run(main, ...)
  if type(main) == "function" then
    return run(function(...)
      use_virtual_clock()
      return main(...)
    end, ...)
  end
  if core.isawaitable(main) then
    return run(function()
      use_virtual_clock()
      return core.await(main)
    end)
  end
  return run(main, ...)
end

--- The virtual time.
-- @function clock
-- @treturn number seconds since `testing.run` began
-- @raise RuntimeError outside `testing.run`
function testing.clock()
  return virtual_loop():time()
end

-- From a time to the next one that a number can express.
local function least_delay(now)
  local bits = string.unpack("i8", string.pack("d", now))
  return string.unpack("d", string.pack("i8", bits + 1)) - now
end

--- Awaits until every other task is blocked: waits for a time to come or for something that none of
-- the tasks that can run will do. The clock stays as it is.
-- @function wait_all_blocked
-- @raise RuntimeError outside `testing.run`
function testing.wait_all_blocked()
  local loop = virtual_loop()
  local now = loop:time()
  -- The clock moves only when nothing is ready to run, and this is the first of all deadlines.
  core.sleep(least_delay(now))
  core._use_virtual_clock(loop, now)
end

-- ----- leaks -----------------------------------------------------------------------------------

-- How many slots the process has for descriptors; nil where there is no /proc.
local function descriptor_slots()
  local status <close> = io.open("/proc/self/status")
  return status and math.tointeger(tonumber(status:read("a"):match("FDSize:%s*(%d+)")))
end

-- What a line of /proc/self/fdinfo tells.
local DESCRIPTOR_KINDS = {
  ["eventfd-count"] = "eventfd", clockid = "timerfd", tfd = "epoll", sigmask = "signalfd",
  inotify = "inotify", Pid = "pidfd",
}

local function describe_descriptor(info)
  for word, kind in pairs(DESCRIPTOR_KINDS) do
    if info:find("%f[^\n\0]" .. word:gsub("%-", "%%-")) then
      return kind
    end
  end
  return "inode " .. (info:match("ino:%s*(%d+)") or "unknown")
end

-- NB: a probe does not see the descriptor that it is itself: that one is not there yet when its own
-- number is looked up. Nothing is reopened, as /proc/self/fd/N would.
local function descriptors()
  local open = {}
  for fd = 0, (descriptor_slots() or 0) - 1 do
    local file <close> = io.open(("/proc/self/fdinfo/%d"):format(fd))
    if file then
      open[fd] = describe_descriptor(file:read("a") or "")
    end
  end
  return open
end

local function current_task()
  local ok, task = pcall(core.current_task)
  return ok and task or nil
end

local function tasks()
  local found = {}
  for _, task in ipairs(current_task() and core.all_tasks() or {}) do
    found[tostring(task)] = true
  end
  return found
end

local function snapshot()
  return {live = core.live(), descriptors = descriptors(), tasks = tasks()}
end

-- What there is more of, as lines of text.
local function compare(before, after)
  local found = {}
  for name, count in pairs(after.live) do
    local earlier = before.live[name] or 0
    if count > earlier then
      found[#found + 1] = ("%s: %d more (%d, was %d)"):format(name, count - earlier, count, earlier)
    end
  end
  for fd, what in pairs(after.descriptors) do
    if not before.descriptors[fd] then
      found[#found + 1] = ("descriptor %d: %s"):format(fd, what)
    end
  end
  for task in pairs(after.tasks) do
    if not before.tasks[task] then
      found[#found + 1] = "task: " .. task
    end
  end
  table.sort(found)
  return found
end

-- A snapshot after enough collections, and turns for the cleanups that they start, for it to have
-- no more than `before`; without `before`, for it not to shrink any further.
local function settled_snapshot(before)
  local last
  for _ = 1, MAX_COLLECTIONS do
    collectgarbage()
    collectgarbage()
    if current_task() then
      core.sleep(0)
    end
    local now = snapshot()
    if before and #compare(before, now) == 0 then
      return now
    end
    if not before and last and #compare(now, last) == 0 then
      return now
    end
    last = now
  end
  return last
end

--- Calls f and checks that it left nothing behind: tasks, coroutines begun and not ended, handles,
-- watchers, loops, descriptors (these only where there is /proc). What f returns counts too. Awaits
-- in a task, where it takes some turns.
-- @function leaks
-- @tparam function f
-- @param ... its arguments
-- @return f's results
-- @raise f's error; RuntimeError that lists what is left
function testing.leaks(f, ...)
  check.type(f, "function", 1, "leaks")
  local before = settled_snapshot()
  local results = pack(f(...))
  local after = settled_snapshot(before)
  local found = compare(before, after)
  if #found > 0 then
    error(errors.RuntimeError("left behind:\n  " .. table.concat(found, "\n  ")), 0)
  end
  return unpack(results, 1, results.n)
end

-- ----- busted ----------------------------------------------------------------------------------

--- Defines a spec of busted, or of another runner with a global `it`, whose body is run by
-- `testing.run`. Does not await.
-- @function it
-- @tparam string name
-- @tparam function f
-- @return what the runner's `it` returns
-- @raise RuntimeError when there is no runner
function testing.it(name, f)
  check.type(f, "function", 2, "it")
  local busted = package.loaded.busted
  local define = type(busted) == "table" and busted.it or rawget(_G, "it")
  if not define then
    error(errors.RuntimeError("testing.it: there is no busted, nor a global function 'it'"), 0)
  end
  -- NB: a tail call, so that busted finds the line of the caller.
  return define(name, function()
    testing.run(f)
  end)
end

return testing
