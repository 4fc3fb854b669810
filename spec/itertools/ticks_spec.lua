local agenda = require "agenda"
local itertools = require "agenda.itertools"
local ticks = require "agenda.ticks"
local pipekit = require "spec.support.pipekit"
local loopkit = require "spec.support.loopkit"
local in_run, on_virtual_clock = pipekit.in_run, pipekit.on_virtual_clock

describe("agenda.interval", function()
  on_virtual_clock("gives 1, 2, 3, none of them early", function()
    local loop = agenda.get_running_loop()
    local began = loop:time()
    for k in ticks.interval(0.003) do
      assert.is_true(loop:time() - began >= k * 0.003)
      if k == 3 then break end
    end
  end)

  on_virtual_clock("starts at the first iteration", function()
    local g <close> = ticks.interval(0.004)
    agenda.sleep(0.006)
    local loop = agenda.get_running_loop()
    local began = loop:time()
    g()
    assert.is_true(loop:time() - began >= 0.004)
  end)

  on_virtual_clock("gives overdue ticks at once, without drift", function()
    local loop = agenda.get_running_loop()
    local g <close> = ticks.interval(0.004)
    local began = loop:time()
    g()
    agenda.sleep(0.010)
    local late = loop:time()
    assert.equal(2, g())
    assert.is_true(loop:time() - late < 0.002)
    g()
    assert.equal(4, g())
    assert.is_true(loop:time() - began >= 0.016)
  end)

  on_virtual_clock("leaves no timer when it is left", function()
    local task = agenda.spawn(function() itertools.count(ticks.interval(100)) end)
    loopkit.turns(2)
    task:cancel()
    loopkit.fails(agenda.errors.CancelledError, agenda.await, task)
  end)

  it("checks its argument", function()
    loopkit.bad_argument(1, "interval", function() ticks.interval("1") end)
    loopkit.bad_argument(1, "interval", function() ticks.interval(0) end)
  end)
end)

describe("agenda.signals", function()
  local pid

  setup(function()
    local file = assert(io.open("/proc/self/stat"))
    pid = file:read("n")
    file:close()
  end)

  local function send(name) os.execute(("kill -%s %d"):format(name, pid)) end

  in_run("gives the names of the signals that come", function()
    local g <close> = ticks.signals("SIGUSR1", "SIGUSR2")
    local task = agenda.spawn(function() return g() end)
    loopkit.turns(2)
    send("USR2")
    assert.equal("SIGUSR2", agenda.await(task))
    send("USR1")
    assert.equal("SIGUSR1", g())
  end)

  in_run("keeps what comes while its consumer is busy", function()
    local g <close> = ticks.signals("SIGUSR1", "SIGUSR2")
    local task = agenda.spawn(function() return g() end)
    loopkit.turns(2)
    send("USR1")
    agenda.await(task)
    send("USR1")
    agenda.sleep(0.002)
    send("USR2")
    agenda.sleep(0.002)
    assert.same({ "SIGUSR1", "SIGUSR2" }, { g(), (g()) })
  end)

  in_run("removes the handlers when it closes", function()
    local loop = agenda.get_running_loop()
    local g = ticks.signals("SIGUSR2")
    local task = agenda.spawn(function() return g() end)
    loopkit.turns(2)
    task:cancel()
    loopkit.fails(agenda.errors.CancelledError, agenda.await, task)
    assert.is_false(loop:remove_signal_handler("SIGUSR2"))
  end)

  in_run("installs none before it is iterated", function()
    local g <close> = ticks.signals("SIGUSR2")
    assert.is_false(agenda.get_running_loop():remove_signal_handler("SIGUSR2"))
    assert.is_not_nil(g)
  end)

  in_run("gives a signal to each generator of it", function()
    local a <close> = ticks.signals("SIGUSR1")
    local b <close> = ticks.signals("SIGUSR1")
    local both = agenda.gather(function() return a() end, function() return b() end)
    loopkit.turns(2)
    send("USR1")
    assert.same({ "SIGUSR1", "SIGUSR1", n = 2 }, agenda.await(both))
  end)

  in_run("refuses an unknown signal, and leaves no handler of the others", function()
    loopkit.fails(agenda.errors.ValueError, (ticks.signals("SIGUSR2", "SIGNONE")))
    assert.is_false(agenda.get_running_loop():remove_signal_handler("SIGUSR2"))
  end)

  it("checks its arguments", function()
    loopkit.bad_argument(1, "signals", function() ticks.signals() end)
    loopkit.bad_argument(2, "signals", function() ticks.signals("SIGHUP", 1) end)
  end)
end)
