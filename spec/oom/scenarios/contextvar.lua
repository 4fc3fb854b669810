-- Context variables in tasks and callbacks.
local agenda = require "agenda"

local user = agenda.contextvar("user", "nobody")
agenda.run(function()
  local token = user:set("main")
  local task = agenda.spawn(function()
    assert(user:get() == "main")
    user:set("child")
    agenda.sleep(0)
    return user:get()
  end)
  assert(agenda.await(task) == "child")
  assert(user:get() == "main" and tostring(user))
  user:reset(token)
  assert(user:get() == "nobody")
end)
