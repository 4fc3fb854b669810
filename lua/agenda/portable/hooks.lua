--- The hooks of PEP 525, per Lua state: what is called before the first iteration of an async
-- generator, and what gets one that was collected while suspended.
-- @module agenda.portable.hooks

local faults = require "agenda.portable.errors"
local host = require "agenda.portable.host"

local TypeError = faults.errors.TypeError

local hooks = {}

local firstiter, finalizer

local function check_hook(hook, name)
  local callable = type(hook) == "function"
    or type(getmetatable(hook)) == "table" and getmetatable(hook).__call ~= nil
  if hook and not callable then
    error(TypeError(("callable %s expected, got %s"):format(name, type(hook))), 0)
  end
end

--- Sets the hooks for async generators (PEP 525).
-- @function set_asyncgen_hooks
-- @tparam table new `firstiter` is called with a generator before its first iteration,
-- `finalizer` with one that was collected while suspended; an absent field stays, `false` clears
-- @raise TypeError for what cannot be called
function hooks.set_asyncgen_hooks(new)
  if type(new) ~= "table" then
    error(("bad argument #1 to 'set_asyncgen_hooks' (table expected, got %s)")
      :format(new == nil and "no value" or type(new)), 2)
  end
  check_hook(new.firstiter, "firstiter")
  check_hook(new.finalizer, "finalizer")
  if new.firstiter ~= nil then
    firstiter = new.firstiter or nil
  end
  if new.finalizer ~= nil then
    finalizer = new.finalizer or nil
  end
end

--- The hooks in force.
-- @function get_asyncgen_hooks
-- @treturn table fields `firstiter` and `finalizer`, nil where none is set
function hooks.get_asyncgen_hooks()
  return {firstiter = firstiter, finalizer = finalizer}
end

--- Sets the finalizer alone.
-- @function set_asyncgen_finalizer
-- @tparam ?function|nil|false f nil or false clears
-- @raise TypeError for what cannot be called
function hooks.set_asyncgen_finalizer(f)
  check_hook(f, "finalizer")
  finalizer = f or nil
end

--- The finalizer in force: in nginx and Tarantool, until another is set, the one that has the host
-- run the cleanup.
-- @function get_asyncgen_finalizer
-- @treturn ?function nil if there is none
function hooks.get_asyncgen_finalizer()
  return finalizer
end

local internal = {public = hooks}

--- Calls the hooks before the first step; the generator keeps the finalizer in force now.
function internal.first(body)
  body._begun = true
  if firstiter then
    firstiter(body)
  end
  body._finalizer = finalizer or false
end

--- Makes the finalizer of the host, if it has one: `close(body)` runs where it can wait, or else
-- `close_now(body)` at once.
function internal.install(close, close_now)
  if host.later then
    function finalizer(body)
      if not host.later(close, body) then
        close_now(body)
      end
    end
  end
  return finalizer
end

return internal
