-- How children end, and who is told; on both roads by which the loop learns of it.
local agenda = require "agenda"
local core = require "agenda.core"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local processkit = require "spec.support.processkit"
local script = require "spec.support.script"
local errors, exists, zombies = agenda.errors, processkit.exists, processkit.zombies

local function shell(text)
  return agenda.subprocess{"sh", "-c", text}
end

local usual = core._child_by_signal
local roads = {"SIGCHLD", not usual and "pidfd" or nil}

for _, road in ipairs(roads) do
  describe("a child watched by " .. road, function()
    before_each(function() core._child_by_signal = road == "SIGCHLD" end)
    after_each(function() core._child_by_signal = usual end)

    it("gives its exit code", function()
      agenda.run(function()
        for _, code in ipairs {0, 1, 3, 127, 255} do
          local p = shell("exit " .. code)
          local got, name = p:wait()
          assert.equal(code, got)
          assert.is_nil(name)
          assert.equal(code, p.returncode)
          assert.equal(code, p:poll())
        end
      end)
    end)

    it("gives the signal that ended it", function()
      agenda.run(function()
        for name, number in pairs {SIGTERM = 15, SIGKILL = 9, SIGHUP = 1, SIGUSR1 = 10, SIGPIPE = 13} do
          local p = shell("kill -" .. number .. " $$; exec sleep 60")
          local code, signal = p:wait()
          assert.is_nil(code)
          assert.equal(name, signal)
          assert.equal(-number, p.returncode)
          assert.equal(-number, p:poll())
        end
      end)
    end)

    it("names a real time signal", function()
      agenda.run(function()
        local p = agenda.subprocess{"bash", "-c", "kill -s RTMIN+3 $$; sleep 60"}
        assert.same({n = 2, nil, "SIGRTMIN+3"}, table.pack(p:wait()))
      end)
    end)

    it("has no code while it runs", function()
      agenda.run(function()
        local p <close> = agenda.subprocess{"sleep", "60"}
        assert.is_nil(p.returncode)
        assert.is_nil(p:poll())
      end)
    end)

    it("is noticed by poll before the loop takes a turn", function()
      agenda.run(function()
        local p = agenda.subprocess{"true"}
        while p:poll() == nil do os.execute("true") end
        assert.equal(0, p.returncode)
        assert.equal(0, p:wait())
      end)
    end)

    it("wakes all who wait", function()
      agenda.run(function()
        local p, codes = shell("exit 4"), {}
        for i = 1, 20 do
          agenda.spawn(function() codes[i] = p:wait() end)
        end
        assert.equal(4, p:wait())
        loopkit.turns(2)
        for i = 1, 20 do assert.equal(4, codes[i]) end
      end)
    end)

    it("wakes those who wait when poll was first", function()
      agenda.run(function()
        local p = shell("exit 4")
        local task = agenda.spawn(p.wait, p)
        agenda.sleep(0)
        while p:poll() == nil do os.execute("true") end
        assert.equal(4, agenda.await(task))
      end)
    end)

    it("is noticed while tasks keep the loop busy", function()
      agenda.run(function()
        local p = agenda.subprocess{"true"}
        while p.returncode == nil do agenda.sleep(0) end
        assert.equal(0, p.returncode)
      end)
    end)

    it("goes on when a wait is cancelled", function()
      agenda.run(function()
        local p <close> = agenda.subprocess{"sleep", "60"}
        for _ = 1, 30 do -- more than are kept in the list of those who wait
          assert.is_nil(agenda.move_on_after(0, p.wait, p))
        end
        local other = agenda.spawn(p.wait, p)
        local cancelled = agenda.spawn(p.wait, p)
        agenda.sleep(0)
        cancelled:cancel()
        agenda.sleep(0)
        assert.is_true(cancelled:cancelled())
        p:terminate()
        assert.same({n = 2, nil, "SIGTERM"}, table.pack(agenda.await(other)))
      end)
    end)

    it("ends when its block does, killed and waited for", function()
      agenda.run(function()
        local pid
        do
          local p <close> = agenda.subprocess{"sleep", "60"}
          pid = p.pid
          assert.is_true(exists(pid))
        end
        assert.is_false(exists(pid))
      end)
    end)

    it("is left alone by the end of its block if it has ended", function()
      agenda.run(function()
        local kept
        do
          local p <close> = shell("exit 2")
          kept = p
          p:wait()
        end
        assert.equal(2, kept.returncode)
      end)
    end)

    it("ends when an error leaves its block, which comes out unchanged", function()
      agenda.run(function()
        local pid
        expect.raises_same("the error", function()
          local p <close> = agenda.subprocess{"sleep", "60"}
          pid = p.pid
          error("the error", 0)
        end)
        assert.is_false(exists(pid))
      end)
    end)

    it("ends when its task is cancelled in any turn", function()
      agenda.run(function()
        for turns = 0, 8 do
          local p
          local task = agenda.spawn(function()
            local child <close> = agenda.subprocess{"sleep", "60"}
            p = child
            agenda.sleep(0)
            agenda.spawn(child.terminate, child)
            child:wait()
          end)
          loopkit.turns(turns)
          task:cancel()
          pcall(agenda.await, task)
          if p then
            p:wait()
            assert.is_false(exists(p.pid))
          end
        end
      end)
    end)

    it("is waited for by the end of its block in spite of a cancellation", function()
      agenda.run(function()
        local p
        local task = agenda.spawn(function()
          local child <close> = agenda.subprocess{"sleep", "60"}
          p = child
        end)
        agenda.sleep(0)
        task:cancel()
        expect.raises(errors.CancelledError, nil, agenda.await, task)
        assert.equal(-9, p.returncode)
      end)
    end)

    it("gets signals by name and number", function()
      agenda.run(function()
        local p = agenda.subprocess{"sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done",
          stdout = "pipe"}
        assert.equal("ready", p.stdout:readline())
        p:send_signal("SIGUSR1")
        assert.equal(7, p:wait())
        p.stdout:close()
        p = agenda.subprocess{"sleep", "60"}
        p:send_signal(2)
        assert.same({n = 2, nil, "SIGINT"}, table.pack(p:wait()))
        p = agenda.subprocess{"sleep", "60"}
        p:send_signal("SIGRTMIN+3")
        assert.same({n = 2, nil, "SIGRTMIN+3"}, table.pack(p:wait()))
      end)
    end)

    it("gets no signal any more when it has ended", function()
      agenda.run(function()
        local p = agenda.subprocess{"true"}
        p:wait()
        p:send_signal("SIGTERM")
        p:terminate()
        p:kill()
        assert.equal(0, p.returncode)
      end)
    end)

    it("may be sent a signal when it has ended and nobody has noticed", function()
      agenda.run(function()
        local p = agenda.subprocess{"true"}
        os.execute("sleep 0.05")
        p:kill()
        assert.equal(0, p:wait())
      end)
    end)

    it("is waited for when nobody does", function()
      agenda.run(function()
        local before = core.live().watchers
        for _ = 1, 20 do agenda.subprocess{"true"} end
        for _ = 1, 500 do
          if core.live().watchers == before then break end
          agenda.sleep(0.01)
        end
        assert.equal(0, zombies())
      end)
    end)

    it("goes on when its object is dropped", function()
      agenda.run(function()
        local path = os.tmpname()
        agenda.subprocess{"sh", "-c", "sleep 0.05; echo done > " .. path}
        expect.collect()
        local deadline, text = os.time() + 5, ""
        while text == "" and os.time() < deadline do
          agenda.sleep(0.02)
          local file <close> = assert(io.open(path))
          text = file:read("a")
        end
        os.remove(path)
        assert.equal("done\n", text)
      end)
    end)

    it("is killed at the end of the run, and waited for", function()
      local pids = {}
      local kept
      agenda.run(function()
        for i = 1, 10 do
          kept = agenda.subprocess{"sleep", "60"}
          pids[i] = kept.pid
        end
      end)
      for _, pid in ipairs(pids) do assert.is_false(exists(pid)) end
      assert.equal(-9, kept.returncode)
      assert.same({n = 2, nil, "SIGKILL"}, table.pack(kept:wait()))
      kept:kill()
    end)

    it("is no deadlock for who waits", function()
      agenda.run(function()
        assert.equal(0, agenda.subprocess{"sleep", "0.05"}:wait())
      end)
    end)

    it("keeps the library from waiting for children of others", function()
      agenda.run(function()
        local pipe = assert(io.popen("exit 3"))
        assert.equal(0, agenda.subprocess{"sleep", "0.05"}:wait())
        assert.same({nil, "exit", 3}, {pipe:close()})
      end)
    end)

    it("may be one of many", function()
      agenda.run(function()
        local list = {}
        for i = 1, 300 do list[i] = shell("sleep 0.2; exit " .. i % 7) end
        for i = 1, 300 do assert.equal(i % 7, list[i]:wait()) end
        assert.equal(0, zombies())
      end)
    end)

    it("ends a wait though a grandchild has its pipe", function()
      agenda.run(function()
        local file <close> = io.tmpfile()
        local p <close> = agenda.subprocess{"sh", "-c", "sleep 60 & echo $!", stdout = file}
        assert.equal(0, p:wait())
        file:seek("set")
        os.execute("kill " .. file:read("n"))
      end)
    end)

    it("lets a program have its own handler of SIGCHLD", function()
      agenda.run(function()
        local came = 0
        agenda.get_running_loop():add_signal_handler("SIGCHLD", function() came = came + 1 end)
        assert.equal(5, shell("exit 5"):wait())
        for _ = 1, 100 do
          if came > 0 then break end
          agenda.sleep(0.01)
        end
        agenda.get_running_loop():remove_signal_handler("SIGCHLD")
        assert.is_true(came > 0)
      end)
    end)

    it("works for one loop after the other", function()
      for i = 1, 5 do
        agenda.run(function() assert.equal(i, shell("exit " .. i):wait()) end)
      end
    end)
  end)
end

describe("children", function()
  it("are started and waited for while other threads run", function()
    agenda.run(function()
      local busy <close> = agenda.taskgroup()
      for _ = 1, 4 do
        busy:spawn(agenda.to_thread, function()
          local n = 0
          for i = 1, 100000 do n = n + #tostring(i) end
          return n
        end)
      end
      for i = 1, 20 do
        assert.equal(i, shell("exit " .. i):wait())
      end
    end)
  end)
end)

describe("process:wait", function()
  it("cannot be used from another loop", function()
    local loop = agenda.new_event_loop()
    local p
    loop:run_until_complete(function() p = agenda.subprocess{"sleep", "60"} end)
    expect.raises_like(errors.RuntimeError, "different loop", agenda.run, function() p:wait() end)
    loop:close()
    assert.equal(-9, p.returncode)
  end)

  it("does not switch when the child has ended", function()
    agenda.run(function()
      local p, other = agenda.subprocess{"true"}, false
      p:wait()
      agenda.spawn(function() other = true end)
      p:wait()
      assert.is_false(other)
    end)
  end)
end)

describe("a child that somebody else waited for", function()
  it("counts as ended with 255, and is reported", function()
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write [[
      local agenda = require "agenda"
      agenda.run(function()
        local p = agenda.subprocess{"true"}
        os.execute("sleep 0.05")
        p:kill() -- there is no such process, and that is no error
        print(p:wait(), p.returncode)
      end)
    ]]
    file:close()
    local function text_of(watch)
      local pipe <close> = assert(io.popen(("env --ignore-signal=CHLD AGENDA_CHILD_WATCH=%s lua5.4 %s 2>&1")
        :format(watch, path)))
      return pipe:read("a")
    end
    local text, caught = text_of "", text_of "signal"
    os.remove(path)
    assert.matches("255\t255\n", text)
    assert.matches("process %d+ was waited for by somebody else", text)
    assert.equal("0\t0\n", caught)
  end)
end)

describe("in debug mode", function()
  it("a process that was dropped, and one that the end of the run kills, are reported", function()
    local result = script.run([[
      agenda.run(function()
        agenda.subprocess{"sleep", "60"}
        collectgarbage() collectgarbage()
        agenda.sleep(0)
      end)
    ]], {env = "AGENDA_DEBUG=1"})
    assert.matches("process %d+ %(sleep, started at [^:]*:2%) was dropped while it runs", result.stderr)
    assert.matches("process %d+ %(sleep, started at [^:]*:2%) was killed because its loop", result.stderr)
  end)

  it("one that was closed is not", function()
    local result = script.run([[
      agenda.run(function()
        do local p <close> = agenda.subprocess{"sleep", "60"} end
        agenda.subprocess{"true"}:wait()
        collectgarbage() collectgarbage()
      end)
    ]], {env = "AGENDA_DEBUG=1"})
    assert.equal("", result.stderr)
  end)
end)
