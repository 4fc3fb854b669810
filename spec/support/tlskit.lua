--- Two TLS filters against each other, with no stream: what the specs of agenda.tls share.
local tls = require "agenda.tls"

local tlskit = {}

--- Moves what each has to send to the other, until there is nothing.
function tlskit.shuttle(a, b)
  repeat
    local to_b, to_a = a:take(), b:take()
    b:feed(to_b)
    a:feed(to_a)
  until to_b == "" and to_a == ""
end

--- A client's filter and a server's, and how their handshakes ended.
-- @tparam table server options of its context
-- @tparam table client options of its context
-- @tparam ?string name the server's name
function tlskit.connect(server, client, name)
  local s = tls._filter(tls.context(server), true)
  local c = tls._filter(tls.context(client), false, name)
  local at_server, at_client
  for _ = 1, 6 do
    at_client = c:handshake()
    s:feed(c:take())
    at_server = s:handshake()
    c:feed(s:take())
  end
  return c, s, at_client, at_server
end

--- All that can be read now, and what came after it: "want", "end" or "failed: why".
function tlskit.read_all(filter)
  local parts = {}
  while true do
    local data, why = filter:read()
    if not data then return table.concat(parts), why end
    parts[#parts + 1] = data
  end
end

return tlskit
