-- A small HTTP/1.1 server: the body of each answer comes, chunk by chunk, from an async generator.
--
--     lua5.4 examples/http_stream.lua 8080     serves until Ctrl-C or SIGTERM; try it with
--                                              curl -N http://localhost:8080/ticks/10
--     lua5.4 examples/http_stream.lua          curl fetches from it; SIGTERM comes meanwhile
local agenda = require "agenda"

local ticks = agenda.asyncgen("ticks", function(n)
  for i = 1, n do
    agenda.sleep(0.05)
    agenda.yield(("tick %d of %d\n"):format(i, n))
  end
end)

local function respond(stream, status, body)
  stream:write("HTTP/1.1 ", status, "\r\nContent-Type: text/plain\r\nConnection: close\r\n",
    "Transfer-Encoding: chunked\r\n\r\n")
  for piece in agenda.aiter(body) do -- if the client goes away the generator is closed
    stream:write(("%x\r\n"):format(#piece), piece, "\r\n")
  end
  stream:write("0\r\n\r\n")
end

local function handle(stream)
  local head = agenda.with_timeout(10, stream.readuntil, stream, "\r\n\r\n")
  local count = head:match "^GET /ticks/(%d+) HTTP/1%.[01]\r\n"
  if not count then return respond(stream, "404 Not Found", ("no such page\n"):gmatch ".+") end
  respond(stream, "200 OK", (ticks(math.tointeger(count))))
end

-- The end: nothing new is accepted, answers under way are finished, for five seconds at most.
local function serve_until_signal(server)
  local signals <close> = agenda.signals("SIGINT", "SIGTERM")
  print(("%s: %d answers are under way"):format(signals(), server:connections()))
  server:close()
  agenda.move_on_after(5, server.wait_closed, server)
  server:abort_clients()
end

local function fetch(url)
  local curl <close> = agenda.subprocess {"curl", "-sN", url, stdout = "pipe"}
  for line in curl.stdout:lines() do
    print("curl: " .. line)
    if line:find "^tick 1 " then os.execute("kill -TERM $PPID") end
  end
end

agenda.main(function(port)
  io.stdout:setvbuf "line"
  local server <close> = agenda.start_server(handle, "localhost", port or 0)
  local serving = agenda.spawn(serve_until_signal, server)
  local url = "http://localhost:" .. select(2, server:address())
  print(url)
  if not port then
    fetch(url .. "/nothing")
    fetch(url .. "/ticks/3")
  end
  agenda.await(serving)
end, arg[1])
