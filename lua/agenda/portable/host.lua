--- The host: its raw coroutine functions, how it waits, how it runs something later.
--
-- In ngx_lua `coroutine.resume` and its siblings go through nginx's scheduler; the functions of Lua
-- itself are kept beside them with an underscore. They are taken when the module is loaded. A body
-- runs on them, so that for the scheduler it is a part of the light thread that iterates it.
-- @module agenda.portable.host

local host = {}

local raw_field = rawget
local function raw(name)
  return raw_field(coroutine, "_" .. name) or coroutine[name]
end

host.create = raw "create"
host.resume = raw "resume"
host.yield = raw "yield"
host.status = raw "status"
host.running = coroutine.running
host.close = coroutine.close

host.pack = table.pack or function(...)
  return {n = select("#", ...), ...}
end
host.unpack = table.unpack or unpack -- luacheck: ignore 113

-- Bodies have variables that Lua closes, so an error must be caught inside of their coroutine.
host.has_close = host.close ~= nil

-- ----- nginx and Tarantool ---------------------------------------------------------------------

local nginx = rawget(_G, "ngx")
local tarantool = rawget(_G, "_TARANTOOL") ~= nil and require "fiber" or nil
if type(nginx) ~= "table" or type(nginx.timer) ~= "table" or type(nginx.thread) ~= "table" then
  nginx = nil
end

-- In Tarantool a wait switches fibers beneath Lua and needs no coroutine.
host.waits_beneath = tarantool ~= nil

-- The functions of LuaJIT's C interface that its library lacks, or ngx_lua has taken from it; a
-- thread is passed as its address.
local function c_functions()
  local ffi = require "ffi"
  ffi.cdef [[
    void agenda_set_exdata(void *L, void *exdata) __asm__("lua_setexdata");
    int agenda_isyieldable(void *L) __asm__("lua_isyieldable");
  ]]
  return ffi.C, function(thread)
    return ffi.cast("void *", tonumber(tostring(thread):match("0x%x+")))
  end
end
local with_ffi, C, address = pcall(c_functions)
if not with_ffi then
  C = nil
end

-- A function that does f's work if the C function is there, else nil.
local function if_there(name, f)
  return C and pcall(function() return C[name] end) and f or nil
end

-- Whether the running coroutine can yield. Where nothing tells, Lua itself says no.
host.isyieldable = coroutine.isyieldable or if_there("agenda_isyieldable", function()
  local thread = host.running()
  return thread ~= nil and C.agenda_isyieldable(address(thread)) ~= 0
end) or function()
  return host.running() ~= nil
end

-- Lends the running coroutine's request to another coroutine; nil where there is nothing to lend.
--
-- A coroutine of OpenResty's LuaJIT knows its request, and keeps the one that it was made for. Who
-- runs a body on from a timer, when that request is gone, lends it its own: or calls of ngx.* in
-- there would touch freed memory.
local with_exdata, exdata = pcall(require, "thread.exdata")
host.lend = nginx and with_exdata and if_there("agenda_set_exdata", function(thread)
  C.agenda_set_exdata(address(thread), exdata())
end) or nil

-- How a generator that was collected while suspended is given to the host: `later(f, x)` has the
-- host call f(x) where that can wait; false if it cannot any more. nil where the host has nothing
-- of the kind.
host.later = nil
if nginx then
  -- One timer for all that were collected, since nginx has a limit of pending ones. Where it
  -- refuses a timer, they wait for the next one to be collected.
  local waiting, scheduled = {}, false

  local function expired()
    local list = waiting
    waiting, scheduled = {}, false
    for _, entry in ipairs(list) do
      nginx.thread.spawn(entry.f, entry.x)
    end
  end

  function host.later(f, x)
    if nginx.worker.exiting() then
      return false
    end
    waiting[#waiting + 1] = {f = f, x = x}
    scheduled = scheduled or nginx.timer.at(0, expired) and true or false
    return true
  end
elseif tarantool then
  function host.later(f, x)
    tarantool.create(f, x)
    return true
  end
end

--- Writes a line where the host's messages go.
function host.print_error(line)
  if nginx then
    nginx.log(nginx.ERR, line)
  else
    io.stderr:write(line, "\n")
  end
end

-- ----- what stages with tasks and time need ------------------------------------------------------

-- `spawn`, `sleep`, `now`, and `event`: an object with `tell()` and `wait([seconds])`.
local calls = {}

-- Without better, one that waits looks again and again.
local Polled = {}
Polled.__index = Polled

local SHORT, LONG = 0.001, 0.01

function Polled:tell()
  self.told = true
end

function Polled:wait(seconds)
  local due, pause = seconds and calls.now() + seconds, 0
  while not self.told do
    local left = due and due - calls.now()
    if left and left <= 0 then break end
    calls.sleep(left and left < pause and left or pause)
    pause = pause == 0 and SHORT or pause < LONG and pause * 2 or pause
  end
  self.told = false
end

local function polled_event()
  return setmetatable({told = false}, Polled)
end

-- An event on something that counts or forgets what it is told; `wait` gets at most a minute.
local function event_on(wait, tell)
  local Event = {}
  Event.__index = Event
  function Event:tell()
    self.told = true
    tell(self.on)
  end
  function Event:wait(seconds)
    if not self.told then
      wait(self.on, math.min(seconds or 60, 60))
    end
    self.told = false
  end
  return Event
end

calls.event = polled_event
if nginx then
  calls.spawn = nginx.thread.spawn
  calls.sleep = nginx.sleep
  function calls.now()
    nginx.update_time()
    return nginx.now()
  end
  local with_semaphore, semaphore = pcall(require, "ngx.semaphore")
  if with_semaphore then
    local Event = event_on(semaphore.new and function(on, seconds)
      return on:wait(seconds)
    end, function(on)
      if on:count() < 1 then on:post(1) end
    end)
    function calls.event()
      return setmetatable({told = false, on = semaphore.new(0)}, Event)
    end
  end
elseif tarantool then
  calls.spawn = tarantool.create
  calls.sleep = tarantool.sleep
  calls.now = tarantool.clock or tarantool.time
  local Event = event_on(function(on, seconds) return on:wait(seconds) end,
    function(on) return on:signal() end)
  function calls.event()
    return setmetatable({told = false, on = tarantool.cond()}, Event)
  end
end

local settable = {spawn = true, sleep = true, now = true, event = true}

--- @tparam table new functions `spawn`, `sleep`, `now`, perhaps `event`; an absent one stays, but
-- for `event`, which must fit them
function host.set(new)
  if type(new) ~= "table" then
    error(("bad argument #1 to 'set_host' (table expected, got %s)")
      :format(new == nil and "no value" or type(new)), 3)
  end
  for name, f in pairs(new) do
    if not settable[name] then
      error(("bad argument #1 to 'set_host' (no such field '%s')"):format(tostring(name)), 3)
    elseif type(f) ~= "function" then
      error(("bad argument #1 to 'set_host' (field '%s': function expected, got %s)")
        :format(name, type(f)), 3)
    end
  end
  calls.event = polled_event
  for name, f in pairs(new) do
    calls[name] = f
  end
end

host.calls = calls

return host
