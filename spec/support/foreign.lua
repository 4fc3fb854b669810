--- Other programs as peers, run beside the loop.
local agenda = require "agenda"

local foreign = {}

--- Starts a shell command.
-- @treturn file its standard output and error; `foreign.lines` and `foreign.finish` read it
function foreign.start(command)
  -- NB: what a sanitizer preloads is for us; curl hangs with it.
  local pipe = assert(io.popen("unset LD_PRELOAD; " .. command .. " 2>&1"))
  pipe:setvbuf("no")
  return pipe
end

-- The next byte, or nil at the end. Awaits.
local function next_byte(pipe)
  local loop = agenda.get_running_loop()
  local ready = loop:create_future()
  loop:add_reader(pipe, function()
    if not ready:done() then ready:set_result() end
  end)
  local _ <close> = agenda.defer(loop.remove_reader, loop, pipe)
  agenda.await(ready)
  return pipe:read(1)
end

--- Awaits output that has `pattern` in it; returns what the pattern captures.
function foreign.expect(pipe, pattern)
  local text = ""
  for byte in next_byte, pipe do
    text = text .. byte
    if text:find(pattern) then return text:match(pattern) end
  end
  error(("no %q in %q"):format(pattern, text), 2)
end

--- Awaits the end of the command: the rest of its output, and whether it succeeded.
function foreign.finish(pipe)
  local bytes = {}
  for byte in next_byte, pipe do bytes[#bytes + 1] = byte end
  return table.concat(bytes), pipe:close() == true
end

--- Runs a command to its end. Awaits.
function foreign.run(command)
  return foreign.finish(foreign.start(command))
end

return foreign
