-- The servers that the benchmarks of input and output put load on, by bench/loadgen.c.

local servers = {}

local LOADGEN = "build/bench/loadgen"
local LUA = arg and arg[-1] or "lua5.4"

local function succeeds(command)
  return os.execute(command .. " >/dev/null 2>&1") == true
end

-- Debian's python3 has Debian's uvloop, if there is another one before it in PATH.
local PYTHON = succeeds("test -x /usr/bin/python3") and "/usr/bin/python3" or "python3"
servers.python = PYTHON

servers.agenda = LUA .. " bench/peers/echo_agenda.lua"
servers.c = "build/bench/echo_libev"

-- Other people's, in the order of the table; `check` succeeds where one is installed.
servers.peers = {
  {
    name = "luv", command = LUA .. " bench/peers/echo_luv.lua",
    check = LUA .. " -e 'require [[luv]]'",
  },
  {
    name = "cqueues", command = LUA .. " bench/peers/echo_cqueues.lua",
    check = LUA .. " -e 'require [[cqueues]]'",
  },
  {
    name = "asyncio", command = PYTHON .. " bench/peers/echo_asyncio.py",
    check = PYTHON .. " -c 'import asyncio'",
  },
  {
    name = "uvloop", command = PYTHON .. " bench/peers/echo_asyncio.py --uvloop",
    check = PYTHON .. " -c 'import uvloop'",
  },
  {
    name = "node", command = "node bench/peers/echo_node.js", check = "node --version",
  },
}

--- Whether a peer is there.
function servers.is_there(peer)
  return succeeds(peer.check)
end

--- Says which peers are not measured; nil if all are.
-- @tparam table measured what was measured, by name
function servers.missing(measured)
  local names = {}
  for _, peer in ipairs(servers.peers) do
    if not measured(peer) then
      names[#names + 1] = peer.name
    end
  end
  if #names > 0 then
    return ("Not measured, for want of them: %s (`script/setup_bench` installs them).")
      :format(table.concat(names, ", "))
  end
end

--- Puts load on a server.
-- @tparam string load as bench/loadgen.c takes it
-- @tparam string command the server's
-- @treturn table what it prints, by name
function servers.load(load, command)
  local pipe <close> = assert(io.popen(("%s %s %s"):format(LOADGEN, load, command)))
  local figures = {}
  for name, value in pipe:read("a"):gmatch("(%S+) (%S+)\n") do
    figures[name] = tonumber(value)
  end
  assert(next(figures), "no figures: " .. load .. " " .. command)
  return figures
end

--- How many bytes to move, where that is a lot; BENCH_BYTES in the environment says fewer.
servers.bytes = tonumber(os.getenv("BENCH_BYTES")) or 1e9

--- The same for people.
function servers.amount(bytes)
  return bytes >= 1e9 and ("%g GB"):format(bytes / 1e9) or ("%g MB"):format(bytes / 1e6)
end

return servers
