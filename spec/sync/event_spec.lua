local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local turns = loopkit.turns
local in_run, started = loopkit.in_run, loopkit.started

describe("agenda.event", function()
  in_run("starts cleared", function()
    assert.is_false(agenda.event():is_set())
  end)

  in_run("is set and cleared", function()
    local event = agenda.event()
    event:set()
    assert.is_true(event:is_set())
    event:clear()
    assert.is_false(event:is_set())
  end)

  in_run("does not switch when it is set", function()
    local event, ran = agenda.event(), false
    event:set()
    agenda.spawn(function() ran = true end)
    assert.is_true(event:wait())
    assert.is_false(ran)
  end)

  in_run("wakes all, in their order", function()
    local event, order = agenda.event(), {}
    for i = 1, 4 do
      agenda.spawn(function()
        assert(event:wait() == true)
        order[#order + 1] = i
      end)
    end
    turns(2)
    assert.same({}, order)
    event:set()
    turns(1)
    assert.same({ 1, 2, 3, 4 }, order)
  end)

  in_run("wakes those that waited even when it is cleared at once", function()
    local event = agenda.event()
    local waiter = started(event.wait, event)
    event:set()
    event:clear()
    assert.is_true(agenda.await(waiter))
  end)

  in_run("makes those wait that come after clear", function()
    local event = agenda.event()
    event:set()
    event:clear()
    local waiter = agenda.spawn(event.wait, event)
    turns(3)
    assert.is_false(waiter:done())
    event:set()
    agenda.await(waiter)
  end)

  in_run("raises the cancellation of a waiter, and wakes the others", function()
    local event = agenda.event()
    local first, second = started(event.wait, event), started(event.wait, event)
    first:cancel()
    event:set()
    assert.is_true(agenda.await(second))
    assert.is_true(first:cancelled())
  end)

  it("has a type and a text", function()
    assert.equal("event", agenda.type(agenda.event()))
    assert.matches("^<event at 0x%x+>$", tostring(agenda.event()))
  end)
end)
