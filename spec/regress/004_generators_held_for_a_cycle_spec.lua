local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"

-- After its first suspensions an async generator is held until the collector's next cycle.
describe("an async generator that has yielded often", function()
  local function counting(log)
    return agenda.asyncgen(function(n)
      local _ <close> = loopkit.on_close(function() log.closed = log.closed + 1 end)
      for i = 1, n do
        agenda.yield({i})
      end
    end)
  end

  it("is collected once it is dropped", function()
    local log = {closed = 0}
    agenda.run(function()
      local many = {}
      for k = 1, 10 do
        local g = counting(log)(1000)
        for _ = 1, 60 + k do g() end
        many[k] = g
      end
      many = nil -- luacheck: ignore
      for _ = 1, 3 do collectgarbage() end
      agenda.sleep(0)
      assert.equal(10, log.closed)
    end)
  end)

  it("is collected when its body reaches it", function()
    local log = {closed = 0}
    agenda.run(function()
      do
        local holder = {}
        local g = agenda.asyncgen(function()
          local _ <close> = loopkit.on_close(function() log.closed = log.closed + 1 end)
          while holder do agenda.yield({}) end
        end)()
        holder.g = g
        for _ = 1, 200 do g() end
      end
      for _ = 1, 3 do collectgarbage() end
      agenda.sleep(0)
      assert.equal(1, log.closed)
    end)
  end)

  it("goes on after any number of collections", function()
    agenda.run(function()
      local sum = 0
      for v in counting({closed = 0})(500) do
        sum = sum + v[1]
        if v[1] % 7 == 0 then collectgarbage() end
      end
      assert.equal(500 * 501 / 2, sum)
    end)
  end)

  it("is let go in its state's turn though others are held again", function()
    local log = {closed = 0}
    agenda.run(function()
      local kept = counting(log)(1e9)
      for _ = 1, 20 do
        local g = counting(log)(1e9)
        for _ = 1, 100 do g() kept() end
        collectgarbage()
      end
      for _ = 1, 3 do collectgarbage() end
      agenda.sleep(0)
      assert.equal(20, log.closed)
    end)
    assert.equal(21, log.closed)
  end)
end)
