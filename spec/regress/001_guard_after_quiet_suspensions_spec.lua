local agenda = require "agenda"

-- A body that yields for long, then opens a file: dropped, its cleanup can still read.
for _, fresh in ipairs {false, true} do
describe("an async generator collected after many suspensions that took "
    .. (fresh and "memory" or "no memory"), function()
  for _, quiet in ipairs {0, 10, 62, 63, 64, 65, 70, 100, 500} do
    it(("serves its cleanup with what it opened after %d of them"):format(quiet), function()
      local ok, text
      agenda.run(function()
        local body = agenda.asyncgen(function()
          local file
          local _ <close> = setmetatable({}, {__close = function()
            ok, text = pcall(file.read, file, 1)
          end})
          for _ = 1, quiet do
            agenda.yield(fresh and {} or 1)
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
end
