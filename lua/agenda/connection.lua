--- Connecting: `open_connection`, `open_unix_connection`.
--
-- A host with several addresses is tried as RFC 8305 (Happy Eyeballs, version 2) says: families in
-- turn, the next attempt when the last one has failed or 250 ms after it began, the first that
-- connects wins and the others are closed.
-- @module agenda.connection

local core = require "agenda.core"
local check = require "agenda.check"
local endpoint = require "agenda.endpoint"
local starttls = require "agenda.starttls"
local timeout = require "agenda.timeout"

local errors, await = core.errors, core.await

local connection = {}

local OPTIONS = {
  tls = "any", server_name = "string", local_addr = "any", timeout = "number", limit = "number",
  nodelay = "boolean",
}
local UNIX_OPTIONS = {
  tls = "any", server_name = "string", timeout = "number", limit = "number", nodelay = "boolean",
}

local FIRST_RETRY, LAST_RETRY = 0.001, 0.05 -- seconds, while a Unix socket's backlog is full
local ATTEMPT_DELAY = 0.25 -- seconds; RFC 8305, section 8: "Connection Attempt Delay"

-- ----- errors --------------------------------------------------------------------------------

local function reason_of(err)
  return tostring(err.message):match("([^:]*)$"):gsub("^ ", "")
end

-- The error with the name that the caller gave for the host, and its port.
local function name_error(err, target, where)
  if not errors.OSError:is(err) then
    return err
  end
  local at = endpoint.text(target.addr, target.port)
  if err.syscall == "bind" then
    err.message = ("%s, for a connection to %s"):format(err.message, where)
  elseif at == where then
    err.message = ("%s: %s: %s"):format(err.syscall, where, reason_of(err))
  else
    err.message = ("%s: %s (%s): %s"):format(err.syscall, where, target.addr, reason_of(err))
  end
  return err
end

-- What says more of why a host cannot be reached than that this machine has no way to it.
local NO_WAY = {
  ENETUNREACH = true, EHOSTUNREACH = true, EADDRNOTAVAIL = true, EAFNOSUPPORT = true,
}

-- One error for all attempts; its number is that of the most telling one.
local function combine(failures, where)
  local chosen = failures[1]
  for _, failure in ipairs(failures) do
    if not errors.OSError:is(failure.err) then
      return failure.err
    end
    if NO_WAY[chosen.err.code] and not NO_WAY[failure.err.code] then
      chosen = failure
    end
  end
  if #failures == 1 then
    return name_error(chosen.err, chosen.target, where)
  end
  local reasons, list = {}, {}
  for i, failure in ipairs(failures) do
    reasons[i] = ("%s: %s"):format(failure.target.addr, reason_of(failure.err))
    list[i] = failure.err
  end
  return errors.OSError(("connect: %s: %s"):format(where, table.concat(reasons, "; ")), {
    errno = chosen.err.errno, code = chosen.err.code, syscall = "connect", errors = list,
  })
end

-- ----- attempts ------------------------------------------------------------------------------

-- The address of ours to connect from; nil for any. NB: `bind` refuses one of another family.
local function own_address(own, family)
  for _, found in ipairs(own) do
    if found.family == family then
      return found
    end
  end
  return own[1]
end

local function begin(socket, target, own, nodelay)
  local from = own_address(own, target.family)
  socket:set("nodelay", nodelay)
  if from then
    socket:bind(from.addr, from.port)
  end
  return socket:connect(target.addr, target.port)
end

local Attempts = {}
Attempts.__index = Attempts

-- Begins the next attempt. False if it has failed already.
function Attempts:start()
  local target = self.targets[self.next]
  self.next = self.next + 1
  local ok, socket = pcall(core.socket, target.family, "stream")
  if not ok then
    self.failures[#self.failures + 1] = {err = socket, target = target}
    return false
  end
  local attempt = {socket = socket, target = target}
  self.open[#self.open + 1] = attempt
  local future
  ok, future = pcall(begin, socket, target, self.own, self.nodelay)
  if not ok then
    self:fail(attempt, future)
    return false
  end
  attempt.future = future
  return true
end

function Attempts:fail(attempt, err)
  attempt.socket:close()
  self.failures[#self.failures + 1] = {err = err, target = attempt.target}
  for i, other in ipairs(self.open) do
    if other == attempt then
      table.remove(self.open, i)
      break
    end
  end
end

-- Looks at the attempts that have come to an end. Gives the one that is connected, or nil and
-- whether one has failed.
function Attempts:look()
  local failed = false
  for _, attempt in ipairs {table.unpack(self.open)} do
    if attempt.future == nil or attempt.future:done() then
      local ok, err = pcall(attempt.socket.connected, attempt.socket)
      if ok then
        return attempt
      end
      self:fail(attempt, err)
      failed = true
    end
  end
  return nil, failed
end

function Attempts.__close(self)
  if self.timer then
    self.timer:cancel()
  end
  for _, attempt in ipairs(self.open) do
    if attempt ~= self.winner then
      attempt.socket:close()
    end
  end
end

-- Waits until an attempt has come to an end, or the next one may begin.
function Attempts:wait(loop)
  if #self.open == 1 and self.next > #self.targets then
    await(self.open[1].future)
    return
  end
  local waker = loop:create_future()
  local function wake()
    if not waker:done() then
      waker:set_result()
    end
  end
  for _, attempt in ipairs(self.open) do
    attempt.future:add_done_callback(wake)
  end
  if self.next <= #self.targets then
    self.timer = loop:call_at(self.due, wake)
  end
  await(waker)
  if self.timer then
    self.timer:cancel()
    self.timer = nil
  end
end

-- The socket of the first target that connects.
local function connect_first(targets, own, nodelay, where)
  local loop = core.get_running_loop()
  local self <close> = setmetatable({
    targets = targets, next = 1, own = own, nodelay = nodelay, open = {}, failures = {},
    due = loop:time(),
  }, Attempts)
  while true do
    local winner, failed = self:look()
    if winner then
      self.winner = winner
      return winner.socket, winner.target
    end
    if self.next <= #targets and (failed or #self.open == 0 or loop:time() >= self.due) then
      self.due = loop:time() + ATTEMPT_DELAY
      if not self:start() then
        self.due = loop:time()
      end
    elseif #self.open == 0 then
      error(combine(self.failures, where), 0)
    else
      self:wait(loop)
    end
  end
end

-- RFC 8305, section 4: families take turns, the preferred one first.
local function interleave(list)
  local first, other, mixed = {}, {}, {}
  for _, found in ipairs(list) do
    local of = found.family == list[1].family and first or other
    of[#of + 1] = found
  end
  for i = 1, math.max(#first, #other) do
    mixed[#mixed + 1] = first[i]
    mixed[#mixed + 1] = other[i]
  end
  return mixed
end

-- ----- streams -------------------------------------------------------------------------------

local function name_of(get, socket)
  local ok, first, port = pcall(get, socket)
  if not ok then
    return nil -- the peer has gone already
  end
  return port and {first, port} or first
end

-- The stream of a connected socket, which it takes over.
local function stream_of(socket, opts, peer)
  local options = {
    readable = true, writable = true, limit = opts.limit,
    peername = name_of(socket.peername, socket) or peer,
    sockname = name_of(socket.sockname, socket),
  }
  return core.stream(socket:release(), options)
end

-- ----- the public functions ------------------------------------------------------------------

-- Looks at what TLS needs before anything is connected, as asyncio does.
local function check_name(context, name)
  if context then
    starttls.check_client(context, name)
  elseif name then
    error(errors.ValueError("server_name is only meaningful with tls"), 0)
  end
end

local function establish(host, port, opts, context, own_host, own_port)
  local targets = interleave(endpoint.resolve(host, port, {type = "stream"}))
  local own = own_port and endpoint.resolve_local(own_host, own_port, {type = "stream"}) or {}
  local socket, target =
    connect_first(targets, own, opts.nodelay ~= false, endpoint.text(host, port))
  local stream = stream_of(socket, opts, {target.addr, target.port})
  starttls.set_host(stream, host)
  if context then
    endpoint.secure(stream, context, {server_name = opts.server_name}, endpoint.text(host, port))
  end
  return stream
end

local function name_timeout(where, seconds, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if errors.TimeoutError:is(err) then
    err.message = ("connect: %s: timed out after %.14g s"):format(where, seconds)
  end
  error(err, 0)
end

local function within(seconds, where, f, ...)
  if seconds then
    return name_timeout(where, seconds, pcall(timeout.with_timeout, seconds, f, ...))
  end
  return f(...)
end

--- Connects to a TCP server. Awaits: it resolves the host without blocking the loop, and tries its
-- addresses as RFC 8305 says.
-- @function open_connection
-- @tparam string host a name or a numeric address
-- @tparam integer port
-- @tparam[opt] table opts `tls` (true or a context), `server_name` (what the certificate must be
-- for; the host unless given), `local_addr` ({host, port}), `timeout` (seconds for resolving,
-- connecting and the handshake together), `limit` (of reads up to a separator, 64 KiB), `nodelay`
-- (true)
-- @treturn stream
-- @raise OSError naming host and port; its `code` is "EAI_..." where the name has no address, and
-- of several attempts that of the most telling one, with all in `errors`; TLSError; TimeoutError;
-- ValueError for a port out of range, and for a `server_name` that is no host name or comes without
-- `tls`; CancelledError, with everything closed
function connection.open_connection(host, port, opts)
  endpoint.check_host(host, 1, "open_connection")
  port = endpoint.check_port(port, "bad argument #2 to 'open_connection' (", 2)
  opts = endpoint.check_options(opts, 3, "open_connection", OPTIONS)
  local own_host, own_port
  if opts.local_addr ~= nil then
    own_host, own_port = endpoint.check_pair(opts.local_addr,
      endpoint.bad_option(3, "open_connection", "local_addr"), 2)
  end
  local context = endpoint.check_tls(opts, 3, "open_connection")
  if opts.server_name then
    check_name(context, opts.server_name)
  end
  return within(opts.timeout, endpoint.text(host, port), establish, host, port, opts, context,
    own_host, own_port)
end

-- NB: a Unix socket whose backlog is full says so at once, and there is nothing to wait for.
local function connect_path(socket, path)
  local delay = FIRST_RETRY
  while true do
    local ok, err = pcall(socket.connect, socket, path)
    if ok then
      return
    elseif not errors.OSError:is(err) or err.code ~= "EAGAIN" then
      error(err, 0)
    end
    core.sleep(delay)
    delay = math.min(2 * delay, LAST_RETRY)
  end
end

local function establish_unix(path, opts, context)
  local socket = core.socket("unix", "stream")
  local ok, err = pcall(connect_path, socket, path)
  if not ok then
    socket:close()
    error(err, 0)
  end
  local stream = stream_of(socket, opts, path)
  if context then
    endpoint.secure(stream, context, {server_name = opts.server_name}, path)
  end
  return stream
end

--- Connects to a Unix socket. Awaits with `tls`, and while the server's backlog is full.
-- @function open_unix_connection
-- @tparam string path one that begins with "\0" is of Linux's abstract namespace
-- @tparam[opt] table opts `tls`, `server_name`, `timeout`, `limit` as for `open_connection`;
-- `nodelay` means nothing here
-- @treturn stream
-- @raise OSError naming the path: ENOENT, ECONNREFUSED where nobody listens any more, ENAMETOOLONG;
-- ValueError for `tls` without a `server_name` to verify and for a `server_name` without `tls`;
-- TLSError; TimeoutError; CancelledError
function connection.open_unix_connection(path, opts)
  check.type(path, "string", 1, "open_unix_connection")
  opts = endpoint.check_options(opts, 2, "open_unix_connection", UNIX_OPTIONS)
  local context = endpoint.check_tls(opts, 2, "open_unix_connection")
  check_name(context, opts.server_name)
  return within(opts.timeout, path, establish_unix, path, opts, context)
end

return connection
