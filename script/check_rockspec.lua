-- Compares the rockspec's file list with the tree: every module of lua/ is installed, and
-- nothing that is not there. With --fix the list is written anew.

package.path = "script/?.lua;" .. package.path
local tool = require "lib.tool"
local report = tool.report("rockspec")

local ROCKSPEC = "rockspec/agenda-scm-1.rockspec"
local LIB = "build/rock/agenda/"

-- Module name -> file: lua/agenda/itertools.lua is agenda.itertools, an init.lua its folder.
local in_tree, names = {}, {}
for _, path in ipairs(tool.find("lua", "*.lua")) do
  local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  in_tree[name] = path
  names[#names + 1] = name
end
table.sort(names)

-- The C modules that the Makefile makes.
local libraries = {["agenda.core"] = LIB .. "core.so"}
if #tool.find("src", "tls*.c") > 0 then libraries["agenda.tls"] = LIB .. "tls.so" end

if arg[1] == "--fix" then
  local lines = {}
  for _, name in ipairs(names) do
    lines[#lines + 1] = ('      ["%s"] = "%s",'):format(name, in_tree[name])
  end
  local list = "    lua = {\n" .. table.concat(lines, "\n") .. "\n    },"
  local text = assert(tool.read(ROCKSPEC))
  local from, to = text:find("    lua = %b{},")
  assert(from, "no list `lua = {...},` in the rockspec")
  tool.write(ROCKSPEC, text:sub(1, from - 1) .. list .. text:sub(to + 1))
end

local spec = {}
local chunk = assert(loadfile(ROCKSPEC, "t", spec))
chunk()

local version = ROCKSPEC:match("agenda%-(.-)%.rockspec$")
if spec.package ~= "agenda" then report:problem("its package is not agenda") end
if spec.version ~= version then
  report:problem("its version is %s, its name says %s", spec.version, version)
end

local function compare(listed, there, what)
  for name, path in pairs(listed) do
    if not there[name] then
      report:problem("lists %s = %s, which is not in the tree", name, path)
    elseif there[name] ~= path then
      report:problem("lists %s = %s, but it is %s", name, path, there[name])
    end
  end
  for name, path in pairs(there) do
    if not listed[name] then
      report:problem("does not list the %s %s (%s); see script/check_rockspec.lua --fix", what,
        name, path)
    end
  end
end

compare(spec.build.install.lua, in_tree, "module")
compare(spec.build.install.lib, libraries, "C module")
for _, directory in ipairs(spec.build.copy_directories or {}) do
  if #tool.find(directory, "*") == 0 then
    report:problem("copies %s/, which is not in the tree", directory)
  end
end

report:finish("%d modules are listed", #names + 1)
