-- A whole program: tasks, generators of tasks, what main leaves is wound up.
local agenda = require "agenda"

local numbers = agenda.asyncgen(function(to)
  for i = 1, to do
    agenda.sleep(0)
    agenda.yield(i)
  end
end)
local squares = agenda.asyncgen(function(x)
  for v in x do
    agenda.yield(v * v)
  end
end)

local result = agenda.run(function(to)
  local tasks = {}
  for i = 1, 3 do
    tasks[i] = agenda.spawn(function()
      local sum = 0
      for v in squares((numbers(to + i))) do
        sum = sum + v
      end
      return sum
    end)
  end
  agenda.spawn(agenda.sleep, 1000)
  local open = numbers(9)
  open()
  local sum = 0
  for i = 1, 3 do
    sum = sum + agenda.await(tasks[i])
  end
  return sum
end, 2)
assert(result == 14 + 30 + 55)
