-- What the locations of script/test_nginx run. Generators are made at the level of the module: a
-- handler's own locals are gone when nginx kills its thread.
local agenda = require "agenda.portable"

local errors, yield, await = agenda.errors, agenda.yield, agenda.await

local handlers = {}

-- What cleanups noted, per worker (there is one).
local notes = {}
local function note(text) notes[#notes + 1] = text end

local function say(...)
  ngx.say(table.concat({...}, " "))
end

local ticks = agenda.asyncgen("ticks", function(n, delay)
  for i = 1, n do
    ngx.sleep(delay or 0.01)
    yield(i)
  end
end)

-- The lines of a document of this very server, read from a cosocket.
local lines = agenda.asyncgen("lines", function(path)
  local socket = ngx.socket.tcp()
  assert(socket:connect("127.0.0.1", tonumber(ngx.var.server_port)))
  assert(socket:send("GET " .. path .. " HTTP/1.0\r\nHost: localhost\r\n\r\n"))
  repeat until socket:receive("*l") == ""
  while true do
    local line = socket:receive("*l")
    if not line then break end
    yield(line)
  end
  socket:close()
end)

local noting = agenda.asyncgen("noting", function(name, delay)
  local ok, err = pcall(function()
    local i = 0
    while true do
      i = i + 1
      yield(i)
      if delay then ngx.sleep(delay) end
    end
  end)
  ngx.sleep(0.01)
  note(name .. ": " .. tostring(ok) .. " " .. tostring(err))
end)

function handlers.document()
  ngx.print("one\ntwo\nthree\n")
end

function handlers.stream()
  agenda.each(ticks(5, 0.1), function(i)
    say("tick", i)
    ngx.flush(true)
  end)
end

function handlers.cosocket()
  agenda.each(lines("/document"), function(line)
    ngx.sleep(0.001)
    say(line)
  end)
end

local through = agenda.asyncgen("through", function(depth, path)
  agenda.each(depth == 0 and lines(path) or (agenda.aiter(handlers.through(depth - 1, path))), yield)
end)
function handlers.through(...) return (through(...)) end

function handlers.nested()
  for _, depth in ipairs {3, 300} do
    local got = {}
    agenda.each(through(depth, "/document"), function(line) got[#got + 1] = line end)
    say(depth, unpack(got))
  end
end

function handlers.send()
  local echo = agenda.asyncgen("echo", function()
    local got = {"begun"}
    while true do
      ngx.sleep(0.005)
      local results = {pcall(yield, unpack(got))}
      local ok = table.remove(results, 1)
      if got[2] == "GeneratorExit" and errors.GeneratorExit:is(results[1]) then error(results[1], 0) end
      got = ok and {"sent", unpack(results)} or {"thrown", tostring(results[1])}
    end
  end)()
  say(await(echo:anext()))
  say(await(echo:asend("a", "b")))
  say(await(echo:athrow(errors.ValueError("text"))))
  say(tostring(select(2, pcall(await, echo:aclose()))))
  say(await(echo:anext()))
  say(tostring(select(2, pcall(await, echo:athrow(errors.GeneratorExit)))))
  await(echo:aclose())
  say(tostring(select(2, pcall(await, echo:anext()))))
end

function handlers.threads()
  local results = {}
  local function worker(name, delay)
    agenda.each(ticks(3, delay), function(i) results[#results + 1] = name .. i end)
    return name, nil, "end"
  end
  local spawning = agenda.asyncgen("spawning", function()
    local one = ngx.thread.spawn(worker, "a", 0.02)
    local two = ngx.thread.spawn(worker, "b", 0.05)
    yield("values of a thread", select("#", ngx.thread.wait(one)))
    yield("the name", (select(2, ngx.thread.wait(two))))
    local made = coroutine.wrap(function(x)
      ngx.sleep(0.001)
      x = x .. coroutine.yield("wrapped " .. x)
      return x
    end)
    yield(made("x"), made("y"))
  end)
  agenda.each(spawning(), say)
  say(unpack(results))
end

function handlers.busy()
  local g = ticks(1, 0.05)
  local other = ngx.thread.spawn(function() return await(g:anext()) end)
  say(tostring(select(2, pcall(await, g:anext()))))
  say(tostring(select(2, ngx.thread.wait(other))))
end

function handlers.left()
  agenda.each(noting("left"), function(i) return i < 2 end)
  say("after", notes[#notes])
end

function handlers.failed()
  local ok, err = pcall(agenda.each, noting("failed"), function() error("loop", 0) end)
  say(tostring(ok), tostring(err), notes[#notes])
end

function handlers.dropped()
  local g = noting("dropped")
  await(g:anext())
  say("dropped")
end

function handlers.dropped_at_a_wait()
  local g = noting("killed", 0.05)
  local thread = ngx.thread.spawn(function() agenda.each(g, function() end) end)
  ngx.sleep(0.02)
  ngx.thread.kill(thread)
  say("killed")
end

-- The client goes away, which the next write tells; the loop is left by the error.
function handlers.abort()
  agenda.each(noting("client gone", 0.02), function(i)
    ngx.say(i)
    assert(ngx.flush(true))
  end)
end

-- The client goes away, and nginx kills the thread at once.
local begun = 0
function handlers.abort_now()
  ngx.on_abort(function() ngx.exit(499) end)
  begun = begun + 1
  agenda.each(noting("client gone at once", 0.1), function(i)
    ngx.say(i)
    ngx.flush(true)
  end)
end

function handlers.pipeline()
  local it = agenda.itertools
  local squares = it.map(function(v)
    ngx.sleep(0.01)
    return v * v
  end, it.take(4, ticks(10, 0.001)), {concurrency = 4})
  say(unpack(it.collect(squares)))
  say(unpack(it.collect(it.merge(ticks(2, 0.02), it.buffer(2, ticks(1, 0.01))))))
  say(select(2, pcall(it.collect, it.timeout(0.01, ticks(1, 0.05)))).name)
end

function handlers.waits_in_callback()
  local ok, err = pcall(string.gsub, "x", "x", function() agenda.each(ticks(1), say) end)
  say(tostring(ok), (tostring(err):gsub(":.*", "")))
end

-- Each phase notes what a generator that waits gives in it, and one that does not.
local phases = {}

function handlers.in_phase(name)
  name = name or "timer" -- which is told that it is not premature
  local function count(g)
    local n = 0
    local ok, err = pcall(agenda.each, g, function() n = n + 1 end)
    return ok and n or tostring(err):match("API disabled") or tostring(err):match("^%w+")
  end
  local plain = agenda.generator(function() yield(1) yield(2) end)
  phases[#phases + 1] = name .. " " .. count(ticks(3, 0.001)) .. " " .. count(plain())
    .. " " .. count(agenda.generator(function() coroutine.yield() end)())
end

-- Also in a timer.
function handlers.phases()
  ngx.timer.at(0, handlers.in_phase)
  ngx.sleep(0.05)
  handlers.in_phase("content")
  say("sent")
end

function handlers.phases_seen()
  say(table.concat(phases, "; "))
  phases = {}
end

function handlers.trace()
  local inner = agenda.asyncgen("inner", function() ngx.sleep(0.001) error(errors.ValueError("deep")) end)
  local outer = agenda.asyncgen("outer", function() agenda.each(inner(), yield) end)
  local _, err = pcall(agenda.each, outer(), say)
  local count = select(2, err.traceback:gsub("handlers.lua", ""))
  say(tostring(err), count >= 2 and "with a trace" or err.traceback)
end

-- Kept until the worker ends.
local kept = {}
function handlers.keep()
  local function never() while true do yield(1) end end
  for i = 1, 10 do
    kept[i] = agenda.asyncgen("kept", never)()
    kept[i]()
  end
  say("kept")
end

local count = 0
local counting = agenda.asyncgen("counting", function()
  pcall(yield, 1)
  ngx.sleep(0.001)
  count = count + 1
end)

-- More than nginx has pending timers.
function handlers.many_dropped()
  count = 0
  for _ = 1, 3000 do (counting())() end
  for _ = 1, 40 do
    collectgarbage()
    ngx.sleep(0.05)
    if count == 3000 then break end
  end
  say(count)
end

-- The client goes away while the body waits at a cosocket.
local silent = agenda.asyncgen("silent", function()
  local socket = ngx.socket.tcp()
  socket:settimeout(5000)
  assert(socket:connect("127.0.0.1", tonumber(ngx.var.server_port)))
  local ok, err = pcall(function()
    while true do
      yield((socket:receive("*l")))
    end
  end)
  note("socket closed: " .. tostring(socket:close()) .. ", " .. tostring(ok) .. " " .. tostring(err))
end)

function handlers.abort_at_a_socket()
  ngx.on_abort(function() ngx.exit(499) end)
  agenda.each(silent(), say)
end

-- Collects, gives the cleanups time, and tells what they noted; then forgets.
function handlers.notes()
  for _ = 1, 4 do collectgarbage() end
  ngx.sleep(0.15)
  for _ = 1, 2 do collectgarbage() end
  ngx.sleep(0.05)
  say(table.concat(notes, "; "))
  notes, begun = {}, 0
end

-- Whether each of the aborted requests was cleaned up.
function handlers.balance()
  for _ = 1, 20 do
    for _ = 1, 2 do collectgarbage() end
    ngx.sleep(0.05)
    if #notes == begun then break end
  end
  say(#notes == begun and begun > 0 and "even" or #notes .. " of " .. begun)
end

return handlers
