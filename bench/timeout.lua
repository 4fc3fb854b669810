-- `timeout` scopes entered and left one after another, beside tasks spawned and awaited.

local ROUNDS = 1e5

local measures = {}

function measures.timeout()
  local agenda = require "agenda"
  return agenda.run(function()
    local start = os.clock()
    for _ = 1, ROUNDS do
      local _ <close> = agenda.timeout(10)
    end
    return {ns = (os.clock() - start) / ROUNDS * 1e9}
  end)
end

function measures.spawn()
  local agenda = require "agenda"
  local spawn, await = agenda.spawn, agenda.await
  local function noop() end
  return agenda.run(function()
    local start = os.clock()
    for _ = 1, ROUNDS do
      await(spawn(noop))
    end
    return {ns = (os.clock() - start) / ROUNDS * 1e9}
  end)
end

local function rows(m)
  return {{
    work = "1e5 `timeout` scopes, one after another",
    figure = ("%.0f ns"):format(m.timeout.ns),
    yardstick = ("spawn and await: %.0f ns"):format(m.spawn.ns),
    ratio = m.timeout.ns / m.spawn.ns,
    at_most = 2.5,
  }}
end

return {order = {"timeout", "spawn"}, measures = measures, rows = rows}
