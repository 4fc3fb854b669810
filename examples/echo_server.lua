-- An echo server: one task for each connection, and a graceful end.
--
--     lua5.4 examples/echo_server.lua 7000     serves until Ctrl-C or SIGTERM
--     lua5.4 examples/echo_server.lua          tries itself: three clients at once, then SIGTERM
local agenda = require "agenda"

local function echo(stream)
  for line in stream:lines() do
    stream:write(line, "\n")
  end
end

-- No new connections after the signal; those that are open have so many seconds to end.
local function shut_down_at(server, seconds, ...)
  local signals <close> = agenda.signals(...)
  print(("%s: %d connections are open"):format(signals(), server:connections()))
  server:close()
  agenda.move_on_after(seconds, server.wait_closed, server)
  server:close_clients()
end

local function client(name, port)
  local stream <close> = agenda.open_connection("127.0.0.1", port)
  for word in ("hello from " .. name):gmatch("%S+") do
    stream:write(word, "\n")
    assert(stream:readline() == word)
    agenda.sleep(0.01)
  end
  print(name .. " has heard the echo of all it said")
end

local function try_it(server)
  local _, port = server:address()
  agenda.with_taskgroup(function(tg)
    for _, name in ipairs {"Ada", "Brian", "Grace"} do tg:spawn(client, name, port) end
  end)
  os.execute("kill -TERM $PPID") -- the shell's parent is this process
end

agenda.main(function(port)
  local server <close> = agenda.start_server(echo, "127.0.0.1", port or 0)
  io.stdout:setvbuf "line"
  print("listening on " .. table.concat({server:address()}, ":"))
  agenda.with_taskgroup(function(tg)
    tg:spawn(shut_down_at, server, 2, "SIGTERM", "SIGINT")
    if not port then tg:spawn(try_it, server) end
    server:serve_forever()
  end)
  print "closed"
end, arg[1])
