-- Generators: send, throw, close, a loop that is left, one that is collected.
local agenda = require "agenda"
local errors = agenda.errors

local echo = agenda.generator("echo", function(first, ...)
  local got = agenda.yield(first, ...)
  local ok, err = pcall(agenda.yield, got)
  if ok or not errors.ValueError:is(err) then
    error(err, 0)
  end
  return "end", nil, 3
end)

local g = echo(1, nil, 3)
assert(select("#", g:next()) == 3)
assert(g:send("sent") == "sent")
local _, stop = pcall(g.throw, g, errors.ValueError)
if not errors.StopIteration:is(stop) then
  error(stop, 0)
end
assert(stop.values.n == 3 and stop.value == "end")

for v in echo(1) do
  if v == 1 then
    break
  end
end
local open = echo(2)
open:next()
open:close()
assert(open.gi_frame == nil and tostring(open))
local dropped = echo(3)
dropped:next()
assert(dropped.gi_frame.currentline > 0)
dropped = nil -- luacheck: ignore
collectgarbage()
