--- What the specs of the loop and of tasks share.
local agenda = require "agenda"
local busted = require "busted"

local loopkit = {}

--- Defines an `it` whose body runs under agenda.run.
-- NB: a tail call, so that busted finds the line of the caller.
function loopkit.in_run(name, body)
  return busted.it(name, function() agenda.run(body) end)
end

--- Calls f(loop) with a new loop, which is closed however f ends.
function loopkit.with_loop(f)
  local loop = agenda.new_event_loop()
  local ok, err = pcall(f, loop)
  if not loop:is_closed() then loop:close() end
  if not ok then error(err, 0) end
end

--- Checks that f(...) raises an error object of the class.
-- @treturn the error
function loopkit.fails(class, f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("an error was expected, none was raised", 2) end
  if not class:is(err) then error("another error was expected, not " .. tostring(err), 2) end
  return err
end

--- Checks that f() raises Lua's ordinary error for a wrong argument.
-- @tparam number n the argument's number
-- @tparam string name the function's name
function loopkit.bad_argument(n, name, f)
  local ok, err = pcall(f)
  if ok then error("an error was expected, none was raised", 2) end
  local expected = ("bad argument #%d to '%s'"):format(n, name)
  if type(err) ~= "string" or not err:find(expected, 1, true) then
    error(("%q was expected, not %s"):format(expected, tostring(err)), 2)
  end
  return err
end

--- Runs main(loop) with an exception handler that collects.
-- @treturn table the list of contexts the handler got, the end of the run included
-- @treturn any main's results
function loopkit.reports(main)
  local contexts = {}
  local function collect(_, context)
    contexts[#contexts + 1] = context
  end
  return contexts, agenda.run(function()
    local loop = agenda.get_running_loop()
    loop:set_exception_handler(collect)
    return main(loop)
  end)
end

--- Collects all that nobody holds, whatever number of finalizer stages that takes.
function loopkit.collect()
  for _ = 1, 4 do collectgarbage() end
end

--- Lets every other task take n turns.
function loopkit.turns(n)
  for _ = 1, n do agenda.sleep(0) end
end

--- A function that returns (or, with fail, raises) the value after n turns.
function loopkit.after(n, value, fail)
  return function()
    loopkit.turns(n)
    if fail then error(value, 0) end
    return value
  end
end

--- A task of f(...) that has run up to where it waits.
function loopkit.started(f, ...)
  local task = agenda.spawn(f, ...)
  loopkit.turns(1)
  return task
end

--- A file object that only remembers what is written to it, and what it remembers.
function loopkit.scratch_file()
  local file = assert(io.tmpfile())
  return file, function()
    file:flush()
    file:seek("set")
    return file:read("a")
  end
end

--- A to-be-closed value that calls f(), which may wait.
function loopkit.on_close(f)
  return setmetatable({}, { __close = function() f() end })
end

--- The line that calls this.
function loopkit.here()
  return debug.getinfo(2, "l").currentline
end

return loopkit
