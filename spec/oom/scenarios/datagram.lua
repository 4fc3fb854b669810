-- Datagrams: sent, received by one that waits, refused by an error, cancelled, closed meanwhile.
local agenda = require "agenda"
local errors = agenda.errors

agenda.run(function()
  local a <close> = agenda.datagram {local_addr = {"127.0.0.1", 0}}
  local addr = {a:sockname()}
  local b <close> = agenda.datagram {remote_addr = addr}
  b:send("one")
  assert(a:recv() == "one")
  local waiting = agenda.spawn(function() return a:recv() end)
  agenda.sleep(0)
  b:send("two", addr)
  assert(agenda.await(waiting) == "two")
  local ok, err = pcall(a.send, a, "x")
  assert(not ok and (errors.OSError:is(err) or tostring(err):find("not enough memory")))
  waiting = agenda.spawn(function() return a:recv() end)
  agenda.sleep(0)
  waiting:cancel()
  pcall(agenda.await, waiting)
  waiting = agenda.spawn(function()
    for _ in a:messages() do end
  end)
  agenda.sleep(0)
  a:close()
  pcall(agenda.await, waiting)
end)
