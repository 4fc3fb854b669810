--- The sinks: they iterate a source to its end, in the task that calls them, and return.
-- @module agenda.itertools.sinks

local map = require "agenda.itertools.concurrent".map

return require "agenda.portable.both.sinks"(require "agenda.itertools.source", map)
