-- Runs the benchmarks beside their yardsticks and prints a table; `make bench` calls this.
--
--   lua5.4 bench/run.lua [BENCHMARK]
--
-- Each measurement is made RUNS times, in turn with those that it is compared with, every other
-- time in the reverse order, each time in a fresh process on one core; the table shows medians.
-- Without a name all are run and the table is written to bench/RESULTS.md, with a plot beside it.
-- A missed target does not fail the run.
--
-- A benchmark is a file that returns a table: `measures`, functions that return figures; `order`,
-- the names of those to make, or a function that says them for each run; `rows`, a function of the
-- medians that returns rows of the table and perhaps a remark; `runs`, if not RUNS; `lua`, if
-- another interpreter is to run it.

package.path = "bench/?.lua;" .. package.path

local plot = require "plot"

local RUNS = 5
local BENCHMARKS = {
  "iterate", "class_shaped", "spawn", "switch", "asleep", "chain", "wake", "queue", "lock", "group",
  "map", "timeout", "io_echo", "io_idle", "io_bulk", "io_lines", "embed", "subprocess", "portable",
}
local RESULTS = "bench/RESULTS.md"
local PLOT = "bench/RESULTS.svg"

local LUA = arg[-1] or "lua5.4"

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  local ok = pipe:close()
  return ok and text or nil
end

-- Pins what follows to the last core, if taskset is there.
local function pin()
  local last = tonumber(output_of("nproc 2>/dev/null") or "1") - 1
  local command = ("taskset -c %d"):format(last)
  return os.execute(command .. " true 2>/dev/null") and command .. " " or ""
end

local pinned = pin()

local function measure(lua, benchmark, name)
  local command = ("env -u AGENDA_DEBUG %s%s bench/measure.lua %s %s")
    :format(pinned, lua, benchmark, name)
  local text = output_of(command)
  if not text then
    error("failed: " .. command, 0)
  end
  local figures = {}
  for key, value in text:gmatch("(%S+) (%S+)\n") do
    figures[key] = tonumber(value)
  end
  return figures
end

local function median(values)
  table.sort(values)
  return values[(#values + 1) // 2]
end

-- What comes first leaves the machine otherwise than it found it; so nothing always comes first.
local function turned(run, names)
  if run % 2 == 1 then return names end
  local reverse = {}
  for i = #names, 1, -1 do reverse[#reverse + 1] = names[i] end
  return reverse
end

-- The medians of a benchmark's figures, by measure and name.
local function medians_of(name, benchmark)
  local samples = {}
  local order, runs = benchmark.order, benchmark.runs or RUNS
  for run = 1, runs do
    for _, measure_name in ipairs(turned(run, type(order) == "function" and order(run) or order)) do
      io.stderr:write(("\r\27[K%s %d of %d: %s"):format(name, run, runs, measure_name))
      for key, value in pairs(measure(benchmark.lua or LUA, name, measure_name)) do
        local of_measure = samples[measure_name] or {}
        samples[measure_name] = of_measure
        of_measure[key] = of_measure[key] or {}
        table.insert(of_measure[key], value)
      end
    end
  end
  io.stderr:write("\r\27[K")
  for _, of_measure in pairs(samples) do
    for key, values in pairs(of_measure) do
      of_measure[key] = median(values)
    end
  end
  return samples
end

local function target_of(row)
  if row.at_least then
    return ("at least %g x"):format(row.at_least)
  end
  local text = ("at most %g%s"):format(row.at_most, row.unit or " x")
  return row.aim and ("%s, aim %g"):format(text, row.aim) or text
end

local function verdict_of(row)
  local value = row.value or row.ratio
  if row.at_least then
    return value >= row.at_least and "yes" or "NO"
  end
  if value > row.at_most then
    return "NO"
  end
  return row.aim and value <= row.aim and "yes, and the aim" or "yes"
end

local function cells_of(row)
  return {
    row.work, row.figure, row.yardstick, ("%.2f"):format(row.ratio), target_of(row),
    verdict_of(row),
  }
end

local function format_table(rows)
  local lines = {{"work", "agenda", "beside", "ratio", "target", "met"}}
  for _, row in ipairs(rows) do
    lines[#lines + 1] = cells_of(row)
  end
  local widths = {}
  for _, line in ipairs(lines) do
    for i, cell in ipairs(line) do
      widths[i] = math.max(widths[i] or 0, #cell)
    end
  end
  local text = {}
  for number, line in ipairs(lines) do
    local padded, rule = {}, {}
    for i, cell in ipairs(line) do
      padded[i] = cell .. (" "):rep(widths[i] - #cell)
      rule[i] = ("-"):rep(widths[i])
    end
    text[#text + 1] = "| " .. table.concat(padded, " | ") .. " |"
    if number == 1 then
      text[#text + 1] = "| " .. table.concat(rule, " | ") .. " |"
    end
  end
  return table.concat(text, "\n") .. "\n"
end

local function machine()
  local file <close> = assert(io.open("/proc/cpuinfo"))
  local model = file:read("a"):match("model name%s*:%s*([^\n]+)") or "unknown CPU"
  local lua = output_of(LUA .. " -v 2>&1"):match("^(Lua %S+)") or "Lua"
  return ("%s, %s cores; %s"):format(model, output_of("nproc"):match("%d+"), lua)
end

local function write_results(text, rows)
  local file <close> = assert(io.open(RESULTS, "w"))
  file:write("# Benchmarks\n\nMade by `make bench` (", machine(), ").\n\n",
    "Medians of ", RUNS, " runs (more or fewer for some), each in a fresh process",
    pinned ~= "" and " pinned to one core" or "",
    ", the yardstick in turn with\nwhat it is beside. \"ratio\" is the figure over the ",
    "yardstick, or for a target \"at least\"\nthe yardstick over the figure.\n\n", text,
    "\n![The figures as shares of what the targets allow](RESULTS.svg)\n")
  local picture <close> = assert(io.open(PLOT, "w"))
  picture:write(plot.svg(rows))
end

local only = arg[1]
if not os.execute("make -s -C bench CC='" .. (os.getenv("CC") or "gcc") .. "'") then
  error("the yardsticks in C cannot be built", 0)
end
local rows, remarks = {}, {}
for _, name in ipairs(only and {only} or BENCHMARKS) do
  local benchmark = require(name)
  local found, remark = benchmark.rows(medians_of(name, benchmark))
  table.move(found, 1, #found, #rows + 1, rows)
  remarks[#remarks + 1] = remark
end
local text = format_table(rows)
for _, remark in ipairs(remarks) do
  text = text .. "\n" .. remark .. "\n"
end
print(text)
if not only then
  write_results(text, rows)
end
