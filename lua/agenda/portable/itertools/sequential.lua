--- The stages that work in the coroutine that iterates them.
-- @module agenda.portable.itertools.sequential

return require "agenda.portable.both.sequential"(require "agenda.portable.itertools.source")
