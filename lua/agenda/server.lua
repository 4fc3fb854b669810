--- Servers: `start_server`, `start_unix_server`.
--
--     SERVING <--> PAUSED (too many connections, or no descriptor left)
--        '------close()-------> CLOSED --the last handler ends--> who waits in wait_closed goes on
--
-- The loop watches the listening sockets, no task does. A connection's handler is a task, which
-- owns the stream; it leaves the server's table when it is done, however that came.
-- @module agenda.server

local core = require "agenda.core"
local check = require "agenda.check"
local endpoint = require "agenda.endpoint"
local timeout = require "agenda.timeout"
local waiters = require "agenda.waiters"

local errors, spawn = core.errors, core.spawn
local OSError, RuntimeError = errors.OSError, errors.RuntimeError

local BACKLOG = 100          -- as in asyncio
local BATCH = 64             -- connections that are accepted in a row
local RETRY_DELAY = 0.1      -- seconds, when there is no descriptor to be had
local HANDSHAKE_TIMEOUT = 60 -- seconds, as in asyncio
local CLOSING_TIMEOUT = 1    -- for handshakes when the server is closed
local PORT_ATTEMPTS = 16     -- at a port that is free for IPv4 and IPv6

local OPTIONS = {
  backlog = "number", reuseport = "boolean", tls = "any", limit = "number",
  max_connections = "number",
}

local Server = {}
Server.__index = Server
Server.__name = "agenda.server"
Server.__agenda_type = "server"

function Server:__tostring()
  local closed = self._closed or self._loop:is_closed()
  return ("<server %s %s at %p>"):format(closed and "closed" or "serving", self._text, self)
end

-- ----- a connection --------------------------------------------------------------------------

-- The message handler of a connection's handler: the error with its trace, unless it is one of
-- control flow.
local function with_trace(err)
  if errors.BaseError:is(err) and not errors.Error:is(err) then
    return err
  end
  if err == nil then
    err = RuntimeError("nil error")
  end
  return {failure = err, traceback = core.traceback(err):sub(#tostring(err) + 2)}
end

local function report(self, message, stream, failure)
  self._loop:call_exception_handler {
    message = message, exception = failure.failure, traceback = failure.traceback,
    task = core.current_task(), server = self, stream = stream,
  }
end

local function begin_tls(self, stream)
  local scope <close> = timeout.timeout(self._closed and CLOSING_TIMEOUT or HANDSHAKE_TIMEOUT)
  self._handshakes[stream] = scope
  endpoint.secure(stream, self._tls, {server_side = true}, "a client of " .. self._text)
end

-- Whether the stream speaks TLS now. NB: anybody can make a handshake fail; so this is reported in
-- debug mode only.
local function handshake(self, stream)
  local ok, err = pcall(begin_tls, self, stream)
  self._handshakes[stream] = nil
  if ok then
    return true
  end
  stream:abort()
  if not errors.Error:is(err) then
    error(err, 0)
  end
  if self._loop:get_debug() then
    self._loop:call_exception_handler {
      message = "a TLS handshake failed", exception = err, server = self, stream = stream,
    }
  end
  return false
end

-- Whether a handler has failed because the server closed its stream.
local function is_dismissal(self, stream, err)
  return self._dismissed[stream] and (OSError:is(err) or RuntimeError:is(err))
end

-- Runs the handler and sends what it has left unsent. Raises a cancellation and its like alone.
local function converse(self, stream)
  if self._tls and not handshake(self, stream) then
    return
  end
  local ok, failure = xpcall(self._handler, with_trace, stream)
  if not ok then
    if errors.BaseError:is(failure) then
      error(failure, 0)
    elseif not is_dismissal(self, stream, failure.failure) then
      report(self, "unhandled error in the handler of a connection", stream, failure)
    end
  end
  stream:close()
  local err
  ok, err = pcall(stream.wait_closed, stream)
  if not ok and not errors.Error:is(err) then -- a peer that has gone is no failure of the handler's
    error(err, 0)
  end
end

-- ----- accepting -----------------------------------------------------------------------------

local accept_ready

local function listen(self)
  if not self._listening and not self._closed then
    self._listening = true
    for _, socket in ipairs(self._sockets) do
      self._loop:add_reader(socket:fileno(), accept_ready, self, socket)
    end
  end
end

local function pause(self)
  if self._listening then
    self._listening = false
    if self._loop:is_closed() then
      return -- which has closed the sockets
    end
    for _, socket in ipairs(self._sockets) do
      self._loop:remove_reader(socket:fileno())
    end
  end
end

local function resume(self)
  if self._retry then
    self._retry:cancel()
    self._retry = nil
  end
  if self._count < self._max then
    listen(self)
  end
end

-- Nothing can be accepted now; the clients wait in the backlog meanwhile.
local function accept_failed(self, err)
  pause(self)
  if not self._retry then
    self._retry = self._loop:call_later(RETRY_DELAY, resume, self)
  end
  if not self._starved then
    self._starved = true
    self._loop:call_exception_handler {
      message = "a server cannot accept connections now and tries again", exception = err,
      server = self,
    }
  end
end

local function wake_if_done(self)
  if self._closed and self._count == 0 then
    while waiters.wake(self._waiters) do end
  end
end

-- A connection ends. Does nothing the second time.
local function leave(self, task)
  local stream = self._streams[task]
  if not stream then
    return
  end
  self._streams[task] = nil
  self._count = self._count - 1
  stream:abort()
  if self._closed then
    wake_if_done(self)
  elseif not self._listening then
    resume(self)
  end
end

-- The task of a connection.
local function serve(self, stream)
  local ok, err = pcall(converse, self, stream)
  leave(self, core.current_task())
  if not ok then
    error(err, 0)
  end
end

-- NB: a task that is cancelled before its first step never runs; hence the callback.
local function start(self, stream)
  local task = spawn(serve, self, stream)
  self._streams[task] = stream
  self._count = self._count + 1
  task:add_done_callback(self._on_done)
end

-- NB: nothing is allocated before the descriptor is the stream's.
local function begin(self, fd, peername, sockname)
  local options = self._stream_options
  options.peername, options.sockname = peername, sockname
  local stream = core.stream(fd, options)
  local ok, err = pcall(start, self, stream)
  if not ok then
    stream:abort()
    error(err, 0)
  end
end

-- The callback of a listening socket.
function accept_ready(self, socket)
  for _ = 1, BATCH do
    if self._count >= self._max then
      return pause(self)
    end
    local ok, fd, peername, sockname = pcall(socket.accept, socket, self._every)
    if not ok then
      if not OSError:is(fd) then
        error(fd, 0)
      end
      return accept_failed(self, fd)
    elseif not fd then
      self._starved = false
      return
    end
    begin(self, fd, peername, sockname or self._sockname)
  end
end

-- ----- methods -------------------------------------------------------------------------------

--- The listening sockets, with the methods `sockname` and `fileno`; none when it is closed.
-- @function server:sockets
-- @treturn {socket,...} a new list
function Server:sockets()
  check.self(self, Server, "sockets")
  return self._loop:is_closed() and {} or {table.unpack(self._sockets)}
end

--- Where it listens, or did before it was closed; with several sockets, of the first.
-- @function server:address
-- @treturn string host; the path of a Unix socket
-- @treturn ?integer port
function Server:address()
  check.self(self, Server, "address")
  return self._host, self._port
end

--- How many connections have a handler that has not ended.
-- @function server:connections
-- @treturn integer
function Server:connections()
  check.self(self, Server, "connections")
  return self._count
end

--- Stops listening and leaves live connections alone; removes the path of a Unix socket. Does not
-- wait; does nothing when it is closed.
-- @function server:close
function Server:close()
  check.self(self, Server, "close")
  if self._closed then
    return
  end
  pause(self)
  self._closed = true
  if self._retry then
    self._retry:cancel()
    self._retry = nil
  end
  if self._identity and core.socket_identity(self._path) == self._identity then
    os.remove(self._path)
  end
  for _, socket in ipairs(self._sockets) do
    socket:close()
  end
  self._sockets = {}
  for _, scope in pairs(self._handshakes) do
    if not scope:expired() then
      scope:reschedule(math.min(scope:when(), self._loop:time() + CLOSING_TIMEOUT))
    end
  end
  if self._forever and not self._forever:done() then
    self._forever:set_result()
  end
  wake_if_done(self)
end

--- Waits until the server is closed and all handlers have ended. Awaits. As in asyncio 3.12.
-- @function server:wait_closed
-- @raise CancelledError
function Server:wait_closed()
  check.self(self, Server, "wait_closed")
  if self._closed and self._count == 0 then
    return
  end
  local _, ok, err = waiters.wait(self._waiters)
  if not ok then
    error(err, 0)
  end
end

--- Closes the streams of all connections: what is unsent is sent, and handlers that read get an
-- error, of which nothing is reported. Does not wait. As in asyncio 3.13.
-- @function server:close_clients
function Server:close_clients()
  check.self(self, Server, "close_clients")
  for _, stream in pairs(self._streams) do
    self._dismissed[stream] = true
    stream:close()
  end
end

--- Discards the connections: nothing more is sent, and handlers that read or write get an error.
-- As in asyncio 3.13.
-- @function server:abort_clients
function Server:abort_clients()
  check.self(self, Server, "abort_clients")
  for _, stream in pairs(self._streams) do
    self._dismissed[stream] = true
    stream:abort()
  end
end

--- Waits until somebody closes the server; it serves without this, too. Awaits. Cancelled, it
-- closes the server, which leaves live connections to their handlers.
-- @function server:serve_forever
-- @raise RuntimeError when another task does this, and on a closed server; CancelledError
function Server:serve_forever()
  check.self(self, Server, "serve_forever")
  if self._closed then
    error(RuntimeError(("%s is closed"):format(tostring(self))), 0)
  elseif self._forever then
    error(RuntimeError(("%s is already being awaited on serve_forever()")
      :format(tostring(self))), 0)
  end
  self._forever = self._loop:create_future()
  local ok, err = pcall(core.await, self._forever)
  self._forever = nil
  if not ok then
    self:close()
    error(err, 0)
  end
end

local function cancel_handlers(self)
  local tasks = {}
  for task in pairs(self._streams) do
    tasks[#tasks + 1] = task
  end
  for _, task in ipairs(tasks) do
    task:cancel()
  end
end

-- The end of a block. A cancellation while it waits for the handlers cancels them, too.
function Server:__close(err)
  self:close()
  if err ~= nil then
    cancel_handlers(self)
  end
  local ok, cancelled = pcall(self.wait_closed, self)
  if not ok then
    cancel_handlers(self)
    self:wait_closed()
    error(cancelled, 0)
  end
end

-- ----- listening -----------------------------------------------------------------------------

local function close_all(sockets)
  for _, socket in ipairs(sockets) do
    socket:close()
  end
end

-- A listening socket. The IPv6 one beside it of a server for every interface is left out where the
-- system has no IPv6.
local function open_socket(found, port, opts)
  local socket = core.socket(found.family, "stream")
  local ok, err = pcall(function()
    socket:set("reuseaddr", true)
    if opts.reuseport then
      socket:set("reuseport", true)
    end
    if found.family == "inet6" then
      socket:set("v6only", true)
    end
    socket:set("nodelay", true) -- what is accepted has it from here
    socket:bind(found.addr, port)
    socket:listen(opts.backlog or BACKLOG)
  end)
  if not ok then
    socket:close()
    error(err, 0)
  end
  return socket
end

local MISSING = {EAFNOSUPPORT = true, EADDRNOTAVAIL = true}

-- Sockets for all addresses at one port, which is chosen with the first if it is 0. Gives nil and
-- the error if that fails.
local function open_at(addresses, port, opts)
  local sockets, missing = {}, nil
  for _, found in ipairs(addresses) do
    local ok, socket = pcall(open_socket, found, port, opts)
    if ok then
      sockets[#sockets + 1] = socket
      if port == 0 then
        port = select(2, socket:sockname())
      end
    elseif #addresses > 1 and OSError:is(socket) and MISSING[socket.code] then
      missing = missing or socket
    else
      close_all(sockets)
      return nil, socket
    end
  end
  if #sockets == 0 then
    return nil, missing
  end
  return sockets
end

local function open_sockets(addresses, port, opts)
  local attempts = port == 0 and #addresses > 1 and PORT_ATTEMPTS or 1
  for i = 1, attempts do
    local sockets, err = open_at(addresses, port, opts)
    if sockets then
      return sockets
    elseif i == attempts or not OSError:is(err) or err.code ~= "EADDRINUSE" then
      error(err, 0)
    end
  end
end

-- Whether somebody listens at the path of a Unix socket.
local function is_alive(path)
  local socket <close> = core.socket("unix", "stream")
  local ok, err = pcall(socket.connect, socket, path)
  return ok or err.code ~= "ECONNREFUSED"
end

-- NB: to connect is refused at a plain file, too.
local function bind_path(socket, path)
  local ok, err = pcall(socket.bind, socket, path)
  if ok then
    return
  elseif not OSError:is(err) or err.code ~= "EADDRINUSE" or path:sub(1, 1) == "\0"
      or not core.socket_identity(path) or is_alive(path) then
    error(err, 0)
  end
  os.remove(path)
  socket:bind(path)
end

local function open_unix_socket(path, opts)
  local socket = core.socket("unix", "stream")
  local ok, err = pcall(function()
    bind_path(socket, path)
    socket:listen(opts.backlog or BACKLOG)
  end)
  if not ok then
    socket:close()
    error(err, 0)
  end
  return socket
end

-- The addresses of a host, or of a list of them, each once.
local function addresses_of(host, port)
  if type(host) ~= "table" then
    return endpoint.resolve_local(host, port, {type = "stream"})
  end
  local list, seen = {}, {}
  for _, name in ipairs(host) do
    for _, found in ipairs(endpoint.resolve_local(name, port, {type = "stream"})) do
      if not seen[found.addr] then
        seen[found.addr] = true
        list[#list + 1] = found
      end
    end
  end
  return list
end

-- ----- the public functions ------------------------------------------------------------------

local function check_hosts(list)
  if #list == 0 then
    error(errors.ValueError("start_server: the list of hosts is empty"), 0)
  end
  for _, host in ipairs(list) do
    endpoint.check_host(host, 2, "start_server", 3)
  end
end

-- A coroutine function gives something to await.
local function plain(handler)
  if core.function_type(handler) ~= "coroutine" then
    return handler
  end
  return function(stream)
    return core.await(handler(stream))
  end
end

local function new(handler, sockets, opts, context)
  local self = setmetatable({
    _loop = core.get_running_loop(), _handler = plain(handler), _sockets = sockets, _streams = {},
    _dismissed = setmetatable({}, {__mode = "k"}), -- those that close_clients closed
    _count = 0, _max = opts.max_connections or math.huge,
    _stream_options = {
      readable = true, writable = true, limit = opts.limit, peername = "", sockname = "",
    },
    _tls = context, _handshakes = {}, _closed = false, _listening = false, _starved = false,
  }, Server)
  self._waiters = {owner = self}
  self._on_done = function(task) leave(self, task) end
  self._host, self._port = sockets[1]:sockname()
  self._sockname = self._port and {self._host, self._port} or self._host
  -- Connections come to one address of ours, or to several.
  self._every = #sockets > 1 or self._host == "0.0.0.0" or self._host == "::"
  self._text = self._port and endpoint.text(self._host, self._port) or self._host
  return self
end

local server = {}

--- A TCP server, which serves from the next turn on. `handler(stream)` runs as a task for each
-- connection; when it ends, its stream is closed. An error in it is reported through the exception
-- handler. Awaits only where the host is a name. SO_REUSEADDR is set. As in asyncio.
-- @function start_server
-- @tparam function handler
-- @tparam ?string|{string,...} host nil: every interface, IPv4 and IPv6; or a list of hosts
-- @tparam integer port 0: one that is free, the same for all interfaces
-- @tparam[opt] table opts `backlog` (100), `reuseport`, `tls` (a context), `limit` (of the
-- streams), `max_connections`: the rest wait in the backlog
-- @treturn server with the methods `sockets`, `address`, `close`, `wait_closed`, `serve_forever`,
-- `connections`, `close_clients`, `abort_clients`. At the end of a block, `<close>` closes it and
-- waits for the handlers, which an error cancels
-- @raise OSError: EADDRINUSE, EADDRNOTAVAIL, EACCES; ValueError for a port out of range;
-- RuntimeError "no running event loop"
function server.start_server(handler, host, port, opts)
  check.callable(handler, 1, "start_server")
  if type(host) == "table" then
    check_hosts(host)
  elseif host ~= nil then
    endpoint.check_host(host, 2, "start_server")
  end
  port = endpoint.check_port(port, "bad argument #3 to 'start_server' (", 2)
  opts = endpoint.check_options(opts, 4, "start_server", OPTIONS)
  local context = endpoint.check_tls(opts, 4, "start_server", true)
  core.get_running_loop()
  local self = new(handler, open_sockets(addresses_of(host, port), port, opts), opts, context)
  listen(self)
  return self
end

--- The same at a Unix socket. A socket at the path where nobody listens any more is replaced, and
-- `close()` removes the path.
-- @function start_unix_server
-- @tparam function handler
-- @tparam string path one that begins with "\0" is of Linux's abstract namespace
-- @tparam[opt] table opts `backlog`, `tls`, `limit`, `max_connections` as for `start_server`;
-- `reuseport` means nothing here
-- @treturn server
-- @raise OSError: EADDRINUSE where something else is at the path, ENAMETOOLONG, ENOENT, EACCES;
-- RuntimeError "no running event loop"
function server.start_unix_server(handler, path, opts)
  check.callable(handler, 1, "start_unix_server")
  check.type(path, "string", 2, "start_unix_server")
  opts = endpoint.check_options(opts, 3, "start_unix_server", OPTIONS)
  local context = endpoint.check_tls(opts, 3, "start_unix_server", true)
  core.get_running_loop()
  local self = new(handler, {open_unix_socket(path, opts)}, opts, context)
  self._path = path
  self._identity = core.socket_identity(path)
  listen(self)
  return self
end

return server
