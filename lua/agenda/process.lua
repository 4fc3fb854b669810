--- Child processes.
--
-- Two objects stand for one process: the core's *child*, which the loop keeps until the process
-- has ended, and this room's, with the streams. So what a program drops is collected, its pipes
-- with it, and the process goes on and leaves nothing behind in the system when it ends.
-- @module agenda.process

local core = require "agenda.core"
local check = require "agenda.check"
local gather = require "agenda.gather".gather

local errors, await = core.errors, core.await
local OSError, RuntimeError, ValueError = errors.OSError, errors.RuntimeError, errors.ValueError

local DEFAULT_PATH = "/bin:/usr/bin"
local OPTIONS = {stdin = true, stdout = true, stderr = true, env = true, cwd = true, limit = true}
local MODES = {inherit = true, pipe = true, null = true}

-- True: watches children by SIGCHLD also where there are pidfds. The specs set it, too.
core._child_by_signal = os.getenv("AGENDA_CHILD_WATCH") == "signal"

local process = {}

-- ----- arguments ---------------------------------------------------------------------------

-- NB: level 4 is the caller of `subprocess`, which calls a check_x.
local function bad_argument(problem, ...)
  error(("bad argument #1 to 'subprocess' (%s)"):format(problem:format(...)), 4)
end

local function kind_of(value)
  return core.type(value) or type(value)
end

local function refuse(problem, ...)
  error(ValueError("subprocess: " .. problem:format(...)), 0)
end

local function check_text(value, what)
  if type(value) == "number" then
    return tostring(value)
  elseif type(value) ~= "string" then
    bad_argument("%s: string expected, got %s", what, kind_of(value))
  elseif value:find("\0", 1, true) then
    refuse("%s has a NUL byte in it: %q", what, value)
  end
  return value
end

-- Whether all keys are known; gives the highest number among them.
local function check_keys(spec)
  local last = 0
  if type(spec) ~= "table" then
    bad_argument("table expected, got %s", kind_of(spec))
  end
  for key in pairs(spec) do
    if math.type(key) == "integer" and key > 0 then
      last = math.max(last, key)
    elseif not OPTIONS[key] then
      bad_argument("unknown option '%s'", tostring(key))
    end
  end
  if last == 0 then
    refuse("there is no command")
  end
  return last
end

local function check_command(command)
  if command == "" then
    refuse("the command is empty")
  end
end

local function get_fileno(value)
  return value.fileno
end

-- What is to become one of the standard descriptors, as the core wants it.
local function check_stdio(value, name)
  if value == nil then
    return "inherit"
  elseif type(value) == "string" then
    if not MODES[value] and (value ~= "stdout" or name ~= "stderr") then
      refuse("%s: unknown mode '%s'", name, value)
    end
    return value
  elseif io.type(value) == "closed file" then
    refuse("%s: the file is closed", name)
  elseif io.type(value) then
    value:flush() -- what the program wrote before comes before what the child writes
    return value
  elseif type(value) ~= "number" then
    local ok, fileno = pcall(get_fileno, value)
    value = ok and type(fileno) == "function" and fileno(value) or value
  end
  local fd = math.type(value) and math.tointeger(value)
  if not fd then
    bad_argument("%s: mode, descriptor or file expected, got %s", name, kind_of(value))
  end
  return fd
end

local function check_env_name(name)
  if type(name) ~= "string" then
    bad_argument("env: names are strings, got %s", kind_of(name))
  elseif name == "" or name:find("[=%z]") then
    refuse("env: not a name of a variable: %q", name)
  end
end

local function check_env_table(env)
  if type(env) ~= "table" then
    bad_argument("env: table expected, got %s", kind_of(env))
  end
end

local function check_limit(limit)
  if limit ~= nil and not math.type(limit) then
    bad_argument("limit: number expected, got %s", kind_of(limit))
  elseif limit and limit ~= math.huge and not (math.tointeger(limit) and limit > 0) then
    refuse("limit: an integer of more than 0 expected, got %s", limit)
  end
end

-- Where a shell with that PATH would look for the command.
local function candidates(command, path)
  if command:find("/", 1, true) then
    return {command}
  end
  local list = {}
  for directory in ((path or DEFAULT_PATH) .. ":"):gmatch("([^:]*):") do
    list[#list + 1] = directory == "" and command or directory .. "/" .. command
  end
  return list
end

-- ----- the object --------------------------------------------------------------------------

local Process = {__name = "agenda.process", __agenda_type = "process"}
local Methods = {}

function Process:__index(key)
  if key == "returncode" then
    return self._child:returncode()
  end
  return Methods[key]
end

function Process:__tostring()
  return ("<process %d at %p>"):format(self.pid, self)
end

local function abort_streams(self)
  for _, name in ipairs {"stdin", "stdout", "stderr"} do
    local stream = self[name]
    if stream then
      stream:abort()
    end
  end
end

-- Kills it, and waits until it is gone, which takes a moment: a cancellation comes out afterwards.
-- Where nothing can wait, the loop sees to the rest.
function Process:__close()
  local child, request = self._child, nil
  if child:returncode() == nil then
    child:signal("SIGKILL")
  end
  abort_streams(self)
  if child:returncode() ~= nil then
    return
  end
  local ended = child:ended()
  core.set_canceller(ended, function(_, message)
    request = errors.CancelledError(message)
    return true
  end)
  local ok, err = pcall(await, ended)
  if not ok and not RuntimeError:is(err) then
    error(err, 0)
  elseif request then
    error(request, 0)
  end
end

function Process:__gc()
  local child = self._child
  if child and child:returncode() == nil and core.is_debug() and self._origin then
    core.warn(("process %d (%s) was dropped while it runs"):format(self.pid, self._origin))
  end
end

--- Waits until the process has ended; its pipes, and who else has them, do not matter. Several
-- tasks may wait. Awaits, unless it has ended. As in asyncio.
-- @function process:wait
-- @treturn ?integer its exit code; nil if a signal ended it
-- @treturn ?string the signal's name then, such as "SIGTERM"
-- @raise CancelledError, which does nothing to the process
function Methods:wait()
  check.self(self, Process, "wait")
  local child = self._child
  if child:returncode() == nil then
    await(child:ended())
  end
  return child:outcome()
end

--- Asks whether the process has ended. Does not await. As in Python's subprocess.
-- @function process:poll
-- @treturn ?integer nil while it runs; its exit code; minus the number of the signal that ended it
function Methods:poll()
  check.self(self, Process, "poll")
  return self._child:poll()
end

--- Sends a signal; nothing happens when the process has ended. Does not await. As in asyncio.
-- @function process:send_signal
-- @tparam string|integer sig such as "SIGHUP", or the number
-- @raise ValueError for an unknown signal; OSError EPERM
function Methods:send_signal(sig)
  check.self(self, Process, "send_signal")
  if type(sig) ~= "string" and type(sig) ~= "number" then
    check.refuse(1, "send_signal", "signal's name or number", sig)
  elseif math.type(sig) == "float" and not math.tointeger(sig) then
    error("bad argument #1 to 'send_signal' (number has no integer representation)", 2)
  end
  self._child:signal(sig)
end

--- `send_signal("SIGTERM")`.
-- @function process:terminate
-- @raise OSError EPERM
function Methods:terminate()
  check.self(self, Process, "terminate")
  self._child:signal("SIGTERM")
end

--- `send_signal("SIGKILL")`.
-- @function process:kill
-- @raise OSError EPERM
function Methods:kill()
  check.self(self, Process, "kill")
  self._child:signal("SIGKILL")
end

-- ----- communicate -------------------------------------------------------------------------

local GONE = {EPIPE = true, ECONNRESET = true}

-- The process need not read what it is given.
local function unless_gone(f, ...)
  local ok, err = pcall(f, ...)
  if not ok and not (OSError:is(err) and GONE[err.code]) then
    error(err, 0)
  end
end

local function put(stdin, input)
  stdin:write(input)
  stdin:drain()
end

local function finish(stdin)
  stdin:close()
  stdin:wait_closed()
end

-- NB: what a cancelled `write` was given is sent all the same.
local function feed(self)
  local stdin, input = self.stdin, self._input
  if input ~= nil then
    self._input = nil
    unless_gone(put, stdin, input)
  end
  unless_gone(finish, stdin)
end

-- NB: what was read is kept with the process, so that a second call goes on after a cancelled one.
local function read_all(self, name)
  local stream = self[name]
  self._read[name] = stream:read("a")
  stream:close()
end

-- What goes on at the same time, ended together.
local Tasks = {}

function Tasks:__close()
  for _, task in ipairs(self) do
    if not task:done() then
      task:cancel()
    end
  end
end

local function run_all(jobs)
  if #jobs == 1 then
    jobs[1]()
  elseif #jobs > 1 then
    local tasks <close> = setmetatable({}, Tasks)
    for i, job in ipairs(jobs) do
      tasks[i] = core.spawn(job)
    end
    await(gather(table.unpack(tasks)))
  end
end

-- NB: a list that `write` would refuse is refused here, in the name of `communicate`.
local function check_list(list)
  for i = 1, #list do
    local item = list[i]
    if type(item) ~= "string" and type(item) ~= "number" then
      error(("bad argument #1 to 'communicate' (string expected at index %d, got %s)")
        :format(i, core.type(item) or type(item)), 4)
    end
  end
end

local function check_input(self, input)
  if input == nil then
    return
  end
  if type(input) ~= "string" and type(input) ~= "number" and type(input) ~= "table" then
    check.refuse(1, "communicate", "string", input, 3)
  elseif type(input) == "table" then
    check_list(input)
  end
  if not self.stdin then
    error(ValueError("communicate: there is input, but stdin is not a pipe"), 0)
  elseif self._read then
    error(ValueError("communicate: there is input, but an earlier call has sent some"), 0)
  end
end

--- Writes the input and closes stdin, reads stdout and stderr to their ends, waits for the process.
-- A process that reads no input is no error. Cancelled, it leaves the process as it is, and another
-- call, without input, goes on where it was. Awaits. As in asyncio.
-- @function process:communicate
-- @tparam[opt] string|table input a string, or a list of strings
-- @treturn ?string what came from stdout; nil if that is not a pipe
-- @treturn ?string the same of stderr
-- @raise ValueError for input where stdin is not a pipe, and in a second call; what the streams
-- raise; CancelledError
function Methods:communicate(input)
  check.self(self, Process, "communicate")
  check_input(self, input)
  if not self._read then
    self._read, self._input = {}, input
  end
  local jobs = {}
  if self.stdin then
    jobs[1] = function() feed(self) end
  end
  for _, name in ipairs {"stdout", "stderr"} do
    if self[name] and not self._read[name] then
      jobs[#jobs + 1] = function() read_all(self, name) end
    end
  end
  run_all(jobs)
  self:wait()
  return self._read.stdout, self._read.stderr
end

-- ----- starting ----------------------------------------------------------------------------

local function here()
  local info = debug.getinfo(3, "Sl")
  return info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
end

-- What came of `spawn_child`, until it belongs to the process object: our ends of the pipes at 1 to
-- 3, and the child.
local Birth = {}

function Birth:__close(err)
  for i = 1, 3 do
    if self[i] then
      core.close(self[i])
    end
  end
  if err ~= nil and self.child then
    self.child:signal("SIGKILL")
  end
end

-- NB: from the call on the descriptor is the stream's, also if the call fails.
local function take_stream(birth, i, options)
  local fd = birth[i]
  if fd then
    birth[i] = false
    return core.stream(fd, options)
  end
end

--- Starts a program: `agenda.subprocess{"sort", "-r", stdin = "pipe", stdout = "pipe"}`.
-- A command without a slash is looked for in the PATH that the program gets. It gets descriptors 0
-- to 2 and no others, no blocked or ignored signals. To be closed with `<close>`, which kills it
-- and waits for its end; at the end of `run` it is killed, too. Does not await.
--
-- stdin, stdout, stderr: "inherit" (the default), "pipe" (then the process has a stream of that
-- name), "null", a descriptor, a Lua file or a stream; for stderr also "stdout".
-- @function subprocess
-- @tparam table spec the command and its arguments, and the options `stdin`, `stdout`, `stderr`,
-- `env` (a table of names and values that replaces the environment), `cwd` (where it starts),
-- `limit` (of the streams)
-- @treturn process with the fields `pid`, `stdin`, `stdout`, `stderr`, `returncode`
-- @raise OSError such as ENOENT or EACCES, which names the command or `cwd`; ValueError for an
-- empty command, a NUL byte, an unknown mode; RuntimeError with no running loop
function process.subprocess(spec)
  local n, words, environment = check_keys(spec), {}, nil
  for i = 1, n do
    words[i] = check_text(spec[i], i == 1 and "command" or ("[%d]"):format(i))
  end
  check_command(words[1])
  local env, path = spec.env, os.getenv("PATH")
  if env ~= nil then
    check_env_table(env)
    environment, path = {}, nil
    for name, value in pairs(env) do
      check_env_name(name)
      local text = check_text(value, "env." .. name)
      environment[#environment + 1] = name .. "=" .. text
      path = name == "PATH" and text or path
    end
  end
  local cwd = spec.cwd ~= nil and check_text(spec.cwd, "cwd") or nil
  check_limit(spec.limit)
  local stdin = check_stdio(spec.stdin, "stdin")
  local stdout = check_stdio(spec.stdout, "stdout")
  local stderr = check_stdio(spec.stderr, "stderr")
  local birth <close> = setmetatable({false, false, false, child = false}, Birth)
  birth.child, birth[1], birth[2], birth[3] = core.spawn_child(candidates(words[1], path), words,
    environment, cwd, stdin, stdout, stderr, core._child_by_signal)
  local child = birth.child
  local self = setmetatable({pid = child:pid(), _child = child}, Process)
  if core.is_debug() then
    self._origin = ("%s, started at %s"):format(words[1], here())
    child:set_origin(self._origin)
  end
  local limit = spec.limit
  self.stdin = take_stream(birth, 1, {readable = false, name = "stdin"})
  self.stdout = take_stream(birth, 2, {writable = false, name = "stdout", limit = limit})
  self.stderr = take_stream(birth, 3, {writable = false, name = "stderr", limit = limit})
  return self
end

return process
