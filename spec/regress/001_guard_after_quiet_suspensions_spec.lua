local agenda = require "agenda"

-- A body that took no memory for long, then opens a file: dropped, its cleanup can still read.
describe("an async generator collected after many suspensions that took no memory", function()
  for _, quiet in ipairs {0, 10, 63, 64, 65, 70, 100, 500} do
    it(("serves its cleanup with what it opened after %d of them"):format(quiet), function()
      local ok, text
      agenda.run(function()
        local body = agenda.asyncgen(function()
          local file
          local _ <close> = setmetatable({}, {__close = function()
            ok, text = pcall(file.read, file, 1)
          end})
          for _ = 1, quiet do
            agenda.yield(1)
          end
          file = io.open("/proc/self/cmdline")
          agenda.yield(2)
        end)
        do
          local g = body()
          for _ = 1, quiet + 1 do
            g()
          end
        end
        collectgarbage()
        collectgarbage()
      end)
      assert.is_true(ok)
      assert.equal(1, #text)
    end)
  end
end)
