-- A client that sends lines and prints what comes back, both at once.
--
--     lua5.4 examples/echo_client.lua localhost 7000 "a line" "another"
--     lua5.4 examples/echo_client.lua     with a server of its own, a child process
local agenda = require "agenda"

local SOME_LINES = {"What is sent", "comes back", "while the rest", "is on its way."}

local function receive(stream)
  local n = 0
  for line in stream:lines() do -- until the server has sent all and closes
    print("< " .. line)
    n = n + 1
  end
  return n
end

local function talk(host, port, lines)
  local stream <close> = agenda.open_connection(host, port, {timeout = 5})
  local received = agenda.spawn(receive, stream)
  for _, line in ipairs(lines) do
    stream:write(line, "\n") -- waits while the server does not read
  end
  stream:write_eof() -- half-closed: the answers still come
  print(("%d lines came back"):format(agenda.await(received)))
end

-- The server writes where it listens; SIGTERM lets it end its connections.
local function with_server_of_its_own(lines)
  local server <close> = agenda.subprocess {
    arg[-1], "examples/echo_server.lua", "0", stdout = "pipe",
  }
  talk("localhost", server.stdout:readline():match ":(%d+)$", lines)
  server:terminate()
  for line in server.stdout:lines() do print("the server: " .. line) end
  return server:wait()
end

agenda.main(function(host, port, ...)
  if host then
    talk(host, port, {...})
  else
    print("the server has ended with " .. with_server_of_its_own(SOME_LINES))
  end
end, ...)
