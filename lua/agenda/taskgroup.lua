--- Task groups: `taskgroup` and `with_taskgroup`, after asyncio.
--
-- The first failure aborts the group: the other tasks are cancelled, and the block with them, by a
-- request to its task that is taken back when all have ended.
-- @module agenda.taskgroup

local core = require "agenda.core"
local check = require "agenda.check"

local errors = core.errors
local CancelledError, RuntimeError = errors.CancelledError, errors.RuntimeError
local await, current_task, scope = core.await, core.current_task, core.scope
local getmetatable, new_batch, spawn_in_batch = getmetatable, core.new_batch, core.spawn_in_batch

local MESSAGE = "unhandled errors in a task group"

local TaskGroup = {}
TaskGroup.__index = TaskGroup
TaskGroup.__name = "agenda.taskgroup"
TaskGroup.__agenda_type = "taskgroup"

local function is_interrupt(err)
  return errors.KeyboardInterrupt:is(err)
end

local function status_of(self)
  if self._closed then
    return "finished"
  end
  return self._aborting and "cancelling" or self._exiting and "exiting" or "active"
end

function TaskGroup.__tostring(self)
  return ("<taskgroup %s tasks=%d at %p>"):format(status_of(self), self._count, self)
end

-- ----- aborting ------------------------------------------------------------------------------

local function abort(self, message)
  self._aborting = true
  local tasks = self._tasks
  for i = 1, self._length do
    tasks[i]:cancel(message)
  end
end

-- Once it is leaving, the block waits for the tasks alone and needs no request.
local function cancel_block(self, message)
  if not self._exiting and not self._requested then
    self._requested = true
    self._parent:cancel(message)
  end
end

local function add_error(self, err, name)
  local n = #self._errors + 1
  self._errors[n], self._names[n] = err, name
  if self._interrupt == nil and is_interrupt(err) then
    self._interrupt = err
  end
end

local function on_failure(self, task, err)
  add_error(self, err, task:get_name())
  if self._parent:done() then
    core.warn(("%s has failed, but the task that made its group is done"):format(tostring(task)),
      {task = task, exception = err})
  elseif not self._aborting then
    abort(self)
    cancel_block(self)
  end
end

local function on_done(self, done)
  local count = self._count - done
  self._count = count
  if count > 0 then
    return
  end
  self._tasks, self._length = {}, 0
  local waiter = self._waiter
  if waiter and not waiter:done() then
    waiter:set_result()
  end
end

-- What interrupts the handling of a failure (a KeyboardInterrupt of an exception handler) does so
-- after the last of them.
local function take_failed(self, failed)
  local interrupted, interrupt
  for i = 1, #failed do
    local ok, err = pcall(on_failure, self, failed[i], failed[i]:exception())
    if not ok and not interrupted then
      interrupted, interrupt = true, err
    end
  end
  if interrupted then
    error(interrupt, 0)
  end
end

local function make_batch(self)
  local batch
  batch = new_batch(function()
    local done, failed = batch[3], batch[4]
    batch[3] = 0
    if #failed > 0 then
      batch[4] = {}
    end
    on_done(self, done)
    take_failed(self, failed)
  end)
  return batch
end

-- The list of tasks, in the order of their spawning, loses those that are done when they are more
-- than half.
local function drop_done(self)
  local tasks, left = self._tasks, {}
  for i = 1, self._length do
    local task = tasks[i]
    if not task:done() then
      left[#left + 1] = task
    end
  end
  self._tasks, self._length = left, #left
end

-- ----- what a group can do -------------------------------------------------------------------

--- Starts a task in the group; it first runs in the next turn.
-- @function taskgroup:spawn
-- @tparam function|awaitable f
-- @param ... arguments of the function
-- @treturn task
-- @raise RuntimeError if the group is finished or shutting down; TypeError for what is neither
function TaskGroup:spawn(f, ...)
  if getmetatable(self) ~= TaskGroup then
    check.self(self, TaskGroup, "spawn")
  end
  if self._closed or self._aborting or self._exiting and self._count == 0 then
    if core.type(f) == "coroutine" then
      f:close()
    end
    error(RuntimeError(("%s is %s"):format(tostring(self),
      self._aborting and not self._closed and "shutting down" or "finished")), 0)
  end
  local batch = self._batch
  if not batch then
    batch = make_batch(self)
    self._batch = batch
  end
  local task = spawn_in_batch(batch, f, ...)
  local length, count = self._length + 1, self._count + 1
  self._tasks[length] = task
  self._length, self._count = length, count
  if length > 2 * count + 64 then
    drop_done(self)
  end
  return task
end

TaskGroup.create_task = TaskGroup.spawn

--- Cancels the tasks of the group and its block; what fails meanwhile is still raised. Without
-- failures `with_taskgroup` then ends without an error, and so does a block that has come to its
-- end; a CancelledError that the block has got is not stopped by a `<close>`. Of a group that is
-- aborting or finished: no effect.
-- @function taskgroup:cancel
-- @tparam[opt] any message of the CancelledErrors
function TaskGroup:cancel(message)
  check.self(self, TaskGroup, "cancel")
  if not self._closed and not self._aborting then
    abort(self, message)
    cancel_block(self, message)
  end
end

-- ----- leaving -------------------------------------------------------------------------------

-- Waits until all tasks are done. The first cancellation of the block meanwhile cancels them. Gives
-- that, and the last of those that came when they were cancelled already.
local function join(self)
  local outside, late
  while self._count > 0 do
    self._waiter = self._loop:create_future()
    local ok, err = pcall(await, self._waiter)
    self._waiter = nil
    if not ok then
      if not CancelledError:is(err) then
        error(err, 0)
      end
      if not self._aborting then
        outside = err
        abort(self, err.message)
      else
        late = err
      end
    end
  end
  return outside, late
end

local function raise_group(self, passing)
  local parent = self._parent
  -- A cancellation from outside is not lost in the group: the next await raises it.
  if parent:cancelling() > 0 and current_task() == parent then
    parent:uncancel()
    parent:cancel(passing and passing.message)
  end
  error(errors.ExceptionGroup(MESSAGE, {errors = self._errors, tasks = self._names}), 0)
end

--- Waits for the tasks of the group; an error of the block's cancels them first.
-- @treturn boolean true if the error is the group's own cancellation, which nobody needs to see
local function leave(self, err)
  if self._closed then
    return false
  end
  if self._in_body then
    self._in_body = false
    scope(-1, "taskgroup")
  end
  self._exiting = true
  local is_passing = CancelledError:is(err) or errors.GeneratorExit:is(err)
  if err ~= nil and not self._aborting then
    abort(self)
  end
  local passing, late = join(self)
  self._closed = true
  if is_passing then
    passing = passing or err
  end
  local own = false
  if self._requested then
    own = self._parent:uncancel() <= self._cancelling
  end
  local interrupt = is_interrupt(err) and err or self._interrupt
  if interrupt then
    error(interrupt, 0)
  end
  if err ~= nil and not is_passing then
    add_error(self, err, false)
  end
  if #self._errors > 0 then
    raise_group(self, passing)
  end
  if passing and own and CancelledError:is(passing) then
    return true
  end
  -- The group was cancelled by its own `cancel`, and then the block from outside.
  if not passing and not own then
    passing = late
  end
  if passing and not rawequal(passing, err) then
    error(passing, 0)
  end
  return false
end

function TaskGroup.__close(self, err)
  -- NB: to a `__close`, `error(nil)` looks like the end of the block.
  if err == nil and self._finished == false then
    err = RuntimeError("nil error")
  end
  self._absorbed = leave(self, err) and err or nil
end

function TaskGroup.__aenter(self)
  if self._closed then
    error(RuntimeError(tostring(self) .. " is finished"), 0)
  end
  return self
end

TaskGroup.__aexit = leave

-- ----- the public functions ------------------------------------------------------------------

local taskgroup = {}

--- A group of tasks that ends with its block: `local tg <close> = agenda.taskgroup()`. The end of
-- the block waits for them. The first failure cancels the others and the block; so does leaving
-- the block by an error. As in asyncio. Awaits at the end of the block if there are tasks left.
-- @function taskgroup
-- @treturn taskgroup with the methods `spawn` and `cancel`
-- @raise RuntimeError outside a task. At the end of the block: ExceptionGroup of all failures, the
-- block's own error among them, even of one; KeyboardInterrupt as it is; CancelledError if the
-- task was cancelled from outside and nothing failed
function taskgroup.taskgroup()
  local loop = core.get_running_loop()
  local parent = current_task()
  if not parent then
    error(RuntimeError("a task group must be made inside a task"), 0)
  end
  return setmetatable({
    _parent = parent,
    _loop = loop,
    _cancelling = parent:cancelling(),
    _tasks = {},
    _count = 0,
    _length = 0,
    _errors = {},
    _names = {},
    _in_body = scope(1, "taskgroup"),
  }, TaskGroup)
end

local function finish(self, ...)
  self._finished = true
  return ...
end

local function call_within(self, f)
  local _ <close> = self
  return finish(self, f(self))
end

local function absorb(self, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if self._absorbed == nil or not rawequal(self._absorbed, err) then
    error(err, 0)
  end
end

--- Calls f with a task group and waits for the group's tasks. Awaits if there are any, or f does.
-- @function with_taskgroup
-- @tparam function f called with the group
-- @return f's results; nothing if `tg:cancel()` cut f short
-- @raise as `taskgroup` at the end of the block
function taskgroup.with_taskgroup(f)
  check.callable(f, 1, "with_taskgroup")
  local self = taskgroup.taskgroup()
  self._finished = false
  return absorb(self, pcall(call_within, self, f))
end

return taskgroup
