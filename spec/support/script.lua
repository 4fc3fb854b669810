--- Runs a Lua snippet in a lua5.4 process of its own.
-- The child gets `agenda`, `kill(signal)` (a signal to itself, sent at once) and
-- `kill_after(seconds, signal)`. What precedes the snippet is on its first line, so the
-- snippet's line numbers hold.
local script = {}

local prelude = "package.path=%q package.cpath=%q local agenda=require 'agenda' "
  .. "local function kill(s) io.popen('kill -'..s..' $PPID'):close() end "
  .. "local kept={} local function kill_after(n,s) "
  .. "kept[#kept+1]=io.popen('sleep '..n..'; kill -'..s..' $PPID') end "
  .. "local _=kill,kill_after "

local function slurp(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

--- @tparam string code the snippet
-- @tparam[opt] table options `env` (assignments before the command), `input` (its standard
-- input) or `input_command` (a command that is piped into it), `seconds` (killed after,
-- default 10)
-- @treturn table `stdout`, `stderr`, `code` (128 + n when signal n ended it, so 137 when it
-- took too long), `file` (the snippet's file name)
function script.run(code, options)
  options = options or {}
  local base = os.tmpname()
  local files = { main = base .. "_child.lua", input = base .. "_in", out = base .. "_out", err = base .. "_err" }
  local function write(path, text)
    local file <close> = assert(io.open(path, "wb"))
    file:write(text)
  end
  write(files.main, prelude:format(package.path, package.cpath) .. code)
  write(files.input, options.input or "")
  local preload = os.getenv "AGENDA_PRELOAD" -- what a sanitizer needs
  local command = ("%s timeout -s KILL %d %s lua5.4 %s >%s 2>%s"):format(
    options.env or "", options.seconds or 10, preload and ("env LD_PRELOAD='%s'"):format(preload) or "",
    files.main, files.out, files.err)
  if options.input_command then
    command = options.input_command .. " | " .. command
  else
    command = command .. " <" .. files.input
  end
  local _, how, status = os.execute(command)
  local result = {
    stdout = slurp(files.out),
    stderr = slurp(files.err),
    code = how == "signal" and 128 + status or status,
    file = files.main:match("[^/]+$"),
  }
  for _, path in pairs(files) do os.remove(path) end
  os.remove(base)
  return result
end

--- Runs a snippet that must succeed.
-- @treturn string what it printed
-- @raise what it said on stderr, when its exit code is not 0
function script.output(code, options)
  local result = script.run(code, options)
  if result.code ~= 0 then
    error(("child ended with %d: %s"):format(result.code, result.stderr), 2)
  end
  return result.stdout
end

return script
