local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails, turns = agenda.errors, loopkit.fails, loopkit.turns
local in_run = loopkit.in_run

local function drain(q)
  local out = {}
  while not q:empty() do out[#out + 1] = q:get() end
  return out
end

describe("agenda.priority_queue", function()
  in_run("gives the least first", function()
    local q = agenda.priority_queue()
    for _, v in ipairs { 5, 3, 9, 1, 7, 3, 2 } do q:put(v) end
    assert.same({ 1, 2, 3, 3, 5, 7, 9 }, drain(q))
  end)

  in_run("takes a function that tells the order", function()
    local q = agenda.priority_queue(0, function(a, b) return a.rank > b.rank end)
    for rank = 1, 5 do q:put { rank = rank } end
    turns(1)
    for rank = 5, 1, -1 do assert.equal(rank, q:get().rank) end
  end)

  in_run("gives equal ones in the order they went in", function()
    local q = agenda.priority_queue(0, function(a, b) return a[1] < b[1] end)
    local n = 0
    for _ = 1, 20 do
      for rank = 1, 3 do
        n = n + 1
        q:put { rank, n }
      end
    end
    local last = { 0, 0 }
    for _ = 1, n do
      local item = q:get()
      assert(item[1] > last[1] or item[1] == last[1] and item[2] > last[2])
      last = item
    end
  end)

  in_run("keeps that order through takes in between", function()
    local q, seed, n = agenda.priority_queue(0, function(a, b) return a[1] < b[1] end), 7, 0
    local function random(m) seed = (seed * 1103515245 + 12345) % 2147483648 return seed // 65536 % m end
    local model = {}
    for _ = 1, 2000 do
      if random(3) > 0 or #model == 0 then
        n = n + 1
        local item = { random(6), n }
        q:put(item)
        model[#model + 1] = item
      else
        local best = 1
        for i = 2, #model do
          if model[i][1] < model[best][1] then best = i end
        end
        assert(q:get() == table.remove(model, best))
      end
    end
    assert.equal(#model, q:qsize())
  end)

  in_run("gives a woken get the least at the time it runs", function()
    local q = agenda.priority_queue()
    local getter = agenda.spawn(q.get, q)
    turns(1)
    q:put(5)
    q:put(1)
    assert.equal(1, agenda.await(getter))
    assert.equal(5, q:get())
  end)

  in_run("loses nothing when the comparison fails", function()
    local q = agenda.priority_queue()
    for i = 1, 5 do q:put(i) end
    assert.is_false(pcall(q.put, q, "x"))
    assert.same({ 1, 2, 3, 4, 5 }, drain(q))
  end)

  in_run("gives the place of a put whose comparison fails to the next", function()
    local q = agenda.priority_queue(1)
    q:put(1)
    local bad = agenda.spawn(function() q:put(2) end)
    turns(1)
    q.less = function() error("no order", 0) end
    local other = agenda.spawn(q.put, q, 3)
    turns(1)
    q:get()
    agenda.await(bad)
    q:get()
    agenda.await(other)
    assert.equal(3, q:get())
  end)

  it("refuses an order that is no function", function()
    loopkit.bad_argument(2, "priority_queue", function() agenda.priority_queue(0, 1) end)
  end)

  in_run("lets go of what was taken", function()
    local q = agenda.priority_queue(0, function() return false end)
    local weak = setmetatable({}, { __mode = "v" })
    for i = 1, 3 do
      local item = {}
      weak[i] = item
      q:put(item)
    end
    for _ = 1, 3 do q:get() end
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  in_run("raises QueueFull without asking for the order", function()
    local q = agenda.priority_queue(1)
    q:put(1)
    fails(errors.QueueFull, q.put_nowait, q, "x")
  end)
end)
