-- Runs every examples/NAME.lua and compares what it prints with examples/expected/NAME.txt.
--
-- A line of the expectation that begins with `~ ` is a Lua pattern for the whole line. An
-- example reads examples/input/NAME.txt as its standard input, or what the shell script
-- examples/input/NAME.sh prints, if there is one. An example without an expectation, one
-- that ends with an error or too late, and one of 60 lines or more is an error.

package.path = "script/?.lua;" .. package.path
local tool = require "lib.tool"

local SECONDS = 20
local MAX_LINES = 60
local LUA = os.getenv("LUA") or "lua5.4"

local passed, failed = 0, 0

local function split(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n?") do lines[#lines + 1] = line end
  while lines[#lines] == "" do lines[#lines] = nil end
  return lines
end

local function matches(expected, line)
  local pattern = expected:match("^~ (.*)$")
  if pattern then return line:find("^" .. pattern .. "$") ~= nil end
  return expected == line
end

-- What is different, or nil.
local function difference(expected, got)
  for i = 1, math.max(#expected, #got) do
    if not expected[i] then return ("line %d should not be there: %s"):format(i, got[i]) end
    if not got[i] then return ("line %d is missing: %s"):format(i, expected[i]) end
    if not matches(expected[i], got[i]) then
      return ("line %d: %s\n  expected: %s"):format(i, got[i], expected[i])
    end
  end
  return nil
end

local function exists(path)
  return tool.read(path) ~= nil
end

local function check(path)
  local name = path:match("([^/]+)%.lua$")
  local expectation = "examples/expected/" .. name .. ".txt"
  local expected = tool.read(expectation)
  if not expected then return "has no expectation " .. expectation end
  local _, lines = tool.read(path):gsub("\n", "")
  if lines >= MAX_LINES then
    return ("has %d lines; an example has fewer than %d"):format(lines, MAX_LINES)
  end

  local command = LUA .. " " .. path
  local input = "examples/input/" .. name
  if exists(input .. ".sh") then command = "sh " .. input .. ".sh | " .. command end
  local status, out, err = tool.run(command, exists(input .. ".txt") and input .. ".txt" or nil,
    SECONDS)
  local problem
  if status == 124 then
    problem = ("did not end within %d s"):format(SECONDS)
  elseif status ~= 0 then
    problem = ("ended with %d"):format(status)
  else
    problem = difference(split(expected), split(out))
  end
  if not problem then return nil end
  return problem .. "\n  it printed:" .. tool.indent(out) ..
    (err ~= "" and "\n  and to stderr:" .. tool.indent(err) or "")
end

for _, path in ipairs(tool.lines_of("ls examples/*.lua 2>/dev/null")) do
  local problem = check(path)
  if problem then
    failed = failed + 1
    io.write("FAILED ", path, ": ", problem, "\n")
  else
    passed = passed + 1
    io.write("ok     ", path, "\n")
  end
end

-- An expectation whose example is gone would never be missed.
for _, path in ipairs(tool.lines_of("ls examples/expected/*.txt 2>/dev/null")) do
  if not exists("examples/" .. path:match("([^/]+)%.txt$") .. ".lua") then
    failed = failed + 1
    io.write("FAILED ", path, ": there is no such example\n")
  end
end

io.write(("examples: %d passed, %d failed\n"):format(passed, failed))
os.exit(failed == 0 and passed > 0, true)
