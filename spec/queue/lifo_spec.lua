local agenda = require "agenda"

describe("agenda.lifo_queue", function()
  it("gives the last first", function()
    agenda.run(function()
      local q = agenda.lifo_queue()
      for i = 1, 5 do q:put(i) end
      for i = 5, 1, -1 do assert.equal(i, q:get()) end
    end)
  end)

  it("gives what was put in between first", function()
    agenda.run(function()
      local q = agenda.lifo_queue(2)
      q:put(1)
      q:put(2)
      assert.equal(2, q:get())
      q:put(3)
      assert.equal(3, q:get())
      assert.equal(1, q:get())
    end)
  end)

  it("lets go of what was taken", function()
    agenda.run(function()
      local q, weak = agenda.lifo_queue(), setmetatable({ {} }, { __mode = "v" })
      q:put(weak[1])
      q:get()
      collectgarbage()
      assert.is_nil(weak[1])
    end)
  end)
end)
