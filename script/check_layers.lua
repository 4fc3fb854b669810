-- Checks the includes of src/ against script/layers.txt: a file includes project headers
-- of lower rooms only, and <ev.h> only where the room is marked for it.

package.path = "script/?.lua;" .. package.path
local tool = require "lib.tool"
local report = tool.report("layers")

local LAYERS = "script/layers.txt"

-- room -> {rank =, ev =, may = {room = true}}
local function read_layers()
  local rooms = {}
  local number = 0
  for line in assert(tool.read(LAYERS)):gmatch("([^\n]*)\n?") do
    number = number + 1
    local words = {}
    for word in line:gsub("#.*", ""):gmatch("%S+") do
      words[#words + 1] = word
    end
    if #words > 0 then
      local rank, name = tonumber(words[1]), words[2]
      if not rank or not name then
        report:problem("%s:%d: not `rank room [ev] [may:room,...]`", LAYERS, number)
      elseif rooms[name] then
        report:problem("%s:%d: room '%s' is listed twice", LAYERS, number, name)
      else
        local room = {rank = rank, may = {}, line = number}
        rooms[name] = room
        for i = 3, #words do
          local list = words[i]:match("^may:(.+)$")
          if words[i] == "ev" then
            room.ev = true
          elseif list then
            for other in list:gmatch("[^,]+") do room.may[other] = true end
          else
            report:problem("%s:%d: unknown mark '%s'", LAYERS, number, words[i])
          end
        end
      end
    end
  end
  for name, room in pairs(rooms) do
    for other in pairs(room.may) do
      if not rooms[other] then
        report:problem("%s:%d: '%s' may include '%s', which is no room", LAYERS, room.line,
          name, other)
      end
    end
  end
  return rooms
end

local function without_comments(text)
  return (text:gsub("/%*.-%*/", function(comment) return comment:gsub("[^\n]", " ") end)
    :gsub("//[^\n]*", ""))
end

local rooms = read_layers()
local files = tool.lines_of("ls src/*.c src/*.h 2>/dev/null")
local in_tree = {}
for _, path in ipairs(files) do
  in_tree[path:match("[^/]+$")] = true
end

local includes = 0
for _, path in ipairs(files) do
  local name = path:match("([^/]+)%.[ch]$")
  local room = rooms[name]
  if not room then
    report:problem("%s: room '%s' is not in %s", path, name, LAYERS)
  else
    local number = 0
    for line in without_comments(assert(tool.read(path))):gmatch("([^\n]*)\n?") do
      number = number + 1
      local open, header = line:match('^%s*#%s*include%s*([<"])([^>"]+)[>"]')
      local base = header and header:match("[^/]+$")
      if header then includes = includes + 1 end
      if base == "ev.h" or base == "event.h" then
        if not room.ev then
          report:problem("%s:%d: <%s> in a room that is not marked ev", path, number, header)
        end
      elseif header and open == '"' then
        local other_name = header:match("([^/]+)%.h$")
        local other = rooms[other_name]
        if not in_tree[header] then
          report:problem("%s:%d: \"%s\" is not in src/", path, number, header)
        elseif other and other_name ~= name and other.rank >= room.rank
          and not room.may[other_name] then
          report:problem("%s:%d: '%s' (rank %g) includes '%s' (rank %g)", path, number,
            name, room.rank, other_name, other.rank)
        end
      elseif header and in_tree[header] then
        report:problem("%s:%d: <%s> is a header of ours; write \"%s\"", path, number,
          header, header)
      end
    end
  end
end

local has_file = {}
for name in pairs(in_tree) do has_file[name:match("^(.+)%.[ch]$")] = true end
for name, room in pairs(rooms) do
  if not has_file[name] then
    report:problem("%s:%d: room '%s' has no file in src/", LAYERS, room.line, name)
  end
end

if #files == 0 then report:problem("no sources in src/") end
report:finish("%d files, %d includes in order", #files, includes)
