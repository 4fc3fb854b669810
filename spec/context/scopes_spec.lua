-- Context managers together with what else is entered: timeouts, task groups, locks.
local agenda = require "agenda"
local testing = require "agenda.testing"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

local function in_run(name, body)
  it(name, function() testing.run(body) end)
end

describe("a timeout", function()
  in_run("serves under with", function()
    fails(errors.TimeoutError, agenda.with, agenda.timeout(5), function() agenda.sleep(10) end)
    assert.equal(5, testing.clock())
  end)

  in_run("gives itself to f", function()
    local t = agenda.timeout(5)
    assert.equal(t, agenda.with(t, function(x) return x end))
  end)

  in_run("serves under enter", function()
    fails(errors.TimeoutError, function()
      local _ <close>, t = agenda.enter(agenda.timeout(5))
      t:reschedule(7)
      agenda.sleep(10)
    end)
    assert.equal(7, testing.clock())
  end)

  in_run("serves in an exit stack", function()
    fails(errors.TimeoutError, function()
      local stack <close> = agenda.exitstack()
      stack:enter(agenda.timeout(5))
      agenda.sleep(10)
    end)
    assert.equal(5, testing.clock())
  end)

  in_run("shows its TimeoutError to the exits before it in the stack", function()
    local seen
    pcall(agenda.with, agenda.exitstack(), function(stack)
      stack:push(function(err) seen = err end)
      stack:enter(agenda.timeout(5))
      agenda.sleep(10)
    end)
    assert.is_true(errors.TimeoutError:is(seen))
  end)

  in_run("may be open at the yield of a context manager's body", function()
    local limited = agenda.asynccontextmanager(function(seconds)
      local t <close> = agenda.timeout(seconds)
      agenda.yield(t)
    end)
    fails(errors.TimeoutError, agenda.with, limited(5), function() agenda.sleep(10) end)
    assert.equal(5, testing.clock())
  end)

  in_run("leaves the consumer alone after the block", function()
    local limited = agenda.asynccontextmanager(function()
      local _ <close> = agenda.timeout(5)
      agenda.yield()
    end)
    agenda.with(limited(), function() agenda.sleep(1) end)
    agenda.sleep(10)
    assert.equal(11, testing.clock())
  end)

  in_run("may not be open at the yield of any other body", function()
    local g = agenda.asyncgen(function()
      local _ <close> = agenda.timeout(5)
      agenda.yield()
    end)()
    fails(errors.RuntimeError, agenda.await, g:anext())
  end)

  describe("of a context manager's body", function()
    local limited = agenda.asynccontextmanager(function()
      agenda.sleep(0)
      local _ <close> = agenda.timeout(5)
      agenda.yield()
    end)
    local nested = agenda.asynccontextmanager(function() agenda.with(limited(), agenda.yield) end)
    local enter = {
      with = function(cm, f) agenda.with(cm, f) end,
      enter = function(cm, f)
        local _ <close> = agenda.enter(cm)
        f()
      end,
      exitstack = function(cm, f)
        local stack <close> = agenda.exitstack()
        stack:enter(cm)
        f()
      end,
    }

    for way, entering in pairs(enter) do
      for label, manager in pairs { manager = limited, ["nested manager"] = nested } do
        in_run(("may not be open at the yield of who entered the %s by %s"):format(label, way), function()
          local g = agenda.asyncgen(function() entering(manager(), function() agenda.yield(1) end) end)()
          local err = fails(errors.RuntimeError, agenda.await, g:anext())
          assert.is_truthy(err.message:find("open timeout scope", 1, true))
        end)

        in_run(("is closed after %s of a %s has ended"):format(way, label), function()
          local g = agenda.asyncgen(function()
            entering(manager(), function() agenda.sleep(1) end)
            pcall(entering, manager(), function() error("block") end)
            agenda.yield(1)
          end)()
          assert.equal(1, (agenda.await(g:anext())))
        end)

        in_run(("does not keep a consumer's generator from yielding: %s, %s"):format(way, label), function()
          local seen = {}
          entering(manager(), function()
            for v in agenda.asyncgen(function() agenda.yield(1) agenda.yield(2) end)() do
              seen[#seen + 1] = v
            end
          end)
          assert.same({ 1, 2 }, seen)
        end)
      end
    end
  end)

  in_run("gives a block inside a manager its deadline, and the manager its cleanup", function()
    local log = {}
    local slow = agenda.asynccontextmanager(function()
      local _ <close> = loopkit.on_close(function()
        agenda.sleep(3)
        log[#log + 1] = testing.clock()
      end)
      agenda.yield()
    end)
    fails(errors.TimeoutError, function()
      local _ <close> = agenda.timeout(5)
      agenda.with(slow(), function() agenda.sleep(100) end)
    end)
    assert.same({ 8 }, log)
  end)
end)

describe("a task group", function()
  in_run("serves under with, which waits for its tasks", function()
    local done = false
    agenda.with(agenda.taskgroup(), function(tg)
      tg:spawn(function()
        agenda.sleep(5)
        done = true
      end)
    end)
    assert.is_true(done)
  end)

  in_run("raises its ExceptionGroup under with", function()
    fails(errors.ExceptionGroup, agenda.with, agenda.taskgroup(), function(tg)
      tg:spawn(error, "x")
      agenda.sleep(10)
    end)
  end)

  in_run("serves in an exit stack", function()
    local done = false
    do
      local stack <close> = agenda.exitstack()
      local tg = stack:enter(agenda.taskgroup())
      tg:spawn(function()
        agenda.sleep(5)
        done = true
      end)
    end
    assert.is_true(done)
  end)

  in_run("may be open at the yield of a context manager's body", function()
    local pool = agenda.asynccontextmanager(function()
      local tg <close> = agenda.taskgroup()
      agenda.yield(tg)
    end)
    local done = false
    agenda.with(pool(), function(tg)
      tg:spawn(function()
        agenda.sleep(5)
        done = true
      end)
    end)
    assert.is_true(done)
  end)
end)

describe("a lock", function()
  in_run("is held under with", function()
    local lock = agenda.lock()
    agenda.with(lock, function() assert.is_true(lock:locked()) end)
    assert.is_false(lock:locked())
  end)

  in_run("is held for the block under enter", function()
    local lock = agenda.lock()
    do
      local _ <close> = agenda.enter(lock)
      assert.is_true(lock:locked())
    end
    assert.is_false(lock:locked())
  end)

  in_run("is released after an error", function()
    local lock = agenda.lock()
    pcall(agenda.with, lock, function() error("x") end)
    assert.is_false(lock:locked())
  end)

  in_run("is held until an exit stack closes", function()
    local lock, stack = agenda.lock(), agenda.exitstack()
    stack:enter(lock)
    assert.is_true(lock:locked())
    stack:aclose()
    assert.is_false(lock:locked())
  end)
end)

-- The scenario, cancelled after every number of turns until it ends by itself.
describe("a cancellation at any turn", function()
  local function sweep(scenario)
    local turns, finished = 0, false
    repeat
      testing.run(function()
        local entered, left = {}, {}
        local factory = agenda.asynccontextmanager(function(name)
          agenda.sleep(0)
          entered[#entered + 1] = name
          local _ <close> = loopkit.on_close(function()
            table.insert(left, 1, name)
            agenda.sleep(0)
          end)
          agenda.yield(name)
        end)
        local task = agenda.spawn(scenario, factory)
        loopkit.turns(turns)
        finished = not task:cancel()
        local ok, err = pcall(agenda.await, task)
        assert.is_true(ok or errors.CancelledError:is(err), tostring(err))
        assert.equal(finished, ok)
        assert.same(entered, left)
      end)
      turns = turns + 1
      assert.is_true(turns < 100)
    until finished
    assert.is_true(turns > 5)
  end

  it("leaves what with entered", function()
    sweep(function(factory)
      agenda.with(factory("a"), function()
        agenda.with(factory("b"), function() agenda.sleep(0) end)
      end)
    end)
  end)

  it("leaves what enter entered", function()
    sweep(function(factory)
      local _ <close> = agenda.enter(factory("a"))
      local _ <close> = agenda.enter(factory("b"))
      agenda.sleep(0)
    end)
  end)

  it("leaves what a stack entered", function()
    sweep(function(factory)
      local stack <close> = agenda.exitstack()
      stack:enter(factory("a"))
      stack:enter(factory("b"))
      agenda.sleep(0)
    end)
  end)
end)
