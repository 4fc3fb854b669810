--- agenda: generators, coroutines, async generators and an event loop.
-- @module agenda

if not coroutine.close then
  error("agenda needs Lua 5.4; for LuaJIT and its hosts there is agenda.portable", 0)
end

local core = require "agenda.core"

local agenda = {_VERSION = "agenda scm"}

-- What the core has under the names of the public interface. It is moved, for Lua looks through
-- what is loaded for the name of a function that it is to complain of, and should find but one.
for _, name in ipairs {
  "all_tasks", "async", "asyncgen", "await", "checkpoint", "create_task", "current_task",
  "ensure_future", "errors", "future", "generator", "get_asyncgen_finalizer",
  "get_asyncgen_hooks", "get_event_loop", "get_running_loop", "getaddrinfo", "new_event_loop",
  "open", "pcall", "read_file", "set_asyncgen_finalizer", "set_asyncgen_hooks", "set_event_loop",
  "set_warning_handler", "sleep", "spawn", "suspend", "to_thread", "traceback", "write_file",
  "yield", "yield_from",
} do
  agenda[name] = core[name]
  core[name] = nil
end
setmetatable(core, {__index = agenda})

-- What is written in Lua on top of it.
for _, room in ipairs {
  "inspect", "iterate", "contextvar", "gather", "run", "exception_group", "timeout", "taskgroup",
  "wait", "sync", "queue", "context", "ticks", "threads", "files", "datagram", "connection",
  "server", "process", "stdio",
} do
  for name, value in pairs(require("agenda." .. room)) do
    agenda[name] = value
  end
end

-- What is loaded when it is first used: agenda needs no OpenSSL where nobody speaks TLS.
local modules = {tls = "agenda.tls"}

return setmetatable(agenda, {
  __index = function(self, name)
    local module = modules[name]
    if not module then return nil end
    local value = require(module)
    rawset(self, name, value)
    return value
  end,
})
