local agenda = require "agenda"
local certificates = require "spec.support.certificates"
local expect = require "spec.support.expect"
local errors = agenda.errors
local context = agenda.tls.context

describe("tls.context", function()
  local ca, good

  setup(function()
    ca = certificates.new()
    good = ca:issue{name = "localhost"}
  end)
  teardown(function() ca:remove() end)

  it("needs no options", function()
    assert.matches("^<tls_context at 0x%x+>$", tostring(context()))
    assert.equal("agenda.tls_context", getmetatable(context{}).__name)
    assert.equal("tls_context", agenda.type(context{}))
    assert.equal(agenda.tls, require "agenda.tls")
  end)

  it("takes a table and nothing else", function()
    expect.bad_argument("bad argument #1 to 'context' (table expected, got string)", function()
      context("x")
    end)
  end)

  describe("refuses as a wrong argument", function()
    local function refuses(problem, options)
      expect.bad_argument("bad argument #1 to 'context' (" .. problem .. ")", function() context(options) end)
    end

    it("what is no option", function()
      refuses("unknown option 'crt'", {crt = "x"})
      refuses("unknown option '1'", {"x"})
    end)
    it("an option of a wrong type", function()
      for name, kind in pairs {cert = "string", key = "string", ca = "string", verify = "boolean",
        alpn = "table", min_version = "string"} do
        refuses(("option '%s': %s expected, got number"):format(name, kind), {[name] = 1})
      end
    end)
    it("a protocol that is no string", function()
      refuses("option 'alpn': string expected at index 2, got boolean", {alpn = {"h2", true}})
    end)
  end)

  describe("raises ValueError", function()
    it("for a version that it does not know", function()
      for _, version in ipairs {"TLSv1.1", "tlsv1.2", "", "TLSv1.30"} do
        expect.raises(errors.ValueError,
          ('context: option \'min_version\' must be "TLSv1.2" or "TLSv1.3", not "%s"'):format(version),
          context, {min_version = version})
      end
    end)
    it("for protocols that do not fit", function()
      expect.raises(errors.ValueError, "context: option 'alpn': item 1 has 0 bytes, 1 to 255 are allowed",
        context, {alpn = {""}})
      expect.raises(errors.ValueError, "context: option 'alpn': item 1 has 256 bytes, 1 to 255 are allowed",
        context, {alpn = {("x"):rep(256)}})
      local many = {}
      for i = 1, 300 do many[i] = ("x"):rep(255) end
      expect.raises(errors.ValueError, "context: option 'alpn' is too long", context, {alpn = many})
    end)
    it("for a key without a certificate", function()
      expect.raises(errors.ValueError, "context: option 'key' without 'cert'", context, {key = good.key})
    end)
    it("for a path with a zero byte", function()
      expect.raises(errors.ValueError, "context: option 'ca' has a zero byte", context, {ca = good.cert .. "\0x"})
    end)
  end)

  describe("raises OSError", function()
    it("for a file that is not there", function()
      for _, options in ipairs {{cert = "/no/such.pem"}, {cert = good.cert, key = "/no/such.pem"},
        {ca = "/no/such.pem"}, {ca = "/no/such.pem", verify = false}} do
        local name = options.ca and "ca" or options.key and "key" or "cert"
        local err = expect.raises(errors.OSError,
          ("open: option '%s': /no/such.pem: No such file or directory"):format(name), context, options)
        assert.equal("ENOENT", err.code)
        assert.equal(2, err.errno)
        assert.equal("open", err.syscall)
      end
    end)
    it("for a directory", function()
      local err = expect.raises_like(errors.OSError, "option 'ca': .*Is a directory", context, {ca = ca.folder})
      assert.equal("EISDIR", err.code)
    end)
  end)

  describe("raises TLSError", function()
    local function refused(options, option, path, what, reason)
      local err = expect.raises(errors.TLSError,
        ("context: option '%s': %s: %s (%s)"):format(option, path, what, reason), context, options)
      assert.equal(reason, err.reason)
    end

    it("for a file with no certificate", function()
      refused({cert = good.key}, "cert", good.key, "no certificate in PEM", "no start line")
      refused({ca = good.key}, "ca", good.key, "no certificate in PEM", "no certificate or crl found")
      local junk = ca:write("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
      assert.is_true(errors.TLSError:is(select(2, pcall(context, {cert = junk}))))
    end)
    it("for a file with no key", function()
      local err = expect.raises_like(errors.TLSError, "option 'key': .*: no private key in PEM", context,
        {cert = good.cert, key = good.cert})
      assert.is_string(err.reason)
      expect.raises_like(errors.TLSError, "option 'cert': .*: no private key in PEM", context, {cert = good.cert})
    end)
    it("for the key of another certificate", function()
      refused({cert = good.cert, key = ca.key}, "key", ca.key, "the private key is not that of the certificate",
        "key values mismatch")
    end)
    it("for a key of another kind", function()
      local other = ca:path("other.key")
      assert(os.execute("openssl genpkey -algorithm ED25519 -out " .. other))
      refused({cert = good.cert, key = other}, "key", other, "the private key is not that of the certificate",
        "different key types")
    end)
    it("for an encrypted key, and asks nobody for a password", function()
      local locked = ca:path("locked.key")
      assert(os.execute(("openssl pkey -in %s -aes128 -passout pass:secret -out %s"):format(good.key, locked)))
      expect.raises_like(errors.TLSError, "option 'key': .*locked.key: the private key is encrypted", context,
        {cert = good.cert, key = locked})
    end)
  end)

  it("looks at all options before it reads a file", function()
    expect.raises_like(errors.ValueError, "min_version", context, {cert = "/no/such.pem", min_version = "1"})
  end)

  it("is collected", function()
    local weak = setmetatable({context{cert = good.cert, key = good.key, alpn = {"h2"}}}, {__mode = "v"})
    expect.collect()
    assert.is_nil(weak[1])
  end)
end)
