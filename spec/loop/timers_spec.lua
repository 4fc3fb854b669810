local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

describe("timers", function()
  local loop, log

  local function logger(name)
    return function() log[#log + 1] = name end
  end

  -- Turns until n callbacks have logged, or two seconds have passed.
  local function run_until(n)
    local limit = loop:time() + 2
    while #log < n and loop:time() < limit do loop:run_once(0.05) end
  end

  before_each(function()
    loop = agenda.new_event_loop()
    log = {}
  end)
  after_each(function()
    loop:close()
    loop, log = nil, nil
  end)

  describe("loop:time", function()
    it("is a float", function()
      assert.equal("float", math.type(loop:time()))
    end)

    it("never goes back", function()
      local last = loop:time()
      for _ = 1, 1000 do
        local now = loop:time()
        assert.is_true(now >= last)
        last = now
      end
    end)

    it("moves inside a callback", function()
      local first, second
      loop:call_soon(function()
        first = loop:time()
        local began = os.clock()
        while os.clock() - began < 0.003 do end
        second = loop:time()
      end)
      loop:run_once(0)
      assert.is_true(second - first >= 0.002)
    end)

    it("is counted in seconds", function()
      local first = loop:time()
      local began = os.clock()
      while os.clock() - began < 0.005 do end
      local passed = loop:time() - first
      assert.is_true(passed >= 0.004 and passed < 2)
    end)
  end)

  describe("loop:call_later", function()
    it("does not call before the delay is over", function()
      local began, at = loop:time(), nil
      loop:call_later(0.003, function()
        at = loop:time()
        log[1] = true
      end)
      run_until(1)
      assert.is_true(at - began >= 0.003)
    end)

    it("is never early, whatever the fraction", function()
      local early = 0
      for i = 1, 30 do
        local delay = i * 0.00013
        local began = loop:time()
        loop:call_later(delay, function()
          if loop:time() - began < delay then early = early + 1 end
          log[#log + 1] = i
        end)
      end
      run_until(30)
      assert.equal(30, #log)
      assert.equal(0, early)
    end)

    it("honours less than a millisecond", function()
      local best = math.huge
      for _ = 1, 5 do
        local began = loop:time()
        for _ = 1, 20 do
          local done = false
          loop:call_later(0.0002, function() done = true end)
          while not done do loop:run_once() end
        end
        best = math.min(best, loop:time() - began)
      end
      assert.is_true(best >= 20 * 0.0002)
      assert.is_true(best < 0.015, "20 delays of 0.2 ms took " .. best)
    end)

    it("orders by time, not by scheduling", function()
      loop:call_later(0.03, logger("c"))
      loop:call_later(0.01, logger("a"))
      loop:call_later(0.02, logger("b"))
      run_until(3)
      assert.same({ "a", "b", "c" }, log)
    end)

    it("calls a zero delay soon", function()
      loop:call_later(0, logger("zero"))
      run_until(1)
      assert.same({ "zero" }, log)
    end)

    it("calls a zero delay after what was ready before", function()
      loop:call_later(0, logger("timer"))
      loop:call_soon(logger("soon"))
      run_until(2)
      assert.same({ "soon", "timer" }, log)
    end)

    it("orders zero delays by scheduling", function()
      for i = 1, 20 do loop:call_later(0, logger(i)) end
      run_until(20)
      for i = 1, 20 do assert.equal(i, log[i]) end
    end)

    it("orders negative delays by their time", function()
      loop:call_later(-1, logger("-1"))
      loop:call_later(0, logger("0"))
      loop:call_later(-2, logger("-2"))
      run_until(3)
      assert.same({ "-2", "-1", "0" }, log)
    end)

    it("takes integers", function()
      loop:call_later(0, logger("integer"))
      run_until(1)
      assert.same({ "integer" }, log)
    end)

    it("passes the arguments on, nils included", function()
      local got
      loop:call_later(0.001, function(...)
        got = table.pack(...)
        log[1] = true
      end, nil, 2, nil)
      run_until(1)
      assert.same({ nil, 2, n = 3 }, got)
    end)

    it("never calls after math.huge", function()
      loop:call_later(math.huge, logger("never"))
      loop:call_later(0.001, logger("once"))
      run_until(1)
      loop:run_once(0)
      assert.same({ "once" }, log)
    end)

    it("keeps the other timers going beside math.huge", function()
      loop:call_later(math.huge, logger("never"))
      for i = 1, 3 do loop:call_later(i * 0.001, logger(i)) end
      run_until(3)
      assert.same({ 1, 2, 3 }, log)
    end)

    it("calls a single time", function()
      loop:call_later(0, logger("once"))
      run_until(1)
      loop:run_once(0)
      loop:run_once(0)
      assert.same({ "once" }, log)
    end)

    it("leaves a due timer that a callback makes for the next turn", function()
      loop:call_soon(function()
        log[#log + 1] = "callback"
        loop:call_later(0, logger("timer"))
      end)
      loop:call_soon(logger("second"))
      run_until(3)
      assert.same({ "callback", "second", "timer" }, log)
    end)

    it("calls though nobody holds the handle", function()
      loop:call_later(0.001, logger("kept"))
      loopkit.collect()
      run_until(1)
      assert.same({ "kept" }, log)
    end)

    it("outlives the coroutine that called it", function()
      coroutine.wrap(function() loop:call_later(0.001, logger("kept")) end)()
      loopkit.collect()
      run_until(1)
      assert.same({ "kept" }, log)
    end)

    it("refuses a delay that is no number", function()
      loopkit.bad_argument(1, "call_later", function() loop:call_later({}, print) end)
    end)

    it("refuses a callback that is no function", function()
      loopkit.bad_argument(2, "call_later", function() loop:call_later(1, "print") end)
    end)

    it("is refused by a closed loop", function()
      loop:close()
      local err = fails(errors.RuntimeError, function() loop:call_later(1, print) end)
      assert.equal("Event loop is closed", err.message)
    end)
  end)

  describe("loop:call_at", function()
    it("calls at a time of the loop's clock", function()
      local when, at = loop:time() + 0.003, nil
      loop:call_at(when, function()
        at = loop:time()
        log[1] = true
      end)
      run_until(1)
      assert.is_true(at >= when)
    end)

    it("runs equal times in order of scheduling", function()
      local when = loop:time() + 0.002
      for i = 1, 50 do loop:call_at(when, logger(i)) end
      run_until(50)
      for i = 1, 50 do assert.equal(i, log[i]) end
    end)

    it("calls at once for a time that is past", function()
      loop:call_at(loop:time() - 10, logger("past"))
      run_until(1)
      assert.same({ "past" }, log)
    end)

    it("orders past times among themselves", function()
      local now = loop:time()
      loop:call_at(now - 1, logger("later"))
      loop:call_at(now - 2, logger("earlier"))
      run_until(2)
      assert.same({ "earlier", "later" }, log)
    end)

    it("orders with call_later", function()
      loop:call_later(0.004, logger("later"))
      loop:call_at(loop:time() + 0.002, logger("at"))
      run_until(2)
      assert.same({ "at", "later" }, log)
    end)

    it("sorts any number of times", function()
      math.randomseed(20)
      local base, whens = loop:time(), {}
      for i = 1, 300 do
        whens[i] = base + math.random() * 0.005
        loop:call_at(whens[i], function(when) log[#log + 1] = when end, whens[i])
      end
      run_until(300)
      table.sort(whens)
      assert.same(whens, log)
    end)

    it("passes the arguments on", function()
      local got
      loop:call_at(0, function(...)
        got = table.pack(...)
        log[1] = true
      end, "a", nil)
      run_until(1)
      assert.same({ "a", n = 2 }, got)
    end)

    it("refuses a time that is no number", function()
      loopkit.bad_argument(1, "call_at", function() loop:call_at("soon", print) end)
    end)

    it("is refused by a closed loop", function()
      loop:close()
      local err = fails(errors.RuntimeError, function() loop:call_at(1, print) end)
      assert.equal("Event loop is closed", err.message)
    end)
  end)

  describe("the timer's handle", function()
    it("tells exactly the time that call_at was given", function()
      for _, when in ipairs { 12345.678901234, 0.1, 1e15 } do
        assert.equal(when, loop:call_at(when, print):when())
      end
    end)

    it("tells math.huge", function()
      assert.equal(math.huge, loop:call_at(math.huge, print):when())
    end)

    it("tells a time of the clock plus call_later's delay", function()
      local before = loop:time()
      local when = loop:call_later(50, print):when()
      local after = loop:time()
      assert.is_true(when >= before + 50 and when <= after + 50)
    end)

    it("still tells its time when cancelled", function()
      local handle = loop:call_at(99, print)
      handle:cancel()
      assert.equal(99, handle:when())
    end)

    it("is not cancelled at first", function()
      assert.is_false(loop:call_later(1, print):cancelled())
    end)

    it("keeps the callback from running when cancelled", function()
      local handle = loop:call_later(0.001, logger("cancelled"))
      loop:call_later(0.002, logger("other"))
      handle:cancel()
      run_until(1)
      assert.is_true(handle:cancelled())
      assert.same({ "other" }, log)
    end)

    it("may be cancelled by a timer of the same time", function()
      local when = loop:time() + 0.001
      local second
      loop:call_at(when, function()
        log[#log + 1] = "first"
        second:cancel()
      end)
      second = loop:call_at(when, logger("second"))
      loop:call_at(when, logger("third"))
      run_until(2)
      assert.same({ "first", "third" }, log)
    end)

    it("may be cancelled by a timer of the same time, and collected before its place comes", function()
      local when = loop:time() + 0.001
      local weak, second = setmetatable({}, { __mode = "v" }), nil
      loop:call_at(when, function()
        weak[1] = second
        second:cancel()
        second = nil
        loopkit.collect()
        log[#log + 1] = weak[1] and "kept" or "lost"
      end)
      second = loop:call_at(when, logger("second"))
      loop:call_at(when, logger("third"))
      run_until(2)
      loopkit.collect()
      assert.same({ "kept", "third" }, log)
      assert.is_nil(weak[1])
    end)

    it("may be cancelled twice and after it ran", function()
      local handle = loop:call_later(0, logger("ran"))
      run_until(1)
      handle:cancel()
      handle:cancel()
      assert.is_true(handle:cancelled())
    end)

    it("lets go of the arguments when cancelled", function()
      local weak = setmetatable({}, { __mode = "v" })
      local handle = (function()
        weak[1] = {}
        return loop:call_later(1000, print, weak[1])
      end)()
      handle:cancel()
      loopkit.collect()
      assert.is_nil(weak[1])
      assert.is_true(handle:cancelled())
    end)

    it("is given back when cancelled, in any number", function()
      local weak = setmetatable({}, { __mode = "k" })
      for _ = 1, 2000 do
        local handle = loop:call_later(1000, function() end)
        weak[handle] = true
        handle:cancel()
      end
      loop:run_once(0)
      loopkit.collect()
      local left = 0
      for _ in pairs(weak) do left = left + 1 end
      assert.is_true(left < 200, left .. " cancelled timers are kept")
    end)

    it("leaves the order of the others when cancelled in the middle", function()
      local handles, base = {}, loop:time()
      for i = 1, 100 do handles[i] = loop:call_at(base + ((i * 37) % 100) * 1e-5, logger((i * 37) % 100)) end
      for i = 1, 100, 2 do handles[i]:cancel() end
      run_until(50)
      assert.equal(50, #log)
      for i = 2, 50 do assert.is_true(log[i - 1] < log[i]) end
    end)

    it("shows in angle brackets", function()
      assert.truthy(tostring(loop:call_later(1, print)):match("^<.*0x%x+.*>$"))
    end)
  end)
end)
