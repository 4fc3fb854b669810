-- A loop over an async generator, beside the same written as a class whose `__anext` is a
-- coroutine function. PEP 525 claims a factor of 2.3 for Python.

local VALUES = 2e6

local function timed(source)
  local agenda = require "agenda"
  return agenda.run(function()
    local start = os.clock()
    local sum = 0
    for v in agenda.aiter(source(agenda)) do
      sum = sum + v
    end
    assert(sum == VALUES * (VALUES + 1) / 2)
    return {ns = (os.clock() - start) / VALUES * 1e9}
  end)
end

local measures = {}

function measures.generator()
  return timed(function(agenda)
    local yield = agenda.yield
    return (agenda.asyncgen("count", function()
      for i = 1, VALUES do
        yield(i)
      end
    end)())
  end)
end

function measures.class()
  return timed(function(agenda)
    local Counter = {__aiter = function(self) return self end}
    Counter.__anext = agenda.async("anext", function(self)
      if self.at == VALUES then
        error(agenda.errors.StopAsyncIteration(), 0)
      end
      self.at = self.at + 1
      return self.at
    end)
    return setmetatable({at = 0}, Counter)
  end)
end

local function rows(m)
  return {{
    work = "the same against a class with `__anext`",
    figure = ("%.0f ns a value"):format(m.generator.ns),
    yardstick = ("class: %.0f ns"):format(m.class.ns),
    ratio = m.class.ns / m.generator.ns,
    at_least = 2.3,
  }}
end

return {order = {"generator", "class"}, measures = measures, rows = rows}
