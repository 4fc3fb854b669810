local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors = agenda.errors

describe("loop:shutdown_asyncgens", function()
  -- An async generator function whose cleanup, after a pause, logs the name.
  local function logging(log, name)
    return agenda.asyncgen(name, function()
      local _ <close> = loopkit.on_close(function()
        agenda.sleep(0.001)
        log[#log + 1] = name
      end)
      for i = 1, 3 do agenda.yield(i) end
    end)
  end

  it("gives an awaitable", function()
    agenda.run(function()
      local aw = agenda.get_running_loop():shutdown_asyncgens()
      assert.is_true(agenda.isawaitable(aw))
      agenda.await(aw)
    end)
  end)

  it("closes a generator that is open", function()
    local log = {}
    agenda.run(function()
      local g = logging(log, "open")()
      agenda.await(g:anext())
      agenda.await(agenda.get_running_loop():shutdown_asyncgens())
      assert.same({ "open" }, log)
      assert.is_nil(g.ag_frame)
    end)
  end)

  it("closes every generator that is open", function()
    local log = {}
    agenda.run(function()
      local held = {}
      for i = 1, 5 do
        held[i] = logging(log, tostring(i))()
        agenda.await(held[i]:anext())
      end
      agenda.await(agenda.get_running_loop():shutdown_asyncgens())
      table.sort(log)
      assert.same({ "1", "2", "3", "4", "5" }, log)
    end)
  end)

  it("awaits cleanups that wait", function()
    local log = {}
    loopkit.with_loop(function(loop)
      local g = logging(log, "waits")()
      loop:run_until_complete(g:anext())
      loop:run_until_complete(loop:shutdown_asyncgens())
    end)
    assert.same({ "waits" }, log)
  end)

  it("leaves a finished generator alone", function()
    local log = {}
    agenda.run(function()
      local g = logging(log, "finished")()
      for _ in g do end
      log = {}
      agenda.await(agenda.get_running_loop():shutdown_asyncgens())
    end)
    assert.same({}, log)
  end)

  it("leaves a generator that never began alone", function()
    agenda.run(function()
      local g = agenda.asyncgen(function() agenda.yield("began") end)()
      agenda.await(agenda.get_running_loop():shutdown_asyncgens())
      assert.is_table(g.ag_frame)
      agenda.await(g:aclose())
    end)
  end)

  it("leaves a generator of another loop alone", function()
    local log = {}
    loopkit.with_loop(function(other)
      local g = logging(log, "of another loop")()
      other:run_until_complete(g:anext())
      agenda.run(function()
        agenda.await(agenda.get_running_loop():shutdown_asyncgens())
      end)
      assert.same({}, log)
      other:run_until_complete(g:aclose())
    end)
  end)

  it("closes a generator before those that it iterates", function()
    local log = {}
    local inner = logging(log, "inner")
    local outer = agenda.asyncgen("outer", function()
      local g = inner()
      local _ <close> = loopkit.on_close(function()
        agenda.sleep(0.001)
        log[#log + 1] = "outer"
      end)
      for v in g do agenda.yield(v) end
    end)
    agenda.run(function()
      local g = outer()
      agenda.await(g:anext())
      agenda.await(agenda.get_running_loop():shutdown_asyncgens())
    end)
    assert.same({ "outer", "inner" }, log)
  end)

  it("takes no offence at a generator that another's cleanup closed", function()
    local log = {}
    local inner = logging(log, "inner")
    local outer = agenda.asyncgen("outer", function()
      for v in inner() do agenda.yield(v) end
    end)
    local contexts = loopkit.reports(function(loop)
      local g = outer()
      agenda.await(g:anext())
      agenda.await(loop:shutdown_asyncgens())
    end)
    assert.same({ "inner" }, log)
    assert.same({}, contexts)
  end)

  describe("when a cleanup fails", function()
    local function failing(err)
      return agenda.asyncgen("failing", function()
        local _ <close> = loopkit.on_close(function() error(err, 0) end)
        agenda.yield(1)
      end)
    end

    it("reports the error with the generator", function()
      local g
      local contexts = loopkit.reports(function(loop)
        g = failing("cleanup broken")()
        agenda.await(g:anext())
        agenda.await(loop:shutdown_asyncgens())
      end)
      assert.equal(1, #contexts)
      assert.equal("cleanup broken", contexts[1].exception)
      assert.equal(g, contexts[1].asyncgen)
      assert.is_string(contexts[1].message)
    end)

    it("does not raise it", function()
      local contexts, result = loopkit.reports(function(loop)
        local g = failing("cleanup broken")()
        agenda.await(g:anext())
        agenda.await(loop:shutdown_asyncgens())
        return "went on"
      end)
      assert.equal("went on", result)
      assert.equal(1, #contexts)
    end)

    it("still closes the others", function()
      local log = {}
      loopkit.reports(function(loop)
        local held = { logging(log, "before")(), failing("broken")(), logging(log, "after")() }
        for i = 1, 3 do agenda.await(held[i]:anext()) end
        agenda.await(loop:shutdown_asyncgens())
      end)
      table.sort(log)
      assert.same({ "after", "before" }, log)
    end)

    it("reports a generator that ignores being closed", function()
      local stubborn = agenda.asyncgen("stubborn", function()
        pcall(agenda.yield, 1)
        agenda.yield(2)
      end)
      local contexts = loopkit.reports(function(loop)
        local g = stubborn()
        agenda.await(g:anext())
        agenda.await(loop:shutdown_asyncgens())
      end)
      assert.is_true(#contexts >= 1)
      assert.is_true(errors.RuntimeError:is(contexts[1].exception))
      assert.equal("async generator ignored GeneratorExit", contexts[1].exception.message)
    end)
  end)

  it("may be awaited twice", function()
    local log = {}
    agenda.run(function()
      local loop = agenda.get_running_loop()
      local g = logging(log, "once")()
      agenda.await(g:anext())
      agenda.await(loop:shutdown_asyncgens())
      agenda.await(loop:shutdown_asyncgens())
      assert.is_nil(g.ag_frame)
    end)
    assert.same({ "once" }, log)
  end)

  it("is what agenda.run does at its end", function()
    local log, g = {}, nil
    agenda.run(function()
      g = logging(log, "at the end")()
      agenda.await(g:anext())
    end)
    assert.same({ "at the end" }, log)
    assert.is_nil(g.ag_frame)
  end)

  it("is what agenda.run does after main failed too", function()
    local log, g = {}, nil
    pcall(agenda.run, function()
      g = logging(log, "after a failure")()
      agenda.await(g:anext())
      error("failed")
    end)
    assert.same({ "after a failure" }, log)
    assert.is_nil(g.ag_frame)
  end)
end)
