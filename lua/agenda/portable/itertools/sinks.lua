--- The sinks: they iterate a source to its end, in the coroutine that calls them, and return.
-- @module agenda.portable.itertools.sinks

local map = require "agenda.portable.itertools.concurrent".map

return require "agenda.portable.both.sinks"(require "agenda.portable.itertools.source", map)
