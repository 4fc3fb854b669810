--- Addresses of the Internet: checking what callers give, and resolving it.
--
-- A resolved address is a table `{addr=, port=, family="inet"|"inet6"}`, as getaddrinfo gives.
-- @module agenda.address

local core = require "agenda.core"

local errors = core.errors

local address = {}

local function describe(value)
  return core.type(value) or type(value)
end

--- A port as an integer.
-- @tparam any port an integer, or a string of one
-- @tparam string what whose argument it is: "argument #3 to 'open_connection'"
-- @tparam integer level for the position of the error
-- @treturn integer
-- @raise ValueError when it is out of range; Lua's error for a wrong argument
function address.check_port(port, what, level)
  local number = math.tointeger(port)
  if not number then
    error(("bad %s (%s)"):format(what, math.type(tonumber(port))
      and "number has no integer representation"
      or "number expected, got " .. describe(port)), level + 1)
  end
  if number < 0 or number > 65535 then
    error(errors.ValueError(("port must be 0-65535, not %d"):format(number)), 0)
  end
  return number
end

--- Checks `{host, port}`.
-- @tparam any pair
-- @tparam string what "field 'local_addr' ..."
-- @tparam integer level for the position of the error
-- @treturn ?string host
-- @treturn integer port
function address.check_pair(pair, what, level)
  if type(pair) ~= "table" then
    error(("bad %s ({host, port} expected, got %s)"):format(what, describe(pair)), level + 1)
  end
  local host, port = pair[1], pair[2]
  if host ~= nil and type(host) ~= "string" then
    error(("bad host in %s (string expected, got %s)"):format(what, describe(host)), level + 1)
  end
  return host, address.check_port(port == nil and 0 or port, "port in " .. what, level + 1)
end

--- "127.0.0.1:80", "[::1]:80", "localhost:80".
function address.text(host, port)
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

--- The addresses of a host: itself if it is numeric. Awaits unless it is.
-- @tparam string host
-- @tparam integer port
-- @tparam[opt] table opts as getaddrinfo takes
-- @treturn table a list of at least one
-- @raise OSError with `code` "EAI_..."
function address.resolve(host, port, opts)
  local family = core.address_family(host)
  if family then
    return {{addr = host, port = port, family = family}}
  end
  return require("agenda").getaddrinfo(host, port, opts)
end

return address
