local agenda = require "agenda"
local core = require "agenda.core"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

-- The system calls that connections and servers are made of.

local function listening(family, host)
  local socket = core.socket(family, "stream")
  socket:bind(host, 0)
  socket:listen(16)
  return socket, socket:sockname()
end

describe("a socket of the core", function()
  it("knows the families of numeric hosts", function()
    assert.equal("inet", core.address_family("127.0.0.1"))
    assert.equal("inet6", core.address_family("::1"))
    assert.equal("inet6", core.address_family("fe80::1%1"))
    assert.is_nil(core.address_family("localhost"))
    assert.is_nil(core.address_family("::1%nosuchinterface"))
    assert.is_nil(core.address_family("1.2.3"))
    assert.is_nil(core.address_family(""))
  end)

  for family, host in pairs {inet = "127.0.0.1", inet6 = "::1"} do
    it("connects over " .. family, function()
      agenda.run(function()
        local _ <close>, _, port = listening(family, host)
        local client <close> = core.socket(family, "stream")
        local future = client:connect(host, port)
        if future then agenda.await(future) end
        client:connected()
        assert.same({host, port}, {client:peername()})
        assert.equal(host, (client:sockname()))
      end)
    end)
  end

  it("gives nothing when nobody has come", function()
    agenda.run(function()
      local listener <close> = listening("inet", "127.0.0.1")
      assert.is_nil(listener:accept())
    end)
  end)

  it("closes a connection that was accepted and never asked for", function()
    agenda.run(function()
      local listener, _, port = listening("inet", "127.0.0.1")
      local client <close> = core.socket("inet", "stream")
      client:connect("127.0.0.1", port)
      listener:close()
      assert.is_true(listener:is_closed())
    end)
  end)

  it("tells how connecting has failed", function()
    agenda.run(function()
      local listener, _, port = listening("inet", "127.0.0.1")
      listener:close()
      local client <close> = core.socket("inet", "stream")
      local err = fails(errors.OSError, function()
        local future = client:connect("127.0.0.1", port)
        if future then agenda.await(future) end
        client:connected()
      end)
      assert.equal("ECONNREFUSED", err.code)
      assert.equal("connect", err.syscall)
      assert.equal(("connect: 127.0.0.1:%d: Connection refused"):format(port), err.message)
    end)
  end)

  it("refuses hosts that are not numeric, and those of another family", function()
    agenda.run(function()
      local socket <close> = core.socket("inet", "stream")
      assert.equal("EINVAL", fails(errors.OSError, socket.bind, socket, "localhost", 0).code)
      assert.equal("EAFNOSUPPORT", fails(errors.OSError, socket.bind, socket, "::1", 0).code)
      fails(errors.ValueError, socket.bind, socket, "127.0.0.1", 65536)
      fails(errors.ValueError, socket.connect, socket, "127.0.0.1", -1)
    end)
  end)

  it("wakes who waits when it is closed", function()
    agenda.run(function()
      local client = core.socket("inet", "stream")
      local _ <close>, _, port = listening("inet", "127.0.0.1")
      local future = client:connect("127.0.0.1", port)
      client:close()
      if future then agenda.await(future) end
      fails(errors.RuntimeError, client.connected, client)
    end)
  end)

  it("shows what it is", function()
    agenda.run(function()
      local socket = core.socket("inet", "stream")
      assert.equal("socket", agenda.type(socket))
      assert.truthy(tostring(socket):find("^<socket fd=%d+ at 0x"))
      socket:close()
      socket:close()
      assert.truthy(tostring(socket):find("^<socket closed at 0x"))
    end)
  end)

  it("needs a running loop", function()
    fails(errors.RuntimeError, core.socket, "inet", "stream")
  end)

  it("is closed with its loop", function()
    local kept
    agenda.run(function() kept = core.socket("inet", "dgram") end)
    assert.is_true(kept:is_closed())
    kept = nil
    loopkit.collect()
  end)

  it("is collected together with its loop, in debug mode too", function()
    local messages = {}
    agenda.set_warning_handler(function(context) messages[#messages + 1] = context.message end)
    do
      local loop = agenda.new_event_loop()
      loop:set_debug(true)
      local kept = {}
      loop:run_until_complete(function() kept[1] = core.socket("inet", "dgram") end)
    end
    loopkit.collect()
    agenda.set_warning_handler(nil)
    assert.is_true(#messages <= 1)
  end)

  it("survives its loop being collected first", function()
    local kept
    do
      local loop = agenda.new_event_loop()
      loop:run_until_complete(function() kept = core.socket("inet", "dgram") end)
    end
    loopkit.collect()
    kept:close()
    assert.is_true(kept:is_closed())
  end)
end)
