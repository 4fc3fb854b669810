-- Hooks, and generators collected while suspended, with a loop and without one.
local agenda = require "agenda"

local closed = 0
local slow = agenda.asyncgen(function()
  local _ <close> = setmetatable({}, {__close = function()
    agenda.sleep(0)
    closed = closed + 1
  end})
  while true do
    agenda.yield(1)
  end
end)
local plain = agenda.asyncgen(function() agenda.yield(1) end)

local seen, dropped = 0, 0
agenda.set_asyncgen_hooks {
  firstiter = function() seen = seen + 1 end,
  finalizer = function(g)
    dropped = dropped + 1
    local call = g:aclose()
    pcall(call.send, call)
  end,
}
pcall(function() plain():anext():send() end)
collectgarbage()
agenda.set_asyncgen_hooks {firstiter = false, finalizer = false}
pcall(function() plain():anext():send() end)
collectgarbage()

agenda.run(function()
  do
    local g = slow()
    g()
    local holder = {}
    local held = slow()
    holder.g = held
    held()
  end
  collectgarbage()
  agenda.sleep(0)
  local left = slow()
  left()
end)
