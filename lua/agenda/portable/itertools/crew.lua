--- A crew: the tasks of the host that work for a concurrent stage, owned by the stage's body.
--
-- A task cannot be interrupted in a wait of the host's. So a crew that is closed asks its tasks to
-- end and waits until their waits are over; sources are closed after that, so that none is closed
-- while a task still runs it.
-- @module agenda.portable.itertools.crew

local host = require "agenda.portable.host"

local calls = host.calls

local crew = {}
crew.__index = crew

-- A task that was killed by the host tells nobody. Nothing heard for so long, and it is given up.
local SILENCE = 30

--- A crew without tasks. `event`: where the stage's body waits; `room`: where those that pull do.
-- Fields: `queue` (first in, first out, from `first` to `last`), `held` (what was pulled and not
-- given yet), `finished` (nothing more will be pulled), `failed` and `failure` (why).
function crew.new()
  return setmetatable({
    event = calls.event(), room = calls.event(), running = 0, closing = false, heard = 0,
    queue = {}, first = 1, last = 0, held = 0, finished = false, failed = false, failure = nil,
  }, crew)
end

function crew:tell()
  self.heard = self.heard + 1
  self.event:tell()
end

--- Runs f in a task of the crew's. An error of its is passed to `on_error(self, err)`.
function crew:spawn(on_error, f, ...)
  self.running = self.running + 1
  local arguments = host.pack(...)
  calls.spawn(function()
    local ok, err = pcall(f, host.unpack(arguments, 1, arguments.n))
    if not ok then on_error(self, err) end
    self.running = self.running - 1
    self:tell()
  end)
end

--- Notes that no more will come: the error is for after what came before.
function crew:finish()
  self.finished = true
  self:tell()
end

function crew:fail(err)
  self.finished, self.failed, self.failure = true, true, err
  self:tell()
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

--- Waits until a task told something, or for so many seconds.
function crew:wait(seconds)
  return self.event:wait(seconds)
end

function crew:__close()
  self.closing = true
  self.room:tell()
  while self.running > 0 do
    local heard = self.heard
    self:wait(SILENCE)
    self.room:tell()
    if self.heard == heard then break end
  end
end

return crew
