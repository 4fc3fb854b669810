-- TLS with other programs: `openssl s_client`, `openssl s_server` and `curl`.
local agenda = require "agenda"
local certificates = require "spec.support.certificates"
local expect = require "spec.support.expect"
local foreign = require "spec.support.foreign"
local tls, TLSError = agenda.tls, agenda.errors.TLSError

describe("TLS with other programs:", function()
  local ca, good

  setup(function()
    ca = certificates.new()
    good = ca:issue{name = "localhost", ip = "127.0.0.1"}
  end)
  teardown(function() ca:remove() end)

  local function in_run(name, body)
    it(name, function() agenda.run(body) end)
  end

  local function serve(handler, options)
    options = options or {}
    options.cert, options.key = good.cert, good.key
    local server = agenda.start_server(handler, "127.0.0.1", 0, {tls = tls.context(options)})
    return server, select(2, server:address())
  end

  describe("s_client", function()
    local CLIENT = "openssl s_client -connect 127.0.0.1:%d -servername localhost -verify_hostname localhost "
      .. "-verify_return_error -CAfile %s -quiet %s"

    in_run("talks to a server", function()
      local got
      local _server <close>, port = serve(function(s)
        got = s:readline()
        s:write("and hello from here\n")
      end)
      local output = foreign.run("echo hello | " .. CLIENT:format(port, ca.cert, ""))
      assert.equal("hello", got)
      assert.matches("and hello from here\n", output, 1, true)
    end)

    in_run("agrees on a protocol and TLSv1.2", function()
      local info
      local _server <close>, port = serve(function(s) info = s:tlsinfo() end, {alpn = {"h2", "chat"}})
      foreign.run(CLIENT:format(port, ca.cert, "-alpn chat -tls1_2 </dev/null"))
      assert.equal("chat", info.alpn)
      assert.equal("TLSv1.2", info.version)
    end)

    in_run("with TLSv1.2 is refused where TLSv1.3 is the least", function()
      local called = false
      local _server <close>, port = serve(function() called = true end, {min_version = "TLSv1.3"})
      local output, ok = foreign.run(CLIENT:format(port, ca.cert, "-tls1_2 </dev/null"))
      assert.is_false(ok)
      assert.matches("alert protocol version", output, 1, true)
      assert.is_false(called)
    end)

    in_run("with TLSv1.1 is always refused", function()
      local _server <close>, port = serve(function() error("not to be called") end)
      local _, ok = foreign.run(CLIENT:format(port, ca.cert, "-tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null"))
      assert.is_false(ok)
    end)

    in_run("cannot renegotiate", function()
      local _server <close>, port = serve(function(s) pcall(s.read, s, "a") end)
      local output = foreign.run("(echo R; sleep 0.1) | openssl s_client -tls1_2 -CAfile " .. ca.cert
        .. " -connect 127.0.0.1:" .. port)
      assert.matches("no renegotiation", output, 1, true)
    end)

    in_run("shows its certificate", function()
      local mine = ca:issue{subject = "me"}
      local served = 0
      local _server <close>, port = serve(function(s)
        served = served + 1
        s:write("come in\n")
      end, {verify = true, ca = ca.cert})
      local output = foreign.run(CLIENT:format(port, ca.cert,
        ("-cert %s -key %s"):format(mine.cert, mine.key)))
      assert.matches("come in\n", output, 1, true)
      output = foreign.run(CLIENT:format(port, ca.cert, ""))
      assert.matches("alert certificate required", output, 1, true)
      assert.equal(1, served)
    end)
  end)

  describe("s_server", function()
    -- Serves one connection: gives each line back reversed.
    local function start(options, f)
      local command = "exec openssl s_server -accept 127.0.0.1:0 -naccept 1 -rev -cert %s -key %s %s"
      local pipe = foreign.start(command:format(good.cert, good.key, options))
      local port = math.tointeger(foreign.expect(pipe, "ACCEPT [%d.]+:(%d+)\n"))
      f(port)
      return foreign.finish(pipe)
    end

    in_run("answers", function()
      start("", function(port)
        local s <close> = agenda.open_connection("127.0.0.1", port,
          {tls = tls.context{ca = ca.cert}, server_name = "localhost"})
        s:write("hello\n")
        assert.equal("olleh", s:readline())
        assert.equal("TLSv1.3", s:tlsinfo().version)
      end)
    end)

    in_run("speaks TLSv1.2, and ALPN", function()
      start("-tls1_2 -alpn chat", function(port)
        local s <close> = agenda.open_connection("127.0.0.1", port,
          {tls = tls.context{ca = ca.cert, alpn = {"h2", "chat"}}})
        assert.equal("TLSv1.2", s:tlsinfo().version)
        assert.equal("chat", s:tlsinfo().alpn)
        s:write("hello\n")
        assert.equal("olleh", s:readline())
      end)
    end)

    in_run("with TLSv1.2 is refused where TLSv1.3 is the least", function()
      start("-tls1_2", function(port)
        local err = expect.raises(TLSError, nil, agenda.open_connection, "127.0.0.1", port,
          {tls = tls.context{ca = ca.cert, min_version = "TLSv1.3"}})
        assert.matches("protocol version", err.reason)
      end)
    end)

    in_run("is refused for its name", function()
      start("", function(port)
        local err = expect.raises(TLSError, nil, agenda.open_connection, "127.0.0.1", port,
          {tls = tls.context{ca = ca.cert}, server_name = "example.org"})
        assert.equal("hostname mismatch", err.reason)
      end)
    end)
  end)

  describe("curl", function()
    local function fetch(port, options)
      return foreign.run(("curl --silent --show-error --max-time 10 %s https://localhost:%d/"):format(options, port))
    end
    local function answer(s)
      s:readuntil("\r\n\r\n")
      s:write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", ("x"):rep(100000))
    end

    in_run("fetches a page that ends with the connection", function()
      local _server <close>, port = serve(answer, {alpn = {"http/1.1"}})
      local options = "--ipv4 --write-out '%{size_download} bytes' --output /dev/null --cacert " .. ca.cert
      local output, ok = fetch(port, options)
      assert.is_true(ok)
      assert.equal("100000 bytes", output)
    end)
    in_run("refuses a certificate that it does not know", function()
      local _server <close>, port = serve(answer)
      local output, ok = fetch(port, "--ipv4")
      assert.is_false(ok)
      assert.matches("certificate", output)
    end)
  end)
end)
