-- Compares what the library exports with its documents: every name of the `agenda` table,
-- every error class, and every method that the C sources register (the luaL_Reg tables
-- whose names end in `methods`; not metamethods, nor what begins with `_`) must be in
-- docs/reference/ and in types/agenda.lua; and what those two give as `agenda.NAME(` must
-- exist.

package.path = "script/?.lua;" .. package.path
local tool = require "lib.tool"
local report = tool.report("names")

local TYPES = "types/agenda.lua"
local REFERENCE = "docs/reference"

local agenda = require "agenda"

-- The reference, all pages in one.
local pages = {}
for _, path in ipairs(tool.find(REFERENCE, "*.md")) do
  pages[#pages + 1] = assert(tool.read(path))
end
local reference = table.concat(pages, "\n")
if #pages == 0 then report:problem("no pages in %s/", REFERENCE) end

local types = tool.read(TYPES) or ""
if not types:find("^%-%-%-@meta") then report:problem("%s does not begin with ---@meta", TYPES) end

-- Modules below agenda are named like members of it, whether they are or not.
local modules = {core = true}
for _, path in ipairs(tool.find("lua/agenda", "*.lua")) do
  modules[path:match("([^/]+)%.lua$")] = true
end
for _, path in ipairs(tool.find("src", "tls*.c")) do
  modules[path:match("([^/]+)%.c$")] = true
end

local exported = {}
for name in pairs(agenda) do
  if type(name) == "string" then exported[name] = true end
end

local function has_word(text, word)
  return text:find("%f[%w_]" .. word .. "%f[^%w_]") ~= nil
end

-- Names that the annotations define in the table `owner`.
local function typed_names(owner)
  local names = {}
  for name in types:gmatch("%f[%w_]" .. owner .. "[.:]([%a_][%w_]*)%s*[=(]") do
    names[name] = true
  end
  -- ---@class agenda, with its fields below it
  local class = "%-%-%-@class " .. owner .. "%f[%s:][^\n]*\n(.-)\n%f[^-\n]"
  for fields in types:gmatch(class) do
    for name in ("\n" .. fields):gmatch("\n%-%-%-@field ([%a_][%w_]*)") do
      names[name] = true
    end
  end
  return names
end

local typed = typed_names("agenda")

for name in pairs(exported) do
  if not has_word(reference, "agenda%." .. name) then
    report:problem("agenda.%s is not in %s/", name, REFERENCE)
  end
  if not typed[name] then report:problem("agenda.%s is not in %s", name, TYPES) end
end
for name in pairs(typed) do
  if not exported[name] and not modules[name] then
    report:problem("%s: agenda.%s does not exist", TYPES, name)
  end
end
local reported = {}
for name in reference:gmatch("%f[%w_.]agenda%.([%a_][%w_]*)%s*[({]") do
  if not exported[name] and not modules[name] and not reported[name] then
    reported[name] = true
    report:problem("%s: agenda.%s does not exist", REFERENCE, name)
  end
end

local classes = 0
for name in pairs(agenda.errors) do
  if type(name) == "string" then
    classes = classes + 1
    if not has_word(reference, name) then
      report:problem("agenda.errors.%s is not in %s/", name, REFERENCE)
    end
    if not has_word(types, name) then
      report:problem("agenda.errors.%s is not in %s", name, TYPES)
    end
  end
end

local methods, seen = 0, {}
for _, path in ipairs(tool.find("src", "*.c")) do
  local code = assert(tool.read(path)):gsub("/%*.-%*/", "")
  for list, body in code:gmatch("luaL_Reg%s+([%w_]+)%s*%[[^%]]*%]%s*=%s*(%b{})") do
    if list:find("methods$") and not list:find("metamethods$") then
      for name in body:gmatch('{%s*"([%a_][%w_]*)"') do
        if not name:find("^_") and not seen[name] then
          seen[name] = true
          methods = methods + 1
          if not reference:find("[:.]" .. name .. "%f[^%w_]") and
            not reference:find("`" .. name .. "[`(]") then
            report:problem("%s: the method %s is not in %s/", path, name, REFERENCE)
          end
          if not types:find("[:.]" .. name .. "%s*%(") and
            not types:find("%-%-%-@field " .. name .. "%f[^%w_]") then
            report:problem("%s: the method %s is not in %s", path, name, TYPES)
          end
        end
      end
    end
  end
end

local count = 0
for _ in pairs(exported) do count = count + 1 end
report:finish("%d names, %d errors, %d methods are in the reference and the types", count,
  classes, methods)
