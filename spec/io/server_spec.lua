local agenda = require "agenda"
local core = require "agenda.core"
local loopkit = require "spec.support.loopkit"
local netkit = require "spec.support.netkit"
local sweep = require "spec.support.sweep"
local errors, fails = agenda.errors, loopkit.fails
local fails_with, echoes = netkit.fails_with, netkit.echoes

local function connect(port)
  return agenda.open_connection("127.0.0.1", port)
end

-- A server whose handlers do f(stream), and its port.
local function serving(f, opts)
  local server = agenda.start_server(f, "127.0.0.1", 0, opts)
  return server, select(2, server:address())
end

describe("agenda.start_server", function()
  it("runs the handler as a task for each connection", function()
    agenda.run(function()
      local tasks = {}
      local server <close>, port = serving(function(stream)
        tasks[#tasks + 1] = agenda.current_task()
        netkit.echo(stream)
      end)
      local a <close> = connect(port)
      local b <close> = connect(port)
      echoes(b, "b")
      echoes(a, "a")
      assert.equal(2, server:connections())
      assert.equal("task", agenda.type(tasks[1]))
      assert.not_equal(tasks[1], tasks[2])
    end)
  end)

  it("closes the stream when the handler ends, after all is sent", function()
    agenda.run(function()
      local text = ("x"):rep(1000000)
      local server <close>, port = serving(function(stream) stream:write(text) end)
      local stream <close> = connect(port)
      assert.equal(#text, #stream:read("a"))
      netkit.eventually(function() return server:connections() == 0 end)
    end)
  end)

  it("gives handlers the addresses of both ends", function()
    agenda.run(function()
      local peer, own
      local _ <close>, port = serving(function(stream)
        peer, own = {stream:peername()}, {stream:sockname()}
      end)
      local stream <close> = connect(port)
      stream:read("a")
      assert.same({stream:sockname()}, peer)
      assert.same({"127.0.0.1", port}, own)
    end)
  end)

  it("passes the limit on", function()
    agenda.run(function()
      local err
      local _ <close>, port = serving(function(stream)
        err = select(2, pcall(stream.readline, stream))
      end, {limit = 16})
      local stream <close> = connect(port)
      stream:write(("x"):rep(40), "\n")
      stream:read("a")
      assert.is_true(errors.LimitOverrunError:is(err))
    end)
  end)

  it("takes objects that can be called as handlers", function()
    agenda.run(function()
      local _ <close>, port =
        serving(setmetatable({}, {__call = function(_, stream) netkit.echo(stream) end}))
      local stream <close> = connect(port)
      echoes(stream, "hello")
    end)
  end)

  it("takes coroutine functions as handlers", function()
    agenda.run(function()
      local _ <close>, port = serving(agenda.async(netkit.echo))
      local stream <close> = connect(port)
      echoes(stream, "hello")
    end)
  end)

  it("is on every interface, at one port, when the host is nil", function()
    agenda.run(function()
      local server <close> = agenda.start_server(netkit.echo, nil, 0)
      local sockets = server:sockets()
      assert.equal(2, #sockets)
      local _, port = server:address()
      assert.same({"0.0.0.0", port}, {sockets[1]:sockname()})
      assert.same({"::", port}, {sockets[2]:sockname()})
      for _, host in ipairs {"127.0.0.1", "127.0.0.2", "::1"} do
        local stream <close> = agenda.open_connection(host, port)
        echoes(stream, "hello")
      end
    end)
  end)

  it("is on each of a list of hosts, at one port", function()
    agenda.run(function()
      local server <close> =
        agenda.start_server(netkit.echo, {"127.0.0.1", "127.0.0.2", "::1", "127.0.0.1"}, 0)
      local _, port = server:address()
      local names = {}
      for i, socket in ipairs(server:sockets()) do names[i] = {socket:sockname()} end
      assert.same({{"127.0.0.1", port}, {"127.0.0.2", port}, {"::1", port}}, names)
      for _, name in ipairs(names) do
        local stream <close> = agenda.open_connection(name[1], port)
        echoes(stream, "hello")
      end
      fails_with("ECONNREFUSED", agenda.open_connection, "127.0.0.3", port)
    end)
  end)

  it("gives handlers the address that was connected to", function()
    agenda.run(function()
      local own
      local server <close> = agenda.start_server(function(stream)
        own = {stream:sockname()}
      end, nil, 0)
      local _, port = server:address()
      for _, host in ipairs {"127.0.0.2", "::1"} do
        local stream <close> = agenda.open_connection(host, port)
        stream:read("a")
        assert.same({host, port}, own)
      end
    end)
  end)

  it("resolves names", function()
    agenda.run(function()
      local server <close> = agenda.start_server(netkit.echo, "localhost", 0)
      local stream <close> = agenda.open_connection("localhost", select(2, server:address()))
      echoes(stream, "hello")
      for _, socket in ipairs(server:sockets()) do
        assert.equal(select(2, server:address()), select(2, socket:sockname()))
      end
    end)
  end)

  it("gives its tasks the context of who started it", function()
    agenda.run(function()
      local var, seen = agenda.contextvar("spec", "none"), nil
      var:set("mine")
      local _ <close>, port = serving(function() seen = var:get() end)
      var:set("later")
      local stream <close> = connect(port)
      stream:read("a")
      assert.equal("mine", seen)
    end)
  end)

  it("frees its port for the next server at once", function()
    agenda.run(function()
      local server, port = netkit.echo_server()
      local stream = connect(port)
      echoes(stream, "x")
      server:close()
      server:close_clients()
      server:wait_closed()
      stream:close()
      local again <close> = agenda.start_server(netkit.echo, "127.0.0.1", port)
      assert.same({"127.0.0.1", port}, {again:address()})
    end)
  end)

  it("shares its port with reuseport", function()
    agenda.run(function()
      local a <close>, port = serving(netkit.echo, {reuseport = true})
      local b <close> = agenda.start_server(netkit.echo, "127.0.0.1", port, {reuseport = true})
      assert.same({a:address()}, {b:address()})
      fails_with("EADDRINUSE", agenda.start_server, netkit.echo, "127.0.0.1", port)
    end)
  end)

  it("raises EADDRINUSE and EADDRNOTAVAIL, naming the address", function()
    agenda.run(function()
      local _ <close>, port = netkit.echo_server()
      local err = fails_with("EADDRINUSE", agenda.start_server, netkit.echo, "127.0.0.1", port)
      assert.truthy(err.message:find("127.0.0.1:" .. port, 1, true))
      err = fails_with("EADDRNOTAVAIL", agenda.start_server, netkit.echo, "192.0.2.1", 0)
      assert.truthy(err.message:find("192.0.2.1:0", 1, true))
      err = fails(errors.OSError, agenda.start_server, netkit.echo, "no.such.host.invalid", 0)
      assert.equal("getaddrinfo", err.syscall)
    end)
  end)

  it("refuses wrong arguments", function()
    agenda.run(function()
      local start = agenda.start_server
      loopkit.bad_argument(1, "start_server", function() start(nil, "127.0.0.1", 0) end)
      loopkit.bad_argument(2, "start_server", function() start(print, 5, 0) end)
      loopkit.bad_argument(2, "start_server", function() start(print, {"::1", 5}, 0) end)
      fails(errors.ValueError, start, print, {}, 0)
      loopkit.bad_argument(3, "start_server", function() start(print, "127.0.0.1") end)
      loopkit.bad_argument(3, "start_server", function() start(print, "127.0.0.1", "x") end)
      loopkit.bad_argument(4, "start_server", function() start(print, "127.0.0.1", 0, 5) end)
      fails(errors.ValueError, start, print, "127.0.0.1", 65536)
      fails(errors.ValueError, start, print, "127.0.0.1", -1)
      fails(errors.ValueError, start, print, "127.0.0.1", 0, {limit = -1})
      fails(errors.ValueError, start, print, "127.0.0.1", 0, {max_connections = 0})
      fails(errors.ValueError, start, print, "127.0.0.1", 0, {backlog = -1})
    end)
  end)

  it("needs a running loop", function()
    fails(errors.RuntimeError, agenda.start_server, print, "127.0.0.1", 0)
  end)
end)

describe("the handler of a connection", function()
  it("has its stream closed after an error too, when all is sent", function()
    local contexts = loopkit.reports(function()
      local text = ("x"):rep(1000000)
      local _ <close>, port = serving(function(stream)
        stream:write(text)
        error "broken"
      end)
      local stream <close> = connect(port)
      assert.equal(#text, #stream:read("a"))
    end)
    assert.equal(1, #contexts)
  end)

  it("has its error reported once, with its trace", function()
    local contexts = loopkit.reports(function()
      local server <close>, port = serving(function() error "broken" end)
      local stream <close> = connect(port)
      pcall(stream.read, stream)
      netkit.eventually(function() return server:connections() == 0 end)
    end)
    assert.equal(1, #contexts)
    assert.truthy(contexts[1].exception:find("broken", 1, true))
    assert.equal("unhandled error in the handler of a connection", contexts[1].message)
    assert.truthy(contexts[1].traceback:find("server_spec.lua", 1, true))
    assert.equal("task", agenda.type(contexts[1].task))
    assert.equal("server", agenda.type(contexts[1].server))
  end)

  it("may fail with any value, nil among them", function()
    local contexts = loopkit.reports(function()
      local values = {errors.ValueError("v"), {}, "text"}
      local server <close>, port = serving(function() error(table.remove(values)) end)
      for _ = 1, 4 do
        local stream <close> = connect(port)
        pcall(stream.read, stream)
      end
      netkit.eventually(function() return server:connections() == 0 end)
    end)
    assert.equal(4, #contexts)
    assert.is_true(errors.RuntimeError:is(contexts[4].exception))
  end)

  it("is not reported when it is cancelled", function()
    local contexts = loopkit.reports(function()
      local task
      local server <close>, port = serving(function(stream)
        task = agenda.current_task()
        stream:read()
      end)
      local stream <close> = connect(port)
      netkit.eventually(function() return task end)
      task:cancel()
      pcall(stream.read, stream)
      netkit.eventually(function() return server:connections() == 0 end)
      assert.is_true(task:cancelled())
    end)
    assert.same({}, contexts)
  end)

  it("is cancelled before its first step without a trace", function()
    local contexts = loopkit.reports(function()
      local ran = false
      local server <close>, port = serving(function() ran = true end)
      local stream <close> = connect(port)
      for _ = 1, 50 do
        for _, task in ipairs(agenda.all_tasks()) do
          if task ~= agenda.current_task() then task:cancel() end
        end
        if server:connections() > 0 then break end
        agenda.sleep(0)
      end
      pcall(stream.read, stream)
      netkit.eventually(function() return server:connections() == 0 end)
      assert.is_false(ran)
    end)
    assert.same({}, contexts)
  end)

  it("does not make a failure of a peer that has gone", function()
    local contexts = loopkit.reports(function()
      local server <close>, port = serving(function(stream)
        stream:write(("x"):rep(60000))
        agenda.sleep(0.01)
      end)
      connect(port):abort()
      netkit.eventually(function() return server:connections() == 0 end)
    end)
    assert.same({}, contexts)
  end)
end)

describe("max_connections", function()
  it("lets the rest wait in the backlog", function()
    agenda.run(function()
      local server <close>, port = serving(netkit.echo, {max_connections = 2})
      local a <close> = connect(port)
      local b <close> = connect(port)
      echoes(a, "a")
      echoes(b, "b")
      local c <close> = connect(port)
      c:write("c\n")
      agenda.sleep(0.02)
      assert.equal(2, server:connections())
      a:close()
      assert.equal("c", c:readline())
      assert.equal(2, server:connections())
    end)
  end)

  it("is never exceeded, and nobody is left out", function()
    agenda.run(function()
      local live, most = 0, 0
      local _ <close>, port = serving(function(stream)
        live = live + 1
        most = math.max(most, live)
        netkit.echo(stream)
        live = live - 1
      end, {max_connections = 3})
      local served = 0
      agenda.with_taskgroup(function(tg)
        for i = 1, 30 do
          tg:spawn(function()
            local stream <close> = connect(port)
            echoes(stream, tostring(i))
            served = served + 1
          end)
        end
      end)
      assert.equal(30, served)
      assert.equal(3, most)
    end)
  end)
end)

describe("a server without descriptors", function()
  it("tries again, says so once, and resets no client #slow", function()
    local code = [[
      package.path = "./?.lua;" .. package.path
      local agenda = require "agenda"
      agenda.run(function()
        local loop, reports, turns = agenda.get_running_loop(), 0, 0
        loop:set_exception_handler(function(_, context)
          reports = reports + 1
          assert(context.exception.code == "EMFILE", tostring(context.exception))
        end)
        local server <close> = agenda.start_server(function(s)
          for line in s:lines() do s:write(line, "\n") end
        end, "127.0.0.1", 0)
        local _, port = server:address()
        local a = agenda.open_connection("127.0.0.1", port)
        a:write("hello\n")
        assert(a:readline() == "hello")
        local files = {}
        repeat
          local file = io.open("/dev/null")
          files[#files + 1] = file
        until not file
        table.remove(files):close() -- one for the client's socket
        local b = agenda.open_connection("127.0.0.1", port)
        b:write("hello\n")
        local cpu = os.clock()
        agenda.sleep(0.3)
        assert(os.clock() - cpu < 0.15, "it loops")
        assert(server:connections() == 1 and reports == 1, reports)
        for _, file in ipairs(files) do file:close() end
        assert(b:readline() == "hello")
        a:write("still\n")
        assert(a:readline() == "still")
        a:close() b:close()
        print("served", server:connections(), reports)
      end)
    ]]
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(code)
    file:close()
    local pipe <close> = assert(io.popen("ulimit -n 48; timeout 20 lua5.4 " .. path .. " 2>&1"))
    local output = pipe:read("a")
    os.remove(path)
    assert.truthy(output:find("^served\t%d\t1\n$"), output)
  end)
end)

describe("a server's", function()
  describe("close", function()
    it("stops listening and leaves live connections alone", function()
      agenda.run(function()
        local server <close>, port = netkit.echo_server()
        local stream <close> = connect(port)
        echoes(stream, "before")
        server:close()
        server:close()
        assert.same({}, server:sockets())
        fails_with("ECONNREFUSED", connect, port)
        echoes(stream, "after")
        assert.same({"127.0.0.1", port}, {server:address()})
        assert.truthy(tostring(server):find("^<server closed 127.0.0.1:" .. port .. " at 0x"))
      end)
    end)

    it("does nothing when the loop has been closed", function()
      local server
      agenda.run(function() server = netkit.echo_server() end)
      assert.same({}, server:sockets())
      assert.truthy(tostring(server):find("^<server closed "))
      server:close()
      server:close()
    end)

    it("may be called by a handler", function()
      agenda.run(function()
        local server, port
        server, port = serving(function(stream)
          server:close()
          stream:write("bye")
        end)
        local stream <close> = connect(port)
        assert.equal("bye", stream:read("a"))
        server:wait_closed()
      end)
    end)
  end)

  describe("wait_closed", function()
    it("waits for close and for the handlers", function()
      agenda.run(function()
        local server, port = netkit.echo_server()
        local stream = connect(port)
        echoes(stream, "x")
        local first, second = agenda.spawn(server.wait_closed, server),
          agenda.spawn(server.wait_closed, server)
        loopkit.turns(5)
        server:close()
        loopkit.turns(5)
        assert.is_false(first:done())
        stream:close()
        agenda.await(first)
        agenda.await(second)
        assert.equal(0, server:connections())
        server:wait_closed()
      end)
    end)

    it("can be cancelled and called again", function()
      agenda.run(function()
        local server <close> = netkit.echo_server()
        local task = agenda.spawn(server.wait_closed, server)
        loopkit.turns(2)
        task:cancel()
        fails(errors.CancelledError, agenda.await, task)
        server:close()
        server:wait_closed()
      end)
    end)
  end)

  describe("close_clients", function()
    it("makes no failure of a handler whose stream it has closed", function()
      local contexts = loopkit.reports(function()
        for _, close in ipairs {"close_clients", "abort_clients"} do
          local server, port = netkit.echo_server()
          local stream <close> = connect(port)
          echoes(stream, "x")
          server:close()
          server[close](server)
          server:wait_closed()
        end
      end)
      assert.same({}, contexts)
    end)

    it("sends what is unsent and closes", function()
      agenda.run(function()
        local server, port = serving(function(stream)
          stream:write("last words")
          pcall(stream.read, stream)
        end)
        local stream <close> = connect(port)
        netkit.eventually(function() return server:connections() == 1 end)
        loopkit.turns(3)
        server:close()
        server:close_clients()
        assert.equal("last words", stream:read("a"))
        server:wait_closed()
      end)
    end)
  end)

  describe("abort_clients", function()
    it("ends handlers that wait at once", function()
      agenda.run(function()
        local failed
        local server, port = serving(function(stream)
          local ok
          ok, failed = pcall(stream.read, stream)
          assert(not ok)
        end)
        local stream <close> = connect(port)
        netkit.eventually(function() return server:connections() == 1 end)
        loopkit.turns(3)
        server:close()
        server:abort_clients()
        server:wait_closed()
        assert.is_true(errors.Error:is(failed))
        pcall(stream.read, stream)
      end)
    end)
  end)

  describe("serve_forever", function()
    it("ends when the server is closed", function()
      agenda.run(function()
        local server, port = netkit.echo_server()
        local task = agenda.spawn(server.serve_forever, server)
        local stream <close> = connect(port)
        echoes(stream, "x")
        assert.is_false(task:done())
        server:close()
        agenda.await(task)
      end)
    end)

    it("closes the server when it is cancelled", function()
      agenda.run(function()
        local server = netkit.echo_server()
        local task = agenda.spawn(server.serve_forever, server)
        loopkit.turns(2)
        task:cancel()
        fails(errors.CancelledError, agenda.await, task)
        assert.same({}, server:sockets())
      end)
    end)

    it("is refused twice at a time, and on a closed server", function()
      agenda.run(function()
        local server = netkit.echo_server()
        local task = agenda.spawn(server.serve_forever, server)
        loopkit.turns(2)
        fails(errors.RuntimeError, server.serve_forever, server)
        server:close()
        agenda.await(task)
        fails(errors.RuntimeError, server.serve_forever, server)
      end)
    end)
  end)

  describe("<close>", function()
    it("waits for the handlers at the end of the block", function()
      agenda.run(function()
        local ended = false
        local stream
        do
          local _ <close>, port = serving(function(s)
            s:write("x")
            agenda.sleep(0.02)
            ended = true
          end)
          stream = connect(port)
          stream:read(1)
        end
        assert.is_true(ended)
        stream:close()
      end)
    end)

    it("cancels the handlers when the block fails", function()
      agenda.run(function()
        local err, stream
        local ok, failure = pcall(function()
          local _ <close>, port = serving(function(s)
            s:write("x")
            err = select(2, pcall(agenda.sleep, 60))
            error(err, 0)
          end)
          stream = connect(port)
          stream:read(1)
          error "failed"
        end)
        assert.is_false(ok)
        assert.truthy(failure:find("failed", 1, true))
        assert.is_true(errors.CancelledError:is(err))
        stream:close()
      end)
    end)

    it("cancels the handlers when it is cancelled while it waits for them", function()
      agenda.run(function()
        local stream, cancelled
        local task = agenda.spawn(function()
          local _ <close>, port = serving(function(s)
            s:write("x")
            local _, err = pcall(agenda.sleep, 60)
            cancelled = errors.CancelledError:is(err)
            error(err, 0)
          end)
          stream = connect(port)
          stream:read(1)
        end)
        netkit.eventually(function() return stream end)
        agenda.sleep(0.01)
        task:cancel()
        fails(errors.CancelledError, agenda.await, task)
        assert.is_true(cancelled)
        stream:close()
      end)
    end)
  end)

  it("methods are refused on anything else", function()
    agenda.run(function()
      local server <close> = netkit.echo_server()
      for _, name in ipairs {"sockets", "address", "connections", "close", "wait_closed",
        "close_clients", "abort_clients", "serve_forever"} do
        loopkit.bad_argument(1, name, function() server[name]({}) end)
      end
    end)
  end)

  it("block can be cancelled at any turn", function()
    sweep(function()
      local task = agenda.spawn(function()
        local _ <close>, port = netkit.echo_server()
        local stream <close> = connect(port)
        echoes(stream, "x")
      end)
      return {task}, function() end
    end)
  end)
end)

describe("a server that is left open", function()
  it("is closed at the end of the run", function()
    local port
    agenda.run(function() port = select(2, netkit.echo_server():address()) end)
    agenda.run(function() fails_with("ECONNREFUSED", connect, port) end)
  end)

  it("is reported in debug mode, with where it was started", function()
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      netkit.echo_server()
    end)
    assert.equal(1, #contexts)
    assert.equal("a server was left unclosed until its loop was closed", contexts[1].message)
    assert.truthy(contexts[1].traceback:find("netkit.lua", 1, true))
  end)

  it("keeps the loop from a deadlock", function()
    agenda.run(function()
      local server <close> = netkit.echo_server()
      agenda.get_running_loop():call_later(0.01, server.close, server)
      server:wait_closed()
      assert.same({}, server:sockets())
    end)
  end)
end)

describe("agenda.start_unix_server", function()
  local path, folder
  netkit.each_with_socket_path(function(...) path, folder = ... end)

  local function exists() return core.socket_identity(path) ~= nil end

  it("serves at a path, which close removes", function()
    agenda.run(function()
      local server <close> = agenda.start_unix_server(netkit.echo, path)
      local stream <close> = agenda.open_unix_connection(path)
      echoes(stream, "hello")
      assert.equal(path, server:address())
      assert.is_true(exists())
      server:close()
      assert.is_false(exists())
    end)
  end)

  it("lets no more wait than its backlog has room for", function()
    agenda.run(function()
      local server = agenda.start_unix_server(function(stream) stream:read() end, path,
        {backlog = 1, max_connections = 1})
      local clients = {}
      for i = 1, 3 do clients[i] = agenda.open_unix_connection(path) end -- one is served, two wait
      fails(errors.TimeoutError, agenda.open_unix_connection, path, {timeout = 0.02})
      assert.equal(1, server:connections())
      for _, client in ipairs(clients) do client:close() end
      server:close()
      server:wait_closed()
    end)
  end)

  it("replaces a dead socket", function()
    agenda.run(function()
      do
        local dead <close> = core.socket("unix", "stream")
        dead:bind(path)
        dead:listen(1)
      end
      assert.is_true(exists())
      local _ <close> = agenda.start_unix_server(netkit.echo, path)
      local stream <close> = agenda.open_unix_connection(path)
      echoes(stream, "hello")
    end)
  end)

  it("leaves a live socket and any other file alone: EADDRINUSE", function()
    agenda.run(function()
      local live <close> = agenda.start_unix_server(netkit.echo, path)
      fails_with("EADDRINUSE", agenda.start_unix_server, netkit.echo, path)
      local stream <close> = agenda.open_unix_connection(path)
      echoes(stream, "hello")
      assert.equal(1, live:connections())
      local file = folder .. "/file"
      assert(io.open(file, "w")):close()
      fails_with("EADDRINUSE", agenda.start_unix_server, netkit.echo, file)
      assert(io.open(file)):close()
    end)
  end)

  it("does not remove the path when it is another's by then", function()
    agenda.run(function()
      local first = agenda.start_unix_server(netkit.echo, path)
      os.remove(path)
      local _ <close> = agenda.start_unix_server(netkit.echo, path)
      first:close()
      assert.is_true(exists())
    end)
  end)

  it("raises ENAMETOOLONG and ENOENT, naming the path", function()
    agenda.run(function()
      local long = folder .. "/" .. ("x"):rep(200)
      local err = fails_with("ENAMETOOLONG", agenda.start_unix_server, netkit.echo, long)
      assert.truthy(err.message:find(long, 1, true))
      fails_with("ENOENT", agenda.start_unix_server, netkit.echo, folder .. "/no/socket")
    end)
  end)

  it("refuses wrong arguments", function()
    agenda.run(function()
      loopkit.bad_argument(1, "start_unix_server", function() agenda.start_unix_server() end)
      loopkit.bad_argument(2, "start_unix_server", function() agenda.start_unix_server(print) end)
    end)
  end)
end)

describe("foreign peers", function()
  -- What a shell command prints.
  local function output_of(command, ...)
    local process <close> = agenda.subprocess {
      -- NB: a sanitizer that is loaded into this process is no business of theirs.
      "env", "-u", "LD_PRELOAD", "sh", "-c", command:format(...), stdout = "pipe",
    }
    return (process:communicate())
  end

  it("nc talks to a TCP server", function()
    agenda.run(function()
      local _ <close>, port = netkit.echo_server()
      assert.equal("one\ntwo\n", output_of("printf 'one\\ntwo\\n' | nc -N 127.0.0.1 %d", port))
    end)
  end)

  it("nc talks to a Unix server", function()
    agenda.run(function()
      local folder = netkit.folder()
      do
        local _ <close> = agenda.start_unix_server(netkit.echo, folder .. "/socket")
        assert.equal("one\n", output_of("printf 'one\\n' | nc -N -U %s/socket", folder))
      end
      netkit.remove_folder(folder)
    end)
  end)

  it("curl fetches from a server that speaks HTTP", function()
    agenda.run(function()
      local _ <close>, port = serving(function(stream)
        stream:readuntil("\r\n\r\n")
        stream:write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
      end)
      assert.equal("hello\n", output_of("curl -s http://127.0.0.1:%d/", port))
    end)
  end)

  it("nc answers a connection", function()
    agenda.run(function()
      local folder = netkit.folder()
      local path = folder .. "/socket"
      local said
      agenda.with_taskgroup(function(tg)
        tg:spawn(function() said = output_of("printf 'from nc\\n' | nc -N -l -U %s", path) end)
        -- NB: the socket's file is there a moment before anybody listens.
        local made
        netkit.eventually(function()
          local ok, result = pcall(agenda.open_unix_connection, path)
          made = ok and result
          return ok
        end)
        local stream <close> = made
        stream:write("from us\n")
        stream:write_eof()
        assert.equal("from nc\n", stream:read("a"))
      end)
      assert.equal("from us\n", said)
      netkit.remove_folder(folder)
    end)
  end)
end)
