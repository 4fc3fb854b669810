-- The words of the project's documents, counted in a pipeline: paths -> counts (four files at a
-- time) -> buffer -> totals. The consumer is slow, and the stages do not run further ahead of it
-- than they are told to.
local agenda = require "agenda"
local itertools = require "agenda.itertools"

local ROOT = arg[0]:match("^(.*)examples/[^/]*$") or "../"
local DOCUMENTS = {
  "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/design.md", "docs/tutorial.md",
  "docs/reference/README.md", "docs/reference/asyncgen.md", "docs/reference/coroutines.md",
  "docs/reference/errors.md", "docs/reference/generators.md", "docs/reference/loop.md",
  "docs/reference/tasks.md",
}
local AT_ONCE, AHEAD = 4, 2
local started, consumed = 0, 0
local open, most_open, most_ahead = 0, 0, 0

local paths = agenda.generator("paths", function()
  for _, path in ipairs(DOCUMENTS) do
    started = started + 1
    most_ahead = math.max(most_ahead, started - consumed)
    agenda.yield(path)
  end
end)

local function count_words(path)
  local file <close> = assert(io.open(ROOT .. path))
  open = open + 1
  most_open = math.max(most_open, open)
  local _ <close> = agenda.defer(function() open = open - 1 end)
  local counts, total = {}, 0
  for line in file:lines() do
    for word in line:gmatch("%a+") do
      word, total = word:lower(), total + 1
      counts[word] = (counts[word] or 0) + 1
    end
    agenda.checkpoint() -- lets the others go on
  end
  return path, total, counts
end

agenda.main(function()
  local counted = itertools.map(count_words, paths(), {concurrency = AT_ONCE})
  local words, sum, favourite = {}, 0, nil
  for path, total, counts in itertools.buffer(AHEAD, counted) do
    print(("%6d  %s"):format(total, path))
    agenda.sleep(0.002)
    for word, n in pairs(counts) do words[word] = (words[word] or 0) + n end
    sum, consumed = sum + total, consumed + 1
  end
  for word, n in pairs(words) do
    if not favourite or n > words[favourite] then favourite = word end
  end
  print(("%6d  in all; the word used most is '%s'"):format(sum, favourite))
  print(("%d files open at most, %s"):format(most_open,
    most_ahead <= AT_ONCE + AHEAD + 1 and "and never too far ahead" or "but too far ahead"))
end)
