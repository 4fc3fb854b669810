-- Connections that are open, each with a task that waits in a read: resident memory of the server.

local servers = require "servers"

local CONNECTIONS = 2000

local measures = {}

function measures.agenda()
  local resident = servers.load("idle " .. CONNECTIONS, servers.agenda .. " readuntil").resident
  return {bytes = resident}
end

function measures.c()
  return {bytes = servers.load("idle " .. CONNECTIONS, servers.c .. " readuntil").resident}
end

local function rows(m)
  return {{
    work = ("%d idle connections: resident memory"):format(CONNECTIONS),
    figure = ("%.0f bytes a connection"):format(m.agenda.bytes),
    yardstick = ("C on libev: %.0f"):format(m.c.bytes),
    ratio = m.agenda.bytes / m.c.bytes,
    value = m.agenda.bytes,
    at_most = 5 * 1024,
    unit = " bytes",
  }}
end

return {order = {"agenda", "c"}, measures = measures, rows = rows}
