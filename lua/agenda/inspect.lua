--- Predicates, and the types of objects that are written in Lua.
-- @module agenda.inspect

local core = require "agenda.core"

local inspect = {}

--- The type of an agenda object.
-- @function type
-- @param x any value
-- @treturn ?string "generator", "coroutine", "async_generator", "future", "task", "event_loop",
-- "contextvar" and so on; nil for what is not agenda's
function inspect.type(...)
  local found = core.type(...)
  local kind = type((...))
  if found == nil and (kind == "table" or kind == "userdata") then
    local metatable = getmetatable((...))
    found = type(metatable) == "table" and rawget(metatable, "__agenda_type") or nil
  end
  return found
end

local function is_type(name)
  return function(x)
    return core.type(x) == name
  end
end

local function makes_type(name)
  return function(x)
    return core.function_type(x) == name
  end
end

--- Whether x is a generator.
-- @function isgenerator
-- @param x any value
-- @treturn boolean
inspect.isgenerator = is_type "generator"

--- Whether x is a function that `agenda.generator` made.
-- @function isgeneratorfunction
-- @param x any value
-- @treturn boolean
inspect.isgeneratorfunction = makes_type "generator"

--- Whether x is a coroutine object.
-- @function iscoroutine
-- @param x any value
-- @treturn boolean
inspect.iscoroutine = is_type "coroutine"

--- Whether x is a function that `agenda.async` made.
-- @function iscoroutinefunction
-- @param x any value
-- @treturn boolean
inspect.iscoroutinefunction = makes_type "coroutine"

--- Whether x is an async generator.
-- @function isasyncgen
-- @param x any value
-- @treturn boolean
inspect.isasyncgen = is_type "async_generator"

--- Whether x is a function that `agenda.asyncgen` made.
-- @function isasyncgenfunction
-- @param x any value
-- @treturn boolean
inspect.isasyncgenfunction = makes_type "async_generator"

--- Whether x is a Future or a Task.
-- @function isfuture
function inspect.isfuture(x)
  local kind = core.type(x)
  return kind == "future" or kind == "task"
end

--- Whether x can be awaited.
-- @function isawaitable
-- @param x any value
-- @treturn boolean
inspect.isawaitable = core.isawaitable

--- Prints every unfinished task of the running loop, with what it awaits and where.
-- @function print_tasks
-- @tparam[opt=io.stderr] file file
-- @raise RuntimeError "no running event loop"
function inspect.print_tasks(file)
  if file ~= nil and type(file) ~= "table" and type(file) ~= "userdata" then
    error(("bad argument #1 to 'print_tasks' (file expected, got %s)"):format(type(file)), 2)
  end
  file = file or io.stderr
  file:write(core.tasks_text(), "\n")
end

return inspect
