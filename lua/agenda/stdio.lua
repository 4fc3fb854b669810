--- `agenda.stdin`, `agenda.stdout`, `agenda.stderr`: the standard streams.
--
-- Each is one object for ever, with the methods of a stream; behind it there is a stream for each
-- loop that uses it, opened at the first call. That stream's descriptor is one of its own, so
-- closing it leaves descriptors 0 to 2 alone.
-- @module agenda.stdio

local core = require "agenda.core"

local errors = core.errors

local NUMBERS = {stdin = 0, stdout = 1, stderr = 2}

local function open(self, loop)
  if self.number > 0 then
    io.stdout:flush() -- what was printed before comes before
  end
  local fd, shared = core._open_standard(self.number)
  local stream = core.stream(fd, {
    name = self.name, standard = true, shared = shared,
    keeps_input = self.number == 0 or nil, readable = self.number == 0, writable = self.number > 0,
  })
  core._loop_extra(loop)[self] = stream
  return stream
end

-- The stream of the running loop; nil where there is none yet and `found` is true.
local function stream_of(self, found)
  local loop = core.get_running_loop()
  return core._loop_extra(loop)[self] or not found and open(self, loop) or nil
end

local Standard = {__name = "agenda.stream", __agenda_type = "stream"}
Standard.__index = Standard

for _, name in ipairs {
  "abort", "at_eof", "chunks", "close", "drain", "fileno", "lines", "peername", "read",
  "readexactly", "readline", "readuntil", "sockname", "starttls", "tlsinfo", "wait_closed", "write",
  "write_eof",
} do
  Standard[name] = function(self, ...)
    if getmetatable(self) ~= Standard then
      error(("calling '%s' on bad self (stream expected, got %s)")
        :format(name, core.type(self) or type(self)), 2)
    end
    local stream = stream_of(self)
    return stream[name](stream, ...)
  end
end

function Standard:__close(err)
  local stream = stream_of(self, true)
  if stream then
    return getmetatable(stream).__close(stream, err)
  end
end

function Standard:__tostring()
  return ("<stream %s at %p>"):format(self.name, self)
end

local stdio = {}
for name, number in pairs(NUMBERS) do
  stdio[name] = setmetatable({name = name, number = number}, Standard)
end

-- Waits until all that was written is sent, also where the stream is being closed.
local function finish(stream)
  for _, wait in ipairs {stream.drain, stream.wait_closed} do
    local ok, err = pcall(wait, stream)
    if ok then
      return
    elseif not errors.Error:is(err) then
      error(err, 0)
    end
  end
end

--- What was written to the standard streams is not lost at the end of a run, as it is not with
-- Lua's own files. Awaits; an error, a reader that has gone, is nobody's business any more.
-- @tparam event_loop loop
function core._finish_standard(loop)
  for _, standard in ipairs {stdio.stdout, stdio.stderr} do
    local stream = core._loop_extra(loop)[standard]
    if stream then
      finish(stream)
    end
  end
end

return stdio
