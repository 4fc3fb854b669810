-- The streams of children, and `communicate`.
local agenda = require "agenda"
local core = require "agenda.core"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local processkit = require "spec.support.processkit"
local script = require "spec.support.script"
local errors = agenda.errors

local MB = 1 << 20
local variant = os.getenv "AGENDA_VARIANT" or ""
local LARGE = variant == "" and 100 * MB or 2 * MB

local function shell(text, spec)
  spec = spec or {}
  spec[1], spec[2], spec[3] = "sh", "-c", text
  return agenda.subprocess(spec)
end

describe("the streams of a child", function()
  it("are there for pipes alone", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe", stderr = "null"}
      assert.equal("stream", agenda.type(p.stdin))
      assert.equal("stream", agenda.type(p.stdout))
      assert.is_nil(p.stderr)
    end)
  end)

  it("carry both ways", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      for i = 1, 3 do
        p.stdin:write("line ", tostring(i), "\n")
        assert.equal("line " .. i, p.stdout:readline())
      end
      p.stdin:close()
      assert.is_nil(p.stdout:read())
      assert.equal(0, p:wait())
    end)
  end)

  it("give the lines as an async generator", function()
    agenda.run(function()
      local p, lines = shell("for i in 1 2 3; do echo $i; done", {stdout = "pipe"}), {}
      for line in p.stdout:lines() do lines[#lines + 1] = line end
      assert.same({"1", "2", "3"}, lines)
      assert.equal(0, p:wait())
      p.stdout:close()
    end)
  end)

  it("may be left early: the child is told by SIGPIPE", function()
    agenda.run(function()
      local p = agenda.subprocess{"yes", stdout = "pipe"}
      local count = 0
      for line in p.stdout:lines() do
        assert.equal("y", line)
        count = count + 1
        if count == 3 then break end
      end
      p.stdout:close()
      assert.same({n = 2, nil, "SIGPIPE"}, table.pack(p:wait()))
    end)
  end)

  it("go one way each", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      assert.is_false(pcall(p.stdin.read, p.stdin))
      assert.is_false(pcall(p.stdout.write, p.stdout, "x"))
    end)
  end)

  it("raise EPIPE when the child has gone", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"true", stdin = "pipe"}
      p:wait()
      local err = expect.raises(errors.OSError, nil, function()
        for _ = 1, 10 do p.stdin:write(("x"):rep(65536)) end
      end)
      assert.equal("EPIPE", err.code)
    end)
  end)

  it("do not keep wait from returning while a grandchild has them", function()
    agenda.run(function()
      local p <close> = shell("sleep 60 & echo $!", {stdout = "pipe"})
      local grandchild = p.stdout:readline()
      assert.equal(0, p:wait())
      assert.is_true(processkit.exists(grandchild))
      os.execute("kill " .. grandchild)
    end)
  end)

  it("are closed when the block ends, and blocked tasks are told", function()
    agenda.run(function()
      local reader
      do
        local p <close> = agenda.subprocess{"sleep", "60", stdin = "pipe", stdout = "pipe"}
        reader = agenda.spawn(p.stdout.read, p.stdout)
        agenda.sleep(0)
      end
      assert.is_false(pcall(agenda.await, reader))
    end)
  end)

  it("are closed when the process object is collected", function()
    agenda.run(function()
      local before = core.live().watchers + 3
      agenda.await(agenda.spawn(function()
        agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      end))
      for _ = 1, 200 do
        expect.collect()
        if core.live().watchers < before - 2 then break end
        agenda.sleep(0.01)
      end
      assert.is_true(core.live().watchers < before - 2, "the child did not end")
    end)
  end)

  it("have the limit that was asked for", function()
    agenda.run(function()
      local p <close> = shell("echo 0123456789", {stdout = "pipe", limit = 4})
      expect.raises(errors.LimitOverrunError, nil, p.stdout.readline, p.stdout)
    end)
    expect.raises(errors.ValueError, "subprocess: limit: an integer of more than 0 expected, got 0",
      agenda.subprocess, {"true", limit = 0})
    expect.raises(errors.ValueError, nil, agenda.subprocess, {"true", limit = 1.5})
    expect.bad_argument("bad argument #1 to 'subprocess' (limit: number expected, got string)",
      function() agenda.subprocess{"true", limit = "1"} end)
  end)

  it("may be another child's stdin", function()
    agenda.run(function()
      local first = shell("for i in 1 2 3; do echo $i; sleep 0.01; done", {stdout = "pipe"})
      local second <close> = agenda.subprocess{"tac", stdin = first.stdout, stdout = "pipe"}
      first.stdout:close()
      assert.equal("3\n2\n1\n", (second:communicate()))
    end)
  end)

  it("may be another child's stdin by their descriptor", function()
    agenda.run(function()
      local last <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      local first = shell("sleep 0.02; echo text", {stdout = last.stdin:fileno()})
      last.stdin:close()
      assert.equal("text\n", (last:communicate()))
      assert.equal(0, first:wait())
    end)
  end)

  it("may be this process's standard streams", function()
    local result = script.run([[
      agenda.run(function()
        agenda.stdout:write("before\n")
        agenda.subprocess{"echo", "child", stdout = agenda.stdout}:wait()
        agenda.subprocess{"cat", stdin = agenda.stdin}:wait()
      end)
    ]], {input = "input\n"})
    assert.equal("", result.stderr)
    assert.equal("before\nchild\ninput\n", result.stdout)
  end)

  it("do not block in this process, and do in the child", function()
    agenda.run(function()
      local p <close> = shell("sleep 0.02; grep flags /proc/self/fdinfo/0 /proc/self/fdinfo/1",
        {stdin = "pipe", stdout = "pipe"})
      for flags in p:communicate():gmatch("flags:%s*(%d+)") do
        assert.equal(0, tonumber(flags, 8) & 2048)
      end
    end)
  end)

  it("of one that cannot be started are closed", function()
    agenda.run(function()
      for _ = 1, 10 do
        assert.is_false(pcall(agenda.subprocess,
          {"no-such-program", stdin = "pipe", stdout = "pipe", stderr = "pipe"}))
      end
    end)
  end)

  it("are no others' business: a child has none of another's pipes", function()
    agenda.run(function()
      local first <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      local second <close> = agenda.subprocess{"sleep", "60"}
      first.stdin:close()
      assert.equal(0, first:wait())
      assert.is_nil(second.returncode)
    end)
  end)
end)

describe("process:communicate", function()
  it("gives what both streams had", function()
    agenda.run(function()
      local p = shell("cat; echo err >&2", {stdin = "pipe", stdout = "pipe", stderr = "pipe"})
      assert.same({n = 2, "input", "err\n"}, table.pack(p:communicate("input")))
      assert.equal(0, p.returncode)
    end)
  end)

  it("gives nil for what is no pipe", function()
    agenda.run(function()
      assert.same({n = 2}, table.pack(agenda.subprocess{"true"}:communicate()))
      local p = shell("echo out; echo err >&2", {stdout = "pipe", stderr = "null"})
      assert.same({n = 2, "out\n"}, table.pack(p:communicate()))
      p = shell("echo out; echo err >&2", {stdout = "null", stderr = "pipe"})
      assert.same({n = 2, nil, "err\n"}, table.pack(p:communicate()))
      p = shell("echo out; echo err >&2", {stdout = "pipe", stderr = "stdout"})
      assert.same({n = 2, "out\nerr\n"}, table.pack(p:communicate()))
    end)
  end)

  it("gives empty strings for silent streams", function()
    agenda.run(function()
      local p = agenda.subprocess{"true", stdout = "pipe", stderr = "pipe"}
      assert.same({n = 2, "", ""}, table.pack(p:communicate()))
    end)
  end)

  it("closes stdin without input, too", function()
    agenda.run(function()
      local p = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      assert.equal("", (p:communicate()))
    end)
  end)

  it("gives back the descriptors while the process object is there", function()
    agenda.run(function()
      agenda.subprocess{"true", stdout = "pipe"}:communicate() -- makes what the loop keeps
      local before = processkit.descriptors()
      local p = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe", stderr = "pipe"}
      assert.same({"x", ""}, {p:communicate("x")})
      assert.equal(before, processkit.descriptors())
      assert.equal(0, p.returncode)
    end)
  end)

  it("takes a list of strings", function()
    agenda.run(function()
      local p = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      assert.equal("a b", (p:communicate {"a", " ", "b"}))
    end)
  end)

  it("takes large amounts both ways #slow", function()
    agenda.run(function()
      local text = ("0123456789abcdef"):rep(LARGE // 16)
      local p = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe", stderr = "pipe"}
      local out, err = p:communicate(text)
      assert.is_true(out == text)
      assert.equal("", err)
    end)
  end)

  it("reads both streams at once", function()
    agenda.run(function()
      local p = shell("head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; head -c 9 /dev/zero >&2",
        {stdout = "pipe", stderr = "pipe"})
      local out, err = p:communicate()
      assert.equal(300000, #out)
      assert.equal(300009, #err)
    end)
  end)

  it("does not mind a child that reads nothing", function()
    agenda.run(function()
      local p = shell("exec <&-; echo out; exit 3", {stdin = "pipe", stdout = "pipe"})
      assert.equal("out\n", (p:communicate(("x"):rep(MB))))
      assert.equal(3, p.returncode)
    end)
  end)

  it("waits for the process after its streams have ended", function()
    agenda.run(function()
      local p = shell("exec >&-; sleep 0.02; exit 5", {stdout = "pipe"})
      p:communicate()
      assert.equal(5, p.returncode)
    end)
  end)

  it("refuses what is no input", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "null"}
      expect.bad_argument("bad argument #1 to 'communicate' (string expected, got boolean)",
        function() p:communicate(true) end)
      local other <close> = agenda.subprocess{"true"}
      expect.raises_like(errors.ValueError, "stdin is not a pipe", other.communicate, other, "x")
    end)
  end)

  it("refuses a list with something else in it, and changes nothing", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe"}
      for _, wrong in ipairs {true, {}} do
        expect.bad_argument("bad argument #1 to 'communicate' (string expected at index 2, got "
          .. type(wrong) .. ")", function() p:communicate {"a", wrong} end)
      end
      assert.equal("ab", (p:communicate {"a", "b"}))
    end)
  end)

  it("gives the same again", function()
    agenda.run(function()
      local p = shell("echo out", {stdin = "pipe", stdout = "pipe"})
      assert.equal("out\n", (p:communicate("x")))
      assert.equal("out\n", (p:communicate()))
      expect.raises_like(errors.ValueError, "earlier call", p.communicate, p, "x")
    end)
  end)

  it("goes on where it was after a timeout", function()
    agenda.run(function()
      local p <close> = shell("cat; echo err >&2; sleep 0.1; echo end",
        {stdin = "pipe", stdout = "pipe", stderr = "pipe"})
      local input = ("x"):rep(200000) .. "\n"
      expect.raises(errors.TimeoutError, nil, agenda.with_timeout, 0.05, p.communicate, p, input)
      assert.is_nil(p.returncode)
      local out, err = p:communicate()
      assert.is_true(out == input .. "end\n")
      assert.equal("err\n", err)
    end)
  end)

  it("may be cancelled in any turn, and loses nothing", function()
    agenda.run(function()
      local input = ("line\n"):rep(100000)
      for turns = 0, 12 do
        local p <close> = agenda.subprocess{"cat", stdin = "pipe", stdout = "pipe", stderr = "pipe"}
        local task = agenda.spawn(p.communicate, p, input)
        loopkit.turns(turns)
        task:cancel()
        local ok, err = pcall(agenda.await, task)
        assert.is_true(ok or errors.CancelledError:is(err))
        assert.equal(1, #agenda.all_tasks())
        local out = p:communicate(turns == 0 and input or nil)
        assert.is_true(out == input, "after " .. turns)
      end
    end)
  end)
end)

describe("bad use of a process", function()
  it("is refused with the method's name", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"sleep", "60"}
      for _, name in ipairs {"wait", "poll", "kill", "terminate", "communicate", "send_signal"} do
        expect.bad_argument(("bad argument #1 to '%s' (agenda.process expected, got table)"):format(name),
          function() p[name]({}) end)
      end
      expect.raises(errors.ValueError, "unknown signal SIGNOTHING", p.send_signal, p, "SIGNOTHING")
      expect.raises(errors.ValueError, "unknown signal 1000", p.send_signal, p, 1000)
      expect.bad_argument("bad argument #1 to 'send_signal' (signal's name or number expected, got no value)",
        function() p:send_signal() end)
      expect.bad_argument("bad argument #1 to 'send_signal' (number has no integer representation)",
        function() p:send_signal(1.5) end)
    end)
  end)
end)
