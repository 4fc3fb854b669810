-- Loops over async generators in a task: waits, several values, left early, an error.
local agenda = require "agenda"
local errors = agenda.errors

local count = agenda.asyncgen("count", function(to)
  local _ <close> = setmetatable({}, {__close = function() agenda.sleep(0) end})
  for i = 1, to do
    agenda.sleep(0)
    agenda.yield(i, nil, "third")
  end
end)
local broken = agenda.asyncgen(function()
  agenda.yield(1)
  error(errors.ValueError("broken"), 0)
end)

agenda.run(function()
  local sum = 0
  for i, _, third in count(3) do
    assert(third == "third")
    sum = sum + i
  end
  assert(sum == 6)
  for i in agenda.aiter((count(3))) do
    if i == 2 then
      break
    end
  end
  agenda.each(count(2), function() return false end)
  local ok, err = pcall(agenda.each, broken(), function() end)
  if ok or not errors.ValueError:is(err) then
    error(err, 0)
  end
end)
