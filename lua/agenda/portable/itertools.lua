--- Pipelines: what agenda.itertools has, for Lua without <close> and on the tasks of the host.
-- @module agenda.portable.itertools

local itertools = {}

for _, room in ipairs {"sequential", "concurrent", "timed", "tee", "sinks"} do
  for name, value in pairs((require("agenda.portable.itertools." .. room))) do
    itertools[name] = value
  end
end

return itertools
