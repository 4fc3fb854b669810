-- Coroutine objects by hand: suspended, awaited, closed, collected, never awaited.
local agenda = require "agenda"
local errors = agenda.errors

local leaf = agenda.async("leaf", function(...)
  return agenda.suspend("out", nil), ...
end)
local branch = agenda.async(function()
  local _ <close> = agenda.generator(function() agenda.yield() end)()
  return agenda.await(leaf(1, 2))
end)

local co = branch()
assert(co:send() == "out")
assert(co.cr_await and co.cr_frame.currentline)
local _, stop = pcall(co.send, co, "in")
if not errors.StopIteration:is(stop) then
  error(stop, 0)
end
assert(stop.values.n == 3 and stop.value == "in")

co = branch()
co:send()
local _, err = pcall(co.throw, co, errors.ValueError("thrown"))
if not errors.ValueError:is(err) then
  error(err, 0)
end

co = branch()
co:send()
co:close()
co = branch()
co:send()
co = leaf() -- luacheck: ignore
co = nil -- luacheck: ignore
collectgarbage()
