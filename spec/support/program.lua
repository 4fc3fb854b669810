--- Running the programs in C that `make programs` builds.
local program = {}

local build = os.getenv("BUILD") or "build"

-- What a program is run with where the specs themselves are.
local VALGRIND = "valgrind --quiet --error-exitcode=99 --leak-check=full"
  .. " --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect"
  .. " --suppressions=script/valgrind.supp "

--- The path of a program: `spec/embed/NAME.c`.
function program.path(name) return build .. "/embed/" .. name end

--- Whether there are programs here: an installed copy has none.
function program.available()
  local file = io.open("Makefile")
  if file then file:close() end
  return file ~= nil
end

--- Runs a shell command.
-- @treturn boolean whether it ended with 0
-- @treturn string what it wrote to stdout and stderr
function program.run(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local output = pipe:read("a")
  return pipe:close() == true, output
end

--- What a shell command writes to stdout.
function program.output(command)
  local pipe = assert(io.popen(command))
  local output = pipe:read("a")
  pipe:close()
  return output
end

--- Runs a program with arguments, under valgrind where the specs are.
function program.checked(name, ...)
  local valgrind = os.getenv("AGENDA_VARIANT") == "valgrind" and VALGRIND or ""
  return program.run("timeout -s KILL 100 " .. valgrind .. table.concat({program.path(name), ...}, " "))
end

--- The tests that a program lists, one a line.
function program.tests(name)
  local ok, output = program.run(program.path(name))
  if not ok then error(program.path(name) .. " does not run; see make programs:\n" .. output) end
  local names = {}
  for line in output:gmatch("[^\n]+") do names[#names + 1] = line end
  return names
end

return program
