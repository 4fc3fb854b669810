local agenda = require "agenda"
local core = require "agenda.core"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local streamkit = require "spec.support.streamkit"
local errors, spawn, await = agenda.errors, agenda.spawn, agenda.await
local with = streamkit.with

describe("a stream", function()
  it("says what it is", function()
    with(function(a)
      assert.equal("stream", agenda.type(a))
      assert.truthy(tostring(a):find("^<stream near at 0x"))
    end)
  end)

  it("needs a running loop, and closes the descriptor that it was given all the same", function()
    local fd, other = core.pipe()
    expect.raises(errors.RuntimeError, "no running event loop", core.stream, fd)
    expect.raises(errors.OSError, nil, core.close, fd)
    core.close(other)
  end)

  it("gives its addresses", function()
    agenda.run(function()
      local one, other = core.socketpair()
      local a <close> = core.stream(one, { peername = { "::1", 80 }, sockname = "/tmp/x" })
      core.close(other)
      assert.same({ "::1", 80 }, { a:peername() })
      assert.same({ "/tmp/x" }, { a:sockname() })
      assert.equal(one, a:fileno())
    end)
  end)

  describe("close", function()
    it("makes any further use an error, which names the stream", function()
      with(function(a)
        a:close()
        a:close()
        a:wait_closed()
        for _, name in ipairs { "read", "readline", "readuntil", "drain", "write_eof", "fileno", "at_eof",
          "peername", "sockname" } do
          expect.raises(errors.RuntimeError, "near: the stream is closed", a[name], a)
        end
        expect.raises(errors.RuntimeError, nil, a.write, a, "x")
        expect.raises(errors.RuntimeError, nil, a.readexactly, a, 1)
        expect.raises(errors.RuntimeError, nil, agenda.each, a:lines(), print)
      end)
    end)

    it("gives a blocked reader an error at once, abort a blocked writer too", function()
      for _, how in ipairs { "close", "abort" } do
        with(function(a, b)
          local tasks = {
            spawn(a.read, a), spawn(a.write, a, ("x"):rep(1000000)), spawn(a.drain, a),
          }
          loopkit.turns(2)
          a[how](a)
          loopkit.turns(2)
          for i, task in ipairs(tasks) do
            assert.equal(how == "abort" or i == 1, task:done())
          end
          b:read("a")
          for i, task in ipairs(tasks) do
            if how == "abort" or i == 1 then
              expect.raises(errors.RuntimeError, nil, await, task)
            else
              assert.equal(0, select("#", await(task)))
            end
          end
        end)
      end
    end)

    it("followed by abort gives blocked writers the error", function()
      with(function(a)
        local tasks = {spawn(a.write, a, ("x"):rep(1000000)), spawn(a.drain, a), spawn(a.wait_closed, a)}
        loopkit.turns(2)
        a:close()
        loopkit.turns(2)
        a:abort()
        expect.raises(errors.RuntimeError, nil, await, tasks[1])
        expect.raises(errors.RuntimeError, nil, await, tasks[2])
        await(tasks[3])
      end)
    end)

    it("tells a blocked writer that the peer has gone, and wait_closed nothing then", function()
      with(function(a, b)
        local writer = spawn(a.write, a, ("x"):rep(1000000))
        loopkit.turns(2)
        a:close()
        b:abort()
        assert.equal("EPIPE", expect.raises(errors.OSError, nil, await, writer).code)
        a:wait_closed()
      end)
    end)

    it("sends what is unsent, abort does not", function()
      with(function(a, b)
        local data = ("x"):rep(1000000)
        local writer = spawn(a.write, a, data)
        loopkit.turns(1)
        a:close()
        local waiter = spawn(a.wait_closed, a)
        loopkit.turns(3)
        assert.is_false(waiter:done())
        assert.equal(data, b:read("a"))
        await(waiter)
        await(writer)
      end)
      with(function(a, b)
        local writer = spawn(a.write, a, ("x"):rep(1000000))
        loopkit.turns(1)
        a:abort()
        a:wait_closed()
        assert.is_true(#b:read("a") < 1000000)
        pcall(await, writer)
      end)
    end)

    it("at the end of a block waits for that, and aborts on an error", function()
      with(function(a, b)
        local reader = spawn(function()
          agenda.sleep(0.01)
          return b:read("a")
        end)
        do
          local stream <close> = a
          spawn(function() pcall(stream.write, stream, ("x"):rep(1000000)) end)
          agenda.sleep(0)
        end
        assert.equal(1000000, #await(reader))
      end)
      with(function(a)
        local err = expect.raises(errors.ValueError, nil, function()
          local stream <close> = a
          spawn(function() pcall(stream.write, stream, ("x"):rep(1000000)) end)
          agenda.sleep(0)
          error(errors.ValueError("x"))
        end)
        assert.equal("x", err.message)
        a:wait_closed()
      end)
    end)
  end)

  describe("dropped unclosed", function()
    it("gives its descriptor back", function()
      agenda.run(function()
        local one, other = core.socketpair()
        local keep = core.stream(other)
        core.stream(one)
        expect.collect()
        assert.is_nil(keep:read())
        keep:close()
      end)
    end)

    it("is reported in debug mode, with where it was opened", function()
      local reports = expect.reports(function()
        agenda.get_running_loop():set_debug(true)
        local one, other = core.pipe()
        core.close(other)
        core.stream(one, { name = "dropped" })
        expect.collect()
      end)
      local found = false
      for _, report in ipairs(reports) do
        found = found or report.message:find("stream dropped was dropped unclosed %(opened at .*stream_spec.lua:%d")
      end
      assert.truthy(found)
    end)

    it("is reported in debug mode at the end of the run, too; the standard streams are not", function()
      local kept
      local warnings = expect.warnings(function()
        local loop = agenda.new_event_loop()
        loop:set_debug(true)
        loop:run_until_complete(function()
          local one, other = core.pipe()
          core.close(other)
          kept = core.stream(one, { name = "kept" })
          agenda.stderr:write("")
        end)
        loop:close()
      end)
      assert.equal(1, #warnings)
      assert.truthy(warnings[1]:find("stream kept was left unclosed %(opened at .*stream_spec.lua:%d"))
      kept:close()
      kept = nil
    end)

    it("is closed at the end of the run even if something holds it", function()
      local kept
      agenda.run(function() kept = streamkit.sockets() end)
      expect.raises(errors.RuntimeError, nil, kept.read, kept)
      kept = nil
    end)
  end)

  describe("deadlock detection", function()
    it("knows that a reader can be woken, and that nobody reads", function()
      local err = expect.raises(errors.RuntimeError, nil, agenda.run, function()
        local _ <close> = streamkit.sockets()
        agenda.await(agenda.future())
      end)
      assert.truthy(err.message:find("deadlock"))
    end)
  end)
end)
