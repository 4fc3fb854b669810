--- Who waits for a lock, a semaphore, a queue and so on: first in, first out.
--
-- A list is any table with the fields that these functions keep in it:
--
--     first ... last     the waiters; one that was woken stays until it runs, so that a late comer
--                        sees it and does not overtake it
--     cursor             the first that was not woken yet
--     waited_on          whether it ever was, and so belongs to a loop
--
-- A waiter is cancelled by way of its future, which is done then before its task has run: such a
-- waiter is passed over. One that was woken and then cancelled is told so by `granted` together
-- with an error, and passes on what it was woken for.
-- @module agenda.waiters

local core = require "agenda.core"

local errors, await = core.errors, core.await
local get_running_loop = core.get_running_loop

local waiters = {}

-- The loop that a list was first waited on with.
local loops = setmetatable({}, {__mode = "kv"})

local function running_loop(list)
  local loop = get_running_loop()
  local bound = loops[list]
  if bound ~= loop then
    if list.waited_on then
      error(errors.RuntimeError(("%s is bound to a different event loop")
        :format(tostring(list.owner or list))), 0)
    end
    loops[list], list.waited_on = loop, true
  end
  return loop
end

local function unlink(list, waiter)
  if waiter.gone then
    return
  end
  waiter.gone = true
  local before, after = waiter.before, waiter.after
  if list.cursor == waiter then
    list.cursor = after
  end
  if before then
    before.after = after
  else
    list.first = after
  end
  if after then
    after.before = before
  else
    list.last = before
  end
end

-- Adds a waiter at the end. Raises RuntimeError with no running loop, or with another one.
function waiters.enter(list)
  local last = list.last
  local waiter = {future = running_loop(list):create_future(), before = last}
  if last then
    last.after = waiter
  else
    list.first = waiter
  end
  list.last = waiter
  list.cursor = list.cursor or waiter
  return waiter
end

-- Waits until the waiter is woken and takes it off the list. Gives whether it was woken, and what
-- pcall gives: an error may come even to one that was woken.
function waiters.sleep(list, waiter)
  local ok, err = pcall(await, waiter.future)
  unlink(list, waiter)
  return waiter.granted, ok, err
end

-- `enter` and `sleep`.
function waiters.wait(list)
  local waiter = waiters.enter(list)
  local ok, err = pcall(await, waiter.future)
  unlink(list, waiter)
  return waiter.granted, ok, err
end

-- Wakes the first that was not woken yet; gives it, or nil if there is none.
function waiters.wake(list)
  local waiter = list.cursor
  while waiter do
    list.cursor = waiter.after
    local future = waiter.future
    if not future:done() then
      waiter.granted = true
      future:set_result()
      return waiter
    end
    waiter = waiter.after
  end
end

-- Whether anybody waits or was woken and has not run yet. Drops the cancelled ones at the front.
function waiters.any(list)
  local waiter = list.first
  while waiter and not waiter.granted and waiter.future:done() do
    unlink(list, waiter)
    waiter = list.first
  end
  return waiter ~= nil
end

return waiters
