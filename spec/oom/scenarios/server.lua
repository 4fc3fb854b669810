-- A server and its clients: connected, served, refused, closed by either side, a failing handler.
-- What the other side makes of a failure is no failure of the scenario's.
local agenda = require "agenda"

local function handle(stream)
  local line = stream:readline()
  if line == "fail" then
    error "asked for"
  end
  stream:write(line or "", "\n")
end

local function only_memory(ok, err)
  if not ok and not agenda.errors.Error:is(err) then
    error(err, 0)
  end
end

local function talk(port, word)
  local stream <close> = agenda.open_connection("127.0.0.1", port)
  stream:write(word, "\n")
  agenda.move_on_after(0.02, stream.readline, stream)
end

agenda.run(function()
  agenda.get_running_loop():set_exception_handler(function() end)
  local server = agenda.start_server(handle, "127.0.0.1", 0)
  local _, port = server:address()
  only_memory(pcall(talk, port, "one"))
  only_memory(pcall(talk, port, "fail"))
  server:close()
  server:close_clients()
  agenda.move_on_after(0.02, server.wait_closed, server)
  only_memory(pcall(agenda.open_connection, "127.0.0.1", port))
  local path
  local _ <close> = setmetatable({}, {__close = function() if path then os.remove(path) end end})
  path = os.tmpname()
  os.remove(path)
  local unix = agenda.start_unix_server(handle, path)
  only_memory(pcall(agenda.open_unix_connection, path))
  unix:close()
end)
