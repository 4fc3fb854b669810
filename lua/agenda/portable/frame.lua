--- Bodies: coroutines that agenda drives, and the routing of what they yield.
--
-- A body yields values to its consumer and waits to whoever drives the outermost coroutine. Which
-- of the two a yield is stands in `signal`, beside the values and not among them: so values travel
-- with exact arity and without boxing, and a yield that left no signal is the host's own.
--
--                 start           call             value
--       (none) --------> created ------> open <-----------> open
--                           |             | ^
--                      drop |  return,    | | a wait, or a call of another body that waits
--                           v  error      v v
--                        finished <---- waiting
--
-- A consumer resumes the body that it iterates. When a wait comes out of it, the consumer, if it is
-- a body itself, yields too (RELAY), and so does each further out, up to the *base*: code that
-- agenda does not drive. The base yields the wait's values to the host and resumes the leaf, where
-- the wait came from, directly; what the leaf then yields or returns it delivers to the leaf's
-- consumer. So waking a body costs the same at any depth.
--
-- Lua 5.4 allows some 200 nested C calls, and a coroutine of nginx has only so much C stack. A body
-- that would run too deep is *deep*: its consumer has the base start and resume it (CALL).
--
-- An open body's thread is in `_co`, for the quick road to resume unseen; else that is a dead
-- coroutine, and the failed resume leads to the slow road. There is no state between calls outside
-- of the bodies: Tarantool switches fibers beneath Lua, in the middle of any body.
-- @module agenda.portable.frame

local host = require "agenda.portable.host"
local bodies = require "agenda.portable.bodies"
local faults = require "agenda.portable.errors"
local arm = require "agenda.portable.sentinel".arm

local raw_create, raw_resume, raw_yield = host.create, host.resume, host.yield
local raw_status, running, isyieldable = host.status, host.running, host.isyieldable
local pack, unpack, select, error, rawset = host.pack, host.unpack, select, error, rawset
local lend = host.lend
local yielding, pending = bodies.yielding, bodies.pending
local body_here, enlist, why_not = bodies.here, bodies.enlist, bodies.why_not
local errors = faults.errors
local RuntimeError, GeneratorExit = errors.RuntimeError, errors.GeneratorExit

local frame = {}

-- What the coroutine that was just left meant. `false`: the host's own yield.
local VALUE, END, FAIL, RELAY, SUSPEND = "value", "end", "fail", "relay", "suspend"
local signal = false

-- In place of a leaf: the base is to resume this body, which is deep.
local CALL = {}

local MOST_NESTED = 16

local DEAD = raw_create(function() end)
raw_resume(DEAD)

-- ----- making -----------------------------------------------------------------------------------

local function ended(...)
  signal = END
  return ...
end

local function main(body, ...)
  return ended(body._code(...))
end

-- In Lua 5.4 what is to be closed is closed inside of the body's coroutine, where it may wait.
if host.has_close then
  local function on_error(err)
    faults.record(err, nil, 3)
    return err
  end
  local function ended_well(ok, ...)
    signal = ok and END or FAIL
    return ...
  end
  function main(body, ...)
    return ended_well(xpcall(body._code, on_error, ...))
  end
end

--- A new body.
-- @tparam table kind what the object is: `name`, `what`, `yields`, `collected`
-- @tparam table metatable of the object, which is the body
-- @tparam string name
-- @tparam function fn
function frame.new(kind, metatable, name, fn, ...)
  return setmetatable({
    _status = "created", _co = DEAD, _thread = false, _kind = kind, _code = fn, _name = name,
    _args = select("#", ...) > 0 and pack(...) or false,
    _throwing = false, _thrown = false,  -- an error to be raised in it
    _count = 0, _sent = false,         -- what was sent: one value, or a packed list
    _caller = false,                   -- the body that waits for it
    _leaf = false, _base = false,      -- of the outermost body: where its wait came from
    _hand = false,                     -- driven by hand: waits come out of the call
    _deep = false, _depth = 0, _foreign = false,
    _by = false, _awaited = false, _awaiting = false, _delegate = false,
    _sentinel = false, _finalizer = false, _begun = false, _dead = false, _closer = false,
    _adopted = false,                  -- its base is gone, and another goes on with it
  }, metatable)
end

-- NB: rawset, as the error may be nil, and what a body has not is not to be assigned.
local function set_thrown(body, err)
  if lend then
    lend(body._thread) -- it may be on its way out, after its request
  end
  body._throwing = true
  rawset(body, "_thrown", err)
end

local function clear_thrown(body)
  body._throwing = false
  rawset(body, "_thrown", false)
end

-- ----- ends ------------------------------------------------------------------------------------

local function finish(body)
  body._status, body._co, body._thread = "finished", DEAD, false
  body._leaf, body._base, body._caller, body._sentinel = false, false, false, false
  body._hand, body._args, body._awaited, body._by = false, false, false, false
end
frame.drop = finish

-- The error that a body did not get to see comes out of it in place of its results.
local function returned(body, ...)
  local err = body._thrown
  local unseen = body._throwing and not faults.is(GeneratorExit, err)
  clear_thrown(body)
  finish(body)
  if unseen then
    return FAIL, err
  end
  return END, ...
end

local function failed(body, err)
  local thread = body._thread
  finish(body)
  clear_thrown(body)
  if not host.has_close then
    faults.record(err, thread)
  end
  return FAIL, err
end

local function value_of(body, ...)
  body._status, body._hand, body._by = "open", false, false
  if not body._deep then
    body._co = body._thread
  end
  return VALUE, ...
end

-- ----- the base ---------------------------------------------------------------------------------

-- Marks an error to be raised in a waiting body.
local function throw_at(leaf, err)
  set_thrown(leaf, err)
  if leaf._foreign then
    bodies.put_off(leaf)
  end
end

local drive

-- Nothing can wait here: the leaf is told, and given up if it goes on all the same.
local function refuse_wait(root, leaf)
  if leaf._throwing then
    finish(root)
    return FAIL, RuntimeError("cannot await: nothing can wait here, and the body goes on waiting")
  end
  throw_at(leaf, RuntimeError("cannot await: " .. why_not()))
  return frame.ran(root, leaf, raw_resume(leaf._thread))
end

-- `body` was resumed by the base: what came of it. Returns what the root's consumer is to get.
local function ran(root, body, ok, ...)
  local meant = signal
  signal = false
  if ok then
    if not meant or meant == SUSPEND then
      body._foreign, body._awaited = not meant, body._awaiting
      body._status, body._co = "waiting", DEAD
      return drive(root, body, ...)
    elseif meant == RELAY then
      body._status, body._co = "waiting", DEAD
      return drive(root, ...)
    end
  end
  if body == root then
    body._leaf, body._base, body._hand = false, false, false
    if not ok or meant == FAIL then
      return failed(body, (...))
    elseif meant == VALUE then
      return value_of(body, ...)
    end
    return returned(body, ...)
  end
  local caller = body._caller
  body._caller = false
  caller._awaited = false
  if root._adopted and lend then
    lend(caller._thread)
  end
  if not ok or meant == FAIL then
    return ran(root, caller, raw_resume(caller._thread, failed(body, (...))))
  elseif meant == VALUE then
    return ran(root, caller, raw_resume(caller._thread, value_of(body, ...)))
  end
  return ran(root, caller, raw_resume(caller._thread, returned(body, ...)))
end
frame.ran = ran

local function call_deep(root, body, ...)
  return ran(root, body, raw_resume(body._thread, ...))
end

-- A wait with these values came from `leaf`; or the base is to resume a deep body.
function drive(root, leaf, ...)
  if leaf == CALL then
    return call_deep(root, ...)
  end
  root._leaf = leaf
  if root._hand then
    return SUSPEND, ...
  elseif not isyieldable() then
    return refuse_wait(root, leaf)
  end
  return ran(root, leaf, raw_resume(leaf._thread, raw_yield(...)))
end

-- ----- consumers --------------------------------------------------------------------------------

local function wait_of(body, relayed, ...)
  local me = not body._hand and body_here() or nil
  body._status, body._co = "waiting", DEAD
  if not body._sentinel then
    arm(body)
  end
  if me and isyieldable() then
    body._caller = me
    me._awaited = body._by or body
    signal = RELAY
    if relayed then
      return raw_yield(...)
    end
    return raw_yield(body, ...)
  end
  body._base = running() or false
  if relayed then
    return drive(body, ...)
  end
  return drive(body, body, ...)
end

-- What came of resuming `body`, for its consumer: VALUE, END or FAIL (SUSPEND if driven by hand),
-- and the values.
local function settled(body, ok, ...)
  local meant = signal
  signal = false
  if not ok then
    if raw_status(body._thread) == "suspended" then
      return frame.overflow(body, ...)
    end
    return failed(body, (...))
  elseif meant == VALUE then
    return value_of(body, ...)
  elseif meant == END then
    return returned(body, ...)
  elseif meant == FAIL then
    return failed(body, (...))
  elseif meant == RELAY then
    return wait_of(body, true, ...)
  end
  body._foreign, body._awaited = not meant, body._awaiting
  return wait_of(body, false, ...)
end

-- Has the base resume a deep body.
local function ask_base(body, me, ...)
  body._status, body._caller = "waiting", me
  me._awaited = body._by or body
  signal = RELAY
  return raw_yield(CALL, body, ...)
end

local function armed(body, meant, ...)
  if meant == VALUE then
    arm(body)
  end
  return meant, ...
end

local function start(body)
  local thread, me, args = raw_create(main), body_here(), body._args
  body._thread, body._status, body._args = thread, "open", false
  enlist(body)
  local depth = me and me._depth + 1 or 0
  if depth > MOST_NESTED and not body._hand and isyieldable() then
    body._deep = true
    if args then
      return armed(body, ask_base(body, me, body, unpack(args, 1, args.n)))
    end
    return armed(body, ask_base(body, me, body))
  end
  body._co, body._depth = thread, depth
  if args then
    return armed(body, settled(body, raw_resume(thread, body, unpack(args, 1, args.n))))
  end
  return armed(body, settled(body, raw_resume(thread, body)))
end

-- Resumes a body that is new or suspended at a yield of values. `mode`: something was sent or is to
-- be raised.
local function call(body, mode)
  if body._status == "created" then
    return start(body)
  end
  if body._deep and not body._hand then
    local me = body_here()
    if me and isyieldable() then
      return ask_base(body, me, mode)
    end
  end
  return settled(body, raw_resume(body._thread, mode))
end
frame.call, frame.arm = call, arm

--- The C stack was used up, and the resume has not happened: the body is deep after all.
function frame.overflow(body, message)
  local me = body_here()
  if not me or body._deep or body._hand or not isyieldable() then
    error(message, 0)
  end
  body._deep, body._co = true, DEAD
  return call(body, (body._throwing or body._count > 0) or nil)
end

--- Sends values to a body that is suspended at a yield; what comes of it, as `call`.
function frame.send(body, n, ...)
  if n == 0 then
    return call(body)
  end
  body._count = n
  if n == 1 then
    rawset(body, "_sent", (...))
  else
    body._sent = pack(...)
  end
  return call(body, true)
end

--- Raises an error in a body that is suspended at a yield.
function frame.throw(body, err)
  set_thrown(body, err)
  return call(body, true)
end

-- The leaf of a waiting base, which has none while it is driven.
local function take_leaf(body)
  local leaf = body._leaf
  body._leaf = false
  return leaf
end

--- Drives a body by hand: `SUSPEND, values...` where it waits.
function frame.hand(body, n, ...)
  if body._status == "waiting" then
    local leaf = take_leaf(body)
    return ran(body, leaf, raw_resume(leaf._thread, ...))
  end
  body._hand = true
  return frame.send(body, n, ...)
end

function frame.hand_throw(body, err)
  body._hand = true
  if body._status == "waiting" then
    local leaf = take_leaf(body)
    throw_at(leaf, err)
    return ran(body, leaf, raw_resume(leaf._thread))
  end
  return frame.throw(body, err)
end

--- Goes on with a body that waits and whose base is gone: an error is raised in it, and the running
-- coroutine is its base from now on.
function frame.take_over(body, err)
  local leaf = take_leaf(body)
  body._hand, body._base, body._adopted = false, running() or false, true
  throw_at(leaf, err)
  return ran(body, leaf, raw_resume(leaf._thread))
end

local function give(f, first, ...)
  if first == nil then
    return false
  end
  return f(first, ...)
end

--- The quick roads of a loop, or `slow(body)` where there is more to it.
-- @tparam function slow gets the body, and the outcome as `call` gives it; nothing if the body is
-- not suspended at a yield
-- @treturn function `(body)`: the next values
-- @treturn function `(f, body)`: calls f with the values of each until it returns false
function frame.iterator(slow)
  local function received(body, ok, ...)
    if signal == VALUE and ... ~= nil then
      signal = false
      return ...
    end
    if not ok and body._co == DEAD then
      return slow(body)
    elseif not ok and raw_status(body._co) ~= "dead" then
      return slow(body)
    end
    return slow(body, settled(body, ok, ...))
  end

  local function given(f, body, ok, ...)
    if signal == VALUE and ... ~= nil then
      signal = false
      return f(...)
    end
    return give(f, received(body, ok, ...))
  end

  return function(body)
    return received(body, raw_resume(body._co))
  end, function(f, body)
    repeat until given(f, body, raw_resume(body._co)) == false
  end
end

-- ----- inside of a body -------------------------------------------------------------------------

-- What an error thrown in, or values sent, make of the yield.
local function taken()
  local body = yielding[running()]
  if body._throwing then
    local err = body._thrown
    clear_thrown(body)
    error(err, 0)
  end
  local sent, n = body._sent, body._count
  rawset(body, "_sent", false)
  body._count = 0
  if n == 1 then
    return sent
  end
  return unpack(sent, 1, n)
end

--- Raises the error that could not be raised at a wait of the host's, if there is one.
local function raise_pending()
  local thread = running()
  local body = thread and pending[thread]
  if body then
    local err = body._thrown
    enlist(body)
    clear_thrown(body)
    error(err, 0)
  end
end
frame.raise_pending = raise_pending

local function refuse_yield()
  raise_pending()
  local thread = running()
  local body = thread and yielding[thread]
  if body then
    error(RuntimeError("cannot yield here: Lua cannot yield in a gsub or sort callback, a "
      .. "metamethod or a finalizer"), 0)
  end
  error(RuntimeError("yield outside a generator"), 0)
end

-- NB: where raw_yield fails (inside of a gsub callback) the signal stays set, and a wait of the
-- host's that follows at once would be taken for a value. Asking isyieldable before each value
-- would cost LuaJIT a quarter of it; Lua 5.4 asks.
local function yield_one(value)
  if not yielding[running()] then
    return refuse_yield()
  end
  signal = VALUE
  local mode = raw_yield(value)
  if mode == nil then
    return
  end
  return taken()
end

-- One value has a road of its own, as LuaJIT compiles no `...` after a call that it cannot compile.
function frame.yield(...)
  if select("#", ...) == 1 then
    return yield_one((...))
  elseif not yielding[running()] then
    return refuse_yield()
  end
  signal = VALUE
  local mode = raw_yield(...)
  if mode == nil then
    return
  end
  return taken()
end

if host.has_close then
  function frame.yield(...)
    if not yielding[running()] or not isyieldable() then
      return refuse_yield()
    end
    signal = VALUE
    local mode = raw_yield(...)
    if mode == nil then
      return
    end
    return taken()
  end
end

--- Yields values for a delegation, which passes on what comes back: `true` and what was sent, or
-- `false` and the error thrown in.
function frame.exchange(...)
  if not yielding[running()] or not isyieldable() then
    return refuse_yield()
  end
  signal = VALUE
  local mode = raw_yield(...)
  if mode == nil then
    return true
  end
  local body = yielding[running()]
  if not body._throwing then
    return true, taken()
  end
  local err = body._thrown
  clear_thrown(body)
  return false, err
end

local function woken(body, ...)
  if body._throwing then
    local err = body._thrown
    clear_thrown(body)
    error(err, 0)
  end
  return ...
end

--- The lowest-level wait: hands the values to whoever drives the outermost coroutine.
-- @function suspend
-- @param ... the values
-- @return what that resumes with
-- @raise what is thrown in; RuntimeError where nothing can wait
function frame.suspend(...)
  raise_pending()
  local why = why_not()
  if why then
    error(RuntimeError("cannot suspend: " .. why), 0)
  end
  local body = body_here()
  if not body then
    return raw_yield(...)
  end
  signal = SUSPEND
  return woken(body, raw_yield(...))
end

-- LuaJIT 2.1 (of 2022) may lose the arguments of a vararg function that calls what it cannot
-- compile before it uses them. These gain nothing from being compiled.
local jit = rawget(_G, "jit")
if jit then
  for _, f in ipairs {
    ran, drive, call_deep, wait_of, settled, ask_base, armed, start, taken, frame.send, frame.hand,
    frame.suspend, frame.exchange,
  } do
    jit.off(f)
  end
end

for _, name in ipairs {
  "here", "why_not", "cannot_await", "in_flight", "executing", "abandoned",
} do
  frame[name] = bodies[name]
end
frame.VALUE, frame.END, frame.FAIL, frame.SUSPEND = VALUE, END, FAIL, SUSPEND

return frame
