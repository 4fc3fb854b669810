--- Locks, events, conditions, semaphores and barriers, after asyncio.
--
-- All are fair, first in, first out: who comes late never overtakes a waiter. A waiter that is
-- woken and then cancelled passes the wake-up on.
-- @module agenda.sync

local core = require "agenda.core"
local check = require "agenda.check"
local waiters = require "agenda.waiters"

local errors = core.errors
local any, wait, wake = waiters.any, waiters.wait, waiters.wake

local sync = {}

local function describe(self)
  return ("<%s at %p>"):format(getmetatable(self).__agenda_type, self)
end

local function class(name, methods)
  methods = methods or {}
  methods.__name = "agenda." .. name
  methods.__agenda_type = name
  methods.__index = methods
  methods.__tostring = describe
  return methods
end

local function check_integer(value, name, level)
  local integer = math.type(value) and math.tointeger(value)
  if not integer then
    error(("bad argument #1 to '%s' (%s)"):format(name, type(value) == "number"
      and "number has no integer representation"
      or "number expected, got " .. check.kind_of(value)), level or 3)
  end
  return integer
end

-- ----- guards ------------------------------------------------------------------------------

-- What `guard()` gives: one for each lock, for it has no state of its own.
local Guard = {__name = "agenda.guard", __agenda_type = "guard", __tostring = describe}

function Guard.__close(guard)
  local lock = guard.lock
  lock:release()
end

-- Gives a lock class `guard` and what `agenda.with` and `agenda.enter` call.
local function make_guarded(methods)
  --- Acquires for a block: `local _ <close> = lock:guard()` releases at its end. Awaits.
  -- Of locks, conditions and semaphores.
  -- @function lock:guard
  -- @treturn guard a to-be-closed value
  -- @raise CancelledError, with nothing acquired
  function methods:guard()
    self:acquire()
    local guard = self.its_guard
    if not guard then
      guard = setmetatable({lock = self}, Guard)
      self.its_guard = guard
    end
    return guard
  end

  function methods:__aenter()
    self:acquire()
  end

  function methods:__aexit()
    self:release()
  end
end

-- ----- lock ----------------------------------------------------------------------------------

local Lock = class "lock"

--- Acquires the lock, as soon as it is free and all who came before had it. Awaits, unless it is
-- free. As in asyncio.
-- @function lock:acquire
-- @treturn boolean true
-- @raise CancelledError, with the lock not acquired
function Lock:acquire()
  if self.held or self.first and any(self) then
    local granted, ok, err = wait(self)
    if not ok then
      if granted and not self.held then
        wake(self)
      end
      error(err, 0)
    end
  end
  self.held = true
  return true
end

--- Releases the lock and wakes the first who waits for it. Anybody may. As in asyncio.
-- @function lock:release
-- @raise RuntimeError if it is not locked
function Lock:release()
  if not self.held then
    error(errors.RuntimeError("Lock is not acquired."), 0)
  end
  self.held = false
  if self.cursor then
    wake(self)
  end
end

--- Whether the lock is held.
-- @function lock:locked
-- @treturn boolean
function Lock:locked()
  return self.held
end

make_guarded(Lock)

-- The same as `acquire` of a free lock and `release`, without the calls.
function Lock:guard()
  if self.held or self.first then
    self:acquire()
  else
    self.held = true
  end
  return self.its_guard
end

local LockGuard = {__name = "agenda.guard", __agenda_type = "guard", __tostring = describe}

function LockGuard.__close(guard)
  local lock = guard.lock
  if lock.held and not lock.cursor then
    lock.held = false
  else
    lock:release()
  end
end

--- A lock. As in asyncio.
-- @function lock
-- @treturn lock
function sync.lock()
  local lock = setmetatable({held = false}, Lock)
  lock.its_guard = setmetatable({lock = lock}, LockGuard)
  return lock
end

-- ----- event ---------------------------------------------------------------------------------

local Event = class "event"

--- Whether the event is set.
-- @function event:is_set
-- @treturn boolean
function Event:is_set()
  return self.flag
end

--- Sets the event: all who wait for it go on.
-- @function event:set
function Event:set()
  if not self.flag then
    self.flag = true
    while wake(self) do end
  end
end

--- Clears the event: who waits from now on waits for the next `set`.
-- @function event:clear
function Event:clear()
  self.flag = false
end

--- Waits until the event is set. Awaits, unless it is. Who was waiting when it was set goes on
-- even if it is cleared at once.
-- @function event:wait
-- @treturn boolean true
-- @raise CancelledError
function Event:wait()
  if not self.flag then
    local _, ok, err = wait(self)
    if not ok then
      error(err, 0)
    end
  end
  return true
end

--- An event, which is not set. As in asyncio.
-- @function event
-- @treturn event
function sync.event()
  return setmetatable({flag = false}, Event)
end

-- ----- condition ------------------------------------------------------------------------------

local Condition = class "condition"

--- Acquires the condition's lock; see `lock:acquire`. Awaits.
-- @function condition:acquire
-- @treturn boolean true
-- @raise CancelledError
function Condition:acquire()
  return self.lock:acquire()
end

--- Releases the condition's lock.
-- @function condition:release
-- @raise RuntimeError if it is not locked
function Condition:release()
  self.lock:release()
end

--- Whether the condition's lock is held.
-- @function condition:locked
-- @treturn boolean
function Condition:locked()
  return self.lock.held
end

-- Takes the lock back at the end of a wait, whoever cancels that meanwhile.
-- NB: as a __close, so that the debug mode sees a cleanup and no swallowed cancellation.
local Reacquire = {}

function Reacquire.__close(state)
  while true do
    local ok, err = pcall(state.lock.acquire, state.lock)
    if ok then
      return
    end
    state.failed, state.err = true, err
    if not errors.CancelledError:is(err) then
      return
    end
  end
end

--- Releases the lock, waits until it is notified, and acquires the lock again, also when it is
-- cancelled. Awaits. As in asyncio.
-- @function condition:wait
-- @treturn boolean true
-- @raise RuntimeError if the lock is not held; CancelledError
function Condition:wait()
  local lock = self.lock
  if not lock.held then
    error(errors.RuntimeError("cannot wait on un-acquired lock"), 0)
  end
  local list = self.waiting
  local waiter = waiters.enter(list)
  lock:release()
  local state = {lock = lock}
  do
    local _ <close> = setmetatable(state, Reacquire)
    local _, ok, err = waiters.sleep(list, waiter)
    if not ok then
      state.failed, state.err = true, err
    end
  end
  if state.failed then
    if waiter.granted then
      wake(list)
    end
    error(state.err, 0)
  end
  return true
end

--- Waits until f() is true: calls it now and after each notification. Awaits, unless it is.
-- @function condition:wait_for
-- @tparam function f the lock is held when it is called
-- @return what f returned
-- @raise RuntimeError if the lock is not held; CancelledError; f's error
function Condition:wait_for(f)
  check.callable(f, 1, "wait_for")
  local result = f()
  while not result do
    self:wait()
    result = f()
  end
  return result
end

--- Wakes up to n of those that wait; each goes on when it has the lock again.
-- @function condition:notify
-- @tparam[opt=1] integer n
-- @raise RuntimeError if the lock is not held
function Condition:notify(n)
  n = n == nil and 1 or check_integer(n, "notify")
  if not self.lock.held then
    error(errors.RuntimeError("cannot notify on un-acquired lock"), 0)
  end
  while n > 0 and wake(self.waiting) do
    n = n - 1
  end
end

--- Wakes all that wait.
-- @function condition:notify_all
-- @raise RuntimeError if the lock is not held
function Condition:notify_all()
  self:notify(math.maxinteger)
end

make_guarded(Condition)

--- A condition variable. As in asyncio.
-- @function condition
-- @tparam[opt] lock lock a lock of its own by default; conditions may share one
-- @treturn condition
function sync.condition(lock)
  if lock == nil then
    lock = sync.lock()
  elseif getmetatable(lock) ~= Lock then
    check.refuse(1, "condition", "agenda.lock", lock)
  end
  local condition = setmetatable({lock = lock}, Condition)
  condition.waiting = {owner = condition}
  return condition
end

-- ----- semaphore ------------------------------------------------------------------------------

local Semaphore = class "semaphore"

-- Wakes as many as there is for. What a waiter is woken for is taken off the value at once.
local function hand_out(self)
  while self.value > 0 and wake(self) do
    self.value = self.value - 1
  end
end

--- Takes one, as soon as there is one and all who came before had theirs. Awaits, unless there is.
-- @function semaphore:acquire
-- @treturn boolean true
-- @raise CancelledError, with nothing taken
function Semaphore:acquire()
  if self.value > 0 and not (self.first and any(self)) then
    self.value = self.value - 1
    return true
  end
  local granted, ok, err = wait(self)
  if not ok and granted then
    self.value = self.value + 1
  end
  hand_out(self)
  if not ok then
    error(err, 0)
  end
  return true
end

--- Gives one back, or one more. Of a bounded one no more than there were at first.
-- @function semaphore:release
-- @raise ValueError of a bounded one, if there are as many as at first
function Semaphore:release()
  local value = self.value
  if self.bound and value >= self.bound then
    error(errors.ValueError("BoundedSemaphore released too many times"), 0)
  end
  self.value = value + 1
  if self.cursor then
    hand_out(self)
  end
end

--- Whether `acquire` would wait.
-- @function semaphore:locked
-- @treturn boolean
function Semaphore:locked()
  return self.value == 0 or any(self)
end

make_guarded(Semaphore)

local BoundedSemaphore = class("bounded_semaphore", {
  acquire = Semaphore.acquire,
  release = Semaphore.release,
  locked = Semaphore.locked,
})
make_guarded(BoundedSemaphore)

local function new_semaphore(n, methods)
  n = n == nil and 1 or check_integer(n, methods.__agenda_type, 4)
  if n < 0 then
    error(errors.ValueError("Semaphore initial value must be >= 0"), 0)
  end
  return setmetatable({value = n}, methods)
end

--- A semaphore: n may be acquired at a time. As in asyncio.
-- @function semaphore
-- @tparam[opt=1] integer n
-- @treturn semaphore
-- @raise ValueError for n < 0
function sync.semaphore(n)
  return (new_semaphore(n, Semaphore))
end

--- A semaphore that refuses to be released more often than it was acquired. As in asyncio.
-- @function bounded_semaphore
-- @tparam[opt=1] integer n
-- @treturn semaphore
-- @raise ValueError for n < 0
function sync.bounded_semaphore(n)
  local semaphore = new_semaphore(n, BoundedSemaphore)
  semaphore.bound = semaphore.value
  return semaphore
end

-- ----- barrier ----------------------------------------------------------------------------------

--[[
A round is all who are let go at once, or broken. `leaving` counts those of it that have not run.
Who comes meanwhile is kept outside, in `blocked`, and enters when all have left, in a turn of its
own: `admitted` counts those that were told so and have not run yet. `waiting` holds who entered.
]]

local Barrier = class "barrier"

local fields = {}

function fields.n_waiting(self)
  return self.leaving > 0 and 0 or self.n_entered
end

function Barrier:__index(key)
  local method = Barrier[key]
  if method == nil and fields[key] then
    return fields[key](self)
  end
  return method
end

-- Lets the first n go.
local function dismiss(self, n, broken)
  local round = {broken = broken}
  self.round = round
  for index = 0, n - 1 do
    local waiter = wake(self.waiting)
    if not waiter then
      return
    end
    waiter.round, waiter.index = round, index
    self.leaving = self.leaving + 1
    self.n_entered = self.n_entered - 1
  end
end

-- Those that were cancelled and have not run yet do not count any more.
local function drop_cancelled(self)
  local waiter = self.waiting.first
  while waiter do
    if not waiter.granted and not waiter.dropped and waiter.future:done() then
      waiter.dropped = true
      self.n_entered = self.n_entered - 1
    end
    waiter = waiter.after
  end
end

-- Lets as many enter as the next round has place for.
local function admit(self)
  local blocked = self.blocked
  while blocked.cursor and self.leaving == 0 and not self.broken
      and self.n_entered + self.admitted < self.parties and wake(blocked) do
    self.admitted = self.admitted + 1
  end
end

-- Whether who comes now is the last of its round.
local function completes(self)
  if self.n_entered + 1 < self.parties then
    return false
  end
  drop_cancelled(self)
  return self.n_entered + 1 == self.parties
end

local function raise_broken(message)
  error(errors.BrokenBarrierError(message), 0)
end

-- Waits until who comes may enter.
local function wait_outside(self)
  local blocked = self.blocked
  while self.leaving > 0 or any(blocked) do
    local waiter = waiters.enter(blocked)
    local granted, ok, err = waiters.sleep(blocked, waiter)
    if granted then
      self.admitted = self.admitted - 1
    end
    if not ok then
      admit(self)
      error(err, 0)
    elseif self.broken then
      raise_broken "Barrier aborted"
    elseif granted and self.leaving == 0 then
      return
    end
  end
end

--- Waits until as many tasks wait as the barrier has parties; then all go on. Awaits, but for the
-- last to come. One that is cancelled does not count any more. As in asyncio.
-- @function barrier:wait
-- @treturn integer 0 to parties - 1, in the order of coming, a different one for each
-- @raise BrokenBarrierError if the barrier is broken, now or while it waits, or is reset while it
-- waits; CancelledError
function Barrier:wait()
  if self.broken then
    raise_broken "Barrier aborted"
  end
  if self.leaving > 0 or self.blocked.first then
    wait_outside(self)
  end
  if completes(self) then
    dismiss(self, self.parties - 1, false)
    admit(self)
    return self.parties - 1
  end
  local waiter = waiters.enter(self.waiting)
  self.n_entered = self.n_entered + 1
  admit(self)
  local _, ok, err = waiters.sleep(self.waiting, waiter)
  local round = waiter.round
  local broken = round and round.broken
  if round then
    self.leaving = self.leaving - 1
  elseif not waiter.dropped then
    self.n_entered = self.n_entered - 1
  end
  admit(self)
  if not ok then
    error(err, 0)
  end
  if broken then
    raise_broken "Abort or reset of barrier"
  end
  return waiter.index
end

--- Breaks the barrier: all who wait, and all who come before a `reset`, get BrokenBarrierError.
-- Does not await.
-- @function barrier:abort
function Barrier:abort()
  self.broken = true
  if self.leaving > 0 then
    self.round.broken = true
  end
  drop_cancelled(self)
  dismiss(self, self.n_entered, true)
  local waiter = wake(self.blocked)
  while waiter do
    waiter.granted = nil
    waiter = wake(self.blocked)
  end
end

--- Makes the barrier as new. Those who wait get BrokenBarrierError. Does not await.
-- @function barrier:reset
function Barrier:reset()
  self.broken = false
  if self.leaving > 0 then
    self.round.broken = true
    return
  end
  drop_cancelled(self)
  dismiss(self, self.n_entered, true)
end

function Barrier:__aenter()
  return self:wait()
end

function Barrier.__aexit()
end

--- A barrier. Its fields `parties`, `n_waiting` and `broken` tell how it stands. As in asyncio.
-- @function barrier
-- @tparam integer n how many tasks have to wait for all to go on
-- @treturn barrier
-- @raise ValueError for n < 1
function sync.barrier(n)
  n = check_integer(n, "barrier")
  if n < 1 then
    error(errors.ValueError("parties must be >= 1"), 0)
  end
  local barrier = {parties = n, broken = false, leaving = 0, n_entered = 0, admitted = 0}
  barrier.waiting = {owner = setmetatable(barrier, Barrier)}
  barrier.blocked = {owner = barrier}
  return barrier
end

return sync
