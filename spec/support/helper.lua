-- Loaded by busted before the specs (see .busted).

-- Specs may `require "spec.support.NAME"` from wherever busted was started.
package.path = "./?.lua;" .. package.path

require "spec.support.leaks".install()
