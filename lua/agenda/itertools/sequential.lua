--- The stages that work in the task that iterates them.
-- @module agenda.itertools.sequential

return require "agenda.portable.both.sequential"(require "agenda.itertools.source")
