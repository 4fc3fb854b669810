local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors

-- Every road gets the same lists: values of each kind, several at once, with
-- nils in front, in the middle and at the end.
describe("conventions: value lists travel whole", function()
  local thread, object = coroutine.create(print), {}
  local lists = {
    ["nothing"] = table.pack(),
    ["one nil"] = table.pack(nil),
    ["a leading nil"] = table.pack(nil, 1),
    ["trailing nils"] = table.pack(1, nil, nil),
    ["a nil within"] = table.pack("a", nil, false),
    ["every type"] = table.pack(1, 2.5, "text", true, object, print, thread, io.stdout),
    ["fifty values"] = table.pack(table.unpack({}, 1, 50)),
  }

  local roads = {}

  roads["a generator's yield"] = function(list)
    local g = agenda.generator(function() agenda.yield(table.unpack(list, 1, list.n)) end)()
    return g:next()
  end
  roads["a generator's send"] = function(list)
    local got
    local g = agenda.generator(function() got = table.pack(agenda.yield()) agenda.yield() end)()
    g:next()
    g:send(table.unpack(list, 1, list.n))
    return table.unpack(got, 1, got.n)
  end
  roads["a generator's return"] = function(list)
    local g = agenda.generator(function() return table.unpack(list, 1, list.n) end)()
    local err = expect.raises(errors.StopIteration, nil, g.next, g)
    return table.unpack(err.values, 1, err.values.n)
  end
  roads["a generator's close"] = function(list)
    local g = agenda.generator(function()
      pcall(agenda.yield)
      return table.unpack(list, 1, list.n)
    end)()
    g:next()
    return g:close()
  end
  roads["yield_from's values"] = function(list)
    local inner = agenda.generator(function() agenda.yield(table.unpack(list, 1, list.n)) end)
    local g = agenda.generator(function() agenda.yield_from(inner()) end)()
    return g:next()
  end
  roads["yield_from's send"] = function(list)
    local got
    local inner = agenda.generator(function() got = table.pack(agenda.yield()) agenda.yield() end)
    local g = agenda.generator(function() agenda.yield_from(inner()) end)()
    g:next()
    g:send(table.unpack(list, 1, list.n))
    return table.unpack(got, 1, got.n)
  end
  roads["yield_from's results"] = function(list)
    local got
    local inner = agenda.generator(function() return table.unpack(list, 1, list.n) end)
    local g = agenda.generator(function() got = table.pack(agenda.yield_from(inner())) end)()
    pcall(g.next, g)
    return table.unpack(got, 1, got.n)
  end
  roads["suspend outward"] = function(list)
    local co = agenda.async(function() agenda.suspend(table.unpack(list, 1, list.n)) end)()
    local got = table.pack(co:send())
    co:close()
    return table.unpack(got, 1, got.n)
  end
  roads["suspend's results"] = function(list)
    local got
    local co = agenda.async(function() got = table.pack(agenda.suspend()) end)()
    co:send()
    pcall(co.send, co, table.unpack(list, 1, list.n))
    return table.unpack(got, 1, got.n)
  end
  roads["a coroutine's return"] = function(list)
    return expect.now(agenda.async(function() return table.unpack(list, 1, list.n) end)())
  end
  roads["await of a coroutine"] = function(list)
    return agenda.run(function()
      return agenda.await(agenda.async(function()
        agenda.sleep(0)
        return table.unpack(list, 1, list.n)
      end)())
    end)
  end
  roads["await of a pending future"] = function(list)
    return agenda.run(function()
      local fut = agenda.future()
      agenda.spawn(function() fut:set_result(table.unpack(list, 1, list.n)) end)
      return agenda.await(fut)
    end)
  end
  roads["await of a finished future"] = function(list)
    return agenda.run(function()
      local fut = agenda.future()
      fut:set_result(table.unpack(list, 1, list.n))
      return agenda.await(fut)
    end)
  end
  roads["a future's result()"] = function(list)
    return agenda.run(function()
      local fut = agenda.future()
      fut:set_result(table.unpack(list, 1, list.n))
      return fut:result()
    end)
  end
  roads["a task's result"] = function(list)
    return agenda.run(function()
      return agenda.spawn(function(...) agenda.sleep(0) return ... end,
        table.unpack(list, 1, list.n)):await()
    end)
  end
  roads["__await's results"] = function(list)
    local thing = setmetatable({}, { __await = function() return table.unpack(list, 1, list.n) end })
    return agenda.run(function() return agenda.await(thing) end)
  end
  roads["call_soon's arguments"] = function(list)
    return agenda.run(function()
      local fut = agenda.future()
      agenda.get_running_loop():call_soon(function(...) fut:set_result(...) end,
        table.unpack(list, 1, list.n))
      return agenda.await(fut)
    end)
  end
  roads["sleep's extra arguments"] = function(list)
    return agenda.run(function() return agenda.sleep(0, table.unpack(list, 1, list.n)) end)
  end
  roads["run's arguments and results"] = function(list)
    return agenda.run(function(...) return ... end, table.unpack(list, 1, list.n))
  end
  roads["anext by hand"] = function(list)
    local g = agenda.asyncgen(function() agenda.yield(table.unpack(list, 1, list.n)) end)()
    return expect.now(g:anext())
  end
  roads["await of anext"] = function(list)
    local gen = agenda.asyncgen(function() agenda.sleep(0) agenda.yield(table.unpack(list, 1, list.n)) end)
    return agenda.run(function()
      local g = gen()
      return agenda.await(g:anext())
    end)
  end
  roads["asend's arguments"] = function(list)
    local got
    local g = agenda.asyncgen(function() got = table.pack(agenda.yield()) agenda.yield() end)()
    expect.now(g:anext())
    expect.now(g:asend(table.unpack(list, 1, list.n)))
    return table.unpack(got, 1, got.n)
  end
  roads["agenda.each's values"] = function(list)
    local got
    local gen = agenda.asyncgen(function() agenda.yield(table.unpack(list, 1, list.n)) end)
    if list.n == 0 or list[1] == nil then return table.unpack(list, 1, list.n) end
    agenda.run(function() agenda.each((gen()), function(...) got = table.pack(...) end) end)
    return table.unpack(got, 1, got.n)
  end

  for road, carry in pairs(roads) do
    for label, list in pairs(lists) do
      it(road .. " carry " .. label, function()
        local got = table.pack(carry(list))
        assert.equal(list.n, got.n)
        for i = 1, list.n do assert.is_true(rawequal(list[i], got[i])) end
      end)
    end
  end

  it("a for over a generator gets all values of a step", function()
    local rows = {}
    for a, b, c in agenda.generator(function() agenda.yield(1, nil, 3) end)() do
      rows[#rows + 1] = table.pack(a, b, c)
    end
    assert.same({ { n = 3, 1, nil, 3 } }, rows)
  end)

  it("false is a value like any other in a for", function()
    local count = 0
    for v in agenda.generator(function() agenda.yield(false) agenda.yield(false) end)() do
      count = count + (v == false and 1 or 0)
    end
    assert.equal(2, count)
  end)

  it("a generator takes 200 arguments", function()
    local n
    local g = agenda.generator(function(...) n = select("#", ...) agenda.yield() end)(table.unpack({}, 1, 200))
    g:next()
    assert.equal(200, n)
  end)
end)
