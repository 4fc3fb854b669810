--- What the specs of connections and servers share.
local agenda = require "agenda"
local busted = require "busted"
local core = require "agenda.core"
local loopkit = require "spec.support.loopkit"
local luassert = require "luassert"

local netkit = {}

--- Checks that f(...) raises an OSError with the code.
-- @treturn the error
function netkit.fails_with(code, f, ...)
  local err = loopkit.fails(agenda.errors.OSError, f, ...)
  luassert.equal(code, err.code)
  return err
end

--- Sends back what comes, line by line.
function netkit.echo(stream)
  for line in stream:lines() do
    stream:write(line, "\n")
  end
end

--- Checks that the peer sends a line back.
function netkit.echoes(stream, text)
  stream:write(text, "\n")
  luassert.equal(text, stream:readline())
end

--- An echo server on loopback, and its port.
function netkit.echo_server(opts, host)
  local server = agenda.start_server(netkit.echo, host or "127.0.0.1", 0, opts)
  return server, select(2, server:address())
end

--- A port of loopback's where nobody listens.
function netkit.dead_port()
  local socket <close> = core.socket("inet", "stream")
  socket:bind("127.0.0.1", 0)
  return select(2, socket:sockname())
end

--- A port of loopback's that answers nobody, while the list given back is open: what listens there
-- has no room for a further connection.
function netkit.silent_port()
  local sockets = setmetatable({}, {__close = function(self)
    for _, socket in ipairs(self) do socket:close() end
  end})
  local listener = core.socket("inet", "stream")
  sockets[1] = listener
  listener:bind("127.0.0.1", 0)
  listener:listen(0)
  local _, port = listener:sockname()
  for _ = 1, 2 do
    local filler = core.socket("inet", "stream")
    sockets[#sockets + 1] = filler
    filler:connect("127.0.0.1", port)
  end
  agenda.sleep(0.01)
  return port, sockets
end

--- Calls f() with a resolver that gives these addresses, "host" or {host, port}, for every name.
function netkit.with_addresses(addresses, f)
  local original = core.getaddrinfo
  core.getaddrinfo = function(_, port)
    local list = {}
    for i, entry in ipairs(addresses) do
      local host = type(entry) == "table" and entry[1] or entry
      list[i] = {
        addr = host, port = type(entry) == "table" and entry[2] or port,
        family = core.address_family(host),
      }
    end
    return list
  end
  local ok, err = pcall(f)
  core.getaddrinfo = original
  if not ok then error(err, 0) end
end

--- Turns until condition() holds, for ten seconds at most.
function netkit.eventually(condition)
  local loop = agenda.get_running_loop()
  local limit = loop:time() + 10
  while not condition() do
    if loop:time() > limit then error("it did not come true within 10 s", 2) end
    agenda.sleep(0.002)
  end
end

--- A folder for one spec.
function netkit.folder()
  local pipe <close> = assert(io.popen("mktemp -d"))
  return pipe:read("l")
end

function netkit.remove_folder(path)
  os.execute("rm -rf " .. path)
end

--- Has take(path, folder) called before each spec of the block, with a path for a socket in a folder
-- of that spec's own.
function netkit.each_with_socket_path(take)
  local folder
  busted.before_each(function()
    folder = netkit.folder()
    take(folder .. "/socket", folder)
  end)
  busted.after_each(function() netkit.remove_folder(folder) end)
end

return netkit
