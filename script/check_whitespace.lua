-- Checks what .editorconfig promises: no tabs outside of makefiles, no blanks at the ends
-- of lines, Unix line ends, exactly one newline at the end of a file, UTF-8.

package.path = "script/?.lua;" .. package.path
local tool = require "lib.tool"
local report = tool.report("whitespace")

local MAX_COLUMNS = 100
local MAX_COLUMNS_OF_SPECS = 120

local TEXT = {
  c = true, h = true, lua = true, md = true, txt = true, sh = true, rockspec = true,
  ld = true, supp = true, yml = true,
}

local function list_files()
  local files = tool.lines_of("git ls-files --cached --others --exclude-standard 2>/dev/null")
  if #files == 0 then
    files = tool.lines_of([[find . -type f -not -path './.git/*' -not -path './build/*' |
      sed 's|^\./||']])
  end
  return files
end

-- Text is what has a known ending, or no ending at all (Makefile, script/setup, .busted).
local function is_text(path)
  local name = path:match("[^/]+$")
  local ending = name:match("^.+%.(%w+)$")
  return ending == nil or TEXT[ending] == true
end

local checked = 0
for _, path in ipairs(list_files()) do
  local text = is_text(path) and tool.read(path)
  if text and text ~= "" then
    checked = checked + 1
    local makefile = path:find("Makefile$") or path:find("%.mk$")
    local fixture = path:find("^examples/expected/") or path:find("^examples/input/")
    local code = path:find("%.lua$") or path:find("%.[ch]$")
    if text:sub(-1) ~= "\n" then report:problem("%s: no newline at the end", path) end
    if text:sub(-2) == "\n\n" and not fixture then
      report:problem("%s: blank lines at the end", path)
    end
    if text:find("\r", 1, true) then report:problem("%s: carriage returns", path) end
    if not utf8.len(text) then report:problem("%s: not UTF-8", path) end
    local columns = path:find("^spec/.*%.lua$") and MAX_COLUMNS_OF_SPECS or MAX_COLUMNS
    local number = 0
    local output = false -- in a block of a document that shows what a program prints
    for line in text:gmatch("([^\n]*)\n") do
      number = number + 1
      output = path:find("%.md$") ~= nil and
        (line == "```output" or output and line ~= "```")
      if not makefile and not fixture and not output and line:find("\t", 1, true) then
        report:problem("%s:%d: a tab", path, number)
      end
      if not fixture and line:find("[ \t]$") then
        report:problem("%s:%d: blanks at the end of the line", path, number)
      end
      if code and (utf8.len(line) or #line) > columns then
        report:problem("%s:%d: longer than %d columns", path, number, columns)
      end
    end
  end
end

report:finish("%d files are as .editorconfig says", checked)
