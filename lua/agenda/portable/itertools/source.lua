--- What the stages need: how sources are iterated, owned and closed, what the host lacks.
-- @module agenda.portable.itertools.source

local asyncgen = require "agenda.portable.asyncgen"
local errors = require "agenda.portable.errors".errors
local frame = require "agenda.portable.frame"
local host = require "agenda.portable.host"
local inspect = require "agenda.portable.inspect"
local iterate = require "agenda.portable.iterate"

local source = {
  asyncgen = asyncgen.asyncgen,
  yield = frame.yield,
  aiter = iterate.aiter,
  type = inspect.type,
  errors = errors,
  is_generator = iterate.is_generator,
  close_one = iterate.close,
  with_closing = iterate.with_closing,
  pack = host.pack,
  unpack = host.unpack,
}

function source.owning(x, loop, ...)
  local iterator, state, control, closing = iterate.aiter(x)
  return iterate.with_closing(closing, loop, iterator, state, control, ...)
end

--- Refuses a stage whose host has not what it needs.
function source.check_host(name, ...)
  for _, call in ipairs {...} do
    if not host.calls[call] then
      error(errors.RuntimeError(("itertools.%s needs a host's %s; tell it with set_host")
        :format(name, call)), 0)
    end
  end
end

return require "agenda.portable.both.source"(source)
