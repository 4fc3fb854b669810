-- Follows a log, on standard input or in the FIFO given as argument, through a pipeline of
-- async generators: lines -> parse -> filter -> window (counts per second), while a ticker
-- prints progress beside it. `make demo` feeds it a live log.
local agenda = require "agenda"

local file = arg[1] and assert(io.open(arg[1])) or io.stdin
file:setvbuf("no") -- what stdio held back, the loop would not see
local seen, kept = 0, 0

local function wait_readable(source)
  local loop = agenda.get_running_loop()
  local ready = loop:create_future()
  local _ <close> = setmetatable({}, {__close = function() loop:remove_reader(source) end})
  loop:add_reader(source, function() loop:remove_reader(source); ready:set_result() end)
  agenda.await(ready)
end

-- The lines, as they come. (The rest of a line that has begun is read without the loop.)
local lines = agenda.asyncgen("lines", function(source)
  while true do
    wait_readable(source)
    local line = source:read("l")
    if not line then return end
    agenda.yield(line)
  end
end)

local parse = agenda.asyncgen("parse", function(source)
  for line in agenda.aiter(source) do
    seen = seen + 1
    local time, level = line:match("^%S+T([%d:]+)%S* (%u+) ")
    if time then agenda.yield(time, level) end
  end
end)

local filter = agenda.asyncgen("filter", function(unwanted, source)
  for time, level in agenda.aiter(source) do
    if level ~= unwanted then kept = kept + 1; agenda.yield(time, level) end
  end
end)

local window = agenda.asyncgen("window", function(source)
  local second, counts = nil, {}
  for time, level in agenda.aiter(source) do
    if second and time ~= second then agenda.yield(second, counts); counts = {} end
    second, counts[level] = time, (counts[level] or 0) + 1
  end
  if second then agenda.yield(second, counts) end
end)

agenda.main(function()
  agenda.spawn(function()
    while true do agenda.sleep(0.5); print(("... %d lines so far"):format(seen)) end
  end)
  for second, counts in window(filter("INFO", parse(lines(file)))) do
    print(("%s  %d WARN, %d ERROR"):format(second, counts.WARN or 0, counts.ERROR or 0))
  end
  print(("%d lines read, %d of them not INFO"):format(seen, kept))
end)
