--- What connections, servers and datagrams share: checking what callers give, resolving, TLS.
--
-- A resolved address is a table `{addr=, port=, family="inet"|"inet6"}`, as getaddrinfo gives.
-- @module agenda.endpoint

local core = require "agenda.core"
local starttls = require "agenda.starttls"

local errors = core.errors

local endpoint = {}

local function describe(value)
  return core.type(value) or type(value)
end

-- ----- arguments -----------------------------------------------------------------------------

--- Raises Lua's error for a wrong argument unless the value is of the type.
function endpoint.check_type(value, wanted, n, call)
  if type(value) ~= wanted then
    error(("bad argument #%d to '%s' (%s expected, got %s)")
      :format(n, call, wanted, describe(value)), 3)
  end
end

local function check_field(opts, name, wanted)
  local value = opts[name]
  if value ~= nil and type(value) ~= wanted then
    error(("bad field '%s' of the options (%s expected, got %s)")
      :format(name, wanted, describe(value)), 4)
  end
  return value
end

local function check_count(opts, name, least)
  local value = check_field(opts, name, "number")
  if value ~= nil and (not math.tointeger(value) or value < least) then
    error(errors.ValueError(("%s must be an integer of at least %d, not %s")
      :format(name, least, value)), 0)
  end
end

--- Checks the options of connections and servers.
-- @tparam any opts
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @treturn table
-- @raise ValueError for a limit that is none; Lua's error for a wrong argument
function endpoint.check_options(opts, n, call)
  if opts == nil then
    return {}
  end
  endpoint.check_type(opts, "table", n, call)
  check_count(opts, "limit", 1)
  check_count(opts, "backlog", 0)
  if opts.max_connections ~= math.huge then
    check_count(opts, "max_connections", 1)
  end
  check_field(opts, "timeout", "number")
  check_field(opts, "server_name", "string")
  return opts
end

--- A port as an integer.
-- @tparam any port an integer, or a string of one
-- @tparam string what whose argument it is: "argument #3 to 'open_connection'"
-- @tparam integer level for the position of the error
-- @treturn integer
-- @raise ValueError when it is out of range; Lua's error for a wrong argument
function endpoint.check_port(port, what, level)
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
function endpoint.check_pair(pair, what, level)
  if type(pair) ~= "table" then
    error(("bad %s ({host, port} expected, got %s)"):format(what, describe(pair)), level + 1)
  end
  local host, port = pair[1], pair[2]
  if host ~= nil and type(host) ~= "string" then
    error(("bad host in %s (string expected, got %s)"):format(what, describe(host)), level + 1)
  end
  return host, endpoint.check_port(port == nil and 0 or port, "port in " .. what, level + 1)
end

-- ----- addresses -----------------------------------------------------------------------------

--- "127.0.0.1:80", "[::1]:80", "localhost:80".
function endpoint.text(host, port)
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

--- The addresses of a host: itself if it is numeric. Awaits unless it is.
-- @tparam string host
-- @tparam integer port
-- @tparam[opt] table opts as getaddrinfo takes
-- @treturn table a list of at least one
-- @raise OSError with `code` "EAI_..."
function endpoint.resolve(host, port, opts)
  local family = core.address_family(host)
  if family then
    return {{addr = host, port = port, family = family}}
  end
  return core.getaddrinfo(host, port, opts)
end

--- The same for an address of this machine's, where a host of nil or "" means every interface.
-- @treturn table a list of at least one
function endpoint.resolve_local(host, port, opts)
  if host == nil or host == "" then
    return {
      {addr = "0.0.0.0", port = port, family = "inet"},
      {addr = "::", port = port, family = "inet6"},
    }
  end
  return endpoint.resolve(host, port, {type = opts.type, passive = true})
end

-- ----- TLS -----------------------------------------------------------------------------------

--- Checks the option `tls`.
-- @tparam table opts
-- @tparam[opt] boolean serving whether it has to be one for a server
-- @treturn ?userdata a context, or nil
-- @raise Lua's error for a wrong argument; ValueError for a server's without a certificate
function endpoint.check_tls(opts, serving)
  if not opts.tls then
    return nil
  end
  local context = starttls.context(opts.tls, "field 'tls' of the options", 3)
  if serving then
    starttls.check_server(context)
  end
  return context
end

--- Begins TLS on a stream that was just connected or accepted; a failure discards it. Awaits.
-- @tparam stream stream
-- @tparam userdata context
-- @tparam table opts of `starttls`
-- @tparam string where the peer, for messages
-- @treturn stream
-- @raise TLSError; OSError; CancelledError
function endpoint.secure(stream, context, opts, where)
  local ok, err = pcall(stream.starttls, stream, context, opts)
  if not ok then
    stream:abort()
    if errors.TLSError:is(err) then
      err.message = ("%s: %s"):format(where, err.message)
    end
    error(err, 0)
  end
  return stream
end

return endpoint
