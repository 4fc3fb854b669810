-- Functions on threads, a name, and what is copied there and back.
local agenda = require "agenda"

agenda.run(function()
  local loop = agenda.get_running_loop()
  local shared = {1, 2}
  local future = loop:run_in_executor(function(t, n) return t, t.a == t.b, n end,
    {a = shared, b = shared, list = {"x", true}}, 1.5)
  local t, same, n = future:await()
  assert(same and n == 1.5 and t.a == t.b and t.list[1] == "x")
  local ok, err = pcall(agenda.to_thread, function() error({code = 7}) end)
  if type(err) == "string" then error(err, 0) end
  assert(not ok and err.code == 7)
  local gone = loop:run_in_executor(function() end)
  gone:cancel()
  assert(#agenda.getaddrinfo("127.0.0.1", 80) == 1)
  assert(#agenda.getaddrinfo("localhost", 80) >= 1)
end)
