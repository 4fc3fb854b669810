--- A crew: the tasks that work for a concurrent stage, owned by the stage's body. When the body
-- ends, however it does, they are cancelled and awaited; sources are closed after that, so that
-- none is closed while a task still runs it.
--
-- NB: a crew does not refer to its stage. One that is collected while suspended is closed by the
-- loop, and its crew with it.
-- @module agenda.itertools.crew

local core = require "agenda.core"
local gate = require "agenda.itertools.gate"

local errors, spawn = core.errors, core.spawn
local pause, tell = gate.pause, gate.tell

-- The crews with tasks, by loop. A task that waits for its stage alone would be collected together
-- with the stage, before that could wind it up.
local working = setmetatable({}, {__mode = "k"})

local crew = {}
crew.__index = crew
crew.__name = "agenda.itertools.crew"

--- A crew without tasks. It is a gate too, at which the stage's body waits.
-- Fields: `queue` (first in, first out, from `first` to `last`), `held` (what was pulled and not
-- given yet), `room` (a gate), `finished` (nothing more will be pulled), `failure` (why).
function crew.new()
  return setmetatable({
    tasks = {}, running = 0, closing = false, lost = nil,
    queue = {}, first = 1, last = 0, held = 0, room = {}, finished = false, failure = nil,
  }, crew)
end

--- Runs f in a task of the crew's. An error of its is passed to `on_error(self, err)`.
function crew:spawn(name, on_error, f, ...)
  local task = spawn(function(...)
    local ok, err = pcall(f, ...)
    if not ok then
      on_error(self, err)
      if errors.KeyboardInterrupt:is(err) then error(err, 0) end
    end
  end, ...)
  task:set_name(name)
  self.tasks[task] = true
  self.running = self.running + 1
  if self.running == 1 then self:anchor(core.get_running_loop()) end
  task:add_done_callback(function() self:gone(task) end)
end

function crew:anchor(loop)
  local crews = working[loop]
  if not crews then
    crews = {}
    working[loop] = crews
  end
  crews[self] = true
  self.anchored = crews
end

-- A task has ended. One that somebody cancelled before it began has told nobody.
function crew:gone(task)
  self.tasks[task] = nil
  self.running = self.running - 1
  if self.running == 0 then self.anchored[self] = nil end
  if not task:cancelled() then
    task:exception()
  elseif not self.closing then
    self.lost = select(2, pcall(task.result, task))
  end
  tell(self)
end

--- Waits until a task told something. Awaits.
function crew:wait()
  if self.lost then error(self.lost, 0) end
  pause(self)
  if self.lost then error(self.lost, 0) end
end

--- Notes that no more will come: the error is for after what came before.
function crew:finish(err)
  self.finished, self.failure = true, err
  tell(self)
end

function crew:push(entry)
  self.last = self.last + 1
  self.queue[self.last] = entry
end

function crew:pop()
  local first = self.first
  local entry = self.queue[first]
  self.queue[first] = nil
  self.first = first + 1
  return entry
end

--- The oldest entry, or nil.
function crew:head()
  return self.queue[self.first]
end

local function cancel_all(self)
  for task in pairs(self.tasks) do task:cancel() end
end

-- NB: a cancellation that arrives here is passed on to the tasks, as an await of them would, and
-- raised when they have ended.
function crew:__close()
  self.closing = true
  cancel_all(self)
  local interruption
  while self.running > 0 do
    local ok, err = pcall(pause, self)
    if not ok then
      if not errors.CancelledError:is(err) then error(err, 0) end
      interruption = interruption or err
      cancel_all(self)
    end
  end
  if interruption then error(interruption, 0) end
end

return crew
