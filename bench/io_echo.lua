-- Echo servers with a task per connection, beside the same in C on bare libev and beside what
-- other people have: CPU time of the server a request. The load is a closed loop from another
-- core.

local servers = require "servers"

local REQUESTS, SIZE = 50000, 64
local RUNS, PEER_RUNS = 15, 3 -- the kernel's part is most of it, and varies
local CONNECTIONS = {50, 500}
local MODES = {"read", "readuntil"}

local measures, order = {}, {}

local function add(name, connections, command)
  measures[name] = function()
    local load = ("echo %d %d %d"):format(connections, REQUESTS, SIZE)
    return {us = servers.load(load, command).cpu / REQUESTS * 1e6}
  end
  return name
end

for _, connections in ipairs(CONNECTIONS) do
  for _, mode in ipairs(MODES) do
    for _, who in ipairs {"agenda", "c"} do
      local name = ("%s_%s_%d"):format(who, mode, connections)
      order[#order + 1] = add(name, connections, servers[who] .. " " .. mode)
    end
  end
  for _, peer in ipairs(servers.peers) do
    add(("%s_%d"):format(peer.name, connections), connections, peer.command .. " read")
  end
end

local function order_of(run)
  local full = {table.unpack(order)}
  if run > PEER_RUNS then return full end
  for _, peer in ipairs(servers.peers) do
    if servers.is_there(peer) then
      for _, connections in ipairs(CONNECTIONS) do
        full[#full + 1] = ("%s_%d"):format(peer.name, connections)
      end
    end
  end
  return full
end

local function rows(m)
  local found = {}
  for _, connections in ipairs(CONNECTIONS) do
    for _, mode in ipairs(MODES) do
      local agenda = m[("agenda_%s_%d"):format(mode, connections)]
      local c = m[("c_%s_%d"):format(mode, connections)]
      found[#found + 1] = {
        work = ("echo by `%s`, %d connections"):format(mode, connections),
        figure = ("%.2f us CPU a request"):format(agenda.us),
        yardstick = ("C on libev: %.2f us"):format(c.us),
        ratio = agenda.us / c.us,
        at_most = 1.2,
        aim = 1.1,
      }
    end
    local agenda = m[("agenda_read_%d"):format(connections)]
    for _, peer in ipairs(servers.peers) do
      local other = m[("%s_%d"):format(peer.name, connections)]
      if other then
        found[#found + 1] = {
          work = ("the same by `read`, %d connections"):format(connections),
          figure = ("%.2f us CPU a request"):format(agenda.us),
          yardstick = ("%s: %.2f us"):format(peer.name, other.us),
          ratio = other.us / agenda.us,
          at_least = 1,
        }
      end
    end
  end
  return found, servers.missing(function(peer)
    return m[("%s_%d"):format(peer.name, CONNECTIONS[1])]
  end)
end

return {order = order_of, measures = measures, rows = rows, runs = RUNS}
