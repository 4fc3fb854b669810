-- Servers on agenda, a task per connection:
--
--   echo_agenda.lua read          sends back what came
--   echo_agenda.lua readuntil     likewise, by lines
--   echo_agenda.lua send BYTES    sends so many in writes of 64 KiB, then closes
--   echo_agenda.lua receive       reads to the end of input, then closes

local agenda = require "agenda"

local mode, bytes = ...
local handlers = {}

function handlers.read(stream)
  for data in function() return stream:read() end do
    stream:write(data)
  end
end

function handlers.readuntil(stream)
  while true do
    stream:write(stream:readuntil("\n"))
  end
end

function handlers.send(stream)
  local block = ("x"):rep(64 * 1024)
  for _ = 1, math.ceil(tonumber(bytes) / #block) do
    stream:write(block)
  end
end

function handlers.receive(stream)
  while stream:read() do end
end

agenda.run(function()
  local server <close> =
    agenda.start_server(assert(handlers[mode]), "127.0.0.1", 0, {backlog = 1024})
  local _, port = server:address()
  print(port)
  io.stdout:flush()
  server:serve_forever()
end)
