-- What httpd's workers do with a request. See serve.lua.
local agenda = require "agenda"
local serve = require "serve"

local TEXT = {["Content-Type"] = "text/plain"}
local PAGE = ("x"):rep(1024)

local counts = {cleaned = 0, streams = 0}
local routes = {}

routes["/hello"] = function()
  return 200, TEXT, PAGE
end

routes["/echo"] = function(request)
  return 200, {["X-Method"] = request.method, ["X-Query"] = request.query}, request.body
end

routes["/sleep"] = function(request)
  local _ <close> = agenda.defer(function() counts.cleaned = counts.cleaned + 1 end)
  agenda.sleep(tonumber(request.query) or 0.1)
  return 200, TEXT, "awake\n"
end

-- The cleanup of a stream may wait, too.
local ticks = agenda.asyncgen(function(n, delay)
  local _ <close> = agenda.defer(function()
    agenda.sleep(0.001)
    counts.streams = counts.streams + 1
  end)
  for i = 1, n do
    agenda.yield(("tick %d\n"):format(i))
    agenda.sleep(delay)
  end
end)

routes["/ticks"] = function(request)
  local n, delay = request.query:match("(%d+),([%d.]+)")
  return 200, TEXT, (ticks(tonumber(n) or 3, tonumber(delay) or 0.01))
end

local pieces = agenda.asyncgen(function(n)
  for _ = 1, n do agenda.yield(PAGE) end
end)

routes["/large"] = function(request)
  return 200, TEXT, (pieces(tonumber(request.query) or 1000))
end

-- Asks another server, here this one: /fetch?8080/hello
routes["/fetch"] = function(request)
  local port, path = request.query:match("^(%d+)(/.*)$")
  local stream <close> = agenda.open_connection("127.0.0.1", tonumber(port), {timeout = 5})
  stream:write("GET ", path, " HTTP/1.0\r\n\r\n")
  local answer = stream:read("a")
  return 200, TEXT, answer:match("\r\n\r\n(.*)$")
end

routes["/fail"] = function()
  agenda.sleep(0)
  error("something is wrong here")
end

routes["/fail-midway"] = function()
  return 200, TEXT, (agenda.asyncgen(function()
    agenda.yield("so far so good\n")
    error("and then it went wrong")
  end)())
end

routes["/counts"] = function()
  return 200, TEXT, ("cleaned %d\nstreams %d\n"):format(counts.cleaned, counts.streams)
end

-- For those who look for leaks.
routes["/status"] = function()
  for _ = 1, 4 do collectgarbage() end
  return 200, TEXT, ("tasks %d\nkilobytes %.0f\n"):format(#agenda.all_tasks(),
    collectgarbage("count"))
end

local function handler(request)
  local route = routes[request.path]
  if not route then return 404, TEXT, "Not Found\n" end
  return route(request)
end

return serve(handler, ...)
