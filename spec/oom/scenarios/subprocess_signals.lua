-- Children watched by SIGCHLD: one that a signal ends, one that the end of the run kills; and one
-- that cannot be started.
local agenda = require "agenda"
local core = require "agenda.core"
local errors = agenda.errors

core._child_by_signal = true
agenda.run(function()
  local p = agenda.subprocess{"/bin/sleep", "0.3"}
  p:terminate()
  local code, signal = p:wait()
  assert(code == nil and signal == "SIGTERM")
  local ok, err = pcall(agenda.subprocess, {"no-such-program"})
  if ok or not errors.OSError:is(err) then
    error(err, 0)
  end
  agenda.subprocess{"/bin/sleep", "0.3"}
end)
