-- stream:starttls on both sides of a connection.
local agenda = require "agenda"
local certificates = require "spec.support.certificates"
local expect = require "spec.support.expect"
local errors, tls = agenda.errors, agenda.tls

describe("stream:starttls", function()
  local ca, serving, trusting

  setup(function()
    ca = certificates.new()
    local good = ca:issue{name = "localhost"}
    serving, trusting = {cert = good.cert, key = good.key}, {ca = ca.cert}
  end)
  teardown(function() ca:remove() end)

  -- Runs `server(stream)` as a handler and `client(stream)` on a plain connection to it.
  local function pair(server, client)
    agenda.run(function()
      local failure
      local listener <close> = agenda.start_server(function(s)
        local ok, err = xpcall(server, agenda.traceback, s)
        if not ok then failure = err end
      end, "127.0.0.1", 0)
      do
        local s <close> = agenda.open_connection("127.0.0.1", (select(2, listener:address())))
        client(s)
      end
      listener:close()
      listener:wait_closed()
      if failure then error(failure, 0) end
    end)
  end

  it("follows plain data in both directions", function()
    pair(function(s)
      assert.equal("STARTTLS", s:readline())
      s:write("OK\n")
      s:starttls(tls.context(serving), {server_side = true})
      assert.equal("secret", s:readline())
      assert.equal("TLSv1.3", s:tlsinfo().version)
      s:write("yes\n")
    end, function(s)
      s:write("STARTTLS\n")
      assert.equal("OK", s:readline())
      assert.is_nil(s:tlsinfo())
      s:starttls(tls.context(trusting), {server_name = "localhost"})
      s:write("secret\n")
      assert.equal("yes", s:readline())
      assert.equal("TLSv1.3", s:tlsinfo().version)
      assert.is_nil(s:read())
    end)
  end)

  it("verifies the host that was connected to", function()
    pair(function(s)
      pcall(s.starttls, s, tls.context(serving), {server_side = true})
    end, function(s)
      local err = expect.raises(errors.TLSError, nil, s.starttls, s, tls.context(trusting))
      assert.equal("IP address mismatch", err.reason)
    end)
  end)

  it("takes what was read too early as the beginning of TLS", function()
    pair(function(s)
      assert.equal("go", s:readline()) -- the peer's TLS comes along with this, or soon after
      agenda.sleep(0.01)
      s:starttls(tls.context(serving), {server_side = true})
      assert.equal("secret", s:readline())
    end, function(s)
      s:write("go\n")
      s:starttls(tls.context(trusting), {server_name = "localhost"})
      s:write("secret\n")
    end)
  end)

  it("refuses plain text that was slipped in", function()
    pair(function(s)
      assert.equal("STARTTLS", s:readline())
      local err = expect.raises(errors.TLSError, nil, s.starttls, s, tls.context(serving), {server_side = true})
      assert.equal("wrong version number", err.reason)
    end, function(s)
      s:write("STARTTLS\nrun this\n")
      pcall(s.read, s, "a")
    end)
  end)

  it("sends what is unsent as it is", function()
    local much = ("x"):rep(8000000)
    pair(function(s)
      agenda.sleep(0.02)
      assert.equal(#much, #s:readexactly(#much))
      s:starttls(tls.context(serving), {server_side = true})
      assert.equal("end", s:readline())
    end, function(s)
      local writer = agenda.spawn(s.write, s, much)
      agenda.sleep(0)
      assert.is_false(writer:done())
      s:starttls(tls.context(trusting), {server_name = "localhost"})
      agenda.await(writer)
      s:write("end\n")
    end)
  end)

  it("fails with the reason, and the stream is of no more use", function()
    pair(function(s)
      local err = expect.raises(errors.TLSError, nil, s.starttls, s, tls.context(serving), {server_side = true})
      assert.matches("alert", err.reason)
    end, function(s)
      local err = expect.raises(errors.TLSError, nil, s.starttls, s, tls.context(trusting),
        {server_name = "example.org"})
      assert.equal("hostname mismatch", err.reason)
      expect.raises_like(errors.Error, "", s.write, s, "x")
      expect.raises_like(errors.Error, "", s.read, s)
    end)
  end)

  it("refuses wrong use and changes nothing", function()
    pair(function(s) s:write(s:readline(), "\n") end, function(s)
      expect.bad_argument("bad argument #1 to 'starttls' (true or a context of agenda.tls expected, got table)",
        s.starttls, s, {})
      expect.bad_argument("bad argument #1 to 'starttls' (true or a context of agenda.tls expected, got nil)",
        s.starttls, s)
      expect.raises(errors.ValueError, "a TLS server needs a context with 'cert'", s.starttls, s, tls.context(),
        {server_side = true})
      s:write("hello\n")
      assert.equal("hello", s:readline())
    end)
  end)

  it("lets nobody read or write before the handshake is complete", function()
    pair(function(s)
      s:starttls(tls.context(serving), {server_side = true})
      s:write(s:readline(), "\n")
    end, function(s)
      local task = agenda.spawn(s.starttls, s, tls.context(trusting), {server_name = "localhost"})
      agenda.sleep(0)
      expect.raises_like(errors.RuntimeError, "before the handshake is complete", s.write, s, "x")
      expect.raises_like(errors.RuntimeError, "before the handshake is complete", s.write_eof, s)
      expect.raises_like(errors.RuntimeError, "already waiting", s.read, s)
      expect.raises_like(errors.RuntimeError, "speaks TLS already", s.starttls, s, tls.context(trusting),
        {server_name = "localhost"})
      agenda.await(task)
      s:write("hello\n")
      assert.equal("hello", s:readline())
    end)
  end)

  it("is refused while another task reads, which changes nothing", function()
    pair(function(s) s:write(s:readline(), "\n") end, function(s)
      local reader = agenda.spawn(s.readline, s)
      agenda.sleep(0)
      expect.raises_like(errors.RuntimeError, "already waiting", s.starttls, s, tls.context(trusting),
        {server_name = "localhost"})
      s:write("hello\n")
      assert.equal("hello", agenda.await(reader))
      assert.is_nil(s:tlsinfo())
    end)
  end)

  it("is an error on a stream that is closed, or has ended its output", function()
    pair(function(s) s:read() end, function(s)
      s:write_eof()
      expect.raises_like(errors.RuntimeError, "cannot write now$", s.starttls, s, tls.context(trusting),
        {server_name = "localhost"})
      s:close()
      expect.raises_like(errors.RuntimeError, "is closed$", s.starttls, s, true)
    end)
  end)

  it("cannot be done twice", function()
    pair(function(s)
      s:starttls(tls.context(serving), {server_side = true})
      s:write(s:readline(), "\n")
    end, function(s)
      s:starttls(tls.context(trusting), {server_name = "localhost"})
      expect.raises_like(errors.RuntimeError, "TLS", s.starttls, s, tls.context(trusting), {server_name = "localhost"})
      s:write("hello\n")
      assert.equal("hello", s:readline())
    end)
  end)

  for turns = 0, 6 do
    it(("cancelled after %d turns closes the stream"):format(turns), function()
      pair(function(s)
        pcall(s.starttls, s, tls.context(serving), {server_side = true})
      end, function(s)
        local task = agenda.spawn(s.starttls, s, tls.context(trusting), {server_name = "localhost"})
        for _ = 1, turns do agenda.sleep(0) end
        task:cancel()
        local ok, err = pcall(agenda.await, task)
        if ok or turns == 0 then
          assert.equal(ok, s:tlsinfo() ~= nil)
        else
          assert.is_true(errors.CancelledError:is(err))
          expect.raises_like(errors.RuntimeError, "is closed$", s.tlsinfo, s)
        end
        s:abort()
      end)
    end)
  end
end)
