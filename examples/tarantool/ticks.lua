-- tarantool examples/tarantool/ticks.lua   (with lua/ on the LUA_PATH)
--
-- Async generators over fibers: one waits, others go on.
local fiber = require "fiber"
local agenda = require "agenda.portable"
local itertools = agenda.itertools

local ticks = agenda.asyncgen("ticks", function(name, n, seconds)
  local ok, err = pcall(function()
    for i = 1, n do
      fiber.sleep(seconds)
      agenda.yield(name, i)
    end
  end)
  print(name .. " is closed")
  if not ok then error(err, 0) end
end)

-- Two at once; the loop is left early, which closes both.
agenda.each(itertools.merge(ticks("slow", 10, 0.05), ticks("fast", 10, 0.02)), function(name, i)
  print(name, i)
  return not (name == "slow" and i == 2)
end)

-- One that is dropped in the middle is finished by a fiber.
do
  local dropped = ticks("dropped", 3, 0.01)
  print(dropped())
end
collectgarbage()
collectgarbage()
fiber.sleep(0.05)
os.exit(0)
