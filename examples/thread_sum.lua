-- Sums the first ten million numbers on threads, ten ranges at once, while the loop
-- goes on ticking. Each range is a Lua function that runs in a Lua state of its own.
local agenda = require "agenda"

local COUNT, RANGES = 10000000, 10

-- It goes to the threads, so it must not refer to any local from outside.
local function sum_of_range(first, last)
  local sum = 0
  for i = first, last do
    sum = sum + i
  end
  return sum
end

agenda.main(function()
  local ticks = 0
  local ticker = agenda.spawn(function()
    for n in agenda.interval(0.001) do
      ticks = n
    end
  end)

  local loop, sums = agenda.get_running_loop(), {}
  local size = COUNT // RANGES
  for i = 1, RANGES do
    sums[i] = loop:run_in_executor(sum_of_range, (i - 1) * size + 1, i * size)
  end
  local total = 0
  for _, sum in ipairs(agenda.gather(sums):await()) do
    total = total + sum
  end
  ticker:cancel()

  print(("the sum is %d"):format(total))
  print(ticks > 0 and "the loop went on ticking" or "the loop stood still")

  local ok, err = pcall(agenda.to_thread, sum_of_range, print)
  print(ok, err.message)
end)
