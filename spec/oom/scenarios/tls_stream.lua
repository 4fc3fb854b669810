-- slack 100000
-- Two streams begin TLS with each other, talk, and end. Where Lua drops the finalizer of a context
-- for want of memory, what OpenSSL holds for it stays.
local agenda = require "agenda"
local core = require "agenda.core"
local tls = require "agenda.tls"

-- Made once for all runs.
local pem = (os.getenv "BUILD" or "build") .. "/oom/tls.pem"
local file = io.open(pem)
if file then
  file:close()
else
  assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost " ..
    "-keyout %s -out %s.cert 2>/dev/null && cat %s.cert >> %s"):format(pem, pem, pem, pem)))
end

local function pair()
  local listener <close> = core.socket("inet", "stream")
  listener:bind("127.0.0.1", 0)
  listener:listen(1)
  local socket <close> = core.socket("inet", "stream")
  local connected = socket:connect(listener:sockname())
  if connected then agenda.await(connected) end
  socket:connected()
  local client = core.stream(socket:release())
  return client, core.stream((assert(listener:accept())))
end

local function of_memory(err)
  return tostring(err):find("not enough memory", 1, true) ~= nil
end

agenda.run(function()
  local client <close>, server = pair()
  local _ <close> = server
  local serving = agenda.spawn(function()
    local _ <close> = server
    server:starttls(tls.context{cert = pem}, {server_side = true})
    server:write(server:readline(), "\n")
  end)
  -- The time is for a server that could not begin.
  local ok, err = pcall(agenda.with_timeout, 0.5, function()
    client:starttls(tls.context{ca = pem}, {server_name = "localhost"})
    assert(client:tlsinfo().version == "TLSv1.3")
    client:write("hello\n")
    assert(client:readline() == "hello")
    assert(client:read() == nil)
  end)
  client:abort()
  local served, why = pcall(agenda.await, serving)
  if not ok and not of_memory(err) and not served and of_memory(why) then error(why, 0) end
  if not ok then error(err, 0) end
  if not served then error(why, 0) end
end)
