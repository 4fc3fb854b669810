-- A generator that is dropped half-way is closed by the collector: the loop runs its cleanup,
-- which may wait. A finalizer of one's own can take its place.
local agenda = require "agenda"

local function at_exit(f)
  return setmetatable({}, {__close = f})
end

local rows = agenda.asyncgen("rows", function(name)
  local _ <close> = at_exit(function()
    print(name .. ": saying goodbye")
    agenda.sleep(0.05)
    print(name .. ": gone")
  end)
  for i = 1, 100 do agenda.yield(i) end
end)

local function take_one(name)
  local g = rows(name)
  print(name .. ": row " .. g()) -- a call borrows the generator, and nobody closes it
end

agenda.main(function()
  take_one("first")
  collectgarbage() -- the loop's finalizer starts the cleanup
  agenda.sleep(0.1)

  -- The finalizer in force at the first iteration serves a generator to its end.
  agenda.set_asyncgen_finalizer(function(g)
    print("finalizer: " .. g.name .. " was dropped, closing it")
    agenda.spawn(g:aclose())
  end)
  take_one("second")
  collectgarbage()
  agenda.sleep(0.1)

  -- What is still open at the end is closed before the run is over.
  agenda.set_asyncgen_finalizer(nil)
  local third = rows("third")
  print("third: row " .. third())
  print("main is at its end")
end)
