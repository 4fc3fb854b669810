-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local asyncgen, yield, await = agenda.asyncgen, agenda.yield, agenda.await

local function nothing() end

local function simple() return asyncgen("simple", function() yield(1) yield(2) end) end

-- A generator function whose cleanup waits `turns` turns and notes it.
local function noting(log, name, turns)
  return asyncgen(name or "noting", function()
    local _ <close> = expect.finally(function()
      for _ = 1, turns or 1 do agenda.sleep(0) end
      log[#log + 1] = name or "closed"
    end)
    while true do yield(1) end
  end)
end

local function drop(gen)
  local g = gen()
  await(g:anext())
end

local function turns(n) for _ = 1, n do agenda.sleep(0) end end

describe("async generator hooks of a running loop", function()
  after_each(function() agenda.set_asyncgen_hooks { firstiter = false, finalizer = false } end)

  it("are installed while it runs and the earlier ones are back after", function()
    agenda.set_asyncgen_hooks { firstiter = nothing, finalizer = nothing }
    agenda.run(function()
      local hooks = agenda.get_asyncgen_hooks()
      assert.is_function(hooks.finalizer)
      assert.are_not.equal(nothing, hooks.finalizer)
      assert.are_not.equal(nothing, hooks.firstiter)
    end)
    assert.same({ firstiter = nothing, finalizer = nothing }, agenda.get_asyncgen_hooks())
  end)

  it("are gone after it when there were none", function()
    agenda.run(function() agenda.sleep(0) end)
    assert.same({}, agenda.get_asyncgen_hooks())
  end)

  it("are gone after a run that failed", function()
    pcall(agenda.run, error, "out")
    assert.same({}, agenda.get_asyncgen_hooks())
  end)

  it("what main sets is called, and may pass on to the loop's", function()
    local calls, cleaned = {}, false
    local g
    agenda.run(function()
      local loops = agenda.get_asyncgen_hooks()
      agenda.set_asyncgen_hooks {
        firstiter = function(x) calls[#calls + 1] = "firstiter" return loops.firstiter(x) end,
        finalizer = function(x) calls[#calls + 1] = "finalizer" return loops.finalizer(x) end,
      }
      local body = asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) cleaned = true end)
        yield(1)
      end)
      do (body())() end
      expect.collect()
      agenda.sleep(0.001)
      assert.is_true(cleaned)
      cleaned = false
      g = body()
      g()
    end)
    assert.is_true(cleaned)
    assert.is_nil(g.ag_frame)
    assert.same({ "firstiter", "finalizer", "firstiter" }, calls)
  end)

  it("a finalizer that main sets is called in place of the loop's", function()
    local handed
    agenda.run(function()
      agenda.set_asyncgen_finalizer(function(x) handed = x end)
      do (asyncgen(function() yield(1) end)())() end
      expect.collect()
      assert.is_truthy(agenda.isasyncgen(handed))
      agenda.await(handed:aclose())
    end)
  end)

  it("what is being cleaned up already is waited for by what closes it", function()
    agenda.run(function()
      local cleaned = false
      local saved
      local loops = agenda.get_asyncgen_finalizer()
      agenda.set_asyncgen_finalizer(function(x) saved = x loops(x) end)
      do
        local g = asyncgen(function()
          local _ <close> = expect.finally(function() agenda.sleep(0) cleaned = true end)
          yield(1)
        end)()
        g()
      end
      expect.collect()
      assert.is_false(cleaned)
      string.gsub("x", "x", function() local _ <close> = saved end) -- where nothing can wait
      assert.is_false(cleaned)
      do local _ <close> = saved end
      assert.is_true(cleaned)
    end)
  end)

  it("one that has yielded often, dropped with the one it iterates: each once, no report", function()
    local log = {}
    local function cleanup(name)
      return expect.finally(function() agenda.sleep(0) log[#log + 1] = name end)
    end
    local reports = expect.reports(function()
      local inner = asyncgen(function()
        local _ <close> = cleanup("inner")
        while true do yield({}) end
      end)
      local outer = asyncgen(function()
        local _ <close> = cleanup("outer")
        for v in inner() do yield(v) end
      end)
      do
        local g = outer()
        for _ = 1, 200 do g() end
      end
      for _ = 1, 2 do expect.collect() agenda.sleep(0.001) end
      assert.same({ "inner", "outer" }, log)
    end)
    assert.same({}, reports)
  end)

  it("what main sets ends with the loop", function()
    agenda.run(function() agenda.set_asyncgen_hooks { firstiter = nothing } end)
    assert.same({}, agenda.get_asyncgen_hooks())
  end)

  it("the cleanup of a dropped generator waits on the loop", function()
    agenda.run(function()
      local log = {}
      drop(noting(log))
      expect.collect()
      assert.same({}, log)
      turns(4)
      assert.same({ "closed" }, log)
    end)
  end)

  it("a generator broken out of by a borrowing loop and dropped is cleaned up", function()
    agenda.run(function()
      local log = {}
      local function borrow()
        local g = noting(log)()
        for _ in g do break end
      end
      borrow()
      expect.collect()
      turns(4)
      assert.same({ "closed" }, log)
    end)
  end)

  it("a cleanup scheduled in main's last turn still runs", function()
    local log = {}
    agenda.run(function()
      drop(noting(log, nil, 5))
      expect.collect()
    end)
    assert.same({ "closed" }, log)
  end)

  it("an open generator still held is closed by the end of the run", function()
    local log, kept = {}, nil
    agenda.run(function()
      kept = noting(log)()
      await(kept:anext())
    end)
    assert.same({ "closed" }, log)
    assert.is_nil(kept.ag_frame)
  end)

  it("one dropped together with the one it iterates: inner first, each once, no report", function()
    local log = {}
    local reports = expect.reports(function()
      local inner = noting(log, "inner")
      drop(asyncgen(function()
        local _ <close> = expect.finally(function() agenda.sleep(0) log[#log + 1] = "outer" end)
        for v in inner() do yield(v) end
      end))
      expect.collect()
      turns(10)
    end)
    assert.same({ "inner", "outer" }, log)
    assert.same({}, reports)
  end)

  it("shutdown_asyncgens closes every open one", function()
    agenda.run(function()
      local log = {}
      local one, two = noting(log, "one")(), noting(log, "two")()
      await(one:anext())
      await(two:anext())
      await(agenda.get_running_loop():shutdown_asyncgens())
      table.sort(log)
      assert.same({ "one", "two" }, log)
      expect.raises(errors.StopAsyncIteration, nil, await, one:anext())
    end)
  end)

  it("an error in a dropped one's cleanup goes to the exception handler", function()
    local reports = expect.reports(function()
      drop(asyncgen("failer", function() pcall(yield, 1) agenda.sleep(0) error("cleanup", 0) end))
      expect.collect()
      turns(5)
    end)
    assert.equal(1, #reports)
    assert.equal("cleanup", reports[1].exception)
  end)

  it("an error in a cleanup at the end of the run goes to the exception handler", function()
    local kept
    local reports = expect.reports(function()
      kept = asyncgen("failer", function() pcall(yield, 1) error("cleanup", 0) end)()
      await(kept:anext())
    end)
    assert.equal(1, #reports)
    assert.equal("cleanup", reports[1].exception)
    assert.is_true(rawequal(kept, reports[1].asyncgen))
  end)

  it("a borrowing loop left early at the end of a run reports nothing", function()
    local kept
    local reports = expect.reports(function()
      kept = simple()()
      for _ in kept do break end
    end)
    assert.same({}, reports)
    assert.is_nil(kept.ag_frame)
  end)

  it("what the body opened with io.open serves the cleanup up to its first wait", function()
    local wrote
    agenda.run(function()
      drop(asyncgen(function()
        local file = assert(io.tmpfile())
        local _ <close> = expect.finally(function()
          wrote = pcall(file.write, file, "last words")
          agenda.sleep(0)
        end)
        yield(1)
      end))
      expect.collect()
      turns(3)
    end)
    assert.is_true(wrote)
  end)

  it("debug mode reports where a generator collected while suspended was made", function()
    local line
    local reports = expect.reports(function()
      agenda.get_running_loop():set_debug(true)
      local gen = noting({})
      local function make()
        line = debug.getinfo(1, "l").currentline + 1
        local g = gen()
        await(g:anext())
      end
      make()
      expect.collect()
      turns(4)
    end)
    assert.equal(1, #reports)
    local text = tostring(reports[1].message) .. tostring(reports[1].traceback)
    assert.is_truthy(text:find("asyncgen_loop_hooks_spec.lua:" .. line, 1, true))
  end)
end)
