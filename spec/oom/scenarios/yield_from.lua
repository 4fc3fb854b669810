-- Delegation to a generator and to a plain iterator; send and throw are passed along.
local agenda = require "agenda"
local errors = agenda.errors

local inner = agenda.generator(function()
  local got = agenda.yield(1)
  local ok, err = pcall(agenda.yield, got)
  if ok or not errors.ValueError:is(err) then
    error(err, 0)
  end
  agenda.yield("handled")
  return "inner", nil
end)
local outer = agenda.generator(function()
  local a = agenda.yield_from(inner())
  agenda.yield_from(ipairs {a, "last"})
  agenda.yield_from(inner())
end)

local g = outer()
assert(g:next() == 1)
assert(g:send("sent") == "sent")
assert(g.gi_yieldfrom)
assert(g:throw(errors.ValueError("passed along")) == "handled")
local _, value = g:next()
assert(value == "inner")
g:next()
assert(g:next() == 1)
g:close()
