--- Which coroutine is the body of what, and what can be done with a body as it stands.
-- @module agenda.portable.bodies

local host = require "agenda.portable.host"

local raw_status, running, isyieldable = host.status, host.running, host.isyieldable

-- Thread to body: those that yield values; those that do not; and those with an error that could
-- not be raised at a wait of the host's, which is raised at the next yield or await.
-- NB: a body and its thread hold each other, and Lua 5.1 would keep such a pair for ever if the
-- values were strong. Lua 5.4 sees through it, but takes weak values away before a finalizer runs.
local by_thread = {__mode = _VERSION == "Lua 5.1" and "kv" or "k"}
local yielding = setmetatable({}, by_thread)
local others = setmetatable({}, by_thread)
local pending = setmetatable({}, by_thread)

local bodies = {yielding = yielding, pending = pending}

function bodies.enlist(body)
  local list = body._kind.yields and yielding or others
  list[body._thread], pending[body._thread] = body, nil
end

--- Notes that a body waits in the host's own way, so that its error has to wait too.
function bodies.put_off(body)
  local thread = body._thread
  yielding[thread], others[thread], pending[thread] = nil, nil, body
end

--- The body whose coroutine runs.
function bodies.here()
  local thread = running()
  return thread and (yielding[thread] or others[thread] or pending[thread])
end

--- Why a wait is impossible here; nil where it is not.
function bodies.why_not()
  if isyieldable() then
    return nil
  elseif bodies.here() then
    return "Lua cannot yield here (in a gsub or sort callback, a metamethod or a finalizer)"
  end
  return "there is no coroutine to suspend here: nothing can wait in the main program or in a "
    .. "callback that Lua cannot yield from"
end

--- The same for an await of something that knows how to wait here.
function bodies.cannot_await()
  return not host.waits_beneath and bodies.why_not() or nil
end

--- Whether a body runs or waits, so that another call of it is refused.
function bodies.in_flight(body)
  local status = body._status
  if status ~= "open" then
    return status == "waiting"
  end
  status = raw_status(body._thread)
  return status == "running" or status == "normal"
end

local function is_on_stack(body)
  local status = body._thread and raw_status(body._thread)
  return status == "running" or status == "normal"
end

--- Whether a body runs, or what it waits for does: a base resumes a leaf directly.
function bodies.executing(body)
  while not is_on_stack(body) do
    local awaited = body._status == "waiting" and body._awaited
    local inner = type(awaited) == "table" and (rawget(awaited, "_generator") or awaited)
    if not inner or not rawget(inner, "_kind") then
      return false
    end
    body = inner
  end
  return true
end

--- Whether the code that would finish this chain is gone: it stood in the coroutine that asks.
function bodies.abandoned(body)
  return body._status == "waiting" and not body._hand and not body._caller
    and body._base == (running() or false)
end

return bodies
