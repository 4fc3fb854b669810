-- A lot of data through one connection over loopback, to and from another core, beside the same
-- server in C on bare libev: time.

local servers = require "servers"

local BYTES = servers.bytes

local measures, order = {}, {}

local DIRECTIONS = {
  {load = "take", mode = "send", work = "%s through a stream in writes of 64 KiB"},
  {load = "give", mode = "receive", work = "%s through a stream by `read`"},
}

for _, direction in ipairs(DIRECTIONS) do
  for _, who in ipairs {"agenda", "c"} do
    local name = ("%s_%s"):format(who, direction.mode)
    order[#order + 1] = name
    measures[name] = function()
      local load = ("%s %.0f"):format(direction.load, BYTES)
      local command = ("%s %s %.0f"):format(servers[who], direction.mode, BYTES)
      return {seconds = servers.load(load, command).seconds}
    end
  end
end

local function rows(m)
  local found = {}
  for i, direction in ipairs(DIRECTIONS) do
    local agenda, c = m["agenda_" .. direction.mode], m["c_" .. direction.mode]
    found[i] = {
      work = direction.work:format(servers.amount(BYTES)),
      figure = ("%.0f MB/s"):format(BYTES / agenda.seconds / 1e6),
      yardstick = ("C on libev: %.0f MB/s"):format(BYTES / c.seconds / 1e6),
      ratio = c.seconds / agenda.seconds,
      at_least = 0.9,
    }
  end
  return found
end

return {order = order, measures = measures, rows = rows, runs = 21}
