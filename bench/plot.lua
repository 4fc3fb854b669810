-- Draws the rows of the benchmarks as an SVG: a bar for each, as long as the figure is of what its
-- target allows. What is left of the line at 1 has met it.

local plot = {}

local ROW, BAR, TOP, LEFT, WIDTH, RIGHT = 20, 13, 34, 420, 400, 60
local LONGEST = 1.5 -- of the target; longer bars are cut, their number tells

local ESCAPES = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;"}

local function escape(text)
  return (text:gsub("`", ""):gsub("[&<>]", ESCAPES))
end

--- What share of what the target allows was taken.
local function share_of(row)
  local value = row.value or row.ratio
  return row.at_least and row.at_least / value or value / row.at_most
end

local function label_of(row)
  return ("%s, beside %s"):format(row.work, (row.yardstick:match("^(.-):") or row.yardstick))
end

local function bar(row, y)
  local share = share_of(row)
  local length = math.min(share, LONGEST) / LONGEST * WIDTH
  local text = y + BAR - 3
  return ([[
<text x="%d" y="%d" text-anchor="end">%s</text>
<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>
<text x="%.1f" y="%d">%.2f</text>
]]):format(LEFT - 8, text, escape(label_of(row)), LEFT, y, length, BAR,
    share <= 1 and "#4a8c5c" or "#c0504d", LEFT + length + 5, text, share)
end

--- The rows as SVG.
function plot.svg(rows)
  local height = TOP + #rows * ROW + 8
  local line = LEFT + WIDTH / LONGEST
  local parts = {([[
<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif"
 font-size="11">
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="%d" y="16">share of what the target allows (1: just met)</text>
]]):format(LEFT + WIDTH + RIGHT, height, LEFT)}
  for i, row in ipairs(rows) do
    parts[#parts + 1] = bar(row, TOP + (i - 1) * ROW)
  end
  parts[#parts + 1] = ([[
<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#333333" stroke-dasharray="3 2"/>
</svg>
]]):format(line, TOP - 8, line, height - 4)
  return table.concat(parts)
end

return plot
