-- luacheck: ignore 512 (loops that are left at once)
local agenda = require "agenda"
local expect = require "spec.support.expect"
local errors = agenda.errors
local yield = agenda.yield

-- The host: threads take turns; each yield is noted, and its values come back to it.
local function toy_scheduler()
  local host = { queue = {}, noted = {} }
  function host.spawn(f) table.insert(host.queue, { thread = coroutine.create(f), n = 0 }) end
  function host.run()
    while #host.queue > 0 do
      local job = table.remove(host.queue, 1)
      local out = table.pack(coroutine.resume(job.thread, table.unpack(job, 1, job.n)))
      if not out[1] then error(out[2], 0) end
      if coroutine.status(job.thread) ~= "dead" then
        out = table.pack(table.unpack(out, 2, out.n))
        table.insert(host.noted, out)
        local back = table.move(out, 1, out.n, 1, { thread = job.thread, n = out.n })
        table.insert(host.queue, back)
      end
    end
  end
  return host
end

describe("a foreign scheduler", function()
  it("runs an async generator whose body uses the host's own yield", function()
    local host = toy_scheduler()
    local seen = {}
    local gen = agenda.asyncgen(function(n) for i = 1, n do yield((coroutine.yield(i * 10))) end end)
    host.spawn(function() for v in gen(3) do seen[#seen + 1] = v end end)
    host.run()
    assert.same({ 10, 20, 30 }, seen)
    assert.equal(3, #host.noted)
  end)

  it("interleaves two of them", function()
    local host = toy_scheduler()
    local order = {}
    local gen = agenda.asyncgen(function(name) for i = 1, 2 do coroutine.yield() yield(name .. i) end end)
    for _, name in ipairs { "a", "b" } do
      host.spawn(function() for v in gen(name) do order[#order + 1] = v end end)
    end
    host.run()
    assert.same({ "a1", "b1", "a2", "b2" }, order)
  end)

  it("sees nested async generators' pauses and none of their values", function()
    local host = toy_scheduler()
    local seen = {}
    local inner = agenda.asyncgen(function() for i = 1, 2 do coroutine.yield("pause", i) yield("value", i) end end)
    local outer = agenda.asyncgen(function() for a, b in inner() do yield(a, b) end end)
    host.spawn(function() for _, v in outer() do seen[#seen + 1] = v end end)
    host.run()
    assert.same({ 1, 2 }, seen)
    assert.same({ { n = 2, "pause", 1 }, { n = 2, "pause", 2 } }, host.noted)
  end)

  it("closes an owned generator before the loop is left, through the host's yields", function()
    local host = toy_scheduler()
    local order = {}
    local gen = agenda.asyncgen(function()
      local _ <close> = expect.finally(function()
        coroutine.yield("cleanup")
        order[#order + 1] = "closed"
      end)
      while true do yield(1) end
    end)
    host.spawn(function()
      for _ in gen() do break end
      order[#order + 1] = "after"
    end)
    host.run()
    assert.same({ "closed", "after" }, order)
    assert.equal("cleanup", host.noted[1][1])
  end)

  it("takes anext, asend, athrow and aclose", function()
    local host = toy_scheduler()
    local log = {}
    local function note(value) log[#log + 1] = value end
    local gen = agenda.asyncgen(function()
      coroutine.yield()
      note(yield(1))
      coroutine.yield()
      note(select(2, pcall(yield, 2)))
      coroutine.yield()
      yield(3)
    end)
    host.spawn(function()
      local g = gen()
      note(agenda.await(g:anext()))
      note(agenda.await(g:asend("sent")))
      note(agenda.await(g:athrow("thrown")))
      agenda.await(g:aclose())
    end)
    host.run()
    assert.same({ 1, "sent", 2, "thrown", 3 }, log)
  end)

  it("agenda.each and agenda.aclosing work there", function()
    local host = toy_scheduler()
    local seen = {}
    local gen = agenda.asyncgen(function() for i = 1, 3 do coroutine.yield() yield(i) end end)
    host.spawn(function()
      agenda.each((gen()), function(v) seen[#seen + 1] = v return v < 2 end)
      agenda.aclosing((gen()), function(g) for v in g do seen[#seen + 1] = v end end)
    end)
    host.run()
    assert.same({ 1, 2, 1, 2, 3 }, seen)
  end)

  it("an error of the body comes out of the loop", function()
    local host = toy_scheduler()
    local gen = agenda.asyncgen(function() coroutine.yield() error("body", 0) end)
    host.spawn(function() for _ in gen() do coroutine.yield() end end)
    expect.raises_same("body", host.run)
  end)
end)

describe("a host's own yield has exact arity", function()
  local lists = {
    ["no values"] = table.pack(),
    ["one nil"] = table.pack(nil),
    ["trailing nils"] = table.pack(1, nil, nil),
    ["a leading nil"] = table.pack(nil, 1),
    ["many values"] = table.pack(table.unpack({}, 1, 40)),
  }
  for label, list in pairs(lists) do
    local function check(got)
      assert.equal(list.n, got.n)
      for i = 1, list.n do assert.is_true(rawequal(list[i], got[i])) end
    end

    -- What `wrap` builds around the yield must change nothing, out or in.
    local function both_ways(wrap)
      local came_in
      local thread = coroutine.create(wrap(function()
        came_in = table.pack(coroutine.yield(table.unpack(list, 1, list.n)))
      end))
      local out = table.pack(coroutine.resume(thread))
      assert.is_true(out[1])
      check(table.pack(table.unpack(out, 2, out.n)))
      assert.is_true((coroutine.resume(thread, table.unpack(list, 1, list.n))))
      check(came_in)
    end

    it("through an async generator, with " .. label, function()
      both_ways(function(f)
        local gen = agenda.asyncgen(function() f() yield(1) end)
        return function() for _ in gen() do f = nil end end
      end)
    end)

    it("through three async generators, with " .. label, function()
      both_ways(function(f)
        local one = agenda.asyncgen(function() f() yield(1) end)
        local two = agenda.asyncgen(function() for v in one() do yield(v) end end)
        local three = agenda.asyncgen(function() for v in two() do yield(v) end end)
        return function() for _ in three() do f = nil end end
      end)
    end)

    it("through a plain generator, with " .. label, function()
      both_ways(function(f)
        local gen = agenda.generator(function() f() yield(1) end)
        return function() for _ in gen() do f = nil end end
      end)
    end)

    it("through an awaited coroutine object, with " .. label, function()
      both_ways(function(f)
        local make = agenda.async(function() f() end)
        return function() agenda.await(make()) end
      end)
    end)

    it("out of a coroutine driven by hand, with " .. label, function()
      local came_in
      local co = agenda.async(function()
        came_in = table.pack(coroutine.yield(table.unpack(list, 1, list.n)))
      end)()
      check(table.pack(co:send()))
      pcall(co.send, co, table.unpack(list, 1, list.n))
      check(came_in)
    end)

    it("out of an awaitable driven by hand, with " .. label, function()
      local came_in
      local g = agenda.asyncgen(function()
        came_in = table.pack(coroutine.yield(table.unpack(list, 1, list.n)))
      end)()
      local aw = g:anext()
      check(table.pack(aw:send()))
      pcall(aw.send, aw, table.unpack(list, 1, list.n))
      check(came_in)
    end)
  end
end)

describe("an error thrown in at a host's own yield #core", function()
  it("is raised as soon as the body runs again", function()
    local went_on = false
    local co = agenda.async(function() coroutine.yield() went_on = true end)()
    co:send()
    expect.raises_same("thrown", co.throw, co, "thrown")
    assert.is_false(went_on)
  end)

  it("keeps an error object", function()
    local err = errors.ValueError("text")
    local co = agenda.async(function() coroutine.yield() end)()
    co:send()
    expect.raises_same(err, co.throw, co, err)
  end)

  it("is caught by a pcall round it", function()
    local seen
    local co = agenda.async(function()
      local ok, err = pcall(function() coroutine.yield() return "returned" end)
      seen = { ok, err }
    end)()
    co:send()
    pcall(co.throw, co, "thrown")
    assert.same({ false, "thrown" }, seen)
  end)

  it("is caught by pcall(coroutine.yield)", function()
    local seen
    local co = agenda.async(function() seen = table.pack(pcall(coroutine.yield)) end)()
    co:send()
    pcall(co.throw, co, "thrown")
    assert.same({ n = 2, false, "thrown" }, seen)
  end)

  it("reaches an async generator's body", function()
    local seen
    local g = agenda.asyncgen(function()
      local ok, err = pcall(function() coroutine.yield("out") return 1 end)
      seen = { ok, err }
      yield("on")
    end)()
    local aw = g:anext()
    assert.equal("out", aw:send())
    assert.equal("on", expect.raises(errors.StopIteration, nil, aw.throw, aw, "thrown").value)
    assert.same({ false, "thrown" }, seen)
  end)

  it("closes what is to be closed", function()
    local closed
    local co = agenda.async(function()
      local _ <close> = expect.finally(function(err) closed = err end)
      coroutine.yield()
    end)()
    co:send()
    co:close()
    assert.is_true(errors.GeneratorExit:is(closed))
  end)

  it("leaves a hook of the user's in place", function()
    local hooked
    local co = agenda.async(function()
      local hook = function() end
      debug.sethook(hook, "", 1000)
      pcall(coroutine.yield)
      hooked = debug.gethook() == hook
      debug.sethook()
    end)()
    co:send()
    pcall(co.throw, co, "thrown")
    assert.is_true(hooked)
  end)

  it("leaves no hook behind", function()
    local hook
    local co = agenda.async(function()
      pcall(coroutine.yield)
      hook = table.pack(debug.gethook())
    end)()
    co:send()
    pcall(co.throw, co, "thrown")
    assert.is_nil(hook[1])
  end)

  it("happens once", function()
    local seen = {}
    local co = agenda.async(function()
      for i = 1, 2 do seen[i] = table.pack(pcall(coroutine.yield, i)) end
    end)()
    co:send()
    assert.equal(2, co:throw("thrown"))
    pcall(co.send, co, "value")
    assert.same({ { n = 2, false, "thrown" }, { n = 2, true, "value" } }, seen)
  end)
end)

describe("a thread that others tamper with", function()
  it("resumed by the user, the body gets RuntimeError and the generator ends", function()
    local thread
    local g = agenda.generator(function() thread = coroutine.running() yield(1) yield(2) end)()
    g:next()
    coroutine.resume(thread)
    assert.is_false((pcall(g.next, g)))
  end)

  it("closed by the user, the generator ends #lua54", function()
    local thread
    local g = agenda.generator(function() thread = coroutine.running() yield(1) yield(2) end)()
    g:next()
    coroutine.close(thread)
    assert.is_false((pcall(g.next, g)))
    assert.is_true((pcall(g.close, g)))
  end)
end)
