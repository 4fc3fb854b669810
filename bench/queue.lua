-- A producer and a consumer over `queue(100)`, beside two bare coroutines that pass the items.

local ITEMS, SIZE = 1e6, 100

local measures = {}

function measures.agenda()
  local agenda = require "agenda"
  return agenda.run(function()
    local queue = agenda.queue(SIZE)
    local start = os.clock()
    local producer = agenda.spawn(function()
      for i = 1, ITEMS do
        queue:put(i)
      end
    end)
    local sum = 0
    for _ = 1, ITEMS do
      sum = sum + queue:get()
    end
    agenda.await(producer)
    assert(sum == ITEMS * (ITEMS + 1) / 2)
    return {ns = (os.clock() - start) / ITEMS * 1e9}
  end)
end

function measures.bare()
  local resume, yield = coroutine.resume, coroutine.yield
  local start = os.clock()
  local producer = coroutine.create(function()
    for i = 1, ITEMS do
      yield(i)
    end
  end)
  local sum = 0
  local consumer = coroutine.create(function()
    for _ = 1, ITEMS do
      local _, item = resume(producer)
      sum = sum + item
    end
  end)
  resume(consumer)
  assert(sum == ITEMS * (ITEMS + 1) / 2)
  return {ns = (os.clock() - start) / ITEMS * 1e9}
end

local function rows(m)
  return {{
    work = "producer and consumer over `queue(100)`, 1e6 items",
    figure = ("%.0f ns an item"):format(m.agenda.ns),
    yardstick = ("two bare coroutines: %.0f ns"):format(m.bare.ns),
    ratio = m.agenda.ns / m.bare.ns,
    at_most = 2,
    aim = 1.2,
  }}
end

return {order = {"agenda", "bare"}, measures = measures, rows = rows}
