-- Two tickers side by side: async generators that wait between their values.
local agenda = require "agenda"

local ticker = agenda.asyncgen("ticker", function(name, delay, to)
  local _ <close> = setmetatable({}, {__close = function() print(name .. " is closed") end})
  for i = 1, to do
    agenda.sleep(delay)
    agenda.yield(i)
  end
end)

agenda.main(function()
  local fast = agenda.spawn(function()
    for i in ticker("fast", 0.04, 5) do print("fast", i) end
  end)
  local slow = agenda.spawn(function()
    -- Left early: the ticker is closed before the next line runs.
    for i in ticker("slow", 0.09, 1000) do
      print("slow", i)
      if i == 2 then break end
    end
    print("slow has been left")
  end)
  agenda.await(agenda.gather(fast, slow))
end)
