--- Datagrams (UDP): `datagram`.
-- @module agenda.datagram

local core = require "agenda.core"
local check = require "agenda.check"
local endpoint = require "agenda.endpoint"

local errors, yield = core.errors, core.yield
local methods = core._datagram_methods

local OPTIONS = {local_addr = "any", remote_addr = "any"}
local BAD_LOCAL = endpoint.bad_option(1, "datagram", "local_addr")
local BAD_REMOTE = endpoint.bad_option(1, "datagram", "remote_addr")
local FAMILY_NAMES = {inet = "IPv4", inet6 = "IPv6"}

-- ----- methods -------------------------------------------------------------------------------

-- The first of a name's addresses that the socket can send to.
local function resolve_for(self, addr)
  local host, port = endpoint.check_pair(addr, "bad argument #2 to 'send' (", 3)
  local family = core.address_family((self:sockname()))
  for _, found in ipairs(endpoint.resolve(host, port, {family = family, type = "dgram"})) do
    if found.family == family then
      return {found.addr, found.port}
    end
  end
  error(errors.OSError(("sendto: %s has no %s address")
    :format(endpoint.text(host, port), FAMILY_NAMES[family]), {code = "EAI_ADDRFAMILY",
    syscall = "sendto"}), 0)
end

--- Sends a datagram. Awaits while the system has no room for it, and where the host is a name.
-- @function datagram:send
-- @tparam string data
-- @tparam[opt] table addr where to, {host, port}; not with `remote_addr`
-- @raise OSError: EMSGSIZE if it is too large, EDESTADDRREQ without an address, ECONNREFUSED: the
-- peer's system says that nobody received what was sent before; ValueError for an address other
-- than `remote_addr`; RuntimeError when it is closed; CancelledError, with nothing sent
function methods.send(self, data, addr)
  check.type(data, "string", 1, "send")
  if addr == nil then
    self:_send(data)
    return
  end
  check.type(addr, "table", 2, "send")
  if type(addr[1]) ~= "string" or not (math.type(addr[2]) and math.tointeger(addr[2])) then
    error("bad argument #2 to 'send' ({host, port} expected)", 2)
  end
  if not self:_send(data, addr) then
    self:_send(data, resolve_for(self, addr))
  end
end

local messages = core.asyncgen("messages", function(self)
  while true do
    yield(self:recv())
  end
end)

--- An async generator of what comes: `for data, addr in d:messages() do`. It does not end by
-- itself; leaving it loses nothing.
-- @function datagram:messages
-- @treturn asyncgen and, like every such call, nil, nil and the generator again
-- @raise when it is iterated, what `recv` raises
function methods.messages(self)
  return messages(self)
end

-- ----- making --------------------------------------------------------------------------------

local function first_of_family(list, family)
  for _, found in ipairs(list) do
    if not family or found.family == family then
      return found
    end
  end
end

-- A socket that is bound and connected as asked for.
local function open(here, there)
  local socket = core.datagram_socket((here or there).family)
  local ok, err = pcall(function()
    socket:set("broadcast", true)
    if here then
      socket:bind(here.addr, here.port)
    end
    if there then
      socket:connect(there.addr, there.port)
    end
  end)
  if not ok then
    socket:close()
    error(err, 0)
  end
  return socket
end

-- A name may have addresses that this machine cannot use: opens the first that it can, or raises
-- the first error.
local function open_first(candidates)
  local failure
  for _, pair in ipairs(candidates) do
    local ok, socket = pcall(open, pair[1], pair[2])
    if ok then
      return socket
    elseif not errors.OSError:is(socket) then
      error(socket, 0)
    end
    failure = failure or socket
  end
  error(failure, 0)
end

--- A socket for datagrams, `local d <close> = agenda.datagram{...}`. Awaits where a host is a name.
-- Without `remote_addr` each `send` says where to. As asyncio's create_datagram_endpoint.
-- @function datagram
-- @tparam table opts at least one of `local_addr` = {host, port}, where a host of nil means every
-- IPv4 interface and port 0 any port that is free, and `remote_addr` = {host, port}: it sends
-- there, and receives what comes from there alone
-- @treturn datagram with the methods `send`, `recv`, `messages`, `close`, `sockname`, `peername`,
-- `fileno`
-- @raise OSError; ValueError without an address, or for a port out of range; RuntimeError "no
-- running event loop"
local function datagram(opts)
  check.type(opts, "table", 1, "datagram")
  endpoint.check_options(opts, 1, "datagram", OPTIONS)
  core.get_running_loop()
  local here, there = opts.local_addr, opts.remote_addr
  if here == nil and there == nil then
    error(errors.ValueError("datagram needs local_addr, remote_addr or both"), 0)
  end
  local remote
  if there ~= nil then
    local host, port = endpoint.check_pair(there, BAD_REMOTE, 2)
    if not host then
      error(errors.ValueError("remote_addr needs a host"), 0)
    end
    remote = endpoint.resolve(host, port, {type = "dgram"})
  end
  local candidates = {} -- each an address of ours, or false, and one of theirs, or nil
  if here == nil then
    for i, peer in ipairs(remote) do
      candidates[i] = {false, peer}
    end
  else
    local host, port = endpoint.check_pair(here, BAD_LOCAL, 2)
    for _, found in ipairs(endpoint.resolve_local(host, port, {type = "dgram"})) do
      local peer = remote and first_of_family(remote, found.family)
      if peer or not remote then
        table.insert(candidates, {found, peer})
      end
    end
  end
  if #candidates == 0 then
    error(errors.ValueError("local_addr and remote_addr have no family in common"), 0)
  end
  return open_first(candidates)
end

return {datagram = datagram}
