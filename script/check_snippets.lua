-- Runs the snippets of documents: every fenced block
--
--     ```lua
--
-- is a script of its own, run in a fresh interpreter. It has to end without an error, and
-- if the next fenced block is
--
--     ```output
--
-- it has to print just that (a line `~ PATTERN` is a Lua pattern for the whole line).
--
--     lua5.4 script/check_snippets.lua docs/tutorial.md ...

package.path = "script/?.lua;" .. package.path
local tool = require "lib.tool"

local SECONDS = 20
local LUA = os.getenv("LUA") or "lua5.4"

-- The fenced blocks of a document: {info =, text =, line =}, in order.
local function read_blocks(path)
  local blocks, block, indent, fence = {}, nil, nil, nil
  local number = 0
  for line in assert(tool.read(path)):gmatch("([^\n]*)\n?") do
    number = number + 1
    if block then
      local closing = line:match("^%s*(`+)%s*$")
      if closing and #closing >= #fence then
        block.text = table.concat(block, "\n", 1, #block) .. "\n"
        blocks[#blocks + 1] = block
        block = nil
      else
        block[#block + 1] = line:sub(1, #indent) == indent and line:sub(#indent + 1) or line
      end
    else
      local spaces, ticks, info = line:match("^(%s*)(```+)%s*([^`]*)$")
      if ticks then
        indent, fence = spaces, ticks
        block = {info = info:match("^%S*"), line = number}
      end
    end
  end
  if block then error(("%s:%d: the fence is not closed"):format(path, block.line), 0) end
  return blocks
end

local function same(expected, got)
  local next_line = got:gmatch("([^\n]*)\n")
  for wanted in expected:gmatch("([^\n]*)\n") do
    local line = next_line()
    local pattern = wanted:match("^~ (.*)$")
    if not line then return false end
    if pattern then
      if not line:find("^" .. pattern .. "$") then return false end
    elseif line ~= wanted then
      return false
    end
  end
  return next_line() == nil
end

local passed, failed = 0, 0
for _, path in ipairs(arg) do
  local found = 0
  local blocks = read_blocks(path)
  for i, block in ipairs(blocks) do
    local following = blocks[i + 1]
    if block.info == "lua" then
      found = found + 1
      local file = os.tmpname()
      -- Blank lines first, so that the line numbers of errors are those of the document.
      tool.write(file, ("\n"):rep(block.line) .. block.text)
      local status, out, err = tool.run(LUA .. " " .. file, nil, SECONDS)
      os.remove(file)
      local problem
      if status == 124 then
        problem = ("did not end within %d s"):format(SECONDS)
      elseif status ~= 0 then
        problem = ("ended with %d"):format(status)
      elseif following and following.info == "output" and not same(following.text, out) then
        problem = "printed something else than the block below it says"
      end
      if problem then
        failed = failed + 1
        io.write(("FAILED %s:%d: the snippet %s\n  it printed:%s\n"):format(path, block.line,
          problem, tool.indent(out)))
        if err ~= "" then
          io.write("  and to stderr:", tool.indent((err:gsub(file:gsub("%p", "%%%0"), path))), "\n")
        end
      else
        passed = passed + 1
      end
    elseif block.info == "output" and (i == 1 or blocks[i - 1].info ~= "lua") then
      failed = failed + 1
      io.write(("FAILED %s:%d: an output block that follows no lua block\n"):format(path,
        block.line))
    end
  end
  io.write(("%s: %d snippets\n"):format(path, found))
end

io.write(("snippets: %d passed, %d failed\n"):format(passed, failed))
os.exit(failed == 0 and passed > 0, true)
