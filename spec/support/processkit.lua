--- What the specs of child processes look up in /proc.
local lfs = require "lfs"

local processkit = {}

-- The state (a letter) and the parent's number, or nil.
local function look_up(pid)
  local file <close> = io.open(("/proc/%s/stat"):format(pid))
  local text = file and file:read("a")
  if text then return text:match("^.*%) (%a) (%d+)") end
end

--- Whether there is a process with that number, be it a zombie.
function processkit.exists(pid)
  return look_up(pid) ~= nil
end

--- How many descriptors this process has open.
function processkit.descriptors()
  local count = 0
  for name in lfs.dir("/proc/self/fd") do
    if name:find("^%d+$") then count = count + 1 end
  end
  return count
end

--- How many children of this process have ended that nobody has waited for.
function processkit.zombies()
  local me, count = lfs.symlinkattributes("/proc/self", "target"), 0
  for name in lfs.dir("/proc") do
    local state, parent = nil, nil
    if name:find("^%d+$") then state, parent = look_up(name) end
    if state == "Z" and parent == me then count = count + 1 end
  end
  return count
end

return processkit
