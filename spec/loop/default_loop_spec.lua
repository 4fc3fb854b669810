local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("the default loop", function()
  before_each(function() agenda.set_event_loop(nil) end)
  after_each(function()
    local loop = agenda.get_event_loop()
    if not loop:is_closed() then loop:close() end
    agenda.set_event_loop(nil)
  end)

  describe("agenda.get_event_loop", function()
    it("makes a loop where there is none", function()
      assert.equal("event_loop", agenda.type(agenda.get_event_loop()))
    end)

    it("makes a loop that is open and does not run", function()
      local loop = agenda.get_event_loop()
      assert.is_false(loop:is_closed())
      assert.is_false(loop:is_running())
    end)

    it("gives the same loop again", function()
      assert.equal(agenda.get_event_loop(), agenda.get_event_loop())
    end)

    it("keeps the loop that it made", function()
      local weak = setmetatable({ agenda.get_event_loop() }, { __mode = "v" })
      loopkit.collect()
      assert.equal(weak[1], agenda.get_event_loop())
    end)

    it("gives the same loop in another coroutine", function()
      assert.equal(agenda.get_event_loop(), coroutine.wrap(agenda.get_event_loop)())
    end)

    it("gives the running loop inside agenda.run", function()
      local default = agenda.get_event_loop()
      local got, running = agenda.run(function()
        return agenda.get_event_loop(), agenda.get_running_loop()
      end)
      assert.equal(running, got)
      assert.not_equal(default, got)
    end)

    it("gives the running loop inside a callback", function()
      loopkit.with_loop(function(loop)
        local got
        loop:call_soon(function() got = agenda.get_event_loop() end)
        loop:run_once(0)
        assert.equal(loop, got)
      end)
    end)

    it("gives a loop that runs", function()
      assert.equal("ran", agenda.get_event_loop():run_until_complete(function()
        return agenda.sleep(0.001, "ran")
      end))
    end)
  end)

  describe("agenda.set_event_loop", function()
    it("sets what get_event_loop gives", function()
      local loop = agenda.new_event_loop()
      agenda.set_event_loop(loop)
      assert.equal(loop, agenda.get_event_loop())
    end)

    it("with nil leaves none, so that a new one is made", function()
      local first = agenda.get_event_loop()
      agenda.set_event_loop(nil)
      local second = agenda.get_event_loop()
      assert.not_equal(first, second)
      first:close()
    end)

    it("does not change the running loop", function()
      loopkit.with_loop(function(other)
        local got, running = agenda.run(function()
          agenda.set_event_loop(other)
          return agenda.get_event_loop(), agenda.get_running_loop()
        end)
        assert.equal(running, got)
      end)
    end)

    it("takes loops only", function()
      for _, wrong in ipairs { 5, "loop", {}, print } do
        loopkit.bad_argument(1, "set_event_loop", function() agenda.set_event_loop(wrong) end)
      end
    end)
  end)

  describe("agenda.new_event_loop", function()
    it("makes a new loop each time", function()
      loopkit.with_loop(function(one)
        loopkit.with_loop(function(other) assert.not_equal(one, other) end)
      end)
    end)

    it("does not set the default", function()
      local default = agenda.get_event_loop()
      loopkit.with_loop(function(loop)
        assert.equal(default, agenda.get_event_loop())
        assert.not_equal(default, loop)
      end)
    end)

    it("makes loops in any number", function()
      local loops = {}
      for i = 1, 20 do
        loops[i] = agenda.new_event_loop()
        loops[i]:call_soon(function(n) loops.sum = (loops.sum or 0) + n end, i)
      end
      for i = 1, 20 do
        loops[i]:run_once(0)
        loops[i]:close()
      end
      assert.equal(210, loops.sum)
    end)
  end)

  describe("agenda.get_running_loop", function()
    it("is a RuntimeError when no loop runs", function()
      local err = fails(errors.RuntimeError, agenda.get_running_loop)
      assert.equal("no running event loop", err.message)
    end)

    it("is a RuntimeError even when there is a default loop", function()
      agenda.get_event_loop()
      fails(errors.RuntimeError, agenda.get_running_loop)
    end)

    it("gives the loop inside a task", function()
      loopkit.with_loop(function(loop)
        assert.equal(loop, loop:run_until_complete(agenda.get_running_loop))
      end)
    end)

    it("gives the loop inside a plain coroutine within a task", function()
      local outer, inner = agenda.run(function()
        return agenda.get_running_loop(), coroutine.wrap(agenda.get_running_loop)()
      end)
      assert.equal(outer, inner)
    end)

    it("gives the loop inside a generator within a task", function()
      local outer, inner = agenda.run(function()
        local g = agenda.generator(function() agenda.yield(agenda.get_running_loop()) end)()
        return agenda.get_running_loop(), (g:next())
      end)
      assert.equal(outer, inner)
    end)

    it("is the same after waiting", function()
      assert.is_true(agenda.run(function()
        local before = agenda.get_running_loop()
        agenda.sleep(0.001)
        return before == agenda.get_running_loop()
      end))
    end)
  end)
end)
