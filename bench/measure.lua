-- Makes one measurement, in a process of its own:
--
--   lua5.4 bench/measure.lua BENCHMARK MEASURE
--
-- prints a line for each figure: its name and its value.

package.path = "bench/?.lua;" .. package.path
package.cpath = "build/bench/?.so;" .. package.cpath

local benchmark, measure = ...
local figures = require(benchmark).measures[measure]()
for name, value in pairs(figures) do
  print(("%s %.17g"):format(name, value))
end
