-- `itertools.map` of a plain function, one at a time, beside the loop over the generator itself.

local VALUES = 1e6

local function source_of(agenda)
  return agenda.asyncgen(function()
    for i = 1, VALUES do
      agenda.yield(i)
    end
  end)
end

local function timed(agenda, generator)
  local sum, start = 0, os.clock()
  for value in agenda.aiter(generator) do
    sum = sum + value
  end
  assert(sum > 0)
  return {ns = (os.clock() - start) / VALUES * 1e9}
end

local measures = {}

function measures.map()
  local agenda = require "agenda"
  local itertools = require "agenda.itertools"
  return agenda.run(function()
    local source = source_of(agenda)
    return timed(agenda, itertools.map(function(value) return value + 1 end, source()))
  end)
end

function measures.plain()
  local agenda = require "agenda"
  return agenda.run(function()
    local source = source_of(agenda)
    return timed(agenda, source())
  end)
end

local function rows(m)
  return {{
    work = "`itertools.map` over 1e6 values, no concurrency",
    figure = ("%.0f ns a value"):format(m.map.ns),
    yardstick = ("plain `aiter` loop: %.0f ns"):format(m.plain.ns),
    ratio = m.map.ns / m.plain.ns,
    at_most = 2.2,
  }}
end

return {order = {"map", "plain"}, measures = measures, rows = rows}
