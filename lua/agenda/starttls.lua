--- TLS on streams: what the option `tls` may be, the method `starttls`.
--
-- The module agenda.tls is loaded when somebody asks for TLS.
-- @module agenda.starttls

local core = require "agenda.core"

local errors = core.errors

local starttls = {}

local default -- the context of `tls = true`

-- Stream to the host that it was opened for: whom the server's certificate is to name.
local hosts = setmetatable({}, {__mode = "k"})

--- Notes the host that a stream was opened for.
function starttls.set_host(stream, host)
  hosts[stream] = host
end

local function is_context(value)
  local metatable = type(value) == "userdata" and getmetatable(value)
  return type(metatable) == "table" and metatable.__name == "agenda.tls_context"
end

--- The context that a caller gave.
-- @tparam any value true, for the one that trusts whom the system trusts, or a context
-- @tparam string beginning of the message: "bad argument #1 to 'starttls' ("
-- @tparam integer level for the position of the error
-- @treturn userdata
-- @raise Lua's error for a wrong argument; ValueError for a context that cannot serve
function starttls.context(value, beginning, level)
  if value == true then
    default = default or require("agenda.tls").context()
    return default
  elseif not is_context(value) then
    error(("%strue or a context of agenda.tls expected, got %s)")
      :format(beginning, core.type(value) or type(value)), level + 1)
  end
  return value
end

--- Checks that a context can serve.
-- @raise ValueError if it has no certificate
function starttls.check_server(context)
  require("agenda.tls")._filter(context, true):release()
end

--- Checks that a context can verify a server of that name.
-- @raise ValueError if the name is none, or one is needed
function starttls.check_client(context, name)
  require("agenda.tls")._filter(context, false, name):release()
end

local TYPES = {server_side = "boolean", server_name = "string"}

local function check_options(opts)
  if opts == nil then
    return {}
  elseif type(opts) ~= "table" then
    error(("bad argument #2 to 'starttls' (table expected, got %s)")
      :format(core.type(opts) or type(opts)), 3)
  end
  for name, value in pairs(opts) do
    if not TYPES[name] then
      error(("bad argument #2 to 'starttls' (unknown option '%s')"):format(tostring(name)), 3)
    elseif type(value) ~= TYPES[name] then
      error(("bad argument #2 to 'starttls' (option '%s': %s expected, got %s)")
        :format(name, TYPES[name], core.type(value) or type(value)), 3)
    end
  end
  return opts
end

--- Begins TLS on a stream that is open, and awaits the handshake. What was written before is sent
-- before; what was read and not taken yet is the beginning of the peer's TLS. As in asyncio.
-- @function stream:starttls
-- @tparam boolean|userdata context true, or one of `agenda.tls.context`
-- @tparam[opt] table opts `server_side` (false); `server_name`: what the server's certificate must
-- be for; the host that the stream was opened for unless given
-- @raise TLSError, OSError, CancelledError: the stream is closed then; ValueError without a
-- `server_name` to verify, and for a server without a certificate; RuntimeError when the stream is
-- closed, speaks TLS, or another task reads it
function core._stream_methods.starttls(stream, context, opts)
  context = starttls.context(context, "bad argument #1 to 'starttls' (", 2)
  opts = check_options(opts)
  if stream:_filter() then
    error(errors.RuntimeError(("%s speaks TLS already"):format(tostring(stream))), 0)
  end
  local filter = require("agenda.tls")._filter(context, opts.server_side,
    opts.server_name or not opts.server_side and hosts[stream] or nil)
  stream:drain()
  local ok, err = pcall(stream._start_filter, stream, filter)
  if not ok then
    if not errors.RuntimeError:is(err) then
      stream:abort()
    end
    error(err, 0)
  end
end

--- What was agreed on. Does not await.
-- @function stream:tlsinfo
-- @treturn ?table `version` ("TLSv1.3"), `cipher`, `alpn` (or nil); nil without TLS
-- @raise RuntimeError when the stream is closed
function core._stream_methods.tlsinfo(stream)
  local filter = stream:_filter()
  return filter and filter:info() or nil
end

return starttls
