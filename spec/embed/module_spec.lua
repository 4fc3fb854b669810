local agenda = require "agenda"
local program = require "spec.support.program"

if not program.available() then return end

local delay = require "embed.delay_module"

describe("a C module that imports agenda.h", function()
  it("waits in agenda.run for what its threads post, which is no deadlock", function()
    assert.equal("in time", agenda.run(function() return delay.wait(delay.later(0.01)) end))
  end)

  it("waits for any awaitable", function()
    agenda.run(function()
      local fetch = agenda.async(function() agenda.sleep(0) return 1, nil, 3 end)
      assert.same({1, nil, 3, n = 3}, table.pack(delay.wait(fetch())))
      assert.has_error(function() delay.wait(agenda.spawn(error, "no", 0)) end, "no")
    end)
  end)

  it("is cancelled where it waits, after any number of turns", function()
    for turns = 0, 4 do
      agenda.run(function()
        local task = agenda.spawn(function()
          for _ = 1, 3 do delay.wait(agenda.spawn(agenda.sleep, 0)) end
          return delay.wait(agenda.future())
        end)
        for _ = 1, turns do agenda.sleep(0) end
        assert.is_true(delay.cancel(task))
        assert.is_true(agenda.errors.CancelledError:is(select(2, pcall(agenda.await, task))))
        assert.is_false(delay.cancel(task))
      end)
    end
  end)

  it("cannot wait outside of a task", function()
    local ok, err = pcall(delay.wait, agenda.future())
    assert.is_false(ok)
    assert.is_true(agenda.errors.RuntimeError:is(err))
  end)

  it("posts in vain when the run is over", function()
    agenda.run(function() delay.later(0.02):cancel() end)
    os.execute("sleep 0.05")
    assert.equal("in time", agenda.run(function() return delay.wait(delay.later(0)) end))
  end)
end)
