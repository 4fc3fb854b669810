-- The same countdown with callbacks and with coroutines, both on one loop at once.
local agenda = require "agenda"

local STEP = 0.05

-- With callbacks: the state goes through the arguments, the end through a future.
local function countdown_with_callbacks(loop, n)
  local finished = loop:create_future()
  local function tick(left)
    if left == 0 then
      finished:set_result("callbacks: lift-off")
    else
      print("callbacks", left)
      loop:call_later(STEP, tick, left - 1)
    end
  end
  loop:call_later(STEP / 2, tick, n)
  return finished
end

-- With a coroutine: a loop is a loop.
local function countdown(n)
  for left = n, 1, -1 do
    print("coroutine", left)
    agenda.sleep(STEP)
  end
  return "coroutine: lift-off"
end

agenda.main(function()
  local loop = agenda.get_running_loop()
  local results = agenda.await(agenda.gather(
    countdown_with_callbacks(loop, 3),
    function() return countdown(3) end
  ))
  print(results[1])
  print(results[2])
end)
