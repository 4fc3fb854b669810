--- Waiting for several, or not for ever: `wait`, `wait_for`, `as_completed`, `shield`, after
-- asyncio.
-- @module agenda.wait

local core = require "agenda.core"
local check = require "agenda.check"
local timeout = require "agenda.timeout"

local errors = core.errors
local await = core.await

local wait = {}

local OPTIONS = {timeout = true, return_when = true}
local RETURN_WHEN = {FIRST_COMPLETED = true, FIRST_EXCEPTION = true, ALL_COMPLETED = true}

-- ----- what they take ------------------------------------------------------------------------

local function check_list(list, name)
  if type(list) ~= "table" or core.isawaitable(list) then
    error(errors.TypeError(("%s takes a list of awaitables, not %s")
      :format(name, core.type(list) or type(list))), 0)
  end
  for i = 1, list.n or #list do
    local aw = list[i]
    if type(aw) ~= "function" and not core.isawaitable(aw) then
      error(errors.TypeError(("argument %d is not awaitable; pass a function"):format(i)), 0)
    end
  end
end

-- The futures of a list in their order, each once; a function runs as often as it is given.
local function ensure_all(list)
  local futures, seen = {}, {}
  for i = 1, list.n or #list do
    local aw = list[i]
    if not seen[aw] then
      futures[#futures + 1] = core.ensure_future(aw)
      seen[aw] = type(aw) ~= "function"
    end
  end
  return futures
end

-- The timeout of a table of options.
local function check_options(options, known, name)
  if options == nil then
    return nil
  end
  check.type(options, "table", 2, name, 3)
  for key in pairs(options) do
    if not known[key] then
      error(("bad argument #2 to '%s' (unknown option '%s')"):format(name, tostring(key)), 3)
    end
  end
  local seconds = options.timeout
  if seconds ~= nil and type(seconds) ~= "number" then
    error(("bad argument #2 to '%s' (number expected as 'timeout', got %s)")
      :format(name, type(seconds)), 3)
  end
  check.seconds(seconds, 2, name, 3)
  return seconds
end

-- A to-be-closed value that calls f(...) after so many seconds (nil: never) unless it is closed.
local function timer(loop, seconds, f, ...)
  local handle = seconds and loop:call_later(seconds, f, ...)
  return handle and setmetatable({}, {__close = function() handle:cancel() end})
end

-- A to-be-closed value that takes a callback off the futures.
local function callback_on(futures, f)
  for _, future in ipairs(futures) do
    future:add_done_callback(f)
  end
  return setmetatable({}, {__close = function()
    for _, future in ipairs(futures) do
      future:remove_done_callback(f)
    end
  end})
end

local function release(waiter)
  if not waiter:done() then
    waiter:set_result()
  end
end

-- ----- wait ----------------------------------------------------------------------------------

local function check_wait(list, options)
  options = options or {}
  check_list(list, "wait")
  if (list.n or #list) == 0 then
    error(errors.ValueError("wait needs at least one future"), 0)
  end
  for i = 1, list.n or #list do
    if core.type(list[i]) == "coroutine" then
      error(errors.TypeError("wait takes no coroutine objects: spawn tasks of them"), 0)
    end
  end
  local return_when = options.return_when or "ALL_COMPLETED"
  if not RETURN_WHEN[return_when] then
    error(errors.ValueError("invalid return_when value: " .. tostring(return_when)), 0)
  end
  return return_when
end

local function has_failed(future)
  return not future:cancelled() and future:exception() ~= nil
end

-- Waits until enough of the futures are done, or the time is over.
local function wait_in_place(futures, seconds, return_when)
  local loop = core.get_running_loop()
  local waiter, left = loop:create_future(), #futures
  local _ <close> = timer(loop, seconds, release, waiter)
  local _ <close> = callback_on(futures, function(future)
    left = left - 1
    if left == 0 or return_when == "FIRST_COMPLETED"
        or return_when == "FIRST_EXCEPTION" and has_failed(future) then
      release(waiter)
    end
  end)
  await(waiter)
end

--- Waits for futures and tasks. Neither the end of the time nor being cancelled cancels them, and
-- nothing of theirs is raised. As in asyncio. Awaits.
-- @function wait
-- @tparam table list futures and tasks (not coroutine objects); tasks are made of functions
-- @tparam[opt] table options `timeout` (seconds; nil: without limit), `return_when`
-- ("FIRST_COMPLETED", "FIRST_EXCEPTION" or "ALL_COMPLETED", which is the default)
-- @treturn {future,...} those that are done, in the order of the list
-- @treturn {future,...} those that are not
-- @raise ValueError for an empty list or an unknown `return_when`; TypeError for coroutine objects
-- and what cannot be awaited; RuntimeError "no running event loop"
function wait.wait(list, options)
  local seconds = check_options(options, OPTIONS, "wait")
  local return_when = check_wait(list, options)
  local futures = ensure_all(list)
  wait_in_place(futures, seconds, return_when)
  local done, pending = {}, {}
  for _, future in ipairs(futures) do
    local part = future:done() and done or pending
    part[#part + 1] = future
  end
  return done, pending
end

-- ----- wait_for ------------------------------------------------------------------------------

local function cancel_and_wait(future)
  local waiter = core.get_running_loop():create_future()
  local _ <close> = callback_on({future}, function() release(waiter) end)
  future:cancel()
  await(waiter)
end

local function result_or_timeout(future, seconds)
  if not future:cancelled() then
    return future:result()
  end
  local _, cancelled = pcall(future.result, future)
  error(errors.TimeoutError(("timed out after %.14g s: %s was cancelled")
    :format(seconds, tostring(future)), {cause = cancelled}), 0)
end

--- Awaits something, or calls a function, in this task and for so many seconds at most. When they
-- are over it is cancelled; if it ends with results for all that, those are returned. As in
-- asyncio. Awaits.
-- @function wait_for
-- @tparam awaitable|function aw
-- @tparam ?number seconds nil: without limit; 0 and less: only what is done already
-- @return the results
-- @raise TimeoutError after aw has been cancelled and has ended; what aw raises; TypeError for what
-- cannot be awaited; RuntimeError outside a task
function wait.wait_for(aw, seconds)
  check.seconds(seconds, 2, "wait_for")
  local is_function = type(aw) == "function"
  if not is_function and not core.isawaitable(aw) then
    error(errors.TypeError("argument 1 is not awaitable; pass a function"), 0)
  end
  if seconds and seconds <= 0 then
    local future = core.ensure_future(aw)
    if not future:done() then
      cancel_and_wait(future)
      return result_or_timeout(future, seconds)
    end
    return future:result()
  end
  if is_function then
    return timeout.with_timeout(seconds, aw)
  end
  return timeout.with_timeout(seconds, await, aw)
end

-- ----- as_completed --------------------------------------------------------------------------

local completed = core.asyncgen("as_completed", function(list, seconds)
  local loop = core.get_running_loop()
  local futures, done, waiter, expired = ensure_all(list), {}, nil, false
  local function wake()
    if waiter then
      release(waiter)
    end
  end
  local _ <close> = callback_on(futures, function(future)
    done[#done + 1] = future
    wake()
  end)
  local _ <close> = timer(loop, seconds, function()
    expired = true
    wake()
  end)
  for i = 1, #futures do
    if done[i] == nil and not expired then
      waiter = loop:create_future()
      await(waiter)
      waiter = nil
    end
    if done[i] == nil then
      error(errors.TimeoutError(("%d of %d were done after %.14g s"):format(i - 1, #futures,
        seconds)), 0)
    end
    core.yield(done[i])
  end
end)

--- Gives futures as they are done; ask each for its `result()`. What is no future yet becomes a
-- task when the iteration begins. Leaving the loop early cancels nothing. As in asyncio.
-- @function as_completed
-- @tparam table list awaitables and functions
-- @tparam[opt] table options `timeout` (seconds from the first iteration on; nil: without limit)
-- @treturn async_generator of the very futures and tasks that were passed, each once
-- @raise TypeError for what cannot be awaited; TimeoutError when it is iterated: that cancels none
function wait.as_completed(list, options)
  local seconds = check_options(options, {timeout = true}, "as_completed")
  check_list(list, "as_completed")
  return completed(table.move(list, 1, list.n or #list, 1, {}), seconds)
end

-- ----- shield --------------------------------------------------------------------------------

local function pass_on(inner, outer)
  if inner:cancelled() then
    local _, err = pcall(inner.result, inner)
    outer:cancel(err.message)
    return
  end
  local err = inner:exception()
  if err ~= nil then
    outer:set_exception(err)
  else
    outer:set_result(inner:result())
  end
end

--- A Future of an awaitable's results; cancelling that, or the task that awaits it, does not cancel
-- the awaitable, which starts now. As in asyncio.
-- @function shield
-- @tparam awaitable|function aw
-- @treturn future aw itself if that is a future that is done
-- @raise RuntimeError "no running event loop"; TypeError for what cannot be awaited
function wait.shield(aw)
  local inner = core.ensure_future(aw)
  if inner:done() then
    return inner
  end
  local outer = (inner:get_loop() or core.get_running_loop()):create_future()
  local function on_inner()
    if not outer:done() then
      pass_on(inner, outer)
    end
  end
  inner:add_done_callback(on_inner)
  outer:add_done_callback(function()
    if not inner:done() then
      inner:remove_done_callback(on_inner)
    end
  end)
  return outer
end

return wait
