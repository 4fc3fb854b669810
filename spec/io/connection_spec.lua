local agenda = require "agenda"
local core = require "agenda.core"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local netkit = require "spec.support.netkit"
local sweep = require "spec.support.sweep"
local testing = require "agenda.testing"
local errors, fails = agenda.errors, loopkit.fails
local fails_with, echoes = netkit.fails_with, netkit.echoes

describe("agenda.open_connection", function()
  for _, host in ipairs {"127.0.0.1", "::1"} do
    it("connects to " .. host, function()
      agenda.run(function()
        local server <close>, port = netkit.echo_server(nil, host)
        local stream <close> = agenda.open_connection(host, port)
        echoes(stream, "hello")
        assert.same({host, port}, {stream:peername()})
        assert.equal(host, (stream:sockname()))
        assert.equal(1, server:connections())
      end)
    end)
  end

  it("resolves names", function()
    agenda.run(function()
      local _ <close>, port = netkit.echo_server()
      local stream <close> = agenda.open_connection("localhost", port)
      echoes(stream, "hello")
    end)
  end)

  it("takes the port as a string of digits too", function()
    agenda.run(function()
      local _ <close>, port = netkit.echo_server()
      local stream <close> = agenda.open_connection("127.0.0.1", tostring(port))
      echoes(stream, "hello")
    end)
  end)

  it("connects from local_addr", function()
    agenda.run(function()
      local _ <close>, port = netkit.echo_server()
      local stream <close> =
        agenda.open_connection("127.0.0.1", port, {local_addr = {"127.0.0.2", 0}})
      assert.equal("127.0.0.2", (stream:sockname()))
      echoes(stream, "hello")
    end)
  end)

  it("passes the limit on", function()
    agenda.run(function()
      local _ <close>, port = netkit.echo_server()
      local stream <close> = agenda.open_connection("127.0.0.1", port, {limit = 16})
      stream:write(("x"):rep(40), "\n")
      fails(errors.LimitOverrunError, stream.readline, stream)
    end)
  end)

  it("sets TCP_NODELAY unless told not to, for what a server accepts, too", function()
    agenda.run(function()
      local seen = {}
      local class
      do
        local socket <close> = core.socket("inet", "stream")
        class = getmetatable(socket).__index
      end
      local set <const> = class.set
      local _ <close> = expect.finally(function() class.set = set end)
      class.set = function(socket, name, value)
        if name == "nodelay" then seen[#seen + 1] = value end
        return set(socket, name, value)
      end
      local server <close>, port = netkit.echo_server()
      for _, opts in ipairs {{}, {nodelay = true}, {nodelay = false}} do
        agenda.open_connection("127.0.0.1", port, opts):close()
      end
      assert.same({true, true, true, false}, seen)
      server:close()
    end)
  end)

  describe("when it fails", function()
    it("names host and port, and keeps the code", function()
      agenda.run(function()
        local port = netkit.dead_port()
        local err = fails_with("ECONNREFUSED", agenda.open_connection, "127.0.0.1", port)
        assert.equal(("connect: 127.0.0.1:%d: Connection refused"):format(port), err.message)
        assert.equal("connect", err.syscall)
        assert.equal(111, err.errno)
      end)
    end)

    it("names the host as it was given", function()
      agenda.run(function()
        local port = netkit.dead_port()
        netkit.with_addresses({"127.0.0.1"}, function()
          local err = fails_with("ECONNREFUSED", agenda.open_connection, "a.name", port)
          assert.equal(("connect: a.name:%d (127.0.0.1): Connection refused"):format(port),
            err.message)
        end)
      end)
    end)

    it("tells of all attempts in one error, which has them in a list", function()
      agenda.run(function()
        local port = netkit.dead_port()
        netkit.with_addresses({"127.0.0.1", "127.0.0.2"}, function()
          local err = fails_with("ECONNREFUSED", agenda.open_connection, "a.name", port)
          assert.equal(("connect: a.name:%d: 127.0.0.1: Connection refused; "
            .. "127.0.0.2: Connection refused"):format(port), err.message)
          assert.equal(2, #err.errors)
          assert.equal("ECONNREFUSED", err.errors[2].code)
        end)
      end)
    end)

    it("has the code of the most telling attempt", function()
      agenda.run(function()
        local port = netkit.dead_port()
        netkit.with_addresses({"255.255.255.255", "127.0.0.1"}, function()
          local err = fails_with("ECONNREFUSED", agenda.open_connection, "a.name", port)
          assert.equal("ENETUNREACH", err.errors[1].code)
        end)
      end)
    end)

    it("raises ENETUNREACH for what cannot be reached", function()
      agenda.run(function()
        local err = fails_with("ENETUNREACH", agenda.open_connection, "255.255.255.255", 9)
        assert.truthy(err.message:find("255.255.255.255:9", 1, true))
      end)
    end)

    it("raises the resolver's error for a name that there is not", function()
      agenda.run(function()
        local err = fails(errors.OSError, agenda.open_connection, "no.such.host.invalid", 9)
        assert.equal("getaddrinfo", err.syscall)
        assert.truthy(err.code:find("^EAI_"))
        assert.truthy(err.message:find("no.such.host.invalid", 1, true))
      end)
    end)

    it("names them when there is no descriptor left, too", function()
      agenda.run(function()
        local port = netkit.dead_port()
        local original = core.socket
        core.socket = function()
          error(errors.OSError("socket: Too many open files",
            {code = "EMFILE", errno = 24, syscall = "socket"}), 0)
        end
        local ok, err = pcall(agenda.open_connection, "127.0.0.1", port)
        core.socket = original
        assert.is_false(ok)
        assert.equal("EMFILE", err.code)
        assert.equal(("socket: 127.0.0.1:%d: Too many open files"):format(port), err.message)
      end)
    end)

    it("says that local_addr cannot be had", function()
      agenda.run(function()
        local port = netkit.dead_port()
        local err = fails_with("EADDRNOTAVAIL", agenda.open_connection, "127.0.0.1", port,
          {local_addr = {"192.0.2.1", 0}})
        assert.equal("bind", err.syscall)
        assert.truthy(err.message:find("192.0.2.1", 1, true))
        assert.truthy(err.message:find("127.0.0.1:" .. port, 1, true))
        fails_with("EAFNOSUPPORT", agenda.open_connection, "127.0.0.1", port,
          {local_addr = {"::1", 0}})
      end)
    end)
  end)

  describe("with several addresses", function()
    it("leaves nothing behind when the first connects", function()
      agenda.run(function()
        local server <close>, port = netkit.echo_server()
        netkit.with_addresses({"127.0.0.1", "127.0.0.2"}, function()
          testing.leaks(function()
            agenda.open_connection("some.name", port):close()
            netkit.eventually(function() return server:connections() == 0 end)
          end)
        end)
      end)
    end)

    it("goes on at once when an attempt fails", function()
      agenda.run(function()
        local loop = agenda.get_running_loop()
        local _ <close>, port = netkit.echo_server()
        netkit.with_addresses({"127.0.0.2", "127.0.0.3", "127.0.0.1"}, function()
          local start = loop:time()
          local stream <close> = agenda.open_connection("a.name", port)
          assert.is_true(loop:time() - start < 0.2)
          echoes(stream, "hello")
        end)
      end)
    end)

    it("lets families take turns, the first one first", function()
      agenda.run(function()
        local port = netkit.dead_port()
        netkit.with_addresses({"::1", "::1", "127.0.0.1", "127.0.0.2"}, function()
          local err = fails(errors.OSError, agenda.open_connection, "a.name", port)
          local order = {}
          for address in err.message:gmatch("([%x.:]+): Connection") do
            order[#order + 1] = address
          end
          assert.same({"::1", "127.0.0.1", "::1", "127.0.0.2"}, order)
        end)
      end)
    end)

    it("begins the next attempt after 250 ms, and closes the one that lost #slow", function()
      agenda.run(function()
        local loop = agenda.get_running_loop()
        local silent, _ <close> = netkit.silent_port()
        local _ <close>, port = netkit.echo_server()
        netkit.with_addresses({{"127.0.0.1", silent}, {"127.0.0.1", port}}, function()
          local start = loop:time()
          local stream <close> = agenda.open_connection("a.name", port)
          local took = loop:time() - start
          assert.is_true(took >= 0.25 and took < 0.9, took)
          echoes(stream, "hello")
        end)
      end)
    end)

    it("can be cancelled at any turn", function()
      local dead
      agenda.run(function() dead = netkit.dead_port() end)
      local server, stream
      sweep(function()
        local port
        server, port = netkit.echo_server()
        local task = agenda.spawn(function()
          netkit.with_addresses({{"127.0.0.1", dead}, {"127.0.0.1", port}}, function()
            stream = agenda.open_connection("a.name", port)
          end)
        end)
        return {task}, function()
          if stream then stream:close() end
          server:close()
          server:wait_closed()
          stream, server = nil, nil
        end
      end)
    end)
  end)

  describe("timeout", function()
    it("raises TimeoutError and closes what was begun", function()
      agenda.run(function()
        local silent, _ <close> = netkit.silent_port()
        local err = fails(errors.TimeoutError, agenda.open_connection, "127.0.0.1", silent,
          {timeout = 0.02})
        assert.equal(("connect: 127.0.0.1:%d: timed out after 0.02 s"):format(silent), err.message)
      end)
    end)

    it("does nothing to a connection that came in time", function()
      agenda.run(function()
        local _ <close>, port = netkit.echo_server()
        local stream <close> = agenda.open_connection("127.0.0.1", port, {timeout = 0.15})
        agenda.sleep(0.16)
        echoes(stream, "hello")
      end)
    end)
  end)

  it("refuses wrong arguments", function()
    agenda.run(function()
      local open = agenda.open_connection
      loopkit.bad_argument(1, "open_connection", function() open(nil, 1) end)
      loopkit.bad_argument(2, "open_connection", function() open("127.0.0.1") end)
      loopkit.bad_argument(2, "open_connection", function() open("127.0.0.1", "http") end)
      loopkit.bad_argument(2, "open_connection", function() open("127.0.0.1", 1.5) end)
      for _, wrong in ipairs {true, {timeout = "soon"}, {limit = "x"}, {server_name = 1}, {local_addr = 1},
                              {local_addr = {1}}, {local_addr = {"127.0.0.1", "x"}}, {unknown = 1}} do
        local text = loopkit.bad_argument(3, "open_connection", function() open("127.0.0.1", 1, wrong) end)
        assert.truthy(text:find("^[^:]*connection_spec.lua:%d+: "))
      end
      fails(errors.ValueError, open, "127.0.0.1", 65536)
      fails(errors.ValueError, open, "127.0.0.1", -1)
      fails(errors.ValueError, open, "127.0.0.1", 1, {limit = 0})
      fails(errors.ValueError, open, "127.0.0.1", 1, {local_addr = {"127.0.0.1", 99999}})
    end)
  end)

  it("refuses a name to verify before it connects: without tls, or one that is none", function()
    agenda.run(function()
      for _, call in ipairs {
        function(opts) agenda.open_connection("127.0.0.1", 1, opts) end,
        function(opts) agenda.open_unix_connection("/no/such/socket", opts) end,
      } do
        for _, opts in ipairs {{server_name = "localhost"}, {server_name = "localhost", tls = false}} do
          local err = fails(errors.ValueError, call, opts)
          assert.equal("server_name is only meaningful with tls", err.message)
        end
        fails(errors.ValueError, call, {server_name = "", tls = true})
      end
      local err = fails(errors.ValueError, agenda.open_unix_connection, "/no/such/socket", {tls = true})
      assert.equal("server_name is needed to verify the server", err.message)
    end)
  end)

  it("needs a task", function()
    fails(errors.RuntimeError, agenda.open_connection, "127.0.0.1", 1)
  end)
end)

describe("agenda.open_unix_connection", function()
  local path, folder
  netkit.each_with_socket_path(function(...) path, folder = ... end)

  it("connects", function()
    agenda.run(function()
      local _ <close> = agenda.start_unix_server(netkit.echo, path)
      local stream <close> = agenda.open_unix_connection(path)
      echoes(stream, "hello")
      assert.equal(path, stream:peername())
      assert.equal("", stream:sockname())
    end)
  end)

  it("waits while the backlog is full", function()
    agenda.run(function()
      local served = 0
      local _ <close> = agenda.start_unix_server(netkit.echo, path, {backlog = 1})
      agenda.with_taskgroup(function(tg)
        for i = 1, 40 do
          tg:spawn(function()
            local stream <close> = agenda.open_unix_connection(path)
            echoes(stream, tostring(i))
            served = served + 1
          end)
        end
      end)
      assert.equal(40, served)
    end)
  end)

  it("connects to names of the abstract namespace", function()
    agenda.run(function()
      local name = "\0agenda-spec-" .. folder
      local _ <close> = agenda.start_unix_server(netkit.echo, name)
      local stream <close> = agenda.open_unix_connection(name)
      echoes(stream, "hello")
      assert.equal(name, stream:peername())
    end)
  end)

  it("raises ENOENT, ENAMETOOLONG and ECONNREFUSED, naming the path", function()
    agenda.run(function()
      local err = fails_with("ENOENT", agenda.open_unix_connection, path)
      assert.truthy(err.message:find(path, 1, true))
      local long = folder .. "/" .. ("x"):rep(200)
      err = fails_with("ENAMETOOLONG", agenda.open_unix_connection, long)
      assert.truthy(err.message:find(long, 1, true))
      assert(io.open(path, "w")):close()
      fails_with("ECONNREFUSED", agenda.open_unix_connection, path)
      fails_with("ENOENT", agenda.open_unix_connection, "")
      fails_with("EINVAL", agenda.open_unix_connection, "a\0b")
    end)
  end)

  it("refuses wrong arguments", function()
    agenda.run(function()
      loopkit.bad_argument(1, "open_unix_connection", function() agenda.open_unix_connection() end)
      loopkit.bad_argument(2, "open_unix_connection",
        function() agenda.open_unix_connection(path, 5) end)
    end)
  end)
end)
