-- A loop over an async generator that never waits, beside the same loop over coroutine.wrap.

local VALUES = 2e6

local function timed(f)
  local start = os.clock()
  f()
  return {ns = (os.clock() - start) / VALUES * 1e9}
end

local measures = {}

function measures.agenda()
  local agenda = require "agenda"
  local yield = agenda.yield
  local count = agenda.asyncgen("count", function()
    for i = 1, VALUES do
      yield(i)
    end
  end)
  return agenda.run(function()
    return timed(function()
      local sum = 0
      for v in agenda.aiter((count())) do
        sum = sum + v
      end
      assert(sum == VALUES * (VALUES + 1) / 2)
    end)
  end)
end

function measures.wrap()
  local yield = coroutine.yield
  return timed(function()
    local sum = 0
    local count = coroutine.wrap(function()
      for i = 1, VALUES do
        yield(i)
      end
    end)
    for v in count do
      sum = sum + v
    end
    assert(sum == VALUES * (VALUES + 1) / 2)
  end)
end

local function rows(m)
  return {{
    work = "iterate 2e6 values with `aiter`",
    figure = ("%.0f ns a value"):format(m.agenda.ns),
    yardstick = ("`coroutine.wrap`: %.0f ns"):format(m.wrap.ns),
    ratio = m.agenda.ns / m.wrap.ns,
    at_most = 1.1,
    aim = 0.95,
  }}
end

return {order = {"agenda", "wrap"}, measures = measures, rows = rows, runs = 15}
