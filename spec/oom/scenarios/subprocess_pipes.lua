-- Pipes to a child and from it, all at once. A wake-up that is lost for want of memory may end as a
-- deadlock.
local agenda = require "agenda"

local ok, err = pcall(agenda.run, function()
  local p <close> = agenda.subprocess{"/bin/sh", "-c", "cat; echo err >&2", stdin = "pipe",
    stdout = "pipe", stderr = "pipe"}
  local out, errput = p:communicate("input")
  assert(out == "input" and errput == "err\n")
end)
if not ok and not tostring(err):find("^RuntimeError: deadlock") then
  error(err, 0)
end
