-- The HTTP server of examples/embed, 50 connections of wrk: CPU time of the server a request, for a
-- body of 1 KB from a Lua task beside the same from C.

local SERVER = "LUA_PATH='%s;examples/embed/?.lua' build/embed/httpd 0 1 1 "
  .. "examples/embed/handler.lua"

local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read("a")
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

-- User and system time of a process, in microseconds.
local function cpu(pid)
  return read(("/proc/%s/schedstat"):format(pid)):match("%d+") / 1000
end

local function measure(path)
  local server <close> = assert(io.popen("echo $$; exec env " .. SERVER:format(package.path)))
  local pid = server:read("l")
  local port = server:read("l"):match("%d+$")
  local _ <close> = setmetatable({}, {__close = function() os.execute("kill " .. pid) end})
  local worker = output_of("pgrep -P " .. pid):match("%d+")
  local load = ("taskset -c 0 wrk -t1 -c50 -d1 http://127.0.0.1:%s%s"):format(port, path)
  os.execute("sleep 0.2; " .. load .. " >/dev/null")
  local before = cpu(worker)
  local requests = output_of(load):match("(%d+) requests in")
  return {us = (cpu(worker) - before) / requests}
end

local measures = {}

function measures.lua() return measure("/hello") end

function measures.c() return measure("/-/ping") end

local function rows(m)
  return {
    {
      work = "an embedding HTTP server, 1 KB from a task, 50 connections",
      figure = ("%.2f us CPU a request"):format(m.lua.us),
      yardstick = ("the same from C: %.2f us"):format(m.c.us),
      ratio = m.lua.us / m.c.us,
      at_most = 1.3,
    },
  }
end

return {measures = measures, order = {"lua", "c"}, rows = rows, runs = 21}
