-- Callbacks and timers on a loop of one's own, turn by turn; one of them fails.
local agenda = require "agenda"

local loop = agenda.new_event_loop()
local _ <close> = setmetatable({}, {__close = function() loop:close() end})
local calls = 0
local function call(n) calls = calls + n end

loop:set_exception_handler(function(_, context) assert(context.message and context.exception) end)
loop:call_soon(call, 1)
local handle = loop:call_soon(call, 2)
handle:cancel()
assert(handle:cancelled() and tostring(handle))
local now = loop:time()
for i = 1, 5 do
  loop:call_at(now - i, call, i)
end
local timer = loop:call_later(1000, call, 1)
assert(timer:when() > now)
loop:call_soon(error, "a callback fails")
loop:run_once(0)
loop:run_once(0)
timer:cancel()
loop:call_exception_handler {message = "by hand", exception = "text"}
loop:call_later(0, function() loop:stop() end)
loop:call_later(0.01, function() loop:stop() end)
loop:run_forever()
