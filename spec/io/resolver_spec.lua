local agenda = require "agenda"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

local getaddrinfo = agenda.getaddrinfo

describe("getaddrinfo", function()
  -- A name that the resolver has to look for, without a network.
  local UNKNOWN = "no-such-host.invalid"

  describe("a name", function()
    it("gives a list of addr, port, family", function()
      local list = agenda.run(getaddrinfo, "localhost", 8080)
      assert.is_true(#list >= 1)
      for _, entry in ipairs(list) do
        assert.equal(8080, entry.port)
        assert.equal(entry.family == "inet" and "127.0.0.1" or "::1", entry.addr)
      end
    end)

    it("is looked up off the loop's thread: the call takes a turn", function()
      local order = {}
      agenda.run(function()
        local task = agenda.spawn(function()
          getaddrinfo("localhost", 80)
          order[#order + 1] = "resolved"
        end)
        agenda.sleep(0)
        order[#order + 1] = "a turn"
        task:await()
      end)
      assert.same({ "a turn", "resolved" }, order)
    end)

    it("is looked up for many tasks at once", function()
      local found = 0
      agenda.run(function()
        agenda.with_taskgroup(function(group)
          for _ = 1, 100 do
            group:spawn(function()
              if #getaddrinfo("localhost", 80) > 0 then found = found + 1 end
            end)
          end
        end)
      end)
      assert.equal(100, found)
    end)

    it("that there is not is an OSError with the resolver's code", function()
      agenda.run(function()
        local err = fails(errors.OSError, getaddrinfo, UNKNOWN, 80)
        assert.matches("^EAI_", err.code)
        assert.equal("getaddrinfo", err.syscall)
        assert.is_true(math.type(err.errno) == "integer")
        assert.matches(UNKNOWN, err.message, 1, true)
      end)
    end)

    it("of nothing but a wrong numeric form is EAI_NONAME", function()
      agenda.run(function()
        assert.equal("EAI_NONAME", fails(errors.OSError, getaddrinfo, "300.300.300.300", 80).code)
      end)
    end)
  end)

  describe("a numeric host", function()
    it("is answered at once, with no loop at all", function()
      assert.same({ { addr = "127.0.0.1", port = 80, family = "inet" } },
        getaddrinfo("127.0.0.1", 80))
    end)

    it("may be IPv6", function()
      assert.same({ { addr = "::1", port = 443, family = "inet6" } }, getaddrinfo("::1", 443))
    end)

    it("takes no thread: the call takes no turn", function()
      agenda.run(function()
        local turns = 0
        agenda.get_running_loop():call_soon(function() turns = turns + 1 end)
        getaddrinfo("127.0.0.1", 80)
        assert.equal(0, turns)
      end)
    end)
  end)

  describe("a host of nil", function()
    local function addresses(list)
      local found = {}
      for _, entry in ipairs(list) do found[entry.addr] = entry.family end
      return found
    end

    it("gives the loopback addresses", function()
      assert.equal("inet", addresses(getaddrinfo(nil, 80))["127.0.0.1"])
    end)

    it("gives the addresses to listen on when passive", function()
      assert.equal("inet", addresses(getaddrinfo(nil, 80, { passive = true }))["0.0.0.0"])
    end)

    it("with no port either is an error", function()
      agenda.run(function()
        assert.equal("EAI_NONAME", fails(errors.OSError, getaddrinfo, nil, nil).code)
      end)
    end)
  end)

  describe("the port", function()
    it("may be a service name", function()
      agenda.run(function()
        assert.equal(80, getaddrinfo("127.0.0.1", "http")[1].port)
      end)
    end)

    it("may be a number in a string", function()
      assert.equal(8080, getaddrinfo("127.0.0.1", "8080")[1].port)
    end)

    it("is 0 when there is none", function()
      assert.equal(0, getaddrinfo("127.0.0.1")[1].port)
    end)

    it("that is no known service is an OSError that names it", function()
      agenda.run(function()
        local err = fails(errors.OSError, getaddrinfo, "127.0.0.1", "no-such-service")
        assert.equal("EAI_SERVICE", err.code)
        assert.matches("no-such-service", err.message, 1, true)
        assert.matches("127.0.0.1", err.message, 1, true)
      end)
    end)

    it("out of range is ValueError", function()
      for _, port in ipairs { -1, 65536, "65536", "-1" } do
        fails(errors.ValueError, getaddrinfo, "127.0.0.1", port)
      end
    end)
  end)

  describe("the options", function()
    it("family keeps one family only", function()
      agenda.run(function()
        for _, family in ipairs { "inet", "inet6" } do
          local ok, list = pcall(getaddrinfo, "localhost", 80, { family = family })
          for _, entry in ipairs(ok and list or {}) do assert.equal(family, entry.family) end
        end
        assert.equal("127.0.0.1", getaddrinfo("localhost", 80, { family = "inet" })[1].addr)
      end)
    end)

    it("a family that the numeric host is not of is an OSError", function()
      agenda.run(function()
        local err = fails(errors.OSError, getaddrinfo, "127.0.0.1", 80, { family = "inet6" })
        assert.matches("^EAI_", err.code)
      end)
    end)

    it("type chooses among services", function()
      agenda.run(function()
        assert.equal(53, getaddrinfo("127.0.0.1", "domain", { type = "dgram" })[1].port)
      end)
    end)

    it("with an unknown value are ValueError", function()
      fails(errors.ValueError, getaddrinfo, "::1", 80, { family = "ipx" })
      fails(errors.ValueError, getaddrinfo, "::1", 80, { type = "raw" })
    end)

    it("with an unknown name are refused", function()
      expect.bad_argument("bad argument #3 to 'getaddrinfo' (unknown option 'famly')",
        function() getaddrinfo("::1", 80, { famly = "inet" }) end)
    end)
  end)

  it("checks the types of its arguments", function()
    local _
    loopkit.bad_argument(1, "getaddrinfo", function() _ = getaddrinfo({}, 80) end)
    loopkit.bad_argument(2, "getaddrinfo", function() _ = getaddrinfo("::1", {}) end)
    loopkit.bad_argument(3, "getaddrinfo", function() _ = getaddrinfo("::1", 80, "inet") end)
    loopkit.bad_argument(1, "getaddrinfo", function() _ = getaddrinfo("a\0b", 80) end)
  end)

  it("cannot wait without a task", function()
    fails(errors.RuntimeError, getaddrinfo, "localhost", 80)
  end)

  it("cancelled after k turns leaves nothing, for every k", function()
    for k = 0, 6 do
      agenda.run(function()
        local task = agenda.spawn(getaddrinfo, "localhost", 80)
        loopkit.turns(k)
        local finished = task:done()
        assert.equal(not finished, task:cancel())
        assert.equal(finished, (pcall(task.await, task)))
        assert.equal(1, #agenda.all_tasks())
      end)
    end
  end)

  it("cancelled in the middle raises CancelledError at once", function()
    agenda.run(function()
      local task = agenda.spawn(getaddrinfo, UNKNOWN, 80)
      agenda.sleep(0)
      task:cancel()
      fails(errors.CancelledError, task.await, task)
      assert.is_true(task:cancelled())
    end)
  end)
end)
