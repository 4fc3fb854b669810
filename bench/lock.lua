-- An uncontended lock held for a block, beside a protected call of an empty function.

local ROUNDS = 1e6

local measures = {}

function measures.agenda()
  local agenda = require "agenda"
  return agenda.run(function()
    local lock = agenda.lock()
    local start = os.clock()
    for _ = 1, ROUNDS do
      local _ <close> = lock:guard()
    end
    return {ns = (os.clock() - start) / ROUNDS * 1e9}
  end)
end

function measures.pcall()
  local pcall = pcall
  local function nothing() end
  local start = os.clock()
  for _ = 1, ROUNDS do
    pcall(nothing)
  end
  return {ns = (os.clock() - start) / ROUNDS * 1e9}
end

local function rows(m)
  return {{
    work = "an uncontended lock guard, 1e6 times",
    figure = ("%.0f ns"):format(m.agenda.ns),
    yardstick = ("`pcall` of an empty function: %.0f ns"):format(m.pcall.ns),
    ratio = m.agenda.ns / m.pcall.ns,
    at_most = 4,
  }}
end

return {order = {"agenda", "pcall"}, measures = measures, rows = rows}
