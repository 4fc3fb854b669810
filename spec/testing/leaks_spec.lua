local agenda = require "agenda"
local testing = require "agenda.testing"
local loopkit = require "spec.support.loopkit"
local errors, fails = agenda.errors, loopkit.fails

-- Checks that leaks(f) raises, and that its text has a line like the pattern.
local function leaking(pattern, f)
  local err = fails(errors.RuntimeError, testing.leaks, f)
  assert.truthy(err.message:find("^left behind:\n"), err.message)
  assert.truthy(err.message:find(pattern), err.message)
end

describe("testing.leaks", function()
  it("refuses what is no function", function()
    loopkit.bad_argument(1, "leaks", function() testing.leaks(nil) end)
  end)

  it("gives f the arguments and returns its results", function()
    local got = table.pack(testing.leaks(function(...) return ... end, 1, nil, 3, nil))
    assert.same({ 1, nil, 3, nil, n = 4 }, got)
  end)

  it("raises f's error as the same object", function()
    local raised = {}
    local _, err = pcall(testing.leaks, function() error(raised) end)
    assert.equal(raised, err)
  end)

  it("passes what cleans up", function()
    testing.leaks(agenda.run, function() agenda.await(agenda.spawn(agenda.sleep, 0)) end)
  end)

  it("passes garbage", function()
    testing.leaks(function()
      local g = agenda.generator(function() agenda.yield(1) end)()
      g:next()
    end)
  end)

  it("passes a file that is garbage", function()
    testing.leaks(function() assert(io.open("/dev/null")):read(0) end)
  end)

  it("is not misled by garbage from before", function()
    local kept
    do
      local g = agenda.generator(function() agenda.yield(1) end)()
      g:next()
    end
    leaking("frames: 1 more", function()
      kept = agenda.generator(function() agenda.yield(1) end)()
      kept:next()
    end)
    kept:close()
  end)

  it("names an open loop", function()
    local loop
    leaking("loops: 1 more", function() loop = agenda.new_event_loop() end)
    loop:close()
  end)

  it("names an open descriptor", function()
    local file
    leaking("\n  descriptor %d+: inode %d+", function() file = assert(io.open("/dev/null")) end)
    file:close()
  end)

  it("knows some kinds of descriptors", function()
    local loop
    leaking("\n  descriptor %d+: eventfd\n", function() loop = agenda.new_event_loop() end)
    loop:close()
  end)

  it("counts what f returns", function()
    local loop
    local ok = pcall(testing.leaks, function()
      loop = agenda.new_event_loop()
      return loop
    end)
    assert.is_false(ok)
    loop:close()
  end)

  describe("in a task", function()
    local function in_run(name, body)
      it(name, function() testing.run(body) end)
    end

    in_run("passes a task that has ended", function()
      testing.leaks(function() agenda.await(agenda.spawn(agenda.sleep, 10)) end)
    end)

    in_run("names a task", function()
      local task
      leaking("\n  task: <task forgotten at ", function()
        task = agenda.spawn(agenda.sleep, 10)
        task:set_name("forgotten")
      end)
      task:cancel()
    end)

    in_run("counts a handle", function()
      local handle
      leaking("handles: 1 more", function()
        handle = agenda.get_running_loop():call_later(10, print)
      end)
      handle:cancel()
    end)

    in_run("counts a watcher", function()
      local loop = agenda.get_running_loop()
      local file <close> = assert(io.popen("true"))
      leaking("watchers: 1 more", function() loop:add_reader(file, function() end) end)
      loop:remove_reader(file)
    end)

    in_run("waits for a cleanup that a finalizer starts", function()
      local cleaned = false
      testing.leaks(function()
        local g = agenda.asyncgen(function()
          local _ <close> = loopkit.on_close(function()
            agenda.sleep(0)
            cleaned = true
          end)
          agenda.yield(1)
        end)()
        agenda.await(g:anext())
      end)
      assert.is_true(cleaned)
    end)

    in_run("does not move the clock", function()
      testing.leaks(function() end)
      assert.equal(0, testing.clock())
    end)
  end)
end)
