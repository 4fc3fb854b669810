--- The end of a loop's threads.
-- @module agenda.threads

local core = require "agenda.core"

local shut_down = core.async("shutdown_default_executor", function(loop)
  core.await(loop:_shut_threads())
end)

--- Takes no more work for threads, awaits what there is, and ends the threads; `agenda.run` calls
-- it. As in asyncio.
-- @function loop:shutdown_default_executor
-- @treturn coroutine an awaitable that does nothing until it is awaited
function core._loop_methods.shutdown_default_executor(loop)
  return shut_down(loop)
end

return {}
