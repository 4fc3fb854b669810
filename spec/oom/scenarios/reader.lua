-- add_reader on a pipe.
local agenda = require "agenda"

-- A child has written and gone before this reads; the loop sees the pipe readable.
local pipe <close> = assert(io.popen("echo hello", "r"))
agenda.run(function()
  local loop = agenda.get_running_loop()
  local readable = loop:create_future()
  local text
  loop:add_reader(pipe, function(...)
    loop:remove_reader(pipe)
    if not readable:done() then
      text = pipe:read("l")
      readable:set_result(...)
    end
  end, "argument")
  -- The timer stands in for a callback that could not run for want of memory.
  loop:call_later(1, function()
    if not readable:done() then
      readable:set_exception("not enough memory")
    end
  end)
  assert(agenda.await(readable) == "argument" and text == "hello")
  loop:add_writer(1, print)
  assert(loop:remove_writer(1) and not loop:remove_reader(pipe))
end)
