-- A chat over TLS: what one says all others hear. The certificate is made on the spot.
local agenda = require "agenda"

-- One for localhost that vouches for itself; clients have to be told to trust it.
local function make_certificate(folder)
  local cert, key = folder .. "/cert.pem", folder .. "/key.pem"
  assert(os.execute("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
    .. "-subj /CN=localhost -addext subjectAltName=DNS:localhost "
    .. ("-keyout %s -out %s 2>/dev/null"):format(key, cert)))
  return cert, key
end

local members = {} -- name to stream

local function tell(text, but)
  for name, stream in pairs(members) do
    if name ~= but then stream:write(text, "\n") end
  end
end

local function handler(stream)
  local name = stream:readline()
  tell(name .. " is here")
  members[name] = stream
  local _ <close> = agenda.defer(function()
    members[name] = nil
    tell(name .. " is gone")
  end)
  stream:write("welcome, ", name, "\n")
  for line in stream:lines() do tell(("%s: %s"):format(name, line), name) end
end

local function join(name, port, context)
  local stream = agenda.open_connection("localhost", port, {tls = context})
  stream:write(name, "\n")
  print(("%s (%s) hears: %s"):format(name, stream:tlsinfo().version, stream:readline()))
  return stream
end

agenda.main(function()
  local folder = io.popen("mktemp -d"):read()
  local _ <close> = agenda.defer(os.execute, "rm -r " .. folder)
  local cert, key = make_certificate(folder)
  local server <close> = agenda.start_server(handler, "localhost", 0,
    {tls = agenda.tls.context{cert = cert, key = key}})
  local _, port = server:address()
  local trusting = agenda.tls.context{ca = cert}
  local ann <close> = join("Ann", port, trusting)
  do
    local bob <close> = join("Bob", port, trusting)
    print("Ann hears:", ann:readline())
    bob:write("hello\n")
    print("Ann hears:", ann:readline())
  end
  print("Ann hears:", ann:readline())
  local _, err = agenda.pcall(join, "Eve", port, true) -- trusts whom the system trusts
  print("Eve does not join:", err.reason)
end)
