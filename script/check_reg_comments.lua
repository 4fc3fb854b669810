-- Checks that every function which the C sources register with Lua (an entry of a luaL_Reg
-- table) has a comment that ends right above its definition: `/*** ... */` for LDoc, or
-- `/* ... */`.

package.path = "script/?.lua;" .. package.path
local tool = require "lib.tool"
local report = tool.report("reg_comments")

local sources = {}
for _, path in ipairs(tool.find("src", "*.c")) do
  sources[path] = assert(tool.read(path))
end

-- Where `name` is defined in a text: as a function, or by a macro in capitals that is given
-- the name at the beginning of a line. Declarations (which end with `;`) do not count.
local function find_definition(text, name)
  text = "\n" .. text
  for position, found, after in text:gmatch("\n()[%a][%w_ \t%*]-([%w_]+)%s*%([^()]*%)%s*()") do
    if found == name and text:sub(after, after) == "{" then return position - 1 end
  end
  for position, arguments in text:gmatch("\n()[A-Z][A-Z0-9_]+%(([^\n]*)") do
    if arguments:find("%f[%w_]" .. name .. "%f[^%w_]") then return position - 1 end
  end
  return nil
end

local function has_comment_above(text, position)
  return text:sub(1, position - 1):find("%*/[ \t]*\n$") ~= nil
end

-- The file that defines `name`, the one that registers it first.
local function locate(name, registered_in)
  local position = find_definition(sources[registered_in], name)
  if position then return registered_in, position end
  for path, text in pairs(sources) do
    position = find_definition(text, name)
    if position then return path, position end
  end
  return nil
end

local entries, seen = 0, {}
for path, text in pairs(sources) do
  -- Comments go, their lines stay, so that a commented-out entry does not count.
  local code = text:gsub("/%*.-%*/", function(comment) return (comment:gsub("[^\n]", " ")) end)
  for start, body in code:gmatch("luaL_Reg%s+[%w_]+%s*%[[^%]]*%]%s*=%s*()(%b{})") do
    for lua_name, c_name in body:gmatch('{%s*"([^"]*)"%s*,%s*([%w_]+)%s*}') do
      if c_name ~= "NULL" then
        entries = entries + 1
        local where, position = locate(c_name, path)
        if not where then
          report:problem("%s:%d: '%s' is registered as %s, which is defined nowhere in src/",
            path, tool.line_at(code, start), lua_name, c_name)
        elseif not seen[c_name .. where] then
          seen[c_name .. where] = true
          if not has_comment_above(sources[where], position) then
            report:problem("%s:%d: %s ('%s') has no comment right above it", where,
              tool.line_at(sources[where], position), c_name, lua_name)
          end
        end
      end
    end
  end
end

if entries == 0 then report:problem("no luaL_Reg entry found in src/") end
report:finish("%d registered functions have a comment", entries)
