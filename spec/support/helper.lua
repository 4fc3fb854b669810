-- Loaded by busted before the specs (see .busted).

-- Specs may `require "spec.support.NAME"` from wherever busted was started.
package.path = "./?.lua;" .. package.path

local edition = require "spec.support.edition"
if edition.portable then
  edition.install()
else
  require "spec.support.leaks".install()
end
