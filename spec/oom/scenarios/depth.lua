-- Async generators nested deeper than the C stack would be used; generators too.
local agenda = require "agenda"

local DEPTH = 40

local levels
levels = agenda.asyncgen(function(depth)
  if depth == 0 then
    agenda.sleep(0)
    agenda.yield("bottom", 1)
    return
  end
  for what, n in levels(depth - 1) do
    agenda.yield(what, n + 1)
  end
end)
local tree
tree = agenda.generator(function(depth)
  agenda.yield(depth)
  if depth > 0 then
    agenda.yield_from(tree(depth - 1))
  end
end)

agenda.run(function()
  for what, n in levels(DEPTH) do
    assert(what == "bottom" and n == DEPTH + 1)
  end
  local left = levels(DEPTH)
  left()
  local count = 0
  for _ in tree(DEPTH) do
    count = count + 1
  end
  assert(count == DEPTH + 1)
end)
