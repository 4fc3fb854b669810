--- What the specs of the core share: asserting an error's class and text, and
-- driving awaitables by hand.
local agenda = require "agenda"
local edition = require "spec.support.edition"
local errors = agenda.errors

local expect = {}

--- Calls `f(...)`, which must raise an error of `class`; with `text`, its
-- message must be just that. Returns the error.
function expect.raises(class, text, f, ...)
  local ok, err = pcall(f, ...)
  local wanted = class("").name
  if ok then error(("expected %s, nothing was raised"):format(wanted), 2) end
  if not class:is(err) then error(("expected %s, got %s"):format(wanted, tostring(err)), 2) end
  if text and err.message ~= text then
    error(("expected the message %q, got %q"):format(text, tostring(err.message)), 2)
  end
  return err
end

--- The same with a Lua pattern for the message.
function expect.raises_like(class, pattern, f, ...)
  local ok, err = pcall(f, ...)
  local wanted = class("").name
  if ok then error(("expected %s, nothing was raised"):format(wanted), 2) end
  if not class:is(err) then error(("expected %s, got %s"):format(wanted, tostring(err)), 2) end
  if not tostring(err.message):find(pattern) then
    error(("expected a message like %q, got %q"):format(pattern, tostring(err.message)), 2)
  end
  return err
end

--- Calls `f(...)`, which must raise this very value (raw equality).
function expect.raises_same(value, f, ...)
  local ok, err = pcall(f, ...)
  if ok then error(("expected %s, nothing was raised"):format(tostring(value)), 2) end
  if not rawequal(err, value) then
    error(("expected %s, got %s"):format(tostring(value), tostring(err)), 2)
  end
  return err
end

--- Calls `f(...)`, which must raise Lua's ordinary string error for a wrong
-- argument: `text` after a position in the file that made the call.
function expect.bad_argument(text, f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("expected a wrong argument to be refused", 2) end
  if type(err) ~= "string" then error("expected a string, got " .. tostring(err), 2) end
  if err:sub(-#text) ~= text then error(("expected %q, got %q"):format(text, err), 2) end
  return err
end

--- One step of an awaitable that must finish with it; returns its results.
function expect.now(aw, ...)
  local err = expect.raises(errors.StopIteration, nil, aw.send, aw, ...)
  return table.unpack(err.values, 1, err.values.n)
end

--- Drives an awaitable to its end with `send()`: a list of what came out
-- (packed), and the packed results.
function expect.drive(aw)
  local out = {}
  while true do
    local step = table.pack(pcall(aw.send, aw))
    if step[1] then
      out[#out + 1] = table.pack(table.unpack(step, 2, step.n))
    elseif errors.StopIteration:is(step[2]) then
      return out, step[2].values
    else
      error(step[2], 0)
    end
  end
end

--- A to-be-closed value that calls `f(err)`: what `finally` is elsewhere.
function expect.finally(f)
  return setmetatable({}, { __close = function(_, err) f(err) end })
end

--- Calls `f()` and then `after(err)`, however f ends; f's results or its error come out. The same
-- for Lua without `<close>`.
function expect.ensure(f, after)
  local results = table.pack(pcall(f))
  if results[1] then
    after(nil)
    return table.unpack(results, 2, results.n)
  end
  after(results[2])
  error(results[2], 0)
end

--- Full collections, enough for objects that are finalized in stages.
function expect.collect()
  for _ = 1, 4 do collectgarbage() end
end

local function text_of(...)
  local parts = table.pack(...)
  for i = 1, parts.n do
    local part = parts[i]
    if type(part) == "table" and part.message and not errors.BaseError:is(part) then
      parts[i] = tostring(part.message) .. " " .. tostring(part.exception)
    else
      parts[i] = tostring(part)
    end
  end
  return table.concat(parts, " ")
end

--- The texts of the warnings given while `f()` runs and all garbage that it
-- left is collected, with no loop running.
function expect.warnings(f)
  local seen = {}
  agenda.set_warning_handler(function(...) seen[#seen + 1] = text_of(...) end)
  local ok, err = pcall(f)
  expect.collect()
  agenda.set_warning_handler(nil)
  if not ok then error(err, 0) end
  return seen
end

--- Runs `main` on a loop; returns the contexts that its exception handler got.
function expect.reports(main)
  local reports = {}
  agenda.run(function()
    agenda.get_running_loop():set_exception_handler(function(_, context)
      reports[#reports + 1] = context
    end)
    main()
  end)
  return reports
end

local function interpreter()
  local lowest = 0
  while arg and arg[lowest - 1] do lowest = lowest - 1 end
  return lowest < 0 and arg[lowest] or "lua5.4"
end

--- Runs `code` in an interpreter of its own; returns its whole output and
-- whether it exited with 0.
function expect.script(code)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  if edition.portable then
    file:write("package.preload.agenda = function() return require 'agenda.portable' end ")
  end
  file:write(code)
  file:close()
  local pipe = assert(io.popen(("%s %s 2>&1"):format(interpreter(), path)))
  local output = pipe:read("*a")
  local ok = pipe:close()
  os.remove(path)
  return output, ok == true
end

--- Loads the library once more, as after `package.loaded` was reset; what was
-- loaded before is put back.
function expect.reloaded()
  local saved = {}
  for name, module in pairs(package.loaded) do
    if name == "agenda" or name:find("^agenda%.") then saved[name] = module end
  end
  for name in pairs(saved) do package.loaded[name] = nil end
  local ok, again = pcall(require, "agenda")
  for name in pairs(package.loaded) do
    if name == "agenda" or name:find("^agenda%.") then package.loaded[name] = nil end
  end
  for name, module in pairs(saved) do package.loaded[name] = module end
  if not ok then error(again, 0) end
  return again
end

return expect
