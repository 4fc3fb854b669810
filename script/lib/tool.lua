--- What the checks in script/ share: files, programs, and a report with a result.

local tool = {}

--- The whole text of a file; nil and a message if it cannot be read.
function tool.read(path)
  local file, err = io.open(path, "rb")
  if not file then return nil, err end
  local text = file:read("a")
  file:close()
  return text
end

function tool.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- Quotes a string for the shell.
function tool.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The lines that a command prints.
function tool.lines_of(command)
  local lines = {}
  local pipe = assert(io.popen(command, "r"))
  for line in pipe:lines() do
    lines[#lines + 1] = line
  end
  pipe:close()
  return lines
end

--- The files below a directory whose names match a pattern of find(1), sorted; empty if
-- there is no such directory.
function tool.find(directory, name)
  return tool.lines_of(("find %s -type f -name %s 2>/dev/null | LC_ALL=C sort")
    :format(tool.quote(directory), tool.quote(name)))
end

--- Runs a shell command to its end, or for `seconds`.
-- @tparam string command
-- @tparam[opt] string input the file that is its standard input
-- @tparam number seconds
-- @treturn integer its status; 124 if the time was up
-- @treturn string what it wrote to stdout
-- @treturn string what it wrote to stderr
function tool.run(command, input, seconds)
  local out, err = os.tmpname(), os.tmpname()
  local _, how, status = os.execute(("timeout -k 5 %d sh -c %s <%s >%s 2>%s"):format(
    seconds, tool.quote(command), tool.quote(input or "/dev/null"), out, err))
  local out_text, err_text = tool.read(out), tool.read(err)
  os.remove(out)
  os.remove(err)
  if how == "signal" then status = 128 + status end
  return status, out_text, err_text
end

--- The text with each line indented.
function tool.indent(text)
  return (("\n" .. text:gsub("\n+$", "")):gsub("\n", "\n    "):sub(2))
end

--- The line number of a position in a text.
function tool.line_at(text, position)
  local _, count = text:sub(1, position - 1):gsub("\n", "")
  return count + 1
end

local Report = {}
Report.__index = Report

--- A report for one check: collects problems and ends the process.
function tool.report(name)
  return setmetatable({name = name, problems = 0}, Report)
end

function Report:problem(format, ...)
  self.problems = self.problems + 1
  io.stdout:write(self.name, ": ", format:format(...), "\n")
end

--- Ends the process: with 0 and the text if there was no problem, else with 1.
function Report:finish(format, ...)
  if self.problems > 0 then
    io.stdout:write(("%s: %d problem%s\n"):format(self.name, self.problems,
      self.problems == 1 and "" or "s"))
    os.exit(1, true)
  end
  io.stdout:write(self.name, ": ", format:format(...), "\n")
  os.exit(0, true)
end

return tool
