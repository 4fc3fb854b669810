-- TLS over real connections: open_connection and start_server with `tls`.
local agenda = require "agenda"
local certificates = require "spec.support.certificates"
local expect = require "spec.support.expect"
local script = require "spec.support.script"
local testing = require "agenda.testing"
local errors, tls = agenda.errors, agenda.tls
local TLSError = errors.TLSError

describe("TLS connection", function()
  local ca, good

  setup(function()
    ca = certificates.new()
    good = ca:issue{name = "localhost", ip = "127.0.0.1"}
  end)
  teardown(function() ca:remove() end)

  -- Runs body on a loop; nothing may be reported there.
  local function in_run(name, body)
    it(name, function()
      local reports = expect.reports(body)
      for _, context in ipairs(reports) do error(("%s: %s"):format(context.message, context.exception)) end
    end)
  end

  local function serve(handler, options, certificate)
    certificate = certificate or good
    options = options or {}
    options.cert, options.key = certificate.cert, certificate.key
    local server = agenda.start_server(handler, "127.0.0.1", 0, {tls = tls.context(options)})
    return server, select(2, server:address())
  end

  local function connect(port, options, more)
    options = options or {}
    options.ca = ca.cert
    local opts = {tls = tls.context(options)}
    for name, value in pairs(more or {}) do opts[name] = value end
    return agenda.open_connection("127.0.0.1", port, opts)
  end

  local function echo(s)
    for chunk in s:chunks() do s:write(chunk) end
  end

  in_run("carries data both ways", function()
    local _server <close>, port = serve(echo)
    local s <close> = connect(port)
    s:write("one\n", "two\n")
    assert.equal("one", s:readline())
    assert.equal("two\n", s:readuntil("\n"))
  end)

  in_run("tells what was agreed", function()
    local info
    local _server <close>, port = serve(function(s)
      info = s:tlsinfo()
      s:write("x")
    end, {alpn = {"h2", "http/1.1"}})
    local s <close> = connect(port, {alpn = {"http/1.1"}})
    assert.equal("x", s:read())
    assert.same(info, s:tlsinfo())
    assert.equal("TLSv1.3", info.version)
    assert.equal("http/1.1", info.alpn)
    assert.matches("^TLS_", info.cipher)
  end)

  in_run("has no tlsinfo without TLS", function()
    local server <close> = agenda.start_server(function() end, "127.0.0.1", 0)
    local s <close> = agenda.open_connection("127.0.0.1", (select(2, server:address())))
    assert.is_nil(s:tlsinfo())
  end)

  in_run("verifies the name that is connected to, or server_name", function()
    local named = ca:issue{name = "localhost"}
    local _server <close>, port = serve(echo, nil, named)
    local _s <close> = connect(port, nil, {server_name = "localhost"})
    local _t <close> = agenda.open_connection("localhost", port, {tls = tls.context{ca = ca.cert}})
    local err = expect.raises(TLSError, nil, connect, port)
    assert.equal("IP address mismatch", err.reason)
    err = expect.raises(TLSError, nil, connect, port, nil, {server_name = "example.org"})
    assert.equal("hostname mismatch", err.reason)
  end)

  describe("that is refused", function()
    local function refused(name, reason, certificate, context)
      in_run(name, function()
        local called = false
        local server <close>, port = serve(function() called = true end, nil, certificate())
        local err = expect.raises(TLSError, nil, agenda.open_connection, "localhost", port, {tls = context()})
        assert.equal(reason, err.reason)
        assert.matches(("localhost:%d: %s"):format(port, reason), err.message, 1, true)
        server:close()
        server:wait_closed()
        assert.is_false(called)
      end)
    end
    local function trusting() return tls.context{ca = ca.cert} end

    refused("names another host's certificate", "hostname mismatch",
      function() return ca:issue{name = "example.org"} end, trusting)
    refused("names one that has expired", "certificate has expired",
      function() return ca:issue{name = "localhost", days = -1} end, trusting)
    refused("names one that is self-signed", "self-signed certificate",
      function() return ca:issue{name = "localhost", self_signed = true} end, trusting)
    refused("names an authority that the system does not know", "unable to get local issuer certificate",
      function() return good end, function() return true end)
  end)

  in_run("takes any certificate with verify = false", function()
    local _server <close>, port = serve(echo, nil, ca:issue{name = "example.org", self_signed = true})
    local s <close> = agenda.open_connection("127.0.0.1", port, {tls = tls.context{verify = false}})
    s:write("x")
    assert.equal("x", s:read())
  end)

  in_run("tells the server the name that it wants, but no address", function()
    local hello
    local server <close> = agenda.start_server(function(s) hello = s:read() end, "127.0.0.1", 0)
    local _, port = server:address()
    for name, told in pairs {localhost = true, ["127.0.0.1"] = false} do
      pcall(connect, port, nil, {server_name = name})
      assert.equal(told, hello:find(name, 1, true) ~= nil)
    end
  end)

  in_run("takes a wildcard for a whole label alone", function()
    for pattern, matches in pairs {["*.example.org"] = true, ["w*.example.org"] = false} do
      local server <close>, port = serve(function() end, nil, ca:issue{name = pattern})
      local ok, s = pcall(connect, port, nil, {server_name = "www.example.org"})
      assert.equal(matches, ok)
      if ok then s:abort() else assert.equal("hostname mismatch", s.reason) end
      server:close()
    end
  end)

  it("trusts whom the system trusts, on either side, without ca", function()
    local mine = ca:issue{name = "client"}
    local code = ([[
      local tls, files = agenda.tls, {cert = %q, key = %q}
      agenda.run(function()
        local server <close> = agenda.start_server(function(s) s:write("hello") end, "127.0.0.1", 0,
          {tls = tls.context{cert = files.cert, key = files.key, verify = true}})
        local _, port = server:address()
        local s <close> = agenda.open_connection("127.0.0.1", port,
          {tls = tls.context{cert = %q, key = %q}})
        print(s:read("a"))
        local none <close> = agenda.open_connection("127.0.0.1", port, {tls = true})
        print(pcall(none.read, none))
      end)
    ]]):format(good.cert, good.key, mine.cert, mine.key)
    local output = script.output(code, {env = "SSL_CERT_FILE=" .. ca.cert})
    assert.matches("^hello\nfalse\tTLSError: .*certificate required", output)
  end)

  describe("with client certificates", function()
    in_run("serves who shows one", function()
      local mine = ca:issue{subject = "me"}
      local _server <close>, port = serve(echo, {verify = true, ca = ca.cert})
      local s <close> = connect(port, {cert = mine.cert, key = mine.key})
      s:write("x")
      assert.equal("x", s:read())
    end)
    in_run("runs no handler for who has none", function()
      local called = false
      local _server <close>, port = serve(function() called = true end, {verify = true, ca = ca.cert})
      local s = connect(port)
      local err = expect.raises(TLSError, nil, s.read, s)
      assert.equal("tlsv13 alert certificate required", err.reason)
      s:abort()
      assert.is_false(called)
    end)
  end)

  describe("end", function()
    -- A server whose end of the stream is a filter in the spec's own hands.
    local function by_hand(finish)
      return agenda.start_server(function(s)
        local filter = tls._filter(tls.context{cert = good.cert, key = good.key}, true)
        while filter:handshake() == "want" do
          s:write(filter:take())
          filter:feed(s:read())
        end
        filter:write("last\nwords")
        finish(filter)
        s:write(filter:take())
      end, "127.0.0.1", 0)
    end

    in_run("with notice is the end of input", function()
      local server <close> = by_hand(function(filter) filter:write_end() end)
      local s <close> = connect((select(2, server:address())))
      assert.equal("last\nwords", s:read("a"))
      assert.is_nil(s:read())
      assert.is_true(s:at_eof())
    end)
    in_run("without notice is an error after the data", function()
      local server <close> = by_hand(function() end)
      local s = connect((select(2, server:address())))
      assert.equal("last", s:readline())
      local err = expect.raises(TLSError, nil, s.read, s, "a")
      assert.equal("unexpected eof while reading", err.reason)
      s:abort()
    end)
    in_run("without notice comes out of a loop over lines", function()
      local server <close> = by_hand(function() end)
      local s = connect((select(2, server:address())))
      local got = {}
      local err = expect.raises(TLSError, nil, function()
        for line in s:lines() do got[#got + 1] = line end
      end)
      assert.equal("unexpected eof while reading", err.reason)
      assert.same({"last"}, got)
      s:abort()
    end)
    in_run("of a stream that is closed is given with notice", function()
      local _server <close>, port = serve(function(s) s:write("bye") end)
      local s <close> = connect(port)
      assert.equal("bye", s:read("a"))
    end)
    in_run("closed at once has sent all", function()
      local got
      local server <close>, port = serve(function(s) got = #s:read("a") end)
      local s = connect(port)
      local task = agenda.spawn(function()
        s:write(("x"):rep(1000000))
        s:close()
        s:wait_closed()
      end)
      agenda.await(task)
      server:close()
      server:wait_closed()
      assert.equal(1000000, got)
    end)
    in_run("of one way leaves the other open", function()
      local _server <close>, port = serve(function(s)
        local all = s:read("a")
        s:write(all:upper())
      end)
      local s <close> = connect(port)
      s:write("hello")
      s:write_eof()
      assert.equal("HELLO", s:read("a"))
    end)
  end)

  in_run("carries much in both directions at once", function()
    local _server <close>, port = serve(echo)
    local s <close> = connect(port)
    local block = ("0123456789abcdef"):rep(4096)
    local count = os.getenv "AGENDA_VARIANT" == "valgrind" and 4 or 64
    local writer = agenda.spawn(function()
      for _ = 1, count do s:write(block) end
      s:write_eof()
    end)
    for _ = 1, count do assert.is_true(s:readexactly(#block) == block) end
    assert.is_nil(s:read())
    agenda.await(writer)
  end)

  in_run("serves many at once", function()
    local _server <close>, port = serve(echo)
    local context = tls.context{ca = ca.cert}
    agenda.with_taskgroup(function(tg)
      for i = 1, 40 do
        tg:spawn(function()
          local s <close> = agenda.open_connection("127.0.0.1", port, {tls = context})
          for j = 1, 5 do
            local text = ("%d of %d"):format(j, i)
            s:write(text, "\n")
            assert.equal(text, s:readline())
          end
        end)
      end
    end)
  end)

  describe("handshake", function()
    in_run("that is slow holds nobody up", function()
      local called = 0
      local server, port = serve(function(s)
        called = called + 1
        echo(s)
      end)
      local slow <close> = agenda.open_connection("127.0.0.1", port)
      do
        local s <close> = connect(port)
        s:write("x")
        assert.equal("x", s:read())
      end
      assert.equal(1, called)
      server:close()
      slow:abort()
      server:wait_closed()
      assert.equal(1, called)
    end)

    it("that has not ended when the server is closed has a second left", function()
      testing.run(function()
        local server, port = serve(function() error("not to be called") end)
        local slow <close> = agenda.open_connection("127.0.0.1", port)
        while server:connections() == 0 do agenda.sleep(0) end
        local before = testing.clock()
        server:close()
        server:wait_closed()
        assert.equal(1, testing.clock() - before)
        assert.is_nil(slow:read())
      end)
    end)

    it("has 60 seconds", function()
      testing.run(function()
        local _server <close>, port = serve(function() error("not to be called") end)
        local slow <close> = agenda.open_connection("127.0.0.1", port)
        local before = testing.clock()
        assert.is_nil(slow:read())
        assert.equal(60, testing.clock() - before)
      end)
    end)

    in_run("of who does not speak TLS runs no handler and is no report", function()
      local _server <close>, port = serve(function() error("not to be called") end)
      local s = agenda.open_connection("127.0.0.1", port)
      s:write("GET / HTTP/1.0\r\n\r\n")
      pcall(s.read, s, "a")
      s:abort()
      local _t <close> = agenda.open_connection("127.0.0.1", port)
    end)

    in_run("is within the timeout of open_connection", function()
      local silent <close> = agenda.start_server(function(s) pcall(s.read, s, "a") end, "127.0.0.1", 0)
      expect.raises(errors.TimeoutError, nil, agenda.open_connection, "127.0.0.1",
        select(2, silent:address()), {tls = true, timeout = 0.02})
    end)

    in_run("fails when the peer goes in its middle", function()
      local rude <close> = agenda.start_server(function() end, "127.0.0.1", 0)
      local ok, err = pcall(agenda.open_connection, "127.0.0.1", select(2, rude:address()), {tls = true})
      assert.is_false(ok)
      assert.is_true(TLSError:is(err) or errors.OSError:is(err))
    end)

    for turns = 0, 12 do
      in_run(("cancelled after %d turns leaves nothing"):format(turns), function()
        local _server <close>, port = serve(function(s) pcall(echo, s) end)
        local task = agenda.spawn(connect, port)
        for _ = 1, turns do agenda.sleep(0) end
        task:cancel()
        local ok, s = pcall(agenda.await, task)
        if ok then s:abort() end
      end)
    end
  end)

  describe("option tls", function()
    in_run("of a server is a context with a certificate", function()
      expect.raises(errors.ValueError, "a TLS server needs a context with 'cert'", agenda.start_server, echo,
        "127.0.0.1", 0, {tls = tls.context()})
      expect.raises(errors.ValueError, "a TLS server needs a context with 'cert'", agenda.start_server, echo,
        "127.0.0.1", 0, {tls = true})
    end)
    in_run("is true or a context", function()
      for _, wrong in ipairs {1, "x", {}} do
        local text = ("(option 'tls': true or a context of agenda.tls expected, got %s)"):format(type(wrong))
        expect.bad_argument("bad argument #3 to 'open_connection' " .. text, agenda.open_connection,
          "127.0.0.1", 1, {tls = wrong})
        expect.bad_argument("bad argument #4 to 'start_server' " .. text, agenda.start_server, echo,
          "127.0.0.1", 0, {tls = wrong})
      end
    end)
  end)

  it("works over Unix sockets, with a name to verify", function()
    agenda.run(function()
      local path = ca:path("socket")
      local _server <close> = agenda.start_unix_server(echo, path,
        {tls = tls.context{cert = good.cert, key = good.key}})
      local s <close> = agenda.open_unix_connection(path, {tls = tls.context{ca = ca.cert}, server_name = "localhost"})
      s:write("x")
      assert.equal("x", s:read())
      expect.raises(errors.ValueError, "server_name is needed to verify the server", agenda.open_unix_connection,
        path, {tls = true})
    end)
  end)
end)
