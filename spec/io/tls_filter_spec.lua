-- TLS with no stream: two filters against each other.
local certificates = require "spec.support.certificates"
local expect = require "spec.support.expect"
local tls = require "agenda.tls"
local tlskit = require "spec.support.tlskit"
local errors = require "agenda".errors

describe("agenda.tls filter", function()
  local ca, good

  setup(function()
    ca = certificates.new()
    good = ca:issue{name = "localhost", ip = "127.0.0.1"}
  end)
  teardown(function() ca:remove() end)

  local function server(more)
    local options = {cert = good.cert, key = good.key}
    for name, value in pairs(more or {}) do options[name] = value end
    return options
  end
  local function client(more)
    local options = {ca = ca.cert}
    for name, value in pairs(more or {}) do options[name] = value end
    return options
  end
  local function open()
    local c, s, at_client, at_server = tlskit.connect(server(), client(), "localhost")
    assert(at_client == 0 and at_server == 0)
    return c, s
  end

  it("agrees on TLSv1.3 with a server of the right name", function()
    local c, s, at_client, at_server = tlskit.connect(server(), client(), "localhost")
    assert.equal(0, at_client)
    assert.equal(0, at_server)
    assert.equal("TLSv1.3", c:info().version)
    assert.same(c:info(), s:info())
    assert.is_string(c:info().cipher)
    assert.is_nil(c:info().alpn)
  end)

  it("takes the absolute name for the name", function()
    local _, _, at_client = tlskit.connect(server(), client(), "localhost.")
    assert.equal(0, at_client)
  end)

  it("verifies an address as an address", function()
    local _, _, at_client = tlskit.connect(server(), client(), "127.0.0.1")
    assert.equal(0, at_client)
    _, _, at_client = tlskit.connect(server(), client(), "127.0.0.2")
    assert.equal("failed: IP address mismatch", at_client)
  end)

  describe("refuses", function()
    local function refused(reason, with, name)
      local certificate = with or good
      local c, s, at_client, at_server = tlskit.connect(
        {cert = certificate.cert, key = certificate.key}, client(), name or "localhost")
      assert.equal("failed: " .. reason, at_client)
      assert.matches("^failed: .*alert", at_server)
      assert.is_nil(c:info())
      assert.equal(at_client, c:handshake())
      assert.equal(at_client, c:write("x"))
      assert.equal(at_server, select(2, s:read()))
    end

    it("another host's certificate", function()
      refused("hostname mismatch", good, "example.org")
    end)
    it("one that has expired", function()
      refused("certificate has expired", ca:issue{name = "localhost", days = -1})
    end)
    it("one that is self-signed", function()
      refused("self-signed certificate", ca:issue{name = "localhost", self_signed = true})
    end)
    it("one of an unknown authority", function()
      local other = certificates.new("another CA")
      local certificate = other:issue{name = "localhost"}
      refused("unable to get local issuer certificate", certificate)
      other:remove()
    end)
  end)

  it("takes any server when told not to verify", function()
    local c, _, at_client = tlskit.connect(server(), {verify = false}, "example.org")
    assert.equal(0, at_client)
    assert.is_table(c:info())
    _, _, at_client = tlskit.connect(server(), {verify = false})
    assert.equal(0, at_client)
  end)

  it("trusts a self-signed certificate that is given as ca", function()
    local own = ca:issue{name = "localhost", self_signed = true}
    local _, _, at_client = tlskit.connect(own, {ca = own.cert}, "localhost")
    assert.equal(0, at_client)
  end)

  it("sends the chain that cert holds", function()
    local middle = ca:issue{subject = "middle", ca = true, own_key = true}
    local leaf = ca:issue{name = "localhost", by = middle}
    local chain = ca:bundle("chain.pem", leaf.cert, middle.cert)
    local _, _, at_client = tlskit.connect({cert = chain, key = leaf.key}, client(), "localhost")
    assert.equal(0, at_client)
    _, _, at_client = tlskit.connect(leaf, client(), "localhost")
    assert.equal("failed: unable to get local issuer certificate", at_client)
    -- What is trusted need not be a root.
    _, _, at_client = tlskit.connect(leaf, {ca = middle.cert}, "localhost")
    assert.equal(0, at_client)
  end)

  it("takes the key from the file of the certificate", function()
    local both = ca:bundle("both.pem", good.cert, good.key)
    local _, _, at_client = tlskit.connect({cert = both}, client(), "localhost")
    assert.equal(0, at_client)
  end)

  describe("alpn", function()
    local function agreed(of_server, of_client)
      local c, s, at_client = tlskit.connect(server{alpn = of_server}, client{alpn = of_client}, "localhost")
      assert.equal(0, at_client)
      assert.equal(c:info().alpn, s:info().alpn)
      return c:info().alpn
    end

    it("is the server's first that the client has", function()
      assert.equal("h2", agreed({"h2", "http/1.1"}, {"http/1.1", "h2"}))
      assert.equal("http/1.1", agreed({"h2", "http/1.1"}, {"http/1.1"}))
    end)
    it("is nil when there is none in common", function()
      assert.is_nil(agreed({"h2"}, {"chat"}))
      assert.is_nil(agreed({"h2"}, nil))
      assert.is_nil(agreed(nil, {"h2"}))
      assert.is_nil(agreed({}, {}))
    end)
  end)

  describe("client certificate", function()
    it("is asked for by verify = true", function()
      local mine = ca:issue{subject = "me"}
      local c, s, at_client, at_server = tlskit.connect(server{verify = true, ca = ca.cert},
        client{cert = mine.cert, key = mine.key}, "localhost")
      assert.equal(0, at_client)
      assert.equal(0, at_server)
      c:write("hello")
      tlskit.shuttle(c, s)
      assert.equal("hello", (s:read()))
    end)
    it("is refused when it is missing", function()
      local c, s, _, at_server = tlskit.connect(server{verify = true, ca = ca.cert}, client(), "localhost")
      assert.equal("failed: peer did not return a certificate", at_server)
      tlskit.shuttle(c, s)
      assert.same({"", "failed: tlsv13 alert certificate required"}, {tlskit.read_all(c)})
    end)
    it("is refused when its authority is not known", function()
      local own = ca:issue{subject = "me", self_signed = true}
      local _, _, _, at_server = tlskit.connect(server{verify = true, ca = ca.cert},
        client{cert = own.cert, key = own.key}, "localhost")
      assert.equal("failed: self-signed certificate", at_server)
    end)
    it("is not asked for by default", function()
      local own = ca:issue{subject = "me", self_signed = true}
      local _, _, _, at_server = tlskit.connect(server{ca = ca.cert},
        client{cert = own.cert, key = own.key}, "localhost")
      assert.equal(0, at_server)
    end)
  end)

  it("needs the server's name to verify it", function()
    expect.raises(errors.ValueError, "server_name is needed to verify the server",
      tls._filter, tls.context(), false)
  end)

  it("is no server without a certificate", function()
    expect.raises(errors.ValueError, "a TLS server needs a context with 'cert'", tls._filter,
      tls.context(), true)
    expect.raises(errors.ValueError, "server_name is for clients", tls._filter,
      tls.context(server()), true, "localhost")
  end)

  it("refuses what is no host name", function()
    for _, name in ipairs {"", ("x"):rep(300)} do
      expect.raises_like(errors.ValueError, "^server_name .* is not a host name$", tls._filter,
        tls.context(), false, name)
    end
  end)

  it("says what is wrong when the peer does not speak TLS", function()
    local c = tls._filter(tls.context(), false, "localhost")
    assert.equal("want", c:handshake())
    c:feed("220 mail.example.org ESMTP\r\n")
    assert.equal("failed: wrong version number", c:handshake())
    local s = tls._filter(tls.context(server()), true)
    s:feed("GET / HTTP/1.0\r\n\r\n")
    assert.equal("failed: http request", s:handshake())
  end)

  it("fails when the peer ends in the handshake", function()
    local c = tls._filter(tls.context(), false, "localhost")
    c:handshake()
    c:feed(nil)
    assert.equal("failed: unexpected eof while reading", c:handshake())
  end)

  it("goes on with a handshake that comes byte by byte", function()
    local c = tls._filter(tls.context(client()), false, "localhost")
    local s = tls._filter(tls.context(server()), true)
    local function trickle(data, filter)
      for i = 1, #data do
        filter:feed(data:sub(i, i))
        filter:handshake()
      end
    end
    c:handshake()
    trickle(c:take(), s)
    trickle(s:take(), c)
    trickle(c:take(), s)
    assert.equal(0, c:handshake())
    assert.equal(0, s:handshake())
  end)

  describe("data", function()
    it("goes both ways", function()
      local c, s = open()
      assert.equal(4, c:write("ping"))
      assert.equal(4, s:write("pong"))
      tlskit.shuttle(c, s)
      assert.same({"ping", "want"}, {tlskit.read_all(s)})
      assert.same({"pong", "want"}, {tlskit.read_all(c)})
    end)

    it("of any size is taken in parts", function()
      local c, s = open()
      local data = ("0123456789abcdef"):rep(65536)
      local sent, got = 0, {}
      while sent < #data do
        sent = sent + c:write(data:sub(sent + 1))
        s:feed(c:take())
        got[#got + 1] = tlskit.read_all(s)
      end
      assert.is_true(data == table.concat(got))
      assert.is_true(#got > 1)
    end)

    it("cannot be sent before the handshake", function()
      local c = tls._filter(tls.context(), false, "localhost")
      assert.equal("failed: the handshake is not complete", c:write("early"))
      assert.is_nil(c:info())
    end)

    it("that was changed on its way fails", function()
      local c, s = open()
      c:write("hello")
      local wire = c:take()
      s:feed(wire:sub(1, -2) .. string.char(wire:byte(-1) ~ 1))
      assert.equal("failed: decryption failed or bad record mac", select(2, s:read()))
      assert.not_equal("", s:take())
    end)
  end)

  describe("end", function()
    it("with notice is told apart from one without", function()
      local c, s = open()
      c:write("last words")
      c:write_end()
      s:feed(c:take())
      s:feed(nil)
      assert.same({"last words", "end"}, {tlskit.read_all(s)})
    end)
    it("without notice fails after the data", function()
      local c, s = open()
      c:write("last words")
      s:feed(c:take())
      s:feed(nil)
      assert.same({"last words", "failed: unexpected eof while reading"}, {tlskit.read_all(s)})
    end)
    it("in the middle of a record fails", function()
      local c, s = open()
      c:write("last words")
      s:feed(c:take():sub(1, -3))
      s:feed(nil)
      assert.same({"", "failed: unexpected eof while reading"}, {tlskit.read_all(s)})
    end)
    it("of one way leaves the other open", function()
      local c, s = open()
      c:write_end()
      tlskit.shuttle(c, s)
      assert.same({"", "end"}, {tlskit.read_all(s)})
      assert.equal(4, s:write("more"))
      s:write_end()
      tlskit.shuttle(c, s)
      assert.same({"more", "end"}, {tlskit.read_all(c)})
    end)
  end)

  it("released fails, and is released once", function()
    local c = open()
    c:release()
    c:release()
    assert.is_nil(c:info())
    assert.equal("failed: the connection is closed", c:write("x"))
    assert.equal("failed: the connection is closed", c:handshake())
    assert.equal("", c:take())
    c:feed("x")
    c:feed(nil)
    c:write_end()
  end)

  it("keeps its context", function()
    local c, s = tls._filter(tls.context(client()), false, "localhost"),
      tls._filter(tls.context(server{alpn = {"h2"}}), true)
    expect.collect()
    c:handshake()
    s:feed(c:take())
    s:handshake()
    c:feed(s:take())
    assert.equal(0, c:handshake())
  end)
end)
