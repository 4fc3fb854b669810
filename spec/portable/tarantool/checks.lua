-- agenda.portable over the fibers of Tarantool. Run by script/test_tarantool; prints what failed and
-- at the end how many passed.
local fiber = require "fiber"
local socket = require "socket"

local agenda = require "agenda.portable"

local errors, yield, await = agenda.errors, agenda.yield, agenda.await
local unpack = unpack

local passed, failed = 0, 0

local function show(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  return table.concat(parts, " ")
end

-- check(what, wanted, f): f's results, shown in one line.
local function check(what, wanted, f)
  local got = show(select(2, pcall(f)))
  if got == wanted then
    passed = passed + 1
  else
    failed = failed + 1
    print(("FAILED: %s\n  wanted: %s\n  got:    %s"):format(what, wanted, got))
  end
end

local function collect(g)
  local list = {}
  agenda.each(g, function(...) list[#list + 1] = show(...) end)
  return unpack(list)
end

-- Runs functions as fibers and waits for all of them.
local function together(...)
  local fibers = {}
  for i, f in ipairs {...} do
    fibers[i] = fiber.new(f)
    fibers[i]:set_joinable(true)
  end
  for _, each in ipairs(fibers) do each:join() end
end

local ticks = agenda.asyncgen("ticks", function(n, delay)
  for i = 1, n do
    fiber.sleep(delay or 0.002)
    yield(i)
  end
end)

local notes = {}
local noting = agenda.asyncgen("noting", function(name)
  local ok, err = pcall(function()
    local i = 0
    while true do
      i = i + 1
      yield(i)
    end
  end)
  fiber.sleep(0.002)
  notes[#notes + 1] = name .. ": " .. show(ok, err)
end)

check("an async generator that sleeps", "1 2 3", function() return collect(ticks(3)) end)

check("one that reads a socket", "one two three", function()
  local server = socket.tcp_server("127.0.0.1", 0, function(peer)
    for _, word in ipairs {"one", "two", "three"} do
      fiber.sleep(0.002)
      peer:write(word .. "\n")
    end
  end)
  local port = server:name().port
  local lines = agenda.asyncgen("lines", function()
    local peer = socket.tcp_connect("127.0.0.1", port)
    while true do
      local line = peer:read("\n")
      if not line or line == "" then break end
      yield((line:gsub("\n", "")))
    end
    peer:close()
  end)
  local outer = agenda.asyncgen("outer", function() agenda.each(lines(), yield) end)
  local results = {collect(outer())}
  server:close()
  return unpack(results)
end)

local deep
deep = agenda.asyncgen("deep", function(n)
  agenda.each(n == 0 and ticks(3, 0) or (deep(n - 1)), yield)
end)
check("nested ones, 1,000 deep", "1 2 3", function() return collect(deep(1000)) end)

check("a recursive tree walk, 5,000 deep", "5001", function()
  local walk
  walk = agenda.asyncgen("walk", function(n)
    yield(n)
    if n > 0 then for v in walk(n - 1) do yield(v) end end
  end)
  local count = 0
  local g = walk(5000)
  -- The whole walk is quadratic; its way down is enough.
  for v in g do
    count = count + 1
    if v == 0 then break end
  end
  await(g:aclose())
  return count
end)

check("asend, athrow, aclose", "begun | sent a nil b | thrown ValueError: text | ", function()
  local echo = agenda.asyncgen("echo", function()
    local got = "begun"
    while true do
      fiber.sleep(0.001)
      local function give(ok, ...)
        if not ok and errors.GeneratorExit:is((...)) then error((...), 0) end
        return (ok and "sent " or "thrown ") .. show(...)
      end
      got = give(pcall(yield, got))
    end
  end)()
  local results = {
    await(echo:anext()), await(echo:asend("a", nil, "b")), await(echo:athrow(errors.ValueError("text"))),
    show(await(echo:aclose())),
  }
  return table.concat(results, " | ")
end)

check("fibers that iterate at the same time", "6 6 6", function()
  local sums = {0, 0, 0}
  local function add(i, delay)
    return function() agenda.each(ticks(3, delay), function(v) sums[i] = sums[i] + v end) end
  end
  together(add(1, 0.001), add(2, 0.002), add(3, 0.003))
  return unpack(sums)
end)

check("a hundred fibers, nested generators, none mixed up", "0", function()
  local bad, runs = 0, {}
  local through = agenda.asyncgen("through", function(n, x)
    for i = 1, n do
      fiber.sleep(math.random() / 1000)
      if yield(x, i) ~= nil then bad = bad + 1 end
    end
  end)
  for x = 1, 100 do
    runs[x] = function()
      local outer = agenda.asyncgen("outer", function() agenda.each(through(5, x), yield) end)
      local count = 0
      agenda.each(outer(), function(y, i)
        count = count + 1
        if y ~= x or i ~= count then bad = bad + 1 end
        fiber.sleep(math.random() / 1000)
      end)
      if count ~= 5 then bad = bad + 1 end
    end
  end
  together(unpack(runs))
  return bad
end)

check("another call while one is in flight", "RuntimeError: asynchronous generator is already running | 1",
  function()
    local g = ticks(1, 0.01)
    local first, second
    together(
      function() first = tostring((await(g:anext()))) end,
      function() second = tostring((select(2, pcall(g)))) end)
    return second .. " | " .. first
  end)

check("a loop that is left closes, and awaits the cleanup", "left: false GeneratorExit", function()
  agenda.each(noting("left"), function(i) return i < 2 end)
  return notes[#notes]
end)

check("a loop that fails closes", "loop failed: false GeneratorExit", function()
  local _, err = pcall(agenda.each, noting("failed"), function() error("loop", 0) end)
  return err, notes[#notes]
end)

check("one that is dropped is finalized by a fiber", "dropped: false GeneratorExit", function()
  do
    local g = noting("dropped")
    g()
  end
  for _ = 1, 4 do collectgarbage() end
  fiber.sleep(0.02)
  return notes[#notes]
end)

check("a fiber that is cancelled: its wait raises, the generator closes", "fiber is cancelled", function()
  local seen
  local body = agenda.asyncgen("waiting", function()
    local _, err = pcall(fiber.sleep, 10)
    seen = tostring(err)
    error(err, 0)
  end)
  local waiting = fiber.new(function() pcall(agenda.each, body(), yield) end)
  waiting:set_joinable(true)
  fiber.sleep(0.002)
  waiting:cancel()
  waiting:join()
  return seen
end)

check("an error has a trace through the generators", "ValueError: deep true", function()
  local inner = agenda.asyncgen("inner", function()
    fiber.sleep(0.001)
    error(errors.ValueError("deep"))
  end)
  local outer = agenda.asyncgen("outer", function() agenda.each(inner(), yield) end)
  local _, err = pcall(agenda.each, outer(), yield)
  return err, select(2, err.traceback:gsub("checks.lua", "")) >= 2
end)

check("stages with tasks and time", "1 4 9 16 | 1 1 2 | TimeoutError", function()
  local it = agenda.itertools
  local squares = it.collect(it.map(function(v)
    fiber.sleep(0.005)
    return v * v
  end, it.take(4, ticks(10, 0.001)), {concurrency = 4}))
  local merged = it.collect(it.merge(ticks(2, 0.02), it.buffer(2, ticks(1, 0.005))))
  local _, err = pcall(it.collect, it.timeout(0.01, ticks(1, 0.05)))
  return table.concat(squares, " ") .. " | " .. table.concat(merged, " ") .. " | " .. err.name
end)

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and 0 or 1)
