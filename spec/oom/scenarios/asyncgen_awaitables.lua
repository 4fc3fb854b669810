-- anext, asend, athrow and aclose: awaited and driven by hand.
local agenda = require "agenda"
local errors = agenda.errors
local await = agenda.await

local function caught(class, f, ...)
  local ok, err = pcall(f, ...)
  if ok or not class:is(err) then
    error(err, 0)
  end
  return err
end

local echo = agenda.asyncgen(function(...)
  local got = agenda.yield(...)
  while true do
    local ok, err = pcall(agenda.yield, got, agenda.suspend(got))
    if not ok then
      if not errors.ValueError:is(err) then
        error(err, 0)
      end
      got = "handled"
    else
      got = err
    end
  end
end)

agenda.run(function()
  local g = echo(1, 2)
  assert(select("#", await(g:anext())) == 2)
  await(g:aclose())
  caught(errors.StopAsyncIteration, await, g:anext())
end)

local g = echo(1)
caught(errors.StopIteration, function() g:anext():send() end)
local call = g:asend("a", "b")
assert(call:send() == "a" and tostring(call) and g.ag_running)
local stop = caught(errors.StopIteration, call.send, call, "in")
assert(stop.values.n == 2 and stop.values[2] == "in")
call = g:athrow(errors.ValueError("thrown"))
assert(call:send() == "handled")
caught(errors.StopIteration, call.send, call)
call = g:aclose()
caught(errors.StopIteration, call.send, call)
assert(not g.ag_running and g.ag_frame == nil)
