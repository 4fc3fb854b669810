--- The lines of a file.
-- @module agenda.files

local core = require "agenda.core"
local check = require "agenda.check"

local yield = core.yield
local methods = core._file_methods
local read = methods.read

local lines = core.asyncgen("lines", function(file, what)
  while true do
    local line = read(file, what)
    if line == nil then
      return
    end
    yield(line)
  end
end)

--- An async generator of the lines from here on; it closes nothing. Several calls of one file may
-- take turns.
-- @function file:lines
-- @tparam[opt="l"] integer|string what "l": lines without their newlines; "L": with them; a number:
-- pieces of so many bytes
-- @treturn asyncgen and, like every such call, nil, nil and the generator again
-- @raise OSError and ValueError at the line that cannot be read
function methods.lines(file, what)
  if core.type(file) ~= "file" then
    check.refuse(1, "lines", "agenda.file", file)
  end
  if what == nil then
    what = "l"
  elseif what ~= "l" and what ~= "L" and not (math.tointeger(what) and what > 0) then
    error("bad argument #1 to 'lines' (invalid format)", 2)
  end
  return lines(file, what)
end

return {}
