--- Pipelines of async generators: stages that make one of another, and sinks that run them.
--
-- A stage takes whatever `agenda.aiter` takes as one value: an async generator, a generator, an
-- object with `__aiter`, an iterator function. Nothing starts until it is iterated. Each closes its
-- sources when it ends, is left, closed or cancelled, fails or is collected.
-- @module agenda.itertools

-- A Lua without <close> has the portable edition.
if not coroutine.close then
  return require("agenda.portable").itertools
end

local itertools = {}

for _, room in ipairs {"sequential", "concurrent", "timed", "tee", "sinks"} do
  for name, value in pairs(require("agenda.itertools." .. room)) do
    itertools[name] = value
  end
end

return itertools
