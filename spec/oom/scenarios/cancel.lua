-- Cancellation: of a sleep, of a wait on a generator, swallowed, before the first run.
local agenda = require "agenda"
local errors = agenda.errors

local ticker = agenda.asyncgen(function()
  local _ <close> = setmetatable({}, {__close = function() agenda.sleep(0) end})
  while true do
    agenda.sleep(1000)
    agenda.yield(1)
  end
end)

local function cancelled(task)
  task:cancel("enough")
  local ok, err = pcall(agenda.await, task)
  if ok or not errors.CancelledError:is(err) then
    error(err, 0)
  end
end

agenda.run(function()
  local sleeper = agenda.spawn(agenda.sleep, 1000)
  local looper = agenda.spawn(function() for _ in ticker() do end end) -- luacheck: ignore
  local stubborn = agenda.spawn(function()
    local ok, err = pcall(agenda.sleep, 1000)
    if ok or not errors.CancelledError:is(err) then
      error(err, 0)
    end
    agenda.current_task():uncancel()
    agenda.sleep(0)
    return "done"
  end)
  agenda.sleep(0)
  cancelled(sleeper)
  cancelled(looper)
  stubborn:cancel()
  assert(agenda.await(stubborn) == "done")
  cancelled(agenda.spawn(agenda.sleep, 1000))
end)
