-- Starts busted in this very interpreter. The `busted` command would start whatever
-- `lua` happens to be, which on Debian may be any version.
--
--     lua5.4 script/specs.lua [busted options] [spec files or folders]
--
-- .busted names the report (script/busted_report.lua) and the helper.

require "busted.runner" {standalone = false}
