-- Echo server on cqueues, a coroutine per connection: echo_cqueues.lua read|readuntil

local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local FORMATS = {read = -65536, readuntil = "*L"}
local format = assert(FORMATS[...])

local queue = cqueues.new()
local server = socket.listen {host = "127.0.0.1", port = 0, nodelay = true}
local _, _, port = server:localname()

queue:wrap(function()
  for connection in server:clients() do
    connection:setmode("b", "b")
    connection:setvbuf("full", 65536)
    queue:wrap(function()
      for data in function() return connection:read(format) end do
        connection:write(data)
        connection:flush()
      end
      connection:close()
    end)
  end
end)
print(port)
io.stdout:flush()
assert(queue:loop())
