-- A child with several options that two tasks wait for, and one that its block kills.
local agenda = require "agenda"

agenda.run(function()
  local p = agenda.subprocess{"true", stdin = "null", env = {A = "b"}, cwd = "/"}
  local other = agenda.spawn(p.wait, p)
  assert(p:wait() == 0)
  assert(agenda.await(other) == 0)
  do local _ <close> = agenda.subprocess{"/bin/sleep", "0.3"} end
end)
