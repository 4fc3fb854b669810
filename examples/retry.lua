-- Trying again: every attempt has a time limit, and between two attempts the pause doubles, up to
-- a bound. Only errors that may pass are worth another attempt.
local agenda = require "agenda"
local errors = agenda.errors

local function may_pass(err)
  return errors.TimeoutError:is(err) or errors.OSError:is(err)
end

local function retry(options, f, ...)
  local pause = options.pause
  for attempt = 1, options.attempts do
    -- agenda.pcall, so that a cancellation is no reason to try again.
    local result = table.pack(agenda.pcall(agenda.with_timeout, options.timeout, f, ...))
    if result[1] then return table.unpack(result, 2, result.n) end
    local err = result[2]
    print(("attempt %d: %s"):format(attempt, err.name or err))
    if not may_pass(err) or attempt == options.attempts then error(err, 0) end
    print(("  again in %g s"):format(pause))
    agenda.sleep(pause)
    pause = math.min(pause * 2, options.longest_pause)
  end
end

-- A server that answers as it is told to, one behaviour for each request.
local function server(...)
  local behaviours = {...}
  return function(question)
    local behaviour = table.remove(behaviours, 1)
    if behaviour == "hang" then
      agenda.sleep(3600)
    elseif behaviour == "refuse" then
      error(errors.OSError("connection refused", {code = "ECONNREFUSED"}), 0)
    elseif behaviour == "reject" then
      error("no such question: " .. question, 0)
    end
    return question .. "? 42!"
  end
end

local OPTIONS = {attempts = 4, timeout = 0.03, pause = 0.01, longest_pause = 0.02}

agenda.main(function()
  print(retry(OPTIONS, server("hang", "refuse", "hang", "answer"), "the answer"))

  print(agenda.pcall(retry, OPTIONS, server("refuse", "reject"), "why"))

  local ok, err = agenda.pcall(retry, OPTIONS, server("hang", "hang", "hang", "hang"), "when")
  print(ok, err.name)
end)
