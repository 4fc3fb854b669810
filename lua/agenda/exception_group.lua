--- What an ExceptionGroup can do, after PEP 654: `split`, and the tree that `tostring` shows.
--
-- Both are put into the class, which is the same however often this module is loaded.
-- @module agenda.errors

local core = require "agenda.core"
local equip = require "agenda.portable.exception_group"

--- Two groups: of the errors that are of a class, and of the others. Nested groups keep their
-- shape; what is looked at is the errors in them, unless the class is one of groups. After PEP 654.
-- @function ExceptionGroup:split
-- @tparam errorclass|function class a class, or a function that says of each error (of groups,
-- each in them) whether it belongs to the first group
-- @treturn ?ExceptionGroup nil if it would be empty; the group itself if that is of the class
-- @treturn ?ExceptionGroup nil if it would be empty
equip(core.errors.ExceptionGroup)

return {}
