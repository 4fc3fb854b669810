-- Starting a program and waiting for its end, one after the other: time of each, beside
-- posix_spawn and waitpid in C.

local COUNT = 1000

local measures = {}

function measures.agenda()
  local agenda = require "agenda"
  return agenda.run(function()
    local loop = agenda.get_running_loop()
    local start = loop:time()
    for _ = 1, COUNT do
      assert(agenda.subprocess{"true"}:wait() == 0)
    end
    return {us = (loop:time() - start) / COUNT * 1e6}
  end)
end

function measures.c()
  local pipe <close> = assert(io.popen("build/bench/spawn_wait " .. COUNT))
  return {us = pipe:read("n")}
end

local function rows(m)
  return {
    {
      work = '1,000 `subprocess{"true"}`',
      figure = ("%.0f us"):format(m.agenda.us),
      yardstick = ("posix_spawn and waitpid in C: %.0f us"):format(m.c.us),
      ratio = m.agenda.us / m.c.us,
      at_most = 1.5,
    },
  }
end

return {order = {"agenda", "c"}, measures = measures, rows = rows}
