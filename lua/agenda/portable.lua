--- agenda for hosts with a scheduler of their own: OpenResty (ngx_lua), Tarantool, any Lua.
--
-- Generators, coroutines and async generators in plain Lua: Lua 5.1 syntax, for LuaJIT and Lua 5.4.
-- Waiting is the host's: `ngx.sleep`, cosockets and `fiber.sleep` work inside an async generator.
-- @module agenda.portable

local KEY = "agenda.portable"

-- Loaded anew in the same state, it is the same library: classes of errors keep their identity.
local registry = debug and debug.getregistry and debug.getregistry() or {}
if registry[KEY] then
  for name, room in pairs(registry[KEY]) do
    package.loaded[name] = room
  end
  return registry[KEY][KEY]
end

local awaitable = require "agenda.portable.awaitable"
local coroutines = require "agenda.portable.coroutine"
local faults = require "agenda.portable.errors"
local frame = require "agenda.portable.frame"
local generator = require "agenda.portable.generator"
local asyncgen = require "agenda.portable.asyncgen"
local host = require "agenda.portable.host"
local iterate = require "agenda.portable.iterate"

local portable = {
  itertools = require "agenda.portable.itertools",
  _VERSION = "agenda scm",
  errors = faults.errors,
  traceback = faults.traceback,
  pcall = faults.pcall,
  set_warning_handler = faults.set_warning_handler,
  generator = generator.generator,
  yield_from = generator.yield_from,
  yield = frame.yield,
  suspend = frame.suspend,
  async = coroutines.async,
  await = awaitable.await,
  asyncgen = asyncgen.asyncgen,
  aiter = iterate.aiter,
  anext = iterate.anext,
  each = iterate.each,
  aclosing = iterate.aclosing,
}

for _, room in ipairs {
  (require "agenda.portable.inspect"), (require "agenda.portable.context"),
  (require "agenda.portable.hooks".public),
} do
  for name, value in pairs(room) do
    portable[name] = value
  end
end

--- What stages with tasks and time are to use of the host. In nginx and Tarantool they know it.
-- @function set_host
-- @tparam table calls `spawn(f, ...)` runs f as a task, `sleep(seconds)`, `now()` in seconds; an
-- absent field stays. If there is `event()`, which makes an object with `wait([seconds])` and
-- `tell()`, tasks wait for each other with it, else they look again and again
function portable.set_host(calls)
  return host.set(calls)
end

local rooms = {[KEY] = portable}
for name, room in pairs(package.loaded) do
  if type(name) == "string" and name:find("^agenda%.portable%.") then
    rooms[name] = room
  end
end
registry[KEY] = rooms

return portable
