-- Random programs as bodies, random operations on them: the library and the
-- model in plain Lua must agree at every step. AGENDA_SEED repeats a run.
local agenda = require "agenda"
local model = require "spec.model.generator_model"
local programs = require "spec.support.programs"
local errors = agenda.errors

local SEED = tonumber(os.getenv("AGENDA_SEED") or "") or os.time()
local ROUNDS = tonumber(os.getenv("AGENDA_ROUNDS") or "") or 400
local STEPS = 24

local describe_value = programs.describe

-- One side of a comparison: a generator over `program`, with its own log.
local function side(program, kit)
  local self = { log = {}, quiet = false }
  local function note(text) if not self.quiet then self.log[#self.log + 1] = text end end
  -- What is left of the body after its round ends at once, so that nothing of it lingers.
  local function until_quiet(f)
    return function(...)
      if self.quiet then error("over", 0) end
      return f(...)
    end
  end
  local env = { log = note, yield = until_quiet(kit.yield), suspend = until_quiet(kit.suspend),
    delegate = until_quiet(kit.delegate) }
  function env.reenter(method) return kit.outcome(self.object, method) end
  self.object = kit.make(function() return programs.run(program, env) end)
  self.kit = kit
  return self
end

local function model_text(outcome)
  if outcome.kind == "error" then return "error " .. describe_value(outcome.error) end
  return outcome.kind .. " " .. describe_value(outcome.values)
end

local sync_model = {
  yield = model.yield,
  delegate = function(body) return model.yield_from(model.generator(body)) end,
  make = function(body) return model.generator(body) end,
  outcome = function(object, method, ...) return model_text(object[method](object, ...)) end,
  finished = function(object) return object:state() == "finished" end,
  suspended = function(object) return object:state() == "suspended" end,
}

local sync_library = {
  yield = agenda.yield,
  delegate = function(body) return agenda.yield_from(agenda.generator(body)()) end,
  make = function(body) return (agenda.generator(body)()) end,
  outcome = function(object, method, ...)
    local results = table.pack(pcall(object[method], object, ...))
    if results[1] then
      return (method == "close" and "done " or "value ")
        .. describe_value(table.pack(table.unpack(results, 2, results.n)))
    elseif errors.StopIteration:is(results[2]) then
      return "done " .. describe_value(results[2].values)
    end
    return "error " .. describe_value(results[2])
  end,
  finished = function(object) return object.gi_frame == nil end,
  suspended = function(object) return object.gi_suspended end,
}

local async_model = {
  yield = model.yield,
  suspend = model.suspend,
  make = function(body) return model.asyncgen(body) end,
  outcome = sync_model.outcome,
  finished = sync_model.finished,
}

local async_library = {
  yield = agenda.yield,
  suspend = agenda.suspend,
  make = function(body) return (agenda.asyncgen(body)()) end,
  outcome = function(object, method, ...)
    local results = table.pack(pcall(object[method], object, ...))
    if results[1] then
      return (method == "close" and "done " or "wait ")
        .. describe_value(table.pack(table.unpack(results, 2, results.n)))
    elseif errors.StopIteration:is(results[2]) then
      return "done " .. describe_value(results[2].values)
    end
    return "error " .. describe_value(results[2])
  end,
  finished = function(object) return object.ag_frame == nil end,
}

-- Fails with the history and the seed unless both sides say the same.
local function compare(seed, history, expected, actual, what)
  if expected == actual then return end
  error(("seed %d\n%s\n%s: the model says %s, the library %s"):format(
    seed, table.concat(history, "\n"), what, tostring(expected), tostring(actual)), 0)
end

local function compare_logs(seed, history, ours, theirs)
  compare(seed, history, table.concat(ours.log, "; "), table.concat(theirs.log, "; "), "log")
end

local sync_options = {
  leaves = { "yield", "yield", "yield", "yield", "yield", "yield", "raise", "reenter" },
  kinds = { "yield", "yield", "yield", "yield", "try", "try", "try", "finally", "finally", "loop", "delegate",
    "delegate", "raise", "result", "stop", "reenter" },
  returns_values = 1,
}

local async_options = {
  leaves = { "yield", "yield", "yield", "suspend", "suspend", "suspend", "raise" },
  kinds = { "yield", "yield", "yield", "suspend", "suspend", "try", "try", "try", "finally", "finally", "loop",
    "raise", "result", "stop" },
  returns_values = 0.3,
}

-- One of the names, each as often as its weight says.
local function pick(weights)
  local names, total = {}, 0
  for name, weight in pairs(weights) do
    names[#names + 1] = name
    total = total + weight
  end
  table.sort(names)
  local at = math.random(total)
  for _, name in ipairs(names) do
    at = at - weights[name]
    if at <= 0 then return name end
  end
end

-- How many more operations a finished object gets.
local AFTERLIFE = 3

local function sync_round(seed)
  math.randomseed(seed)
  local program = programs.random(sync_options, 4)
  local ours, theirs = side(program, sync_model), side(program, sync_library)
  local history, left = {}, AFTERLIFE
  for _ = 1, STEPS do
    if ours.kit.finished(ours.object) then left = left - 1 end
    if left < 0 then break end
    local method = pick { next = 10, send = 8, throw = 2, close = 1 }
    local arguments = { n = 0 }
    if method == "send" then
      arguments = programs.values()
      -- Whether (nil, 1) starts a generator is nobody's business.
      if arguments[1] == nil then arguments = { n = math.min(arguments.n, 1) } end
    elseif method == "throw" then
      arguments = { n = 1, math.random(5) == 1 and errors.GeneratorExit() or programs.error() }
    end
    history[#history + 1] = method .. " " .. describe_value(arguments)
    local expected = ours.kit.outcome(ours.object, method, table.unpack(arguments, 1, arguments.n))
    local actual = theirs.kit.outcome(theirs.object, method, table.unpack(arguments, 1, arguments.n))
    compare(seed, history, expected, actual, "outcome")
    compare_logs(seed, history, ours, theirs)
    compare(seed, history, ours.kit.finished(ours.object), theirs.kit.finished(theirs.object), "finished")
    compare(seed, history, ours.kit.suspended(ours.object), theirs.kit.suspended(theirs.object), "suspended")
    history[#history] = history[#history] .. " -> " .. expected
  end
  theirs.quiet = true
end

local function async_round(seed)
  math.randomseed(seed)
  local program = programs.random(async_options, 4)
  local ours, theirs = side(program, async_model), side(program, async_library)
  local history, awaitables, left = {}, {}, AFTERLIFE
  for _ = 1, STEPS * 2 do
    if ours.kit.finished(ours.object) then left = left - 1 end
    if left < 0 then break end
    local expected, actual
    if #awaitables == 0 or math.random(3) == 1 then
      local method = pick { anext = 10, asend = 8, athrow = 2, aclose = 1 }
      local arguments = { n = 0 }
      if method == "asend" then
        arguments = programs.values()
        if arguments[1] == nil then arguments = { n = 0 } end
      elseif method == "athrow" then
        arguments = { n = 1, math.random(5) == 1 and errors.GeneratorExit() or programs.error() }
      end
      awaitables[#awaitables + 1] = {
        ours.object[method](ours.object, table.unpack(arguments, 1, arguments.n)),
        theirs.object[method](theirs.object, table.unpack(arguments, 1, arguments.n)),
      }
      history[#history + 1] = ("%d = %s %s"):format(#awaitables, method, describe_value(arguments))
    end
    -- Mostly the newest, so that most are driven to their end.
    local index = math.random(4) == 1 and math.random(#awaitables) or #awaitables
    local pair = awaitables[index]
    local method = pick { send = 20, throw = 2, close = 1 }
    local arguments = { n = 0 }
    if method == "send" and pair[1].state == "begun" then
      arguments = programs.values()
    elseif method == "throw" then
      arguments = { n = 1, programs.error() }
    end
    history[#history + 1] = ("%d: %s %s"):format(index, method, describe_value(arguments))
    expected = ours.kit.outcome(pair[1], method, table.unpack(arguments, 1, arguments.n))
    actual = theirs.kit.outcome(pair[2], method, table.unpack(arguments, 1, arguments.n))
    if expected:find("ignored GeneratorExit", 1, true) then
      -- What a body that ignores it does from there on is left open.
      if not actual:find("ignored GeneratorExit", 1, true) then
        compare(seed, history, expected, actual, "outcome")
      end
      break
    end
    compare(seed, history, expected, actual, "outcome")
    compare_logs(seed, history, ours, theirs)
    compare(seed, history, ours.object.in_flight, theirs.object.ag_running, "ag_running")
    compare(seed, history, ours.kit.finished(ours.object), theirs.kit.finished(theirs.object), "finished")
    history[#history] = history[#history] .. " -> " .. expected
  end
  theirs.quiet = true
end

-- Nothing may be collected while a round runs: a dropped inner generator would
-- note its cleanup at a moment that the model knows nothing of.
local function rounds(one)
  for i = 1, ROUNDS do
    collectgarbage("stop")
    local ok, err = pcall(one, SEED + i - 1)
    collectgarbage("restart")
    if not ok then error(err, 0) end
  end
end

describe("the library against the model", function()
  setup(function() agenda.set_warning_handler(function() end) end)
  teardown(function()
    for _ = 1, 4 do collectgarbage() end
    agenda.set_warning_handler(nil)
  end)

  it(("generators, %d random sequences from seed %d #slow"):format(ROUNDS, SEED), function()
    rounds(sync_round)
  end)

  it(("async generators by hand, %d random sequences from seed %d #slow"):format(ROUNDS, SEED), function()
    rounds(async_round)
  end)
end)
