--- Pairs of streams for specs.
local core = require "agenda.core"

local streamkit = {}

local function options(opts, more)
  local merged = {}
  for key, value in pairs(opts or {}) do merged[key] = value end
  for key, value in pairs(more) do merged[key] = value end
  return merged
end

--- Two streams on connected sockets, named "near" and "far".
-- @tparam[opt] table opts of core.stream, for both
function streamkit.sockets(opts)
  local near, far = core.socketpair()
  near = core.stream(near, options(opts, { name = "near" }))
  return near, core.stream(far, options(opts, { name = "far" }))
end

--- A stream that reads a pipe and one that writes it, named "reader" and "writer".
function streamkit.pipe(opts)
  local reading, writing = core.pipe()
  reading = core.stream(reading, options(opts, { name = "reader", writable = false }))
  return reading, core.stream(writing, options(opts, { name = "writer", readable = false }))
end

--- Calls f with two connected streams, in a run of its own; closes both.
-- @tparam[opt="sockets"] string kind "sockets" or "pipe"
function streamkit.with(f, opts, kind)
  local agenda = require "agenda"
  return agenda.run(function()
    local a, b = streamkit[kind or "sockets"](opts)
    local ok, err = pcall(f, a, b)
    a:abort()
    b:abort()
    if not ok then error(err, 0) end
  end)
end

return streamkit
