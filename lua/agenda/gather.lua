--- `gather`: several awaitables at once, after asyncio.
-- @module agenda.gather

local core = require "agenda.core"
local check = require "agenda.check"

local errors = core.errors

local gather = {}

local OPTIONS = {return_exceptions = true, packed = true}

local function is_list(x)
  return type(x) == "table" and not core.isawaitable(x)
end

local function check_options(options)
  if options == nil then
    return {}
  end
  check.type(options, "table", 2, "gather", 3)
  for key in pairs(options) do
    if not OPTIONS[key] then
      error(("bad argument #2 to 'gather' (unknown option '%s')"):format(tostring(key)), 3)
    end
  end
  return options
end

-- The futures of the awaitables, equal ones once; and the list of distinct ones.
local function ensure_all(list, n)
  for i = 1, n do
    local aw = list[i]
    if type(aw) ~= "function" and not core.isawaitable(aw) then
      error(errors.TypeError(("argument %d is not awaitable; pass a function"):format(i)), 0)
    end
  end
  local children, distinct, seen = {}, {}, {}
  for i = 1, n do
    local aw = list[i]
    local child = seen[aw]
    if not child or type(aw) == "function" then
      child = core.ensure_future(aw)
      seen[aw] = child
      distinct[#distinct + 1] = child
    end
    children[i] = child
  end
  return children, distinct
end

-- The loop that all the futures are tied to; those tied to none yet are with any.
local function common_loop(futures)
  local loop
  for _, future in ipairs(futures) do
    local its = future:get_loop()
    if loop and its and its ~= loop then
      error(errors.ValueError("the futures belong to different loops"), 0)
    end
    loop = loop or its
  end
  return loop or core.get_running_loop()
end

local function error_of(child)
  if child:cancelled() then
    local _, err = pcall(child.result, child)
    return err
  end
  return child:exception()
end

local function value_of(child, options)
  local err = error_of(child)
  if err ~= nil then
    return err
  end
  if options.packed then
    return table.pack(child:result())
  end
  return (child:result())
end

--- Runs awaitables at once. They start now; cancelling the Future cancels them. As in asyncio.
-- @function gather
-- @param ... the awaitables or functions; or a list of them and a table of options:
-- `return_exceptions` puts errors into the list in place of raising the first, `packed` makes each
-- result a list of all its values with `n`
-- @treturn future of a list with `n`, the first value of each in their order; done at once if all
-- of them are
-- @raise TypeError for what cannot be awaited; RuntimeError "no running event loop"
function gather.gather(...)
  local list, n, options = table.pack(...), select("#", ...), {}
  if n >= 1 and n <= 2 and is_list((...)) then
    options = check_options((select(2, ...)))
    list = ...
    n = list.n or #list
  end
  local children, distinct = ensure_all(list, n)
  local outer = common_loop(distinct):create_future()
  local pending, cancel_requested = #distinct, false

  -- A cancellation is not reported when nobody asks for it.
  local function fail(err)
    outer:set_exception(err)
    if errors.CancelledError:is(err) then
      outer:exception()
    end
  end

  local function finish()
    if cancel_requested then
      return fail(errors.CancelledError(cancel_requested.message))
    end
    local results = {n = n}
    for i = 1, n do
      results[i] = value_of(children[i], options)
    end
    outer:set_result(results)
  end

  local function take(child)
    pending = pending - 1
    if outer:done() then
      if not child:cancelled() then
        child:exception()
      end
      return
    end
    if not options.return_exceptions then
      local err = error_of(child)
      if err ~= nil then
        return fail(err)
      end
    end
    if pending == 0 then
      finish()
    end
  end

  -- What fails here (for want of memory, say) must not leave the Future pending for ever.
  local function on_done(child)
    local ok, err = pcall(take, child)
    if not ok and not outer:done() then
      outer:set_exception(err)
    end
  end

  core.set_canceller(outer, function(_, message)
    local taken = false
    for _, child in ipairs(distinct) do
      taken = child:cancel(message) or taken
    end
    if taken then
      cancel_requested = {message = message}
    end
    return taken
  end)
  local finished = {}
  for _, child in ipairs(distinct) do
    if child:done() then
      finished[#finished + 1] = child
    else
      child:add_done_callback(on_done)
    end
  end
  for _, child in ipairs(finished) do
    on_done(child)
  end
  if n == 0 then
    outer:set_result({n = 0})
  end
  return outer
end

return gather
