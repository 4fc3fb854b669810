-- An async generator under a scheduler of the host's own; an error thrown into its wait.
local agenda = require "agenda"
local errors = agenda.errors

local gen = agenda.asyncgen(function()
  local got = coroutine.yield("host", 1)
  agenda.yield(got)
  coroutine.yield("again")
end)

local co = coroutine.create(function()
  for v in gen() do
    assert(v == "back")
  end
end)
local function step(...)
  local outcome = table.pack(coroutine.resume(co, ...))
  if not outcome[1] then
    error(outcome[2], 0)
  end
  return table.unpack(outcome, 2, outcome.n)
end
assert(select("#", step()) == 2)
assert(step("back") == "again")
step()
assert(coroutine.status(co) == "dead")

local waiting = agenda.async(function() coroutine.yield(1) end)()
waiting:send()
local ok, err = pcall(waiting.throw, waiting, errors.ValueError("thrown"))
if ok or not errors.ValueError:is(err) then
  error(err, 0)
end
