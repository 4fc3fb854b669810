--- Deadlines for a block or a call: `timeout`, `timeout_at`, `with_timeout`, `move_on_after`.
--
--     ACTIVE --deadline--> EXPIRING --end of the block--> EXPIRED
--        '-----end of the block--> FINISHED
--
-- A scope cancels its task once, at its deadline, and takes that request back at its end. Only if
-- the task has no more requests then than it had at the beginning is the CancelledError the
-- scope's own; else somebody outside wants the task cancelled, and so it stays.
-- @module agenda.timeout

local core = require "agenda.core"
local check = require "agenda.check"

local errors = core.errors
local CancelledError, RuntimeError = errors.CancelledError, errors.RuntimeError
local current_task, get_running_loop, scope = core.current_task, core.get_running_loop, core.scope

local Timeout = {}
Timeout.__index = Timeout
Timeout.__name = "agenda.timeout"
Timeout.__agenda_type = "timeout"

-- ----- what was awaited ----------------------------------------------------------------------

local HERE = debug.getinfo(1, "S").source:match("^(.*[/\\])") or ""

local function is_of_library(source)
  return HERE ~= "" and source:sub(1, #HERE) == HERE
end

--- Where a task waits: its innermost line outside the library, and the library's call there.
local function describe_wait(task)
  local stack, call = task:get_stack(), nil
  for i = #stack, 1, -1 do
    local level = stack[i]
    if not is_of_library(level.source) then
      return ("task '%s' was waiting%s at %s:%d"):format(task:get_name(),
        call and (" in '" .. call .. "'") or "", level.source:gsub("^[@=]", ""), level.currentline)
    end
    call = level.name
  end
  return ("task '%s' was waiting"):format(task:get_name())
end

-- ----- the life of a scope -------------------------------------------------------------------

local function on_deadline(self)
  self._handle = nil
  self._state = "expiring"
  self._waiting = describe_wait(self._task)
  self._task:cancel()
end

local function arm(self, loop, when, now)
  if when <= now then
    self._handle = loop:call_soon(on_deadline, self)
  else
    self._handle = loop:call_at(when, on_deadline, self)
  end
end

-- `seconds` from now on are for the message and, without `when`, for the deadline.
local function enter(seconds, when)
  local loop = get_running_loop()
  local task = current_task()
  if not task then
    error(RuntimeError("a timeout must be made inside a task"), 0)
  end
  local now
  if seconds then
    now = loop:time()
    when = now + seconds
  end
  local self = setmetatable({
    _state = "active",
    _when = when,
    _seconds = seconds,
    _task = task,
    _loop = loop,
    _cancelling = task:cancelling(),
    _handle = nil,
    _in_body = false,
  }, Timeout)
  if when then
    arm(self, loop, when, now or loop:time())
  end
  self._in_body = scope(1, "timeout")
  return self
end

local function timeout_error(self, cancelled)
  local after = self._seconds and ("timed out after %.14g s"):format(self._seconds)
    or "timed out at its deadline"
  return errors.TimeoutError(("%s: %s"):format(after, self._waiting), {cause = cancelled})
end

--- Ends the scope. A CancelledError that it caused itself becomes a TimeoutError.
function Timeout.__close(self, err)
  local state = self._state
  if state ~= "active" and state ~= "expiring" then
    return
  end
  if self._in_body then
    scope(-1, "timeout")
  end
  if state == "active" then
    self._state = "finished"
    local handle = self._handle
    if handle then
      handle:cancel()
      self._handle = nil
    end
    return
  end
  self._state = "expired"
  if self._task:uncancel() <= self._cancelling and CancelledError:is(err) then
    self._error = timeout_error(self, err)
    error(self._error, 0)
  end
end

function Timeout.__aenter(self)
  local state = self._state
  if state == "finished" or state == "expired" then
    error(RuntimeError(("cannot enter a timeout that is %s"):format(state)), 0)
  end
  return self
end

Timeout.__aexit = Timeout.__close

function Timeout.__tostring(self)
  return ("<timeout %s at %p>"):format(self._state, self)
end

--- Moves the deadline. One in the past expires in the next turn. As in asyncio.
-- @function timeout:reschedule
-- @tparam ?number when a time of the loop's, in seconds; nil: never
-- @raise RuntimeError if the scope has expired or ended
function Timeout:reschedule(when)
  check.self(self, Timeout, "reschedule")
  check.seconds(when, 1, "reschedule")
  if self._state ~= "active" then
    error(RuntimeError(("cannot reschedule a timeout that is %s"):format(self._state)), 0)
  end
  if self._handle then
    self._handle:cancel()
    self._handle = nil
  end
  self._when, self._seconds = when, nil
  if when then
    arm(self, self._loop, when, self._loop:time())
  end
end

--- The deadline.
-- @function timeout:when
-- @treturn ?number a time of the loop's, in seconds; nil: never
function Timeout:when()
  check.self(self, Timeout, "when")
  return self._when
end

--- Whether the deadline passed while the scope was open.
-- @function timeout:expired
-- @treturn boolean
function Timeout:expired()
  check.self(self, Timeout, "expired")
  return self._state == "expiring" or self._state == "expired"
end

-- ----- the public functions ------------------------------------------------------------------

local timeout = {}

--- A scope that begins at once and ends with its block: `local t <close> = agenda.timeout(5)`.
-- At its deadline the task is cancelled, which becomes TimeoutError at the end of the block. As in
-- asyncio; a `<close>` of Lua's cannot swallow an error, so other errors pass unchanged.
-- @function timeout
-- @tparam ?number seconds from now on; nil: never
-- @treturn timeout with the methods `reschedule`, `when` and `expired`
-- @raise RuntimeError outside a task; ValueError for NaN. At the end of the block: TimeoutError,
-- whose `cause` is the CancelledError
function timeout.timeout(seconds)
  check.seconds(seconds, 1, "timeout")
  return enter(seconds)
end

--- The same with a point in time.
-- @function timeout_at
-- @tparam ?number when a time of the loop's, in seconds; nil: never
-- @treturn timeout
-- @raise as `timeout`
function timeout.timeout_at(when)
  check.seconds(when, 1, "timeout_at")
  return enter(nil, when)
end

local function call_within(self, f, ...)
  local _ <close> = self
  return f(...)
end

--- Calls f(...), which may wait for so many seconds. Awaits if f does.
-- @function with_timeout
-- @tparam ?number seconds nil: without limit
-- @tparam function f
-- @param ... its arguments
-- @return f's results
-- @raise TimeoutError, whose `cause` is the CancelledError; what f raises; RuntimeError outside a
-- task
function timeout.with_timeout(seconds, f, ...)
  check.seconds(seconds, 1, "with_timeout")
  check.callable(f, 2, "with_timeout")
  return call_within(enter(seconds), f, ...)
end

local function absorb(self, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if self._error == nil or not rawequal(self._error, err) then
    error(err, 0)
  end
end

--- The same, but when the time is over it returns nothing and raises nothing. A TimeoutError of
-- f's own, or of another scope, passes. Awaits if f does.
-- @function move_on_after
-- @tparam ?number seconds nil: without limit
-- @tparam function f
-- @param ... its arguments
-- @return f's results, or nothing
-- @raise what f raises; RuntimeError outside a task
function timeout.move_on_after(seconds, f, ...)
  check.seconds(seconds, 1, "move_on_after")
  check.callable(f, 2, "move_on_after")
  local self = enter(seconds)
  return absorb(self, pcall(call_within, self, f, ...))
end

return timeout
