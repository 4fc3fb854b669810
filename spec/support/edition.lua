--- The portable edition in place of the library, for the specs that both share.
--
-- With AGENDA_EDITION=portable `require "agenda"` gives `agenda.portable` and, on top of it, a host:
-- a scheduler in plain Lua that has of the loop what specs need to wait (`run`, `spawn`, `sleep`,
-- `future`). Time is virtual.
--
-- A spec that asks for more of the loop than this (cancels a task, say) is skipped, as is one whose
-- name says #core, or #lua54 where it is not that. Under LuaJIT the functions of Lua 5.4's library
-- that specs use are added, and the specs with `<close>` in their text are left out, as are those
-- named #close: loops that own.

-- luacheck: ignore 122 (the library of Lua 5.1 is completed)
local edition = {portable = os.getenv("AGENDA_EDITION") == "portable"}

local unpack = table.unpack or unpack -- luacheck: ignore 113

local function add_missing()
  table.pack = table.pack or function(...) return {n = select("#", ...), ...} end
  table.unpack = unpack
  table.move = table.move or function(from, first, last, at, to)
    to = to or from
    for i = 0, last - first do to[at + i] = from[first + i] end
    return to
  end
  math.type = math.type or function(x) return type(x) == "number" and "integer" or nil end
end

-- ----- the host ------------------------------------------------------------------------------

local lacking -- what the running spec asked for in vain

local function needs(what)
  lacking = what
  error("only the core has " .. what, 0)
end

-- A scheduler: tasks are plain coroutines, and what they yield to it is a function that is given the
-- task and says when it goes on.
local function with_host(portable)
  local core_alone = {}
  for _, name in ipairs {
    "all_tasks", "checkpoint", "contextvar", "current_task", "ensure_future", "event", "gather",
    "get_event_loop", "get_running_loop", "lock", "move_on_after", "new_event_loop", "queue",
    "semaphore", "set_event_loop", "shield", "taskgroup", "timeout", "wait", "wait_for",
    "with_taskgroup", "with_timeout", "interval", "signals", "to_thread",
  } do
    core_alone[name] = true
  end
  local agenda = setmetatable({}, {__index = function(_, name)
    if core_alone[name] then needs("agenda." .. name) end
    return portable[name]
  end})
  local errors = portable.errors
  local Future = {__name = "agenda.future", __agenda_type = "future"}
  function Future.__index(_, name)
    return Future[name] or name:find("^%l") and name ~= "thread" and needs("fut:" .. name)
  end
  local ready, timers, now, current

  local function enqueue(task, ...)
    ready[#ready + 1] = {task = task, n = select("#", ...), ...}
  end

  function agenda.future()
    return setmetatable({waiters = {}, results = false}, Future)
  end

  local function settle(future, ok, ...)
    if future.results then error(errors.InvalidStateError("invalid state: the future is done"), 0) end
    future.results = {n = select("#", ...) + 1, ok, ...}
    for _, task in ipairs(future.waiters) do enqueue(task) end
  end

  function Future:set_result(...) settle(self, true, ...) end
  function Future:set_exception(err) settle(self, false, err) end
  function Future:done() return self.results ~= nil end

  function Future:__await()
    while not self.results do
      if not current then needs("a future that is awaited by hand") end
      portable.suspend(function(task) table.insert(self.waiters, task) end)
    end
    if self.results[1] then return unpack(self.results, 2, self.results.n) end
    error(self.results[2], 0)
  end

  function Future:await() return portable.await(self) end

  local function step(task, ...)
    current = task
    local results = table.pack(coroutine.resume(task.thread, ...))
    current = nil
    if coroutine.status(task.thread) == "dead" then
      settle(task, unpack(results, results[1] and 2 or 1, results.n))
    elseif type(results[2]) == "function" then
      results[2](task)
    else
      enqueue(task)
    end
  end

  function agenda.spawn(f, ...)
    local task = agenda.future()
    if portable.isawaitable(f) then
      local awaitable = f
      f = function() return portable.await(awaitable) end
    end
    task.thread = coroutine.create(function(...) return pcall(f, ...) end)
    enqueue(task, ...)
    return task
  end
  agenda.create_task = agenda.spawn

  function agenda.sleep(seconds, ...)
    if type(seconds) ~= "number" then needs("checked arguments of sleep") end
    if not current then error(errors.RuntimeError("cannot await: no scheduler runs here"), 0) end
    portable.suspend(function(task)
      if seconds <= 0 then return enqueue(task) end
      table.insert(timers, {at = now + seconds, task = task})
      table.sort(timers, function(a, b) return a.at < b.at end)
    end)
    return ...
  end

  function agenda.run(main, ...)
    ready, timers, now = {}, {}, 0
    local finalizer, due = portable.get_asyncgen_finalizer(), {}
    portable.set_asyncgen_finalizer(function(g)
      agenda.spawn(function() return portable.await(g:aclose()) end)
    end)
    local task = agenda.spawn(main, ...)
    while #ready > 0 or (#timers > 0 and not task.results) do
      due, ready = ready, {}
      for _, entry in ipairs(due) do step(entry.task, unpack(entry, 1, entry.n)) end
      if #ready == 0 and #timers > 0 and not task.results then
        local timer = table.remove(timers, 1)
        now = timer.at
        if not timer.event then
          enqueue(timer.task)
        elseif timer.event.task == timer.task then
          timer.event.task = nil
          enqueue(timer.task)
        end
      end
    end
    portable.set_asyncgen_finalizer(finalizer or false)
    if not task.results then error(errors.RuntimeError("deadlock"), 0) end
    if not task.results[1] then error(task.results[2], 0) end
    return unpack(task.results, 2, task.results.n)
  end

  -- What tasks wait at for each other.
  local Event = {}
  Event.__index = Event

  function Event:tell()
    self.told = true
    local task = self.task
    self.task = nil
    if task then enqueue(task) end
  end

  function Event:wait(seconds)
    if not self.told then
      portable.suspend(function(task)
        self.task = task
        if not seconds then return end
        table.insert(timers, {at = now + seconds, task = task, event = self})
        table.sort(timers, function(a, b) return a.at < b.at end)
      end)
    end
    self.told = false
  end

  portable.set_host {
    spawn = agenda.spawn,
    sleep = agenda.sleep,
    now = function() return now end,
    event = function() return setmetatable({told = false}, Event) end,
  }
  return agenda
end

-- ----- the spec files --------------------------------------------------------------------------

-- Blanks the specs that need the syntax of Lua 5.4; the lines keep their numbers.
local function without_close(text)
  local lines, i = {}, 1
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
  while i <= #lines do
    local indent = lines[i]:match("^(%s*)it%(") or lines[i]:match("^(%s*)in_run%(")
      or lines[i]:match("^(%s*)on_virtual_clock%(") or lines[i]:match("^(%s*)describe%(.*#close")
    local last = i
    if indent and not lines[i]:find("end%)%s*$") then
      repeat last = last + 1 until lines[last]:find("^" .. indent .. "end%)")
    end
    if indent then
      local block = table.concat(lines, "\n", i, last)
      if block:find("<close>", 1, true) or block:find("#close", 1, true) then
        for j = i, last do lines[j] = "" end
        i = last
      end
    end
    i = i + 1
  end
  return table.concat(lines, "\n")
end

local function load_without_close(path)
  local file, err = io.open(path, "rb")
  if not file then return nil, err end
  local text = file:read("*a")
  file:close()
  return (loadstring or load)( -- luacheck: ignore 113
    without_close(text), "@" .. path)
end

-- What a skipped spec, or a file, left is collected before the next one looks at warnings.
local function forget()
  local portable = require "agenda.portable"
  portable.set_warning_handler(function() end)
  for _ = 1, 4 do collectgarbage() end
  portable.set_warning_handler(nil)
end

-- Makes a spec that asked for what is not there a skipped one.
local function skip_what_is_lacking()
  local busted = require "busted"
  local full_name = require "busted.outputHandlers.base"().getFullName
  busted.subscribe({"file", "start"}, function()
    forget()
    return nil, true
  end)
  busted.subscribe({"test", "start"}, function(element)
    local body = element.run
    if type(body) ~= "function" or element.descriptor ~= "it" then return nil, true end
    local name = full_name(element)
    lacking = name:find("#core", 1, true) and "that"
      or not coroutine.close and name:find("#lua54", 1, true) and "it here" or nil
    local skip = element.env.pending
    element.run = function(...)
      element.run = body
      if lacking then return skip("of the core alone") end
      local ok, err = pcall(body, ...)
      if lacking then
        forget()
        return skip("only the core has " .. lacking)
      end
      if not ok then error(err, 0) end
    end
    return nil, true
  end)
end

function edition.install()
  add_missing()
  local agenda
  package.preload["agenda"] = function()
    agenda = agenda or with_host(require "agenda.portable")
    return agenda
  end
  package.preload["agenda.itertools"] = function() return require("agenda.portable").itertools end
  skip_what_is_lacking()
  if not coroutine.close then
    loadfile = load_without_close -- luacheck: ignore 121
  end
end

return edition
