-- Lines of 80 bytes from a pipe, that a program on another core writes, beside `io.lines` over a
-- file with the same lines and beside asyncio's `readline`: CPU time of the reader.

local servers = require "servers"

local BYTES = servers.bytes
local PEER_BYTES = BYTES / 10 -- asyncio takes its time
local LINE = 80
local WRITER = "build/bench/loadgen"

local measures = {}

local function figures(seconds, bytes, count)
  assert(count == math.ceil(bytes / LINE), "lines are missing")
  return {ns = seconds / count * 1e9}
end

local function size_argument(bytes)
  return ("%.0f"):format(bytes)
end

function measures.agenda()
  local agenda = require "agenda"
  return agenda.run(function()
    local process <close> =
      agenda.subprocess {WRITER, "lines", size_argument(BYTES), stdout = "pipe"}
    local start, count = os.clock(), 0
    for _ in process.stdout:lines() do
      count = count + 1
    end
    return figures(os.clock() - start, BYTES, count)
  end)
end

function measures.readline()
  local agenda = require "agenda"
  return agenda.run(function()
    local process <close> =
      agenda.subprocess {WRITER, "lines", size_argument(BYTES), stdout = "pipe"}
    local stdout = process.stdout
    local start, count = os.clock(), 0
    while stdout:readline() do
      count = count + 1
    end
    return figures(os.clock() - start, BYTES, count)
  end)
end

function measures.file()
  local path = os.tmpname()
  local _ <close> = setmetatable({}, {__close = function() os.remove(path) end})
  assert(os.execute(("%s lines %s >%s"):format(WRITER, size_argument(BYTES), path)))
  local start, count = os.clock(), 0
  for _ in io.lines(path) do
    count = count + 1
  end
  return figures(os.clock() - start, BYTES, count)
end

function measures.asyncio()
  local command = ("%s bench/peers/lines_asyncio.py %s lines %s")
    :format(servers.python, WRITER, size_argument(PEER_BYTES))
  local pipe <close> = assert(io.popen(command))
  local seconds, count = pipe:read("n", "n")
  return figures(seconds, PEER_BYTES, count)
end

local function row(work, figure, other, of)
  of.work, of.figure = work, ("%.0f ns CPU a line"):format(figure.ns)
  of.yardstick = ("%s: %.0f ns"):format(of.name, other.ns)
  of.ratio = of.at_least and other.ns / figure.ns or figure.ns / other.ns
  return of
end

local function rows(m)
  local amount = servers.amount(BYTES)
  local by_lines = amount .. " from a pipe by `lines`"
  local by_readline = amount .. " from a pipe by `readline`"
  local found = {
    row(by_lines, m.agenda, m.file, {name = "`io.lines` of a file", at_most = 3}),
    row(by_readline, m.readline, m.file, {name = "`io.lines` of a file", at_most = 3}),
  }
  if m.asyncio then
    local name = ("asyncio `readline` (%s)"):format(servers.amount(PEER_BYTES))
    found[3] = row(by_lines, m.agenda, m.asyncio, {name = name, at_least = 3})
    found[4] = row(by_readline, m.readline, m.asyncio, {name = name, at_least = 3})
  end
  return found
end

local function order()
  local found = {"agenda", "readline", "file"}
  for _, peer in ipairs(servers.peers) do
    if peer.name == "asyncio" and servers.is_there(peer) then
      found[#found + 1] = "asyncio"
    end
  end
  return found
end

return {order = order, measures = measures, rows = rows, runs = 3}
