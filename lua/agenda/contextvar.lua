--- Task-local state, after PEP 567.
--
-- A context is an immutable table: `set` makes a changed copy and puts it in force, so that a new
-- task or callback starts with its maker's by taking a reference.
-- @module agenda.contextvar

local core = require "agenda.core"
local check = require "agenda.check"

local errors = core.errors

local Variable = {__name = "agenda.contextvar", __agenda_type = "contextvar"}
Variable.__index = Variable

local Token = {__name = "agenda.contextvar_token", __agenda_type = "contextvar_token"}
Token.__index = Token

-- Stands for "no value" in a token, and for a nil that was set in a context.
local MISSING, NIL = {}, {}

local function owner()
  local ok, task = pcall(core.current_task)
  if ok then
    return task
  end
  if not errors.RuntimeError:is(task) then
    error(task, 0)
  end
end

local function with(context, variable, value)
  local changed = {}
  if context then
    for key, old in pairs(context) do
      changed[key] = old
    end
  end
  changed[variable] = value
  return next(changed) ~= nil and changed or nil
end

--- The value in the current task.
-- @function contextvar:get
-- @param[opt] default what to give where nothing was set, in place of the variable's own default
-- @return what was set, else the default, else nil
function Variable:get(...)
  check.self(self, Variable, "get")
  local context = core.context()
  local value = context and context[self]
  if value == nil then
    if select("#", ...) > 0 then
      return (...)
    end
    return self.default
  end
  if value == NIL then
    return nil
  end
  return value
end

--- Sets the value for the current task and what it starts from now on.
-- @function contextvar:set
-- @param value any value
-- @treturn token for `reset`
function Variable:set(value)
  check.self(self, Variable, "set")
  local context = core.context()
  local old = context and context[self]
  if old == nil then
    old = MISSING
  end
  if value == nil then
    value = NIL
  end
  core.set_context(with(context, self, value))
  return setmetatable({variable = self, old = old, owner = owner()}, Token)
end

--- Brings back the value from before a `set`.
-- @function contextvar:reset
-- @tparam token token what that `set` returned
-- @raise RuntimeError if it was used; ValueError if it is of another variable or task
function Variable:reset(token)
  check.self(self, Variable, "reset")
  if getmetatable(token) ~= Token then
    check.refuse(1, "reset", Token.__name, token)
  end
  if token.used then
    error(errors.RuntimeError(("the token of %s has already been used once")
      :format(tostring(self))), 0)
  end
  if token.variable ~= self then
    error(errors.ValueError("the token was created by a different contextvar"), 0)
  end
  if token.owner ~= owner() then
    error(errors.ValueError("the token was created in a different context"), 0)
  end
  token.used = true
  local old = token.old
  if old == MISSING then
    old = nil
  end
  core.set_context(with(core.context(), self, old))
end

function Variable:__tostring()
  return ("<contextvar %s at %s>"):format(self.name, self.address)
end

function Token:__tostring()
  return ("<contextvar_token of %s at %p>"):format(self.variable.name, self)
end

local contextvar = {}

--- A variable with a value of its own in each task.
-- @function contextvar
-- @tparam string name
-- @param[opt] default what `get` gives where nothing was set
-- @treturn contextvar
function contextvar.contextvar(name, default)
  check.type(name, "string", 1, "contextvar")
  local variable = {name = name, default = default}
  variable.address = ("%p"):format(variable)
  return setmetatable(variable, Variable)
end

return contextvar
