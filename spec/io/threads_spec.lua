local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"
local errors, fails = agenda.errors, loopkit.fails

local to_thread = agenda.to_thread

-- Keeps a thread busy for so many seconds of its own time.
local function busy(seconds)
  local limit = os.clock() + seconds
  while os.clock() < limit do end
end

-- Blocks a thread until the file is there.
local function hold(path)
  while true do
    local file <close> = io.open(path)
    if file then return end
    os.execute("sleep 0.01")
  end
end

describe("to_thread", function()
  describe("arguments and results", function()
    local function echo(...)
      return to_thread(function(...) return ... end, ...)
    end

    it("are values of every plain kind, nils in any position", function()
      agenda.run(function()
        local got = table.pack(echo(nil, true, false, "text", nil))
        assert.same({ nil, true, false, "text", nil, n = 5 }, got)
      end)
    end)

    it("may be none", function()
      agenda.run(function() assert.equal(0, select("#", echo())) end)
    end)

    it("may be a hundred", function()
      local list = {}
      for i = 1, 100 do list[i] = i end
      assert.same(list, agenda.run(function() return { echo(table.unpack(list)) } end))
    end)

    it("keep integers and floats apart", function()
      local numbers = { 1, 1.0, math.mininteger, math.maxinteger, math.huge, -0.0, 2 ^ 53 }
      agenda.run(function()
        for i, value in ipairs { echo(table.unpack(numbers)) } do
          assert.equal(math.type(numbers[i]), math.type(value))
          assert.equal(numbers[i], value)
        end
        local nan = echo(0 / 0)
        assert.is_true(nan ~= nan)
      end)
    end)

    it("keep strings byte by byte", function()
      local all = {}
      for i = 0, 255 do all[#all + 1] = string.char(i) end
      local text = table.concat(all):rep(1000)
      agenda.run(function() assert.is_true(echo(text) == text and echo("") == "") end)
    end)

    it("are copies of tables", function()
      agenda.run(function()
        local t = { 1, "two", { 3 }, key = { nested = { true } }, [2.5] = false, [true] = 1 }
        local copy = echo(t)
        assert.same(t, copy)
        assert.is_false(rawequal(t, copy))
      end)
    end)

    it("do not change with the original", function()
      agenda.run(function()
        local t = { 1 }
        to_thread(function(u) u[1] = 2 end, t)
        assert.same({ 1 }, t)
      end)
    end)

    it("keep cycles and shared tables, across arguments too", function()
      agenda.run(function()
        local shared = { "shared" }
        local t = { shared, shared, [shared] = 1 }
        t.self = t
        local copy, other = echo(t, shared)
        assert.equal(copy, copy.self)
        assert.equal(copy[1], copy[2])
        assert.equal(copy[1], other)
        assert.equal(1, copy[other])
      end)
    end)

    it("may be nested without limit", function()
      agenda.run(function()
        local deep = {}
        for _ = 1, 100000 do deep = { deep } end
        local levels = to_thread(function(t)
          local n = 0
          while t[1] do t, n = t[1], n + 1 end
          return n
        end, deep)
        assert.equal(100000, levels)
      end)
    end)

    it("keep holes in lists", function()
      agenda.run(function() assert.same({ 1, nil, 3, [100] = 4 }, echo { 1, nil, 3, [100] = 4 }) end)
    end)
  end)

  describe("what cannot be copied", function()
    local function refused(...)
      local args = table.pack(...)
      return agenda.run(function()
        return fails(errors.TypeError, to_thread, table.unpack(args, 1, args.n)).message
      end)
    end
    local function nothing() end

    it("is named by its argument", function()
      assert.matches("argument 3 .*function", refused(nothing, 1, print))
      assert.matches("argument 2 .*thread", refused(nothing, coroutine.create(print)))
    end)

    it("is named by its place in a table", function()
      assert.matches("argument 2 .*%.list%[2%]%.name.*FILE", refused(nothing, {
        list = { 1, { name = io.stdout } },
      }))
    end)

    it("may be a key", function()
      assert.matches("argument 2 .*key.*function", refused(nothing, { [print] = 1 }))
    end)

    it("may be an object of agenda's", function()
      assert.matches("agenda.future", refused(nothing, agenda.future()), 1, true)
      assert.matches("agenda.queue", refused(nothing, agenda.queue()), 1, true)
    end)

    it("may be a table with a metatable", function()
      assert.matches("metatable", refused(nothing, setmetatable({}, {})))
    end)

    it("may be deep below", function()
      local deep = { print }
      for _ = 1, 100000 do deep = { deep } end
      assert.matches("function", refused(nothing, deep))
    end)

    it("may be a result, named by its number", function()
      assert.matches("result 2 .*function", refused(function() return 1, print end))
    end)

    it("may be in a table that is a result", function()
      assert.matches("result 1 .*%.x%[1%].*userdata",
        refused(function() return { x = { io.stdout } } end):gsub("FILE%*", "userdata"))
    end)
  end)

  describe("the function", function()
    it("may use globals, those of its own state", function()
      local before = string.format
      agenda.run(function()
        local version, global = to_thread(function()
          string.format = nil -- luacheck: ignore
          here = true -- luacheck: ignore
          return _VERSION, here -- luacheck: ignore
        end)
        assert.same({ _VERSION, true }, { version, global })
        assert.is_nil(rawget(_G, "here"))
        assert.equal(before, string.format)
      end)
    end)

    it("sees nothing of earlier calls", function()
      agenda.run(function()
        for _ = 1, 20 do
          assert.is_nil(to_thread(function()
            local seen = mark -- luacheck: ignore
            mark = true -- luacheck: ignore
            return seen
          end))
        end
      end)
    end)

    it("finds modules where its maker does", function()
      agenda.run(function()
        local ok, path = to_thread(function()
          return pcall(require, "agenda.core"), package.path
        end)
        assert.is_true(ok)
        assert.equal(package.path, path)
      end)
    end)

    it("must have no upvalue, which the error names", function()
      local secret = 1
      agenda.run(function()
        local err = fails(errors.TypeError, to_thread, function() return secret end)
        assert.matches("'secret'", err.message, 1, true)
      end)
    end)

    it("must have none even if it is the globals by another name", function()
      local globals = _G
      agenda.run(function()
        local err = fails(errors.TypeError, to_thread, function() return globals end)
        assert.matches("'globals'", err.message, 1, true)
      end)
    end)

    it("may be stripped of debug information", function()
      local stripped = load(string.dump(function(a) return tostring(a) end, true))
      assert.equal("7", agenda.run(to_thread, stripped, 7))
    end)

    it("may be the result of load", function()
      assert.equal(5, agenda.run(to_thread, load("return ... + 1"), 4))
    end)

    it("must not be a C function", function()
      agenda.run(function()
        assert.matches("C function", fails(errors.TypeError, to_thread, print).message)
      end)
    end)

    it("must be a function", function()
      agenda.run(function()
        for _, value in ipairs { "f", 1, {} } do
          loopkit.bad_argument(1, "to_thread", function() agenda.to_thread(value) end)
        end
        loopkit.bad_argument(1, "to_thread", function() agenda.to_thread() end)
      end)
    end)
  end)

  describe("errors", function()
    it("come back as strings with their position", function()
      agenda.run(function()
        local line = loopkit.here() + 1
        local ok, err = pcall(to_thread, function() error("boom") end)
        assert.is_false(ok)
        assert.matches("threads_spec.lua:" .. line .. ": boom$", err)
      end)
    end)

    it("bring the trace of the thread", function()
      agenda.run(function()
        local _, err = pcall(to_thread, function()
          local function inner() error("boom") end
          inner()
        end)
        assert.matches("in .-'inner'", agenda.traceback(err))
      end)
    end)

    it("may be tables, which are copied", function()
      agenda.run(function()
        local _, err = pcall(to_thread, function() error { code = 7, list = { 1 } } end)
        assert.same({ code = 7, list = { 1 } }, err)
      end)
    end)

    it("may be numbers and booleans", function()
      agenda.run(function()
        assert.same({ false, 42 }, { pcall(to_thread, function() error(42) end) })
        assert.same({ false, false }, { pcall(to_thread, function() error(false) end) })
      end)
    end)

    it("of nil are RuntimeError", function()
      agenda.run(function()
        local err = fails(errors.RuntimeError, to_thread, function() error() end)
        assert.equal("nil error", err.message)
      end)
    end)

    it("that cannot be copied are RuntimeError with their text", function()
      agenda.run(function()
        local err = fails(errors.RuntimeError, to_thread, function()
          error(setmetatable({}, { __tostring = function() return "in words" end }))
        end)
        assert.equal("in words", err.message)
      end)
    end)

    it("of agenda's classes keep their class and plain fields", function()
      agenda.run(function()
        local err = fails(errors.OSError, to_thread, function()
          local class = require "agenda".errors.OSError
          error(class("no such thing", { errno = 2, code = "ENOENT", syscall = "open", more = {} }))
        end)
        assert.same({ "no such thing", 2, "ENOENT", "open" },
          { err.message, err.errno, err.code, err.syscall })
        assert.equal(errors.OSError, err.class)
      end)
    end)

    it("of memory come back, too", function()
      agenda.run(function()
        local ok, err = pcall(to_thread, function() return ("x"):rep(1 << 60) end)
        assert.is_false(ok)
        assert.matches("resulting string too large", err)
      end)
    end)
  end)

  it("runs while the loop goes on #slow", function()
    local ticks = 0
    agenda.run(function()
      local ticker = agenda.spawn(function()
        while true do
          agenda.sleep(0.01)
          ticks = ticks + 1
        end
      end)
      to_thread(busy, 0.3)
      ticker:cancel()
    end)
    assert.is_true(ticks >= 5, "only " .. ticks .. " ticks")
  end)

  it("cannot wait without a task", function()
    fails(errors.RuntimeError, to_thread, function() end)
  end)
end)

describe("loop:run_in_executor", function()
  it("returns a future at once", function()
    agenda.run(function()
      local loop = agenda.get_running_loop()
      local future = loop:run_in_executor(function(a, b) return a + b, a end, 1, 2)
      assert.equal("future", agenda.type(future))
      assert.same({ 3, 1 }, { future:await() })
    end)
  end)

  it("fails the future with the function's error", function()
    agenda.run(function()
      local future = agenda.get_running_loop():run_in_executor(function() error("boom", 0) end)
      assert.same({ false, "boom" }, { pcall(future.await, future) })
      assert.equal("boom", future:exception())
    end)
  end)

  it("reports an error that nobody takes", function()
    local contexts = loopkit.reports(function(loop)
      loop:run_in_executor(function() error("forgotten", 0) end)
      to_thread(function() end)
      loopkit.turns(3)
    end)
    assert.equal(1, #contexts)
    assert.equal("forgotten", contexts[1].exception)
  end)

  it("works from outside of the loop, which then runs it", function()
    loopkit.with_loop(function(loop)
      local future = loop:run_in_executor(function() return "done" end)
      assert.equal("done", loop:run_until_complete(future))
    end)
  end)

  it("keeps run_once waiting for it", function()
    loopkit.with_loop(function(loop)
      local future = loop:run_in_executor(function() return 1 end)
      while not future:done() do loop:run_once() end
      assert.equal(1, future:result())
    end)
  end)

  it("begins in the order of the calls", function()
    local order = agenda.run(function()
      local loop, futures = agenda.get_running_loop(), {}
      for i = 1, 100 do
        futures[i] = loop:run_in_executor(function(n) return n end, i)
      end
      return agenda.gather(futures):await()
    end)
    for i = 1, 100 do assert.equal(i, order[i]) end
  end)

  it("refuses a closed loop, and wrong arguments at once", function()
    loopkit.with_loop(function(loop)
      fails(errors.TypeError, loop.run_in_executor, loop, print)
      fails(errors.TypeError, loop.run_in_executor, loop, function() end, print)
      loop:close()
      fails(errors.RuntimeError, loop.run_in_executor, loop, function() end)
    end)
  end)
end)

describe("the thread pool", function()
  local gate

  before_each(function()
    gate = os.tmpname()
    os.remove(gate)
  end)

  after_each(function() os.remove(gate) end)

  -- Lets go all that is held.
  local function let_go()
    assert(io.open(gate, "w")):close()
  end

  local function threads()
    local count = 0
    for name in require "lfs".dir("/proc/self/task") do
      if tonumber(name) then count = count + 1 end
    end
    return count
  end

  it("has between 4 and 64 threads, started as they are needed", function()
    agenda.run(function()
      local loop, before, futures = agenda.get_running_loop(), threads(), {}
      to_thread(function() end)
      to_thread(function() end)
      assert.is_true(threads() - before <= 2)
      for i = 1, 40 do futures[i] = loop:run_in_executor(busy, 0.01) end
      local most = threads() - before
      assert.is_true(most >= 4 and most <= 64, most .. " threads")
      agenda.gather(futures):await()
    end)
  end)

  -- NB: /proc shows a thread for a moment after it was joined.
  local function assert_gone(before)
    for _ = 1, 1000 do
      if threads() == before then break end
      os.execute("sleep 0.001")
    end
    assert.equal(before, threads())
  end

  it("is gone when run returns", function()
    local before = threads()
    agenda.run(function() to_thread(function() end) end)
    assert_gone(before)
  end)

  it("is gone when the loop is closed", function()
    local before = threads()
    loopkit.with_loop(function(loop)
      loop:run_until_complete(loop:run_in_executor(function() end))
    end)
    assert_gone(before)
  end)

  it("is joined: what runs at the end of run is waited for", function()
    local name = os.tmpname()
    agenda.run(function()
      agenda.get_running_loop():run_in_executor(function(file_name)
        local limit = os.clock() + 0.05
        while os.clock() < limit do end
        local file <close> = assert(io.open(file_name, "w"))
        file:write("written")
      end, name)
      agenda.sleep(0)
    end)
    local file <close> = assert(io.open(name))
    assert.equal("written", file:read("a"))
    os.remove(name)
  end)

  it("never runs what was cancelled in the queue", function()
    local name = os.tmpname()
    agenda.run(function()
      local loop, holders = agenda.get_running_loop(), {}
      for i = 1, 40 do holders[i] = loop:run_in_executor(hold, gate) end
      local victim = loop:run_in_executor(function(file_name)
        local file <close> = assert(io.open(file_name, "w"))
        file:write("it ran")
      end, name)
      agenda.sleep(0)
      assert.is_true(victim:cancel())
      let_go()
      agenda.gather(holders):await()
      fails(errors.CancelledError, victim.await, victim)
    end)
    local file <close> = assert(io.open(name))
    assert.equal("", file:read("a"))
    os.remove(name)
  end)

  it("gives a cancelled call up at once, and waits for its thread at the end", function()
    local started = os.time()
    agenda.run(function()
      local task = agenda.spawn(to_thread, hold, gate)
      loopkit.turns(3)
      agenda.sleep(0.02)
      task:cancel()
      fails(errors.CancelledError, task.await, task)
      let_go()
    end)
    assert.is_true(os.time() - started < 5)
  end)

  it("is no reason to wait once the call was cancelled", function()
    local err = fails(errors.RuntimeError, agenda.run, function()
      local future = agenda.get_running_loop():run_in_executor(hold, gate)
      agenda.sleep(0.02)
      future:cancel()
      let_go()
      agenda.future():await()
    end)
    assert.matches("deadlock", err.message)
  end)

  it("keeps main from being a deadlock while it works", function()
    assert.equal(1, agenda.run(to_thread, function() return 1 end))
  end)

  it("cancelled after k turns leaves nothing, for every k", function()
    for k = 0, 6 do
      agenda.run(function()
        local task = agenda.spawn(to_thread, function() return 1 end)
        loopkit.turns(k)
        local finished = task:done()
        assert.equal(not finished, task:cancel())
        assert.equal(finished, (pcall(task.await, task)))
        assert.equal(1, #agenda.all_tasks())
      end)
    end
  end)

  it("does not begin for a task that is to be cancelled", function()
    agenda.run(function()
      local task
      task = agenda.spawn(function()
        task:cancel()
        to_thread(function() end)
      end)
      fails(errors.CancelledError, task.await, task)
    end)
  end)

  it("serves several loops of one state, one after the other", function()
    for i = 1, 5 do
      assert.equal(i, agenda.run(to_thread, function(n) return n end, i))
    end
  end)

  describe("shutdown_default_executor", function()
    it("finishes what there is and takes no more", function()
      agenda.run(function()
        local loop, done = agenda.get_running_loop(), 0
        for _ = 1, 50 do
          loop:run_in_executor(function() end):add_done_callback(function() done = done + 1 end)
        end
        loop:shutdown_default_executor():await()
        loopkit.turns(2)
        assert.equal(50, done)
        local err = fails(errors.RuntimeError, loop.run_in_executor, loop, function() end)
        assert.equal("Executor shutdown has been called", err.message)
        fails(errors.RuntimeError, to_thread, function() end)
      end)
    end)

    it("may be called twice, and with nothing to shut down", function()
      agenda.run(function()
        local loop = agenda.get_running_loop()
        loop:shutdown_default_executor():await()
        assert.is_nil((loop:shutdown_default_executor():await()))
      end)
    end)
  end)

  it("leaves signals to the loop's thread", function()
    assert.equal("fine\n", script.output [[
      agenda.run(function()
        local loop, got = agenda.get_running_loop(), agenda.event()
        loop:add_signal_handler("SIGUSR1", got.set, got)
        local futures = {}
        for i = 1, 8 do
          futures[i] = loop:run_in_executor(function(n)
            for _ = 1, 20 do
              local file <close> = assert(io.popen("kill -USR1 $PPID; echo " .. n))
              assert(file:read("n") == n)
            end
          end, i)
        end
        agenda.gather(futures):await()
        got:wait()
        print("fine")
      end)
    ]])
  end)
end)
