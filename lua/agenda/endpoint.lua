--- What connections, servers and datagrams share: checking what callers give, resolving, TLS.
--
-- A resolved address is a table `{addr=, port=, family="inet"|"inet6"}`, as getaddrinfo gives.
-- @module agenda.endpoint

local core = require "agenda.core"
local check = require "agenda.check"
local starttls = require "agenda.starttls"

local errors = core.errors

local endpoint = {}

-- ----- arguments -----------------------------------------------------------------------------

--- Raises Lua's error for a wrong argument unless the value can be a host.
-- @tparam any host
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam[opt=2] integer level as those of `agenda.check` are
function endpoint.check_host(host, n, call, level)
  level = (level or 2) + 1
  check.type(host, "string", n, call, level)
  if host:find("\0", 1, true) then
    error(("bad argument #%d to '%s' (string contains zeros)"):format(n, call), level)
  end
end

local function check_count(name, value, least)
  if not math.tointeger(value) or value < least then
    error(errors.ValueError(("%s must be an integer of at least %d, not %s")
      :format(name, least, value)), 0)
  end
end

local LEAST = {limit = 1, backlog = 0, max_connections = 1}

--- How Lua's error for a wrong option begins.
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam string name the option's
-- @treturn string
function endpoint.bad_option(n, call, name)
  return ("bad argument #%d to '%s' (option '%s': "):format(n, call, name)
end

--- Checks the options of connections, servers and datagrams.
-- @tparam any opts
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam table types of the options that there are, by name; "any" for what is checked elsewhere
-- @treturn table
-- @raise ValueError for a number that will not do; Lua's error for a wrong argument
function endpoint.check_options(opts, n, call, types)
  if opts == nil then
    return {}
  end
  check.type(opts, "table", n, call, 3)
  for name, value in pairs(opts) do
    local wanted = types[name]
    if not wanted then
      error(("bad argument #%d to '%s' (unknown option '%s')"):format(n, call, tostring(name)), 3)
    elseif wanted ~= "any" and type(value) ~= wanted then
      error(("%s%s expected, got %s)")
        :format(endpoint.bad_option(n, call, name), wanted, check.kind_of(value)), 3)
    elseif LEAST[name] and not (value == math.huge and name ~= "backlog") then
      check_count(name, value, LEAST[name])
    end
  end
  return opts
end

--- A port as an integer.
-- @tparam any port an integer, or a string of one
-- @tparam string beginning of the message: "bad argument #3 to 'open_connection' ("
-- @tparam integer level for the position of the error
-- @treturn integer
-- @raise ValueError when it is out of range; Lua's error for a wrong argument
function endpoint.check_port(port, beginning, level)
  local number = math.tointeger(port)
  if not number then
    error(("%s%s)"):format(beginning, math.type(tonumber(port))
      and "number has no integer representation"
      or "number expected, got " .. check.kind_of(port)), level + 1)
  end
  if number < 0 or number > 65535 then
    error(errors.ValueError(("port must be 0-65535, not %d"):format(number)), 0)
  end
  return number
end

--- Checks `{host, port}`.
-- @tparam any pair
-- @tparam string beginning of the message
-- @tparam integer level for the position of the error
-- @treturn ?string host
-- @treturn integer port
function endpoint.check_pair(pair, beginning, level)
  if type(pair) ~= "table" then
    error(("%s{host, port} expected, got %s)"):format(beginning, check.kind_of(pair)), level + 1)
  end
  local host, port = pair[1], pair[2]
  if host ~= nil and type(host) ~= "string" then
    error(("%shost: string expected, got %s)"):format(beginning, check.kind_of(host)), level + 1)
  elseif host and host:find("\0", 1, true) then
    error(("%shost: string contains zeros)"):format(beginning), level + 1)
  end
  return host, endpoint.check_port(port == nil and 0 or port, beginning .. "port: ", level + 1)
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
-- @tparam integer n the argument's number
-- @tparam string call the function's name
-- @tparam[opt] boolean serving whether it has to be one for a server
-- @treturn ?userdata a context, or nil
-- @raise Lua's error for a wrong argument; ValueError for a server's without a certificate
function endpoint.check_tls(opts, n, call, serving)
  if not opts.tls then
    return nil
  end
  local context = starttls.context(opts.tls, endpoint.bad_option(n, call, "tls"), 3)
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
