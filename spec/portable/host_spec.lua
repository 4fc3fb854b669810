-- What is of agenda.portable alone: waits of the host's that no error interrupts, set_host.
local portable = require "agenda.portable"
local calls = require "agenda.portable.host".calls
local errors = portable.errors
local asyncgen, yield, await, suspend = portable.asyncgen, portable.yield, portable.await, portable.suspend
local itertools = portable.itertools
local unpack = table.unpack or unpack -- luacheck: ignore 113

local function pack(...) return {n = select("#", ...), ...} end

local function raised(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

-- An awaitable of a new generator whose body waits at a yield of the host's.
local function waiting(body)
  local g = asyncgen(function(...)
    local got = pack(coroutine.yield("out"))
    return body(got, ...)
  end)()
  local aw = g:anext()
  assert.equal("out", aw:send())
  return aw, g
end

describe("portable: an error thrown in at a wait of the host's", function()
  it("does not interrupt it and is raised at the next yield", function()
    local seen
    local aw = waiting(function(got)
      seen = {got.n, (pcall(yield, 1))}
      yield("on")
    end)
    assert.equal("on", raised(aw.throw, aw, "thrown").value)
    assert.same({0, false}, seen)
  end)

  it("is raised at the next await", function()
    local seen
    local other = asyncgen(function() yield(1) end)()
    local aw = waiting(function()
      seen = pack(pcall(await, other:anext()))
      yield("on")
    end)
    assert.equal("on", raised(aw.throw, aw, "thrown").value)
    assert.same({n = 2, false, "thrown"}, seen)
    assert.equal("on", "on")
  end)

  it("is raised at the next suspend", function()
    local seen
    local aw = waiting(function()
      seen = pack(pcall(suspend, 1))
      yield("on")
    end)
    raised(aw.throw, aw, "thrown")
    assert.same({n = 2, false, "thrown"}, seen)
  end)

  it("is raised once", function()
    local seen = {}
    local aw, g = waiting(function()
      for i = 1, 3 do seen[i] = (pcall(yield, i)) end
    end)
    raised(aw.throw, aw, "thrown")
    local again = g:anext()
    raised(again.send, again)
    assert.same({false, true}, seen)
  end)

  it("waits out further waits of the host's", function()
    local aw = waiting(function() coroutine.yield("more") yield(1) end)
    assert.equal("more", aw:throw("thrown"))
    assert.equal("thrown", raised(aw.send, aw))
  end)

  it("comes out of a body that ends first", function()
    local aw, g = waiting(function() end)
    assert.equal("thrown", raised(aw.throw, aw, "thrown"))
    assert.is_nil(g.ag_frame)
  end)

  it("lets a body that ends first be closed", function()
    local aw, g = waiting(function() end)
    aw:close()
    assert.is_nil(g.ag_frame)
  end)

  it("closes a body that goes on to yield", function()
    local seen
    local aw, g = waiting(function()
      seen = select(2, pcall(yield, 1))
    end)
    aw:close()
    assert.is_true(errors.GeneratorExit:is(seen))
    assert.is_nil(g.ag_frame)
  end)

  it("reaches the innermost of nested ones", function()
    local order = {}
    local inner = asyncgen(function()
      coroutine.yield("out")
      order[#order + 1] = {"inner", select(2, pcall(yield, 1))}
      yield("handled")
    end)
    local outer = asyncgen(function() portable.each(inner(), yield) end)
    local aw = outer():anext()
    aw:send()
    assert.equal("handled", raised(aw.throw, aw, "thrown").value)
    assert.same({{"inner", "thrown"}}, order)
  end)
end)

describe("portable: yields of the host's", function()
  it("keep their arity both ways, however hot the road", function()
    local lists = {pack(), pack(nil), pack(nil, nil), pack(1), pack(1, nil), pack(nil, 2, nil), pack(1, 2, 3, 4, 5)}
    local bad = 0
    local function same(a, b)
      local equal = a.n == b.n
      for i = 1, a.n do equal = equal and a[i] == b[i] end
      if not equal then bad = bad + 1 end
    end
    local inner = asyncgen(function()
      for _ = 1, 30 do
        for i, list in ipairs(lists) do
          same(lists[#lists - i + 1], pack(coroutine.yield(unpack(list, 1, list.n))))
          yield(i)
        end
      end
    end)
    local outer = asyncgen(function() portable.each(inner(), yield) end)
    for _ = 1, 5 do
      local thread = coroutine.create(function() portable.each(outer(), function() end) end)
      local step = pack(coroutine.resume(thread))
      local i = 0
      while coroutine.status(thread) ~= "dead" do
        i = i % #lists + 1
        same(lists[i], pack(unpack(step, 2, step.n)))
        local back = lists[#lists - i + 1]
        step = pack(coroutine.resume(thread, unpack(back, 1, back.n)))
      end
      assert.is_true(step[1])
    end
    assert.equal(0, bad)
  end)

  it("delegation to iterators stays right when it is compiled", function()
    for _ = 1, 300 do
      local n = 0
      local list = {}
      local g = portable.generator(function()
        portable.yield_from(function()
          n = n + 1
          return n <= 2 and n or nil
        end)
      end)()
      portable.each(g, function(v) list[#list + 1] = v end)
      assert.same({1, 2}, list)
    end
  end)
end)

describe("portable.set_host", function()
  local saved = {}

  before_each(function()
    for name, f in pairs(calls) do saved[name] = f end
    for name in pairs(saved) do calls[name] = nil end
  end)

  after_each(function()
    for name in pairs(calls) do calls[name] = nil end
    for name, f in pairs(saved) do calls[name] = f end
  end)

  local function source(n) return (asyncgen(function() for i = 1, n do yield(i) end end)()) end

  for name, make in pairs {
    buffer = function() return itertools.buffer(2, source(3)) end,
    merge = function() return itertools.merge(source(1), source(1)) end,
    ["map with concurrency"] = function() return itertools.map(print, source(1), {concurrency = 2}) end,
    ["batch with a time"] = function() return itertools.batch(2, source(1), 1) end,
    timeout = function() return itertools.timeout(1, source(1)) end,
    throttle = function() return itertools.throttle(1, source(1)) end,
  } do
    it("is needed by " .. name .. ": else RuntimeError", function()
      local err = raised(function() return itertools.collect(make()) end)
      assert.is_true(errors.RuntimeError:is(err))
      assert.is_truthy(err.message:find("set_host", 1, true))
    end)
  end

  it("is not needed by the stages without tasks and time", function()
    local doubled = itertools.map(function(v) return v * 2 end, source(3))
    assert.same({2, 4}, itertools.collect(itertools.take(2, doubled)))
    assert.same({{1, 2}, {3}}, itertools.collect(itertools.batch(2, source(3))))
    local one, two = itertools.tee(2, source(2))
    assert.same({1, 2}, itertools.collect(one))
    assert.same({1, 2}, itertools.collect(two))
  end)

  it("refuses what is no function, and unknown fields", function()
    assert.is_false((pcall(portable.set_host, {spawn = 1})))
    assert.is_false((pcall(portable.set_host, {spwan = print})))
    assert.is_false((pcall(portable.set_host)))
    assert.is_nil(calls.spawn)
  end)

  it("an absent field stays", function()
    portable.set_host {spawn = print}
    portable.set_host {sleep = error}
    assert.equal(print, calls.spawn)
    assert.equal(error, calls.sleep)
  end)

  -- A host with nothing but these three, on virtual time.
  local function with_three(main)
    local ready, now, result = {}, 0, nil
    local function add(at, thread) ready[#ready + 1] = {at = at, thread = thread, order = #ready} end
    portable.set_host {
      spawn = function(f) add(now, coroutine.create(f)) end,
      sleep = function(seconds) coroutine.yield(seconds) end,
      now = function() return now end,
    }
    local thread = coroutine.create(function() result = pack(pcall(main)) end)
    add(0, thread)
    while #ready > 0 and not result do
      local first = 1
      for i, entry in ipairs(ready) do if entry.at < ready[first].at then first = i end end
      local entry = table.remove(ready, first)
      now = math.max(now, entry.at)
      local ok, seconds = coroutine.resume(entry.thread)
      assert.is_true(ok)
      if coroutine.status(entry.thread) ~= "dead" then add(now + seconds, entry.thread) end
    end
    if not result[1] then error(result[2], 0) end
    return unpack(result, 2, result.n)
  end

  local slow = asyncgen("slow", function(n, seconds)
    for i = 1, n do
      calls.sleep(seconds)
      yield(i)
    end
  end)

  it("three functions will do for buffer, map and merge", function()
    local got = with_three(function()
      local squares = itertools.map(function(v)
        calls.sleep(1)
        return v * v
      end, itertools.buffer(2, slow(4, 0.5)), {concurrency = 3})
      return itertools.collect(itertools.chain(squares, itertools.merge(slow(2, 2), slow(1, 1))))
    end)
    assert.same({1, 4, 9, 16, 1, 1, 2}, got)
  end)

  it("three functions will do for batch with a time", function()
    assert.same({{1, 2}, {3, 4}, {5}}, with_three(function()
      return itertools.collect(itertools.batch(10, slow(5, 0.4), 0.7))
    end))
  end)

  it("three functions will do for timeout and throttle", function()
    local err, closed, at = with_three(function()
      local closed = false
      local late = asyncgen("late", function()
        local ok, err = pcall(function()
          yield(1)
          calls.sleep(5)
          yield(2)
        end)
        closed = true
        if not ok then error(err, 0) end
      end)
      local err = raised(itertools.collect, itertools.timeout(1, late()))
      local before = closed
      calls.sleep(6)
      assert.is_false(before)
      local start = calls.now()
      itertools.count(itertools.throttle(2, slow(3, 0.1)))
      return err, closed, calls.now() - start
    end)
    assert.is_true(errors.TimeoutError:is(err))
    assert.is_true(closed)
    assert.is_true(at >= 4 and at < 4.3)
  end)
end)

describe("agenda.portable", function()
  it("loaded again is the same", function()
    local loaded = package.loaded["agenda.portable"]
    package.loaded["agenda.portable"] = nil
    local again = require "agenda.portable"
    package.loaded["agenda.portable"] = loaded
    assert.equal(portable, again)
  end)

  it("has no finalizer where there is no host", function()
    assert.is_nil(portable.get_asyncgen_finalizer())
  end)
end)
