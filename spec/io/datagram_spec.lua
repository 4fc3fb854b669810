local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local netkit = require "spec.support.netkit"
local sweep = require "spec.support.sweep"
local errors, fails = agenda.errors, loopkit.fails
local fails_with = netkit.fails_with

local LOOPBACK = {inet = "127.0.0.1", inet6 = "::1"}

-- A bound datagram socket and its address.
local function bound(host)
  local d = agenda.datagram {local_addr = {host or "127.0.0.1", 0}}
  return d, {d:sockname()}
end

-- Turns until the task waits, as far as that can be told from outside.
local function started(f, ...)
  local task = agenda.spawn(f, ...)
  loopkit.turns(3)
  return task
end

describe("agenda.datagram", function()
  for family, host in pairs(LOOPBACK) do
    it("sends and receives over " .. family, function()
      agenda.run(function()
        local a <close>, a_addr = bound(host)
        local b <close>, b_addr = bound(host)
        b:send("hello", a_addr)
        local data, from = a:recv()
        assert.equal("hello", data)
        assert.same(b_addr, from)
      end)
    end)
  end

  it("keeps the bounds of datagrams, an empty one among them", function()
    agenda.run(function()
      local a <close>, addr = bound()
      local b <close> = agenda.datagram {remote_addr = addr}
      b:send("one")
      b:send("")
      b:send("\0three")
      assert.equal("one", (a:recv()))
      assert.equal("", (a:recv()))
      assert.equal("\0three", (a:recv()))
    end)
  end)

  it("picks a free port for port 0", function()
    agenda.run(function()
      local a <close>, addr = bound()
      assert.equal("127.0.0.1", addr[1])
      assert.is_true(addr[2] > 0)
      assert.equal("datagram", agenda.type(a))
    end)
  end)

  it("resolves names", function()
    agenda.run(function()
      local a <close> = agenda.datagram {local_addr = {"localhost", 0}}
      local _, port = a:sockname()
      local b <close> = agenda.datagram {remote_addr = {(a:sockname()), port}}
      b:send("one")
      assert.equal("one", (a:recv()))
      a:send("two", {"localhost", port})
      assert.equal("two", (a:recv()))
      local err = fails(errors.OSError, a.send, a, "x", {"no.such.host.invalid", 9})
      assert.equal("getaddrinfo", err.syscall)
    end)
  end)

  it("takes the first of a name's addresses that this machine can use", function()
    agenda.run(function()
      netkit.with_addresses({"198.51.100.1", "127.0.0.1"}, function()
        local a <close> = agenda.datagram {local_addr = {"some.name", 0}}
        assert.equal("127.0.0.1", (a:sockname()))
      end)
      netkit.with_addresses({{"fe80::1", 9}, {"127.0.0.1", 9}}, function() -- which needs an interface
        local b <close> = agenda.datagram {remote_addr = {"some.name", 9}}
        assert.equal("127.0.0.1", (b:peername()))
      end)
      netkit.with_addresses({"198.51.100.2", "198.51.100.1"}, function()
        local err = fails_with("EADDRNOTAVAIL", agenda.datagram, {local_addr = {"some.name", 9}})
        assert.truthy(err.message:find("198.51.100.2:9", 1, true))
      end)
    end)
  end)

  it("is on every IPv4 interface when the host is nil", function()
    agenda.run(function()
      local a <close> = agenda.datagram {local_addr = {nil, 0}}
      assert.equal("0.0.0.0", (a:sockname()))
    end)
  end)

  describe("with remote_addr", function()
    it("sends there", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local b <close> = agenda.datagram {remote_addr = addr}
        b:send("x")
        assert.equal("x", (a:recv()))
        assert.same(addr, {b:peername()})
      end)
    end)

    it("takes the same address as an argument, and no other", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local b <close> = agenda.datagram {remote_addr = addr}
        b:send("x", addr)
        assert.equal("x", (a:recv()))
        fails(errors.ValueError, b.send, b, "x", {"127.0.0.1", 9})
      end)
    end)

    it("receives only what comes from there", function()
      agenda.run(function()
        local a <close>, a_addr = bound()
        local stranger <close> = bound()
        local b <close> = agenda.datagram {remote_addr = a_addr, local_addr = {"127.0.0.1", 0}}
        stranger:send("no", {b:sockname()})
        a:send("yes", {b:sockname()})
        assert.equal("yes", (b:recv()))
      end)
    end)

    it("tells that nobody is there by ECONNREFUSED, and goes on working", function()
      agenda.run(function()
        local a, addr = bound()
        a:close()
        local b <close> = agenda.datagram {remote_addr = addr, local_addr = {"127.0.0.1", 0}}
        b:send("x")
        fails_with("ECONNREFUSED", b.recv, b)
        local again <close> = agenda.datagram {local_addr = addr}
        b:send("y")
        assert.equal("y", (again:recv()))
      end)
    end)

    it("gives ECONNREFUSED to who waits already", function()
      agenda.run(function()
        local a, addr = bound()
        a:close()
        local b <close> = agenda.datagram {remote_addr = addr}
        local task = started(b.recv, b)
        b:send("x")
        local err = fails_with("ECONNREFUSED", agenda.await, task)
        assert.equal(("recvfrom: 127.0.0.1:%d: Connection refused"):format(addr[2]), err.message)
      end)
    end)
  end)

  describe("recv", function()
    it("waits until something comes", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local b <close> = bound()
        local task = started(a.recv, a)
        assert.is_false(task:done())
        b:send("late", addr)
        assert.equal("late", (agenda.await(task)))
      end)
    end)

    it("refuses a second reader", function()
      agenda.run(function()
        local a <close> = bound()
        local task = started(a.recv, a)
        fails(errors.RuntimeError, a.recv, a)
        task:cancel()
      end)
    end)

    it("still refuses one when the first was woken and has not run yet", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local got = started(a.recv, a)
        a:send("x", addr)
        local refused
        agenda.get_running_loop():call_soon(function() refused = not pcall(a.recv, a) end)
        assert.equal("x", (agenda.await(got)))
        assert.is_true(refused)
      end)
    end)

    it("can be called again after a cancelled call", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local task = started(a.recv, a)
        task:cancel()
        fails(errors.CancelledError, agenda.await, task)
        a:send("x", addr)
        assert.equal("x", (a:recv()))
      end)
    end)

    it("loses nothing to a cancellation at any turn", function()
      local a, addr
      sweep(function()
        a, addr = bound()
        local received = 0
        local task = agenda.spawn(function()
          while received < 3 do
            a:recv()
            received = received + 1
          end
        end)
        for _ = 1, 3 do
          a:send("x", addr)
        end
        return {task}, function()
          while received < 3 do
            a:recv()
            received = received + 1
          end
          a:close()
          a = nil
        end
      end)
    end)

    it("lets others take turns while there is always something", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local turns = 0
        local ticking = agenda.spawn(function()
          while true do
            turns = turns + 1
            agenda.sleep(0)
          end
        end)
        for _ = 1, 1000 do
          a:send("x", addr)
          a:recv()
        end
        ticking:cancel()
        assert.is_true(turns >= 7)
      end)
    end)
  end)

  describe("send", function()
    it("raises EMSGSIZE for what is too large", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local err = fails_with("EMSGSIZE", a.send, a, ("x"):rep(65536), addr)
        assert.equal(("sendto: 127.0.0.1:%d: Message too long"):format(addr[2]), err.message)
        local largest = ("x"):rep(65507) -- what UDP over IPv4 has room for
        a:send(largest, addr)
        assert.equal(largest, (a:recv()))
      end)
    end)

    it("sends from a callback, where nothing can wait, too", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local failed
        agenda.get_running_loop():call_soon(function()
          for _ = 1, 150 do
            local ok, err = pcall(a.send, a, "x", addr)
            failed = failed or not ok and err
          end
        end)
        agenda.sleep(0)
        assert.is_falsy(failed)
        for _ = 1, 150 do assert.equal("x", (a:recv())) end
      end)
    end)

    it("may go to a broadcast address", function()
      agenda.run(function()
        local a <close> = agenda.datagram {local_addr = {"127.0.0.1", 0}}
        a:send("x", {"127.255.255.255", 9})
      end)
    end)

    it("takes a turn after 128 in a row", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local turns = 0
        local counter = agenda.spawn(function()
          while true do
            turns = turns + 1
            agenda.sleep(0)
          end
        end)
        agenda.sleep(0)
        local before = turns
        for _ = 1, 128 do a:send("x", addr) end
        assert.equal(before, turns)
        a:send("x", addr)
        assert.is_true(turns > before)
        counter:cancel()
      end)
    end)

    it("raises EDESTADDRREQ without an address", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local err = fails_with("EDESTADDRREQ", a.send, a, "x")
        assert.equal(("sendto: 127.0.0.1:%d: Destination address required"):format(addr[2]),
          err.message)
      end)
    end)

    it("raises EAFNOSUPPORT for an address of another family", function()
      agenda.run(function()
        local a <close> = bound()
        local err = fails_with("EAFNOSUPPORT", a.send, a, "x", {"::1", 9})
        assert.truthy(err.message:find("^sendto: %[::1%]:9: "))
      end)
    end)

    it("takes strings alone, and {host, port}", function()
      agenda.run(function()
        local a <close>, addr = bound()
        loopkit.bad_argument(1, "send", function() a:send({}, addr) end)
        loopkit.bad_argument(1, "send", function() a:send() end)
        for _, wrong in ipairs {"127.0.0.1", {"127.0.0.1"}, {1, 2}, {"127.0.0.1", "x"}, {"127.0.0.1", 1.5}} do
          local text = loopkit.bad_argument(2, "send", function() a:send("x", wrong) end)
          assert.truthy(text:find("^[^:]*datagram_spec.lua:%d+: "))
        end
        fails(errors.ValueError, a.send, a, "x", {"127.0.0.1", 65536})
      end)
    end)
  end)

  describe("messages", function()
    it("gives data and address", function()
      agenda.run(function()
        local a <close>, addr = bound()
        local b <close>, b_addr = bound()
        for i = 1, 3 do
          b:send(tostring(i), addr)
        end
        local seen = {}
        for data, from in a:messages() do
          assert.same(b_addr, from)
          seen[#seen + 1] = data
          if data == "3" then break end
        end
        assert.same({"1", "2", "3"}, seen)
      end)
    end)

    it("loses nothing and watches nothing when it is left early", function()
      agenda.run(function()
        local core = require "agenda.core"
        local a <close>, addr = bound()
        local watchers = core.live().watchers
        for _ = 1, 2 do
          local task = started(function()
            for _ in a:messages() do end
          end)
          assert.is_true(core.live().watchers > watchers)
          task:cancel()
          pcall(agenda.await, task)
          assert.equal(watchers, core.live().watchers)
        end
        a:send("x", addr)
        assert.equal("x", (a:recv()))
      end)
    end)
  end)

  describe("close", function()
    it("gives who waits an error at once", function()
      agenda.run(function()
        local a = bound()
        local task = started(a.recv, a)
        a:close()
        fails(errors.RuntimeError, agenda.await, task)
      end)
    end)

    it("leaves the address to the errors that follow", function()
      agenda.run(function()
        local a, addr = bound()
        local b = agenda.datagram {remote_addr = addr}
        local text = ("127.0.0.1:%d: the datagram is closed"):format(addr[2])
        a:close()
        b:close()
        assert.equal(text, fails(errors.RuntimeError, a.recv, a).message)
        assert.equal(text, fails(errors.RuntimeError, b.send, b, "x").message)
      end)
    end)

    it("does nothing the second time, and everything else is an error", function()
      agenda.run(function()
        local a, addr = bound()
        a:close()
        a:close()
        fails(errors.RuntimeError, a.recv, a)
        fails(errors.RuntimeError, a.send, a, "x", addr)
        fails(errors.RuntimeError, a.sockname, a)
        fails(errors.RuntimeError, a.fileno, a)
        assert.is_true(a:is_closed())
        assert.truthy(tostring(a):find("^<datagram closed at 0x"))
      end)
    end)

    it("frees the port", function()
      agenda.run(function()
        local a, addr = bound()
        fails_with("EADDRINUSE", agenda.datagram, {local_addr = addr})
        a:close()
        local b <close> = agenda.datagram {local_addr = addr}
        assert.same(addr, {b:sockname()})
      end)
    end)
  end)

  it("is closed at the end of the run", function()
    local kept
    agenda.run(function() kept = bound() end)
    assert.is_true(kept:is_closed())
    fails(errors.RuntimeError, kept.recv, kept)
  end)

  it("is closed when it is collected", function()
    agenda.run(function()
      local addr
      do
        local _
        _, addr = bound()
      end
      loopkit.collect()
      local again <close> = agenda.datagram {local_addr = addr}
      assert.same(addr, {again:sockname()})
    end)
  end)

  it("serves the cleanup of a generator that is collected with it", function()
    local sent
    agenda.run(function()
      local body = agenda.asyncgen(function()
        local d = agenda.datagram {local_addr = {"127.0.0.1", 0}}
        local _ <close> = loopkit.on_close(function()
          agenda.sleep(0)
          d:send("the end", {d:sockname()})
          sent = d:recv()
          d:close()
        end)
        agenda.yield(1)
      end)
      do
        local g = body()
        g()
      end
      loopkit.collect()
      agenda.sleep(0.02)
    end)
    assert.equal("the end", sent)
  end)

  it("is kept while somebody waits for it", function()
    agenda.run(function()
      local addr
      local task = agenda.spawn(function()
        local a <close> = agenda.datagram {local_addr = {"127.0.0.1", 0}}
        addr = {a:sockname()}
        return a:recv()
      end)
      loopkit.turns(3)
      loopkit.collect()
      local b <close> = agenda.datagram {remote_addr = addr}
      b:send("x")
      assert.equal("x", (agenda.await(task)))
    end)
  end)

  it("tells in debug mode that it was dropped unclosed, and where it was opened", function()
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      bound()
      loopkit.collect()
    end)
    assert.equal(1, #contexts)
    assert.equal("a datagram was dropped unclosed", contexts[1].message)
    assert.truthy(contexts[1].traceback:find("datagram_spec.lua", 1, true))
  end)

  it("tells in debug mode that it was still open at the end", function()
    local kept
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      kept = bound()
    end)
    assert.is_true(kept:is_closed())
    assert.equal(1, #contexts)
    assert.equal("a datagram was left unclosed until its loop was closed", contexts[1].message)
  end)

  it("refuses wrong arguments", function()
    agenda.run(function()
      loopkit.bad_argument(1, "datagram", function() agenda.datagram() end)
      fails(errors.ValueError, agenda.datagram, {})
      fails(errors.ValueError, agenda.datagram, {local_addr = {"127.0.0.1", 70000}})
      fails(errors.ValueError, agenda.datagram, {local_addr = {"127.0.0.1", -1}})
      fails(errors.ValueError, agenda.datagram, {remote_addr = {nil, 1}})
      fails(errors.ValueError, agenda.datagram,
        {local_addr = {"127.0.0.1", 0}, remote_addr = {"::1", 1}})
      assert.is_false((pcall(agenda.datagram, {local_addr = "127.0.0.1:1"})))
      assert.is_false((pcall(agenda.datagram, {local_addr = {"127.0.0.1", "x"}})))
    end)
  end)

  it("needs a running loop", function()
    fails(errors.RuntimeError, agenda.datagram, {local_addr = {"127.0.0.1", 0}})
  end)

  it("wakes who drives by hand", function()
    agenda.run(function()
      local a <close>, addr = bound()
      local co = agenda.async(function() return a:recv() end)()
      local future = co:send()
      a:send("x", addr)
      agenda.await(future)
      local err = fails(errors.StopIteration, co.send, co)
      assert.equal("x", err.value)
    end)
  end)
end)
