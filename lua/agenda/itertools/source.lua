--- What the stages of `agenda.itertools` need: how sources are iterated, owned and closed.
-- @module agenda.itertools.source

local core = require "agenda.core"
local iterate = require "agenda.iterate"
local metamethod = require "agenda.portable.both.checks".metamethod

local aiter = iterate.aiter

local source = {
  asyncgen = core.asyncgen,
  yield = core.yield,
  aiter = aiter,
  type = core.type,
  errors = core.errors,
  pack = table.pack,
  unpack = table.unpack,
}

function source.is_generator(x)
  local kind = core.type(x)
  return kind == "async_generator" or kind == "generator"
end

function source.close_one(closing, err)
  return metamethod(closing, "__close")(closing, err)
end

function source.owning(x, loop, ...)
  local iterator, state, control, closing = aiter(x)
  local _ <close> = closing
  return loop(iterator, state, control, ...)
end

function source.with_closing(closing, f, ...)
  local _ <close> = closing
  return f(...)
end

return require "agenda.portable.both.source"(source)
