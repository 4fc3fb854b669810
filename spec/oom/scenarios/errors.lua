-- Error objects: made, raised through bodies, traced, read.
local agenda = require "agenda"
local errors = agenda.errors

local Refused = errors.class("Refused", errors.ValueError)
local err = Refused("no", {code = 7})
assert(Refused:is(err) and errors.ValueError:is(err) and tostring(err) == "Refused: no")

local co = agenda.async(function()
  error(errors.RuntimeError("inside", {cause = err}), 0)
end)()
local ok, raised = pcall(co.send, co)
if not errors.RuntimeError:is(raised) then
  error(raised, 0)
end
assert(not ok and raised.cause == err)
assert(type(raised.traceback) == "string")
assert(type(agenda.traceback(raised)) == "string")
errors.ExceptionGroup("several", {errors = {err, raised}})
agenda.pcall(error, "text")
