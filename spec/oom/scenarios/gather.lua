-- gather: results in order, errors in the list, the first error raised, cancelled.
local agenda = require "agenda"
local errors = agenda.errors

local function later(value)
  return function()
    agenda.sleep(0)
    return value
  end
end
local function fail()
  error(errors.ValueError("failed"), 0)
end

-- Where there is no memory to call a callback of gather's at all, its Future stays pending: what
-- was reported tells why nothing can wake main.
local reported

local function main()
  agenda.get_running_loop():set_exception_handler(function(_, context)
    if context.exception == "not enough memory" then
      reported = context.exception
    end
  end)
  local results = agenda.await(agenda.gather(later(1), agenda.async(later(2))()))
  assert(results[1] == 1 and results[2] == 2)
  results = agenda.await(agenda.gather({fail, later(2)}, {return_exceptions = true}))
  assert(results.n == 2)
  local ok, err = pcall(agenda.await, agenda.gather(fail, later(2)))
  if ok or not errors.ValueError:is(err) then
    error(err, 0)
  end
  local all = agenda.gather(later(1), later(2))
  all:cancel()
  ok, err = pcall(agenda.await, all)
  if ok or not errors.CancelledError:is(err) then
    error(err, 0)
  end
end

local ok, err = pcall(agenda.run, main)
if not ok then
  error(reported or err, 0)
end
