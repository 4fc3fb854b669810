local agenda = require "agenda"
local itertools = require "agenda.itertools"
local pipekit = require "spec.support.pipekit"
local loopkit = require "spec.support.loopkit"
local collect, source, turns = itertools.collect, pipekit.source, loopkit.turns
local in_run, on_virtual_clock = pipekit.in_run, pipekit.on_virtual_clock

-- How far the source runs ahead of a consumer that gives it all the time it wants.
local function ahead(x, seen)
  local given, most = 0, 0
  pipekit.slowly(x, 8, function()
    turns(8)
    given = given + 1
    most = math.max(most, math.min(seen.pulled, 20) - given)
  end)
  return most
end

describe("itertools.buffer", function()
  for _, n in ipairs { 0, 1, 3 } do
    in_run(("pulls %d ahead, no more and no less"):format(n), function()
      local x, seen = source(20)
      assert.equal(n, ahead(itertools.buffer(n, x), seen))
    end)
  end

  in_run("keeps the order and all values", function()
    local g <close> = itertools.buffer(2, itertools.enumerate((source(300))))
    for i = 1, 300 do assert.same({ i, i }, { g() }) end
    assert.is_nil((g()))
  end)

  in_run("lets others run while it is filled from a source that never waits", function()
    local function endless() return 1 end
    local g <close> = itertools.buffer(1e9, endless)
    local others = 0
    agenda.spawn(function() others = others + 1 end)
    g()
    turns(3)
    assert.equal(1, others)
  end)
end)

describe("itertools.map with concurrency", function()
  for _, ordered in ipairs { true, false } do
    local name = ordered and "ordered" or "unordered"

    in_run(name .. ": holds n items at most", function()
      local x, seen = source(20)
      local g = itertools.map(function(v) return v end, x, { concurrency = 3, ordered = ordered })
      assert.equal(3, ahead(g, seen))
    end)

    in_run(name .. ": runs n calls at once", function()
      local running, most = 0, 0
      local function f(v)
        running = running + 1
        most = math.max(most, running)
        turns(2)
        running = running - 1
        return v
      end
      local list = collect(itertools.map(f, (source(20)), { concurrency = 4, ordered = ordered }))
      table.sort(list)
      assert.equal(20, #list)
      assert.equal(4, most)
    end)

    in_run(name .. ": an error of f's cancels the other calls", function()
      local cancelled = 0
      local function f(v)
        if v == 2 then error("broken", 0) end
        local _ <close> = loopkit.on_close(function() cancelled = cancelled + 1 end)
        turns(50)
        return v
      end
      local x, seen = source(9)
      local g = itertools.map(f, x, { concurrency = 3, ordered = ordered })
      local ok, err = pcall(collect, (g))
      assert.same({ false, "broken" }, { ok, err })
      assert.is_true(cancelled >= 2)
      assert.equal(1, seen.closed)
    end)

    in_run(name .. ": a source's error comes after the results", function()
      local got = {}
      local ok, err = pcall(function()
        local x = source(3, { fail = "broken" })
        local function f(v)
          turns(4 - v)
          return v
        end
        for v in itertools.map(f, x, { concurrency = 5, ordered = ordered }) do got[#got + 1] = v end
      end)
      assert.same({ false, "broken" }, { ok, err })
      assert.same(ordered and { 1, 2, 3 } or { 3, 2, 1 }, got)
    end)
  end

  in_run("keeps the order of the items", function()
    local function f(v)
      turns(9 - v)
      return v
    end
    assert.same({ 1, 2, 3, 4, 5 }, collect(itertools.map(f, (source(5)), { concurrency = 3 })))
  end)

  in_run("a task that is cancelled from outside ends it", function()
    local function f()
      agenda.current_task():cancel()
      turns(1)
      return 1
    end
    local x, seen = source(5)
    loopkit.fails(agenda.errors.CancelledError, collect, (itertools.map(f, x, { concurrency = 2 })))
    assert.equal(1, seen.closed)
  end)
end)

describe("itertools.merge", function()
  in_run("gives the items as they come", function()
    local slow, fast = source(2, { turns = 10 }), source(2, { turns = 1 })
    assert.same({ 1, 2, 1, 2 }, collect(itertools.merge(slow, fast)))
  end)

  in_run("pulls one item ahead of each source", function()
    local a, seen_a = source(20)
    local b, seen_b = source(20)
    local g <close> = itertools.merge(a, b)
    g()
    turns(20)
    assert.same({ 2, 1 }, { seen_a.pulled, seen_b.pulled })
  end)

  in_run("closes the others when one fails", function()
    local other, seen = source(50, { turns = 1 })
    local got = 0
    assert.has_error(function()
      for _ in itertools.merge(source(3, { fail = "broken" }), other) do got = got + 1 end
    end, "broken")
    assert.is_true(got >= 3)
    assert.equal(1, seen.closed)
  end)

  in_run("of nothing ends at once", function() assert.same({}, collect(itertools.merge())) end)
end)

describe("itertools.batch", function()
  in_run("gives lists of n, the last one shorter", function()
    assert.same({ { 1, 2 }, { 3, 4 }, { 5 } }, collect(itertools.batch(2, (source(5)))))
  end)

  in_run("gives no empty list", function()
    assert.same({ { 1, 2 } }, collect(itertools.batch(2, (source(2)))))
    assert.same({}, collect(itertools.batch(2, (source(0)), 0.001)))
  end)

  in_run("does not pull before it is asked to", function()
    local x, seen = source(9)
    local g <close> = itertools.batch(2, x)
    g()
    assert.equal(2, seen.pulled)
  end)

  in_run("gives a started list before the error", function()
    for _, seconds in ipairs { false, 10 } do
      local got = {}
      local ok = pcall(function()
        for list in itertools.batch(2, source(3, { fail = "broken" }), seconds or nil) do got[#got + 1] = list end
      end)
      assert.is_false(ok)
      assert.same({ { 1, 2 }, { 3 } }, got)
    end
  end)

  on_virtual_clock("with a time gives what has come by then", function()
    local g <close> = itertools.batch(9, agenda.asyncgen(function()
      agenda.yield(1)
      agenda.yield(2)
      agenda.sleep(0.015)
      agenda.yield(3)
    end)(), 0.004)
    assert.same({ 1, 2 }, g())
    assert.same({ 3 }, g())
    assert.is_nil((g()))
  end)

  on_virtual_clock("counts the time from a batch's first item", function()
    local loop = agenda.get_running_loop()
    local began
    local g <close> = itertools.batch(9, (agenda.asyncgen(function()
      agenda.sleep(0.01)
      began = loop:time()
      agenda.yield(1)
      agenda.sleep(10)
    end)()), 0.006)
    assert.same({ 1 }, g())
    assert.is_true(loop:time() - began >= 0.006)
  end)

  in_run("with a time holds n items at most", function()
    local x, seen = source(20)
    local g <close> = itertools.batch(3, x, 10)
    assert.same({ 1, 2, 3 }, g())
    turns(10)
    assert.equal(6, seen.pulled)
  end)
end)

describe("itertools.timeout", function()
  in_run("passes what comes in time", function()
    assert.same({ 1, 2 }, collect(itertools.timeout(10, (source(2, { turns = 1 })))))
  end)

  on_virtual_clock("raises TimeoutError with its cause and closes the source #core", function()
    local closed = 0
    local x = agenda.asyncgen("slow", function()
      local _ <close> = loopkit.on_close(function() closed = closed + 1 end)
      agenda.yield(1)
      agenda.sleep(10)
    end)()
    local got = {}
    local err = loopkit.fails(agenda.errors.TimeoutError, function()
      for v in itertools.timeout(0.003, x) do got[#got + 1] = v end
    end)
    assert.is_true(agenda.errors.CancelledError:is(err.cause))
    assert.matches("slow", err.message)
    assert.same({ { 1 }, 1, 0 }, { got, closed, agenda.current_task():cancelling() })
  end)

  on_virtual_clock("does not count the time of its consumer", function()
    local got = 0
    for _ in itertools.timeout(0.004, (source(2))) do
      got = got + 1
      agenda.sleep(0.008)
    end
    assert.equal(2, got)
  end)

  in_run("leaves a cancellation from outside what it is", function()
    local task = agenda.spawn(function()
      collect(itertools.timeout(10, (agenda.asyncgen(function() agenda.sleep(10) end)())))
    end)
    turns(2)
    task:cancel()
    loopkit.fails(agenda.errors.CancelledError, agenda.await, task)
  end)
end)

describe("itertools.throttle", function()
  on_virtual_clock("gives the first at once and then one in each interval", function()
    local loop = agenda.get_running_loop()
    local times = {}
    local began = loop:time()
    for _ in itertools.throttle(0.005, (source(3))) do times[#times + 1] = loop:time() - began end
    assert.is_true(times[1] < 0.005)
    assert.is_true(times[2] - times[1] >= 0.005)
    assert.is_true(times[3] - times[2] >= 0.005)
  end)

  on_virtual_clock("does not wait when the source is slower", function()
    local loop = agenda.get_running_loop()
    local began = loop:time()
    local x = agenda.asyncgen(function()
      for i = 1, 3 do
        agenda.sleep(0.006)
        agenda.yield(i)
      end
    end)()
    collect(itertools.throttle(0.004, x))
    assert.is_true(loop:time() - began < 0.019)
  end)
end)

describe("itertools.tee", function()
  it("gives n generators and nothing else", function()
    assert.equal(3, select("#", itertools.tee(3, (source(1)))))
    assert.equal(0, select("#", itertools.tee(0, (source(1)))))
  end)

  in_run("gives each all items", function()
    local a, b = itertools.tee(2, (source(3)))
    assert.same({ { 1, 2, 3 }, { 1, 2, 3 } }, { collect(a), collect(b) })
  end)

  in_run("pulls each item once, when the first asks", function()
    local x, seen = source(3)
    local a, b = itertools.tee(2, x)
    local _ <close> = a
    local _ <close> = b
    a()
    b()
    assert.equal(1, seen.pulled)
  end)

  in_run("serves branches that wait at the same time", function()
    local a, b = itertools.tee(2, (source(3, { turns = 2 })))
    assert.same({ { 1, 2, 3 }, { 1, 2, 3 }, n = 2 }, agenda.await(agenda.gather(
      function() return collect(a) end, function() return collect(b) end)))
  end)

  in_run("gives the source's error to each", function()
    local a, b = itertools.tee(2, (source(1, { fail = "broken" })))
    for _, g in ipairs { a, b } do
      assert.equal(1, g())
      assert.has_error(function() g() end, "broken")
    end
  end)

  in_run("takes nothing from the others when one is cancelled", function()
    local a, b = itertools.tee(2, (source(3, { turns = 3 })))
    local task = agenda.spawn(collect, a)
    turns(3)
    task:cancel()
    assert.same({ 1, 2, 3 }, collect(b))
    pcall(agenda.await, task)
  end)

  in_run("closes the source with the last branch", function()
    local x, seen = source(3)
    local a, b = itertools.tee(2, x)
    a()
    b()
    agenda.await(a:aclose())
    assert.equal(0, seen.closed)
    agenda.await(b:aclose())
    assert.equal(1, seen.closed)
  end)

  in_run("lets go of what all branches have passed", function()
    local kept = setmetatable({}, { __mode = "v" })
    local x = agenda.asyncgen(function()
      for i = 1, 5 do
        local item = { i }
        kept[i] = item
        agenda.yield(item)
      end
    end)()
    local a, b = itertools.tee(2, x)
    local _ <close> = a
    local _ <close> = b
    for _ = 1, 4 do a() end
    for _ = 1, 3 do b() end
    loopkit.collect()
    assert.same({ nil, nil }, { kept[1], kept[2] })
  end)
end)
