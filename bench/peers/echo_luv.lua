-- Echo server on luv, by callbacks, as it is meant to be used: echo_luv.lua

local uv = require "luv"

local server = uv.new_tcp()
server:bind("127.0.0.1", 0)
server:listen(1024, function(err)
  assert(not err, err)
  local client = uv.new_tcp()
  server:accept(client)
  client:nodelay(true)
  client:read_start(function(failure, data)
    if data then
      client:write(data)
    else
      assert(not failure, failure)
      client:close()
    end
  end)
end)
print(server:getsockname().port)
io.stdout:flush()
uv.run()
