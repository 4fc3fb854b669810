--- Random generator bodies: a program is a tree of plain tables, and `run`
-- executes it with whatever yield and suspend it is given, noting what it sees.
local expect = require "spec.support.expect"
local errors = require "agenda".errors

local programs = {}

local function pick(list) return list[math.random(#list)] end

--- A random list of values, nils among them.
function programs.values()
  local list = { n = math.random(0, 3) }
  for i = 1, list.n do
    local choice = math.random(5)
    if choice <= 2 then list[i] = math.random(9)
    elseif choice == 3 then list[i] = pick { "a", "b" }
    elseif choice == 4 then list[i] = false end
  end
  return list
end

--- A random error value that a program or a test may raise.
function programs.error()
  return pick { "E1", "E2", errors.ValueError("v"), errors.TypeError("t") }
end

--- How an error or a list of values is written in outcomes and logs.
function programs.describe(value)
  if type(value) == "table" and value.n then
    local parts = {}
    for i = 1, value.n do parts[i] = tostring(value[i]) end
    return "(" .. table.concat(parts, " ") .. ")"
  elseif errors.GeneratorExit:is(value) or errors.StopAsyncIteration:is(value) then
    return value.name
  end
  return tostring(value)
end

local make = {}

local function block(options, depth)
  local list = {}
  for i = 1, math.random(2, 4) do
    local kinds = depth > 0 and options.kinds or options.leaves
    list[i] = make[pick(kinds)](options, depth - 1)
  end
  return list
end

function make.yield() return { op = "yield", values = programs.values() } end
function make.suspend() return { op = "suspend", values = programs.values() } end
function make.raise() return { op = "raise", error = programs.error() } end
function make.stop() return { op = "raise", error = errors.StopIteration("leaked") } end
function make.reenter() return { op = "reenter", method = pick { "next", "send", "close" } } end
function make.result(options)
  return { op = "return", values = math.random() < options.returns_values and programs.values() or { n = 0 } }
end
function make.loop(options, depth) return { op = "loop", times = math.random(2), block = block(options, depth) } end
function make.try(options, depth)
  return { op = "try", block = block(options, depth), handler = block(options, depth),
    after = pick { "swallow", "swallow", "rethrow", "replace" }, error = programs.error() }
end
function make.finally(options, depth)
  return { op = "finally", block = block(options, depth), cleanup = block(options, depth - 1) }
end
function make.delegate(options, depth) return { op = "delegate", block = block(options, depth) } end

--- A random program. `options.kinds` and `options.leaves` are lists of node
-- names, a name as often as it is to come up.
function programs.random(options, depth) return block(options, depth) end

local run_block

local ops = {}

function ops.yield(node, env)
  env.log("sent " .. programs.describe(table.pack(env.yield(table.unpack(node.values, 1, node.values.n)))))
end

function ops.suspend(node, env)
  env.log("back " .. programs.describe(table.pack(env.suspend(table.unpack(node.values, 1, node.values.n)))))
end

function ops.raise(node) error(node.error, 0) end

ops["return"] = function(node) return node.values end

function ops.loop(node, env)
  for _ = 1, node.times do
    local returned = run_block(node.block, env)
    if returned then return returned end
  end
end

function ops.try(node, env)
  local ok, result = pcall(run_block, node.block, env)
  if ok then return result end
  env.log("caught " .. programs.describe(result))
  local returned = run_block(node.handler, env)
  if returned then return returned end
  if node.after == "rethrow" then error(result, 0) end
  if node.after == "replace" then error(node.error, 0) end
end

function ops.finally(node, env)
  return (expect.ensure(function() return run_block(node.block, env) end, function(err)
    env.log("cleanup " .. programs.describe(err))
    run_block(node.cleanup, env)
  end))
end

function ops.delegate(node, env)
  local results = table.pack(env.delegate(function() return programs.run(node.block, env) end))
  env.log("delegated " .. programs.describe(results))
end

function ops.reenter(node, env) env.log("reentered " .. env.reenter(node.method)) end

function run_block(list, env)
  for _, node in ipairs(list) do
    local returned = ops[node.op](node, env)
    if returned then return returned end
  end
end

--- Executes a program. `env` has `log(text)`, `yield`, `suspend`,
-- `delegate(body)` and `reenter(method)`.
function programs.run(list, env)
  local returned = run_block(list, env)
  if returned then return table.unpack(returned, 1, returned.n) end
end

return programs
