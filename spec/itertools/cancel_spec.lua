-- Each stage cancelled after k turns for every k: sources are closed once, no task is left.
local agenda = require "agenda"
local itertools = require "agenda.itertools"
local pipekit = require "spec.support.pipekit"
local loopkit = require "spec.support.loopkit"

local function double(v)
  loopkit.turns(1)
  return 2 * v
end

local function yes()
  loopkit.turns(1)
  return true
end

-- Stages by name: functions that make one of a function that makes sources.
local stages = {
  map = function(new) return itertools.map(double, new()) end,
  ["map with concurrency"] = function(new) return itertools.map(double, new(), { concurrency = 2 }) end,
  ["unordered map"] = function(new)
    return itertools.map(double, new(), { concurrency = 3, ordered = false })
  end,
  filter = function(new) return itertools.filter(yes, new()) end,
  takewhile = function(new) return itertools.takewhile(yes, new()) end,
  dropwhile = function(new) return itertools.dropwhile(function(v) return v < 2 end, new()) end,
  take = function(new) return itertools.take(2, new()) end,
  drop = function(new) return itertools.drop(1, new()) end,
  enumerate = function(new) return itertools.enumerate(new()) end,
  zip = function(new) return itertools.zip(new(), new()) end,
  chain = function(new) return itertools.chain(new(), new()) end,
  merge = function(new) return itertools.merge(new(), new(), new()) end,
  flatten = function(new) return itertools.flatten(itertools.map(function() return (new()) end, new())) end,
  batch = function(new) return itertools.batch(2, new()) end,
  ["batch with a time"] = function(new) return itertools.batch(2, new(), 0) end,
  buffer = function(new) return itertools.buffer(2, new()) end,
  scan = function(new) return itertools.scan(math.max, new()) end,
  timeout = function(new) return itertools.timeout(10, new()) end,
  throttle = function(new) return itertools.throttle(0, new()) end,
  tee = function(new) return (itertools.tee(1, new())) end,
  ["a pipeline"] = function(new)
    return itertools.buffer(1, itertools.map(double, itertools.merge(new(), new()), { concurrency = 2 }))
  end,
}

local names = {}
for name in pairs(stages) do names[#names + 1] = name end
table.sort(names)

for _, cleanup_turns in ipairs { 0, 2 } do
  describe(("cancelled at every turn, with a cleanup of %d turns:"):format(cleanup_turns), function()
    for _, name in ipairs(names) do
      it(name, function()
        local last = pipekit.cancelled_at_every_turn(function(seen)
          local function new()
            local source, counts = pipekit.source(3, { turns = 1, cleanup_turns = cleanup_turns })
            seen[#seen + 1] = counts
            return source
          end
          pipekit.slowly(stages[name](new), 1)
        end)
        assert.is_true(last > 3)
      end)
    end

    it("tee with two branches in tasks of their own", function()
      pipekit.cancelled_at_every_turn(function(seen)
        local source
        source, seen[1] = pipekit.source(3, { turns = 1, cleanup_turns = cleanup_turns })
        local a, b = itertools.tee(2, source)
        local other = agenda.spawn(function() return pipekit.slowly(b, 2) end)
        local _ <close> = loopkit.on_close(function()
          other:cancel()
          pcall(agenda.await, other)
        end)
        pipekit.slowly(a, 0)
        agenda.await(other)
      end)
    end)

    it("foreach with concurrency", function()
      pipekit.cancelled_at_every_turn(function(seen)
        local source
        source, seen[1] = pipekit.source(3, { turns = 1, cleanup_turns = cleanup_turns })
        itertools.foreach(double, source, { concurrency = 2 })
      end)
    end)
  end)
end

describe("a second cancellation while a stage winds up", function()
  it("does not leave a task behind", function()
    for k = 0, 12 do
      agenda.run(function()
        local source, counts = pipekit.source(3, { turns = 1, cleanup_turns = 3 })
        local task = agenda.spawn(function()
          pipekit.slowly(itertools.map(double, source, { concurrency = 2 }), 1)
        end)
        loopkit.turns(6)
        task:cancel()
        loopkit.turns(k)
        task:cancel()
        pcall(agenda.await, task)
        assert.equal(1, #agenda.all_tasks())
        assert.equal(counts.begun, counts.closed)
      end)
    end
  end)
end)

describe("what is left early", function()
  for _, name in ipairs(names) do
    pipekit.in_run("closes its sources: " .. name, function()
      local all = {}
      local function new()
        local source, counts = pipekit.source(3, { turns = 1 })
        all[#all + 1] = counts
        return source
      end
      do
        local g <close> = stages[name](new)
        g()
      end
      for _, counts in ipairs(all) do
        assert.equal(counts.begun, counts.cleaned)
        assert.is_true(counts.closed <= 1)
      end
    end)

    it("closes its sources when it is collected: " .. name, function()
      local all = {}
      agenda.run(function()
        local function new()
          local source, counts = pipekit.source(30, { turns = 1 })
          all[#all + 1] = counts
          return source
        end
        do
          local g = stages[name](new)
          g()
          g = nil
        end
        loopkit.turns(1)
        for _ = 1, 60 do
          loopkit.collect()
          loopkit.turns(2)
          if #agenda.all_tasks() == 1 then break end
        end
        loopkit.collect()
        loopkit.turns(4)
        assert.equal(1, #agenda.all_tasks())
        for _, counts in ipairs(all) do assert.equal(counts.begun, counts.closed) end
      end)
    end)

    pipekit.in_run("starts nothing before it is iterated: " .. name, function()
      local all = {}
      local _g <close> = stages[name](function()
        local source, counts = pipekit.source(3)
        all[#all + 1] = counts
        return source
      end)
      loopkit.turns(3)
      for _, counts in ipairs(all) do assert.equal(0, counts.begun) end
    end)

    pipekit.in_run("gives a source's error after the items, and closes: " .. name, function()
      local all, got = {}, 0
      local function new()
        local source, counts = pipekit.source(3, { turns = 1, fail = "broken" })
        all[#all + 1] = counts
        return source
      end
      local ok, err = pcall(function()
        for _ in stages[name](new) do got = got + 1 end
      end)
      if name ~= "take" then assert.same({ false, "broken" }, { ok, err }) end
      assert.is_true(got > 0)
      for _, counts in ipairs(all) do assert.equal(counts.begun, counts.closed) end
    end)
  end
end)
