-- The portable edition under LuaJIT: a value through an async generator, beside a bare resume and
-- yield. Without `make bench`: luajit bench/portable.lua prints the ratios.

local VALUES = 2e6

local function timed(f)
  local start = os.clock()
  local sum = f()
  assert(sum == VALUES * (VALUES + 1) / 2)
  return {ns = (os.clock() - start) / VALUES * 1e9}
end

local function load_portable()
  package.path = "lua/?.lua;" .. package.path
  return require "agenda.portable"
end

local measures = {}

function measures.bare()
  local resume, yield = coroutine.resume, coroutine.yield
  return timed(function()
    local sum = 0
    local thread = coroutine.create(function()
      for i = 1, VALUES do
        yield(i)
      end
    end)
    for _ = 1, VALUES do
      local _, v = resume(thread)
      sum = sum + v
    end
    return sum
  end)
end

local function counting(maker)
  local portable = load_portable()
  local yield = portable.yield
  return portable[maker]("count", function()
    for i = 1, VALUES do
      yield(i)
    end
  end)
end

function measures.asyncgen()
  local count = counting "asyncgen"
  return timed(function()
    local sum = 0
    for v in count() do
      sum = sum + v
    end
    return sum
  end)
end

function measures.each()
  local portable, count = load_portable(), counting "asyncgen"
  return timed(function()
    local sum = 0
    portable.each(count(), function(v)
      sum = sum + v
    end)
    return sum
  end)
end

local function row(m, name, work, at_most)
  return {
    work = work, figure = ("%.0f ns a value"):format(m[name].ns),
    yardstick = ("bare resume and yield: %.0f ns"):format(m.bare.ns),
    ratio = m[name].ns / m.bare.ns, at_most = at_most,
  }
end

local function rows(m)
  return {
    row(m, "asyncgen", "portable, LuaJIT: a value by `for`", 2),
    row(m, "each", "portable, LuaJIT: a value by `each`, f called", 2.5),
  }
end

local benchmark = {
  measures = measures, order = {"bare", "asyncgen", "each"}, rows = rows, lua = "luajit",
}

if ... == "portable" or ... == "bench.portable" then
  return benchmark
end

-- The best of some runs, in turn.
local best = {}
for _ = 1, 7 do
  for _, name in ipairs(benchmark.order) do
    local ns = measures[name]().ns
    best[name] = best[name] and best[name].ns < ns and best[name] or {ns = ns}
  end
end
for _, line in ipairs(rows(best)) do
  print(("%s: %s, %s: %.2f x (at most %g x)")
    :format(line.work, line.figure, line.yardstick, line.ratio, line.at_most))
end
