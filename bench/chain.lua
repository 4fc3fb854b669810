-- A chain of D async generators, the innermost of which waits before each value: time per value
-- and level. The yardstick is a chain of 50 coroutine.wrap in which the wait travels outward
-- through every level like the value does: two hops for each value and level.

local HOPS = 2e6 -- values times levels, for each depth
local DEPTHS = {10, 50, 1000, 10000}

local function chain(agenda, depth, values)
  local yield, sleep = agenda.yield, agenda.sleep
  local link = agenda.asyncgen("link", function(source)
    for v in source do
      yield(v)
    end
  end)
  local source = agenda.asyncgen("source", function()
    for i = 0, values do
      sleep(0)
      yield(i)
    end
  end)()
  for _ = 2, depth do
    source = link(source)
  end
  return source
end

local measures, order = {}, {"wrap"}

for _, depth in ipairs(DEPTHS) do
  local name = "depth" .. depth
  order[#order + 1] = name
  measures[name] = function()
    local agenda = require "agenda"
    return agenda.run(function()
      local values = HOPS // depth
      local source = chain(agenda, depth, values)
      source() -- the levels are built up here
      local start = os.clock()
      for _ = 1, values do
        source()
      end
      return {ns = (os.clock() - start) / (values * depth) * 1e9}
    end)
  end
end

function measures.wrap()
  local depth = 50
  local values = HOPS // depth
  local wrap, yield = coroutine.wrap, coroutine.yield
  local WAIT = {}
  local function link(source)
    return wrap(function()
      for v in source do
        yield(v)
      end
    end)
  end
  local source = wrap(function()
    for i = 0, values do
      yield(WAIT)
      yield(i)
    end
  end)
  for _ = 2, depth do
    source = link(source)
  end
  local function next_value()
    local v
    repeat
      v = source()
    until v ~= WAIT
    return v
  end
  next_value()
  local start = os.clock()
  for _ = 1, values do
    next_value()
  end
  return {ns = (os.clock() - start) / (values * depth) * 1e9}
end

local function row(m, depth, against, name, at_most)
  local ns = m["depth" .. depth].ns
  return {
    work = ("chain of %d, waits before each value"):format(depth),
    figure = ("%.0f ns a value and level"):format(ns),
    yardstick = ("%s: %.0f ns"):format(name, against.ns),
    ratio = ns / against.ns,
    at_most = at_most,
  }
end

local function rows(m)
  local wrap = "two hops of `coroutine.wrap`"
  return {
    row(m, 10, m.wrap, wrap, 1.6),
    row(m, 50, m.wrap, wrap, 1.6),
    row(m, 1000, m.wrap, wrap, 1.6),
    row(m, 1000, m.depth10, "chain of 10", 1.3),
    row(m, 10000, m.depth10, "chain of 10", 3),
  }
end

return {order = order, measures = measures, rows = rows}
