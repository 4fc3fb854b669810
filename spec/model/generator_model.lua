--- What generators and async generators do, in plain Lua on plain coroutines.
--
-- Slow and simple: the library is compared with it over random sequences of
-- operations (spec/core/model_spec.lua). Of the library it takes the error
-- classes alone. Each operation returns an outcome:
--   {kind = "value" | "wait" | "done" | "error", n = ..., values...} or error = e
local errors = require "agenda".errors

local model = {}

local function outcome(kind, ...) return { kind = kind, values = table.pack(...) } end
local function failed(err) return { kind = "error", error = err } end

-- The body's side. What a thread is resumed with is a mode and values.
local function delivered(mode, ...)
  if mode == "throw" then error((...), 0) end
  return ...
end

function model.yield(...) return delivered(coroutine.yield("value", ...)) end
function model.suspend(...) return delivered(coroutine.yield("wait", ...)) end

-- A body under way: resume(mode, ...) gives "value", "wait", "done" or "error".
local Body = {}
Body.__index = Body

local function new_body(kind, f, ...)
  local arguments = table.pack(...)
  -- The pcall is there for the to-be-closed variables of a body that fails.
  local thread = coroutine.create(function()
    return pcall(f, table.unpack(arguments, 1, arguments.n))
  end)
  return setmetatable({ kind = kind, thread = thread, state = "created" }, Body)
end

function Body:resume(mode, ...)
  if self.state == "finished" then
    if mode == "throw" then return failed((...)) end
    return outcome("done")
  elseif self.state == "created" then
    if mode == "throw" then
      self.state = "finished"
      return failed((...))
    elseif (...) ~= nil then
      return failed(errors.TypeError(("can't send non-nil value to a just-started %s"):format(self.kind)))
    end
  end
  self.state = "running"
  local results = table.pack(coroutine.resume(self.thread, mode, ...))
  assert(results[1], results[2])
  if coroutine.status(self.thread) ~= "dead" then
    self.state = "suspended"
    return outcome(table.unpack(results, 2, results.n))
  end
  self.state = "finished"
  if results[2] then
    if self.kind == "async generator" then
      for i = 3, results.n do
        if results[i] ~= nil then return failed(errors.TypeError("async generator returned a value")) end
      end
    end
    return outcome("done", table.unpack(results, 3, results.n))
  end
  local err = results[3]
  if errors.StopIteration:is(err) then
    err = errors.RuntimeError(self.kind .. " raised StopIteration")
  elseif self.kind == "async generator" and errors.StopAsyncIteration:is(err) then
    err = errors.RuntimeError(self.kind .. " raised StopAsyncIteration")
  end
  return failed(err)
end

-- Generators: PEP 255, 342, 479.
local Generator = {}
Generator.__index = Generator

function model.generator(f, ...)
  return setmetatable({ body = new_body("generator", f, ...) }, Generator)
end

function Generator:state() return self.body.state end

local function step(self, mode, ...)
  if self.body.state == "running" then return failed(errors.ValueError("generator already executing")) end
  return self.body:resume(mode, ...)
end

function Generator:next() return step(self, "send") end
function Generator:send(...) return step(self, "send", ...) end
function Generator:throw(err) return step(self, "throw", err) end

function Generator:close()
  if self.body.state == "created" then self.body.state = "finished" end
  if self.body.state == "finished" then return outcome("done") end
  local result = step(self, "throw", errors.GeneratorExit())
  if result.kind == "value" then
    return failed(errors.RuntimeError("generator ignored GeneratorExit"))
  elseif result.kind == "error" and errors.GeneratorExit:is(result.error) then
    return outcome("done")
  end
  return result
end

--- Delegation to another generator of the model: PEP 380.
function model.yield_from(generator)
  local result = generator:next()
  while result.kind == "value" do
    local back = table.pack(coroutine.yield("value", table.unpack(result.values, 1, result.values.n)))
    if back[1] == "throw" and errors.GeneratorExit:is(back[2]) then
      local closed = generator:close()
      error(closed.kind == "error" and closed.error or back[2], 0)
    end
    result = generator[back[1]](generator, table.unpack(back, 2, back.n))
  end
  if result.kind == "error" then error(result.error, 0) end
  return table.unpack(result.values, 1, result.values.n)
end

-- Async generators: PEP 525, driven by hand.
local AsyncGenerator = {}
AsyncGenerator.__index = AsyncGenerator

local Awaitable = {}
Awaitable.__index = Awaitable

function model.asyncgen(f, ...)
  return setmetatable({ body = new_body("async generator", f, ...), in_flight = false }, AsyncGenerator)
end

function AsyncGenerator:state() return self.body.state end

local function new_awaitable(generator, how, ...)
  return setmetatable({ generator = generator, how = how, arguments = table.pack(...), state = "new" }, Awaitable)
end

function AsyncGenerator:anext() return new_awaitable(self, "asend") end
function AsyncGenerator:asend(...) return new_awaitable(self, "asend", ...) end
function AsyncGenerator:athrow(err) return new_awaitable(self, "athrow", err) end
function AsyncGenerator:aclose() return new_awaitable(self, "aclose") end

-- What a step of the body means for the awaitable that made it.
local function settle(self, result)
  if result.kind == "wait" then return result end
  self.generator.in_flight = false
  self.state = "spent"
  if result.kind == "done" then
    if self.how == "aclose" then return outcome("done") end
    return failed(errors.StopAsyncIteration())
  elseif result.kind == "value" then
    if self.how == "aclose" then
      return failed(errors.RuntimeError("async generator ignored GeneratorExit"))
    end
    return outcome("done", table.unpack(result.values, 1, result.values.n))
  elseif self.how == "aclose" and errors.GeneratorExit:is(result.error) then
    return outcome("done")
  end
  return result
end

-- An error if this awaitable may not take a step now.
local function refused(self)
  if self.state == "spent" then
    local names = self.how == "asend" and "anext()/asend()" or "athrow()/aclose()"
    return failed(errors.RuntimeError("cannot reuse already awaited " .. names))
  elseif self.state == "new" and self.generator.in_flight then
    self.state = "spent"
    return failed(errors.RuntimeError("asynchronous generator is already running"))
  end
end

local function take_step(self, mode, ...)
  self.state = "begun"
  self.generator.in_flight = true
  return settle(self, self.generator.body:resume(mode, ...))
end

function Awaitable:send(...)
  local err = refused(self)
  if err then return err end
  local body = self.generator.body
  if self.state == "begun" then return take_step(self, "send", ...) end
  if self.how == "aclose" then
    if body.state == "created" then body.state = "finished" end
    if body.state == "finished" then
      self.state = "spent"
      return outcome("done")
    end
    return take_step(self, "throw", errors.GeneratorExit())
  elseif self.how == "athrow" then
    return take_step(self, "throw", self.arguments[1])
  elseif (...) ~= nil then
    return take_step(self, "send", ...)
  end
  return take_step(self, "send", table.unpack(self.arguments, 1, self.arguments.n))
end

function Awaitable:throw(thrown)
  return refused(self) or take_step(self, "throw", thrown)
end

function Awaitable:close()
  if self.state ~= "begun" then
    self.state = "spent"
    return outcome("done")
  end
  self.state = "spent"
  self.generator.in_flight = false
  local result = self.generator.body:resume("throw", errors.GeneratorExit())
  if result.kind == "wait" or result.kind == "value" then
    return failed(errors.RuntimeError("coroutine ignored GeneratorExit"))
  elseif result.kind == "error" and not errors.GeneratorExit:is(result.error) then
    return result
  end
  return outcome("done")
end

return model
