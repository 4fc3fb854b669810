-- A generator that is talked to: `asend` gives the suspended yield its result, `athrow` raises an
-- error there.
local agenda = require "agenda"
local await = agenda.await

local Reset = agenda.errors.class("Reset")

-- Gives the mean of the numbers sent so far; a Reset thrown in begins anew.
local averager = agenda.asyncgen("averager", function()
  local total, count, mean = 0, 0, nil
  local function step()
    local number = agenda.yield(mean, count)
    agenda.sleep(0.01) -- it may wait between a question and the answer
    total, count = total + number, count + 1
    mean = total / count
  end
  while true do
    local ok, err = pcall(step)
    if not ok then
      if not Reset:is(err) then error(err, 0) end
      print("averager: " .. tostring(err))
      total, count, mean = 0, 0, nil
    end
  end
end)

agenda.main(function()
  local g <close> = averager()
  print("start", await(g:anext()))
  for _, number in ipairs {10, 20, 60} do
    print("sent " .. number, await(g:asend(number)))
  end
  print("reset", await(g:athrow(Reset("from the beginning"))))
  print("sent 7", await(g:asend(7)))

  -- What the body does not handle comes out at the caller and ends the generator.
  local ok, err = agenda.pcall(await, g:athrow(agenda.errors.ValueError("no number")))
  print(ok, err)
  ok, err = agenda.pcall(await, g:anext())
  print(ok, err)
end)
