-- Waking a body that awaits, below a chain of D async generators: time per sleep(0), which must
-- not grow with the depth.

local WAKES = 1e6
local DEPTHS = {1, 10, 100, 1000}

local measures, order = {}, {}

for _, depth in ipairs(DEPTHS) do
  local name = "depth" .. depth
  order[#order + 1] = name
  measures[name] = function()
    local agenda = require "agenda"
    local sleep, yield = agenda.sleep, agenda.yield
    local link = agenda.asyncgen("link", function(source)
      for v in source do
        yield(v)
      end
    end)
    local source = agenda.asyncgen("source", function()
      sleep(0)
      yield(0)
      local start = os.clock()
      for _ = 1, WAKES do
        sleep(0)
      end
      yield((os.clock() - start) / WAKES * 1e9)
    end)()
    for _ = 2, depth do
      source = link(source)
    end
    return agenda.run(function()
      source() -- the levels are built up here
      return {ns = source()}
    end)
  end
end

local function rows(m)
  local found = {}
  for i = 2, #DEPTHS do
    found[#found + 1] = {
      work = ("wake a body at depth %d"):format(DEPTHS[i]),
      figure = ("%.0f ns"):format(m[order[i]].ns),
      yardstick = ("at depth 1: %.0f ns"):format(m.depth1.ns),
      ratio = m[order[i]].ns / m.depth1.ns,
      at_most = 1.3,
    }
  end
  return found
end

return {order = order, measures = measures, rows = rows}
