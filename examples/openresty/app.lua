-- Handlers for the nginx.conf beside: what cosockets and timers give, as async generators.
local agenda = require "agenda.portable"
local itertools = agenda.itertools

local app = {}

-- The lines of a document of another server, as they come; the socket is closed in any case.
local lines = agenda.asyncgen("lines", function(host, port, path)
  local socket = ngx.socket.tcp()
  assert(socket:connect(host, port))
  local ok, err = pcall(function()
    assert(socket:send(("GET %s HTTP/1.0\r\nHost: %s\r\n\r\n"):format(path, host)))
    repeat until socket:receive("*l") == "" -- the head
    while true do
      local line = socket:receive("*l")
      if not line then return end
      agenda.yield(line)
    end
  end)
  socket:close()
  if not ok then error(err, 0) end
end)

local ticks = agenda.asyncgen("ticks", function(n, seconds)
  for i = 1, n do
    ngx.sleep(seconds)
    agenda.yield(i)
  end
end)

-- Sends each value to the client at once; one that has gone away ends the loop, and so the source.
local function stream(source)
  agenda.each(source, function(...)
    ngx.say(...)
    return (ngx.flush(true)) == 1
  end)
end

-- GET /ticks: a line every tenth of a second.
function app.ticks()
  stream(itertools.map(function(i) return "tick ", i end, ticks(5, 0.1)))
end

-- GET /search?word=...: the numbered lines of /words that have the word in them.
function app.search()
  local word = ngx.var.arg_word or ""
  local numbered = itertools.enumerate(lines("127.0.0.1", tonumber(ngx.var.server_port), "/words"))
  stream(itertools.filter(function(_, line) return line:find(word, 1, true) end, numbered))
end

-- GET /merged: two sources at once, each in a light thread of its own.
function app.merged()
  stream(itertools.merge(ticks(2, 0.03), ticks(1, 0.04)))
end

function app.words()
  ngx.print("one\ntwo\nthree\nfour\n")
end

return app
