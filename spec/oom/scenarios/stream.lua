-- Streams over a socket pair and a pipe: opened, read by each verb, written past the high-water
-- mark, half-closed, closed, dropped.
local agenda = require "agenda"
local core = require "agenda.core"
local errors = agenda.errors

-- NB: made before there is a descriptor that an error could leave open.
local ONE, OTHER = {name = "one", peername = {"::1", 80}}, {limit = 100}
local stream, close = core.stream, core.close

-- Even the call of a function can fail, before the descriptor is the stream's; so the room for some
-- calls is taken before there is one.
local first

local function deep(n)
  if n > 0 then
    deep(n - 1)
  end
end

local function pair(one, other)
  first = stream(one, ONE)
  return first, stream(other, OTHER)
end

local function sockets()
  first = nil
  deep(10)
  local one, other = core.socketpair()
  local ok, a, b = pcall(pair, one, other)
  if not ok then
    if not first then
      pcall(close, one)
    end
    pcall(close, other)
    error(a, 0)
  end
  return a, b
end

agenda.run(function()
  do
    local a <close>, b = sockets()
    local _ <close> = b
    a:write("line\n", {"until;", "exact"}, "some")
    assert(b:readline() == "line")
    assert(b:readuntil(";") == "until;")
    assert(b:readexactly(5) == "exact")
    assert(b:read() == "some")
    local big = ("x"):rep(400000)
    -- Where nothing can wait it only queues: a task of its own may fail, and then nobody would write.
    string.gsub("x", "x", function()
      a:write(big, "end")
    end)
    a:write_eof()
    for chunk in b:chunks(1000) do
      assert(#chunk <= 1000)
      if chunk then break end
    end
    local ok, err = pcall(b.readline, b)
    if ok or not errors.LimitOverrunError:is(err) then
      error(err, 0)
    end
    assert(#b:read("a") == 400003 - 1000)
    a:drain()
    assert(b:at_eof() and b:read() == nil)
  end
  do
    local a <close>, b = sockets()
    local _ <close> = b
    b:write("1\n2\n3")
    b:close()
    local n = 0
    for line in a:lines() do
      n = n + tonumber(line)
    end
    assert(n == 6)
  end
  sockets()
  collectgarbage()
end)
