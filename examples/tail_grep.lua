-- Follows several files with `tail -f`, a child process for each, and prints the lines that match:
--
--   lua5.4 examples/tail_grep.lua PATTERN FILE ...      (Ctrl-C ends it)
--
-- Without arguments it writes two logs itself, and ends after the lines that are to be found.
local agenda = require "agenda"
local itertools = require "agenda.itertools"

-- The lines of a file, those to come as well. However the generator ends, its `tail` is killed.
local follow = agenda.asyncgen("follow", function(path)
  local tail <close> = agenda.subprocess{"tail", "-n", "+1", "-f", path, stdout = "pipe"}
  for line in tail.stdout:lines() do agenda.yield(path:match("[^/]+$"), line) end
end)

-- Name and line of what matches, from all files as it comes.
local function grep(pattern, paths)
  local files = {}
  for i, path in ipairs(paths) do files[i] = (follow(path)) end
  return itertools.filter(function(_, line) return line:find(pattern) end,
    itertools.merge(table.unpack(files)))
end

local function append(path, line)
  local file <close> = assert(io.open(path, "a"))
  file:write(line, "\n")
end

local function demo()
  local mktemp = agenda.subprocess{"mktemp", "-d", stdout = "pipe"}
  local folder = mktemp:communicate():match("[^\n]+")
  local _ <close> = agenda.defer(function() agenda.subprocess{"rm", "-r", folder}:wait() end)
  local web, database = folder .. "/web.log", folder .. "/database.log"
  append(web, "GET /")
  append(database, "connected")

  -- Each error is written when the one before was found, so that their order is known.
  local found = agenda.queue()
  agenda.with_taskgroup(function(group)
    group:spawn(function()
      append(web, "error: no such page")
      found:get()
      append(database, "error: table is locked")
      found:get()
      append(web, "error: broken pipe")
    end)
    for name, line in itertools.take(3, grep("^error", {web, database})) do
      print(name .. ": " .. line)
      found:put(true)
    end
  end)
  print "done"
end

local function main(pattern, ...)
  if not pattern then return demo() end
  for name, line in grep(pattern, {...}) do print(name .. ": " .. line) end
end

agenda.main(main, ...)
