-- A race: the first of several that succeeds wins, the others are cancelled, and their cleanup has
-- run before the race is over. Those that fail drop out; if all do, their errors come out together.
local agenda = require "agenda"
local errors = agenda.errors

local function race(entrants)
  local winner, failures = nil, {}
  agenda.with_taskgroup(function(tg)
    for _, entrant in ipairs(entrants) do
      tg:spawn(function()
        -- agenda.pcall lets the cancellation of a loser through.
        local result = table.pack(agenda.pcall(entrant))
        if not result[1] then
          failures[#failures + 1] = result[2]
        elseif not winner then
          winner = result
          tg:cancel()
        end
      end)
    end
  end)
  if not winner then error(errors.ExceptionGroup("nobody won", {errors = failures}), 0) end
  return table.unpack(winner, 2, winner.n)
end

-- A mirror that answers after some seconds, or fails if it has no answer.
local function mirror(name, seconds, answer)
  return function()
    print(name .. ": asked")
    local _ <close> = agenda.defer(function()
      agenda.sleep(0.01) -- saying goodbye takes a moment
      print(name .. ": connection closed")
    end)
    agenda.sleep(seconds)
    if not answer then error(name .. " is out of order", 0) end
    print(name .. ": answers")
    return name, answer
  end
end

agenda.main(function()
  local name, answer = race {
    mirror("oslo", 3600, "too late"),
    mirror("lima", 0.02),
    mirror("bern", 0.1, "42"),
  }
  print(("won by %s: %s"):format(name, answer))

  local ok, err = agenda.pcall(race, {mirror("riga", 0.02), mirror("rome", 0)})
  print(ok, err.message)
  for _, failure in ipairs(err.errors) do print("", failure) end
end)
