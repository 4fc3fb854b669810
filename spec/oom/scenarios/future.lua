-- Futures: results, errors, callbacks, one cancelled, one that is tied to no loop.
local agenda = require "agenda"
local errors = agenda.errors

agenda.run(function()
  local loop = agenda.get_running_loop()
  local fut, other = loop:create_future(), agenda.future()
  local called = 0
  local function on_done() called = called + 1 end
  fut:add_done_callback(on_done)
  fut:add_done_callback(print)
  assert(fut:remove_done_callback(print) == 1)
  local waiter = agenda.spawn(function() return agenda.await(fut) end)
  agenda.sleep(0)
  fut:set_result(1, nil, 3)
  assert(select("#", agenda.await(waiter)) == 3)
  assert(fut:done() and tostring(fut))
  other:set_exception(errors.ValueError("failed"))
  local ok, err = pcall(agenda.await, other)
  if ok or not errors.ValueError:is(err) then
    error(err, 0)
  end
  local gone = loop:create_future()
  gone:cancel("no more")
  assert(gone:cancelled())
  loop:create_future():set_exception(errors.ValueError("not asked for"))
end)
