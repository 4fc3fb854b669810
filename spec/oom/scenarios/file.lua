-- Files: whole ones, and one that is written, read, and left to the collector.
local agenda = require "agenda"

local path = os.tmpname()
local _ <close> = setmetatable({}, {__close = function() os.remove(path) end})

agenda.run(function()
  agenda.write_file(path, "one\ntwo\n")
  assert(agenda.read_file(path) == "one\ntwo\n")
  local file <close> = agenda.open(path, "r+")
  local lines = {}
  for line in file:lines() do lines[#lines + 1] = line end
  assert(#lines == 2)
  file:write("three", 3, "\n"):write {"four"}
  file:write(("x"):rep(70000))
  assert(file:seek("set", 4) == 4 and file:read("L") == "two\n")
  local task = agenda.spawn(file.read, file, "a")
  agenda.sleep(0)
  task:cancel()
  pcall(task.await, task)
  agenda.open(path)
end)
