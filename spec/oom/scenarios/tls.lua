-- slack 4096
-- Contexts and filters: a handshake, data both ways, the end.
local tls = require "agenda.tls"

-- Made once for all runs; a minute's trust is enough.
local pem = (os.getenv "BUILD" or "build") .. "/oom/tls.pem"
local file = io.open(pem)
if file then
  file:close()
else
  assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost " ..
    "-keyout %s -out %s.cert 2>/dev/null && cat %s.cert >> %s"):format(pem, pem, pem, pem)))
end

local server = tls._filter(tls.context{cert = pem, alpn = {"h2", "chat"}}, true)
local client = tls._filter(tls.context{ca = pem, alpn = {"chat"}, min_version = "TLSv1.3"}, false, "localhost")
for _ = 1, 3 do
  client:handshake()
  server:feed(client:take())
  server:handshake()
  client:feed(server:take())
end
assert(client:info().alpn == "chat" and server:info().version == "TLSv1.3")
assert(client:write("hello") == 5)
client:write_end()
server:feed(client:take())
assert(server:read() == "hello")
local nothing, why = server:read()
assert(nothing == nil and why == "end")

for _, wrong in ipairs {{key = pem}, {min_version = "1"}, {ca = "/no/such.pem"}, {cert = "/dev/null"}} do
  local ok, err = pcall(tls.context, wrong)
  if ok or type(err) ~= "table" then error(err, 0) end
end
