--- A gate: one waits at it, others tell it that something changed. No state but the waiter, so
-- the one that waits looks for itself what changed, and a gate told of twice lost nothing.
-- @module agenda.itertools.gate

local core = require "agenda.core"

local await, new_future = core.await, core.future

local gate = {}

--- Waits until the gate is told. What is told before that is not remembered. Awaits.
-- @tparam table self any table: its field `waiter` belongs to the gate
function gate.pause(self)
  local waiter = new_future()
  self.waiter = waiter
  await(waiter)
end

--- Wakes the one that waits, if there is one.
function gate.tell(self)
  local waiter = self.waiter
  if waiter then
    self.waiter = nil
    if not waiter:done() then waiter:set_result() end
  end
end

--- Waits until the gate is told, or that time of the loop has come. Awaits.
-- @tparam table self
-- @tparam event_loop loop
-- @tparam number when a time of the loop
function gate.pause_until(self, loop, when)
  local timer = loop:call_at(when, gate.tell, self)
  local ok, err = pcall(gate.pause, self)
  timer:cancel()
  if not ok then error(err, 0) end
end

return gate
