--- `tee`: one source for several consumers.
--
-- Items form a linked list, and each branch holds on to the node it is at, so what all branches
-- have passed is collected. A node is filled in by the branch that comes to it first; others that
-- come meanwhile wait, which needs a host.
-- @module agenda.portable.itertools.tee

local asyncgen = require "agenda.portable.asyncgen".asyncgen
local frame = require "agenda.portable.frame"
local host = require "agenda.portable.host"
local iterate = require "agenda.portable.iterate"
local source = require "agenda.portable.itertools.source"

local pack, unpack = host.pack, host.unpack

local tee = {}

-- Fills in the node. The source is closed where it ends.
local function pull(shared, node)
  if not shared.iterator then
    local closing
    shared.iterator, shared.state, shared.control, closing = iterate.aiter(shared.x)
    source.add(shared.owner, closing, shared.x)
  end
  local item = pack(shared.iterator(shared.state, shared.control))
  shared.control = item[1]
  if shared.control == nil then
    source.close(shared.owner)
    node.ended = true
  else
    node.item, node.next = item, {}
  end
end

local function fill(shared, node)
  if shared.pulling then
    source.check_host("tee", "sleep", "now")
    local event = host.calls.event()
    shared.waiting[#shared.waiting + 1] = event
    return event:wait()
  end
  shared.pulling = true
  local ok, err = pcall(pull, shared, node)
  shared.pulling = false
  if not ok then node.failed, node.err = true, err end
  local waiting = shared.waiting
  shared.waiting = {}
  for _, event in ipairs(waiting) do event:tell() end
end

-- The last branch to go closes the source.
local Branch = {__close = function(self, err)
  local shared = self.shared
  shared.open = shared.open - 1
  if shared.open == 0 then source.close(shared.owner, err) end
end}

local function branch_loop(shared, node)
  while true do
    while not (node.item or node.ended or node.failed) do fill(shared, node) end
    if node.failed then error(node.err, 0) end
    if node.ended then return end
    local item = node.item
    node = node.next
    frame.yield(unpack(item, 1, item.n))
  end
end

-- NB: the node is passed in a table, which is emptied: arguments stay on the stack, and would hold
-- on to all the items.
local function from_start(shared, start)
  local node = start[1]
  start[1] = nil
  return branch_loop(shared, node)
end

local make_branch = asyncgen("tee", function(shared, start)
  return iterate.with_closing(setmetatable({shared = shared}, Branch), from_start, shared, start)
end)

--- n async generators, each of all the items. What one has not taken yet is kept for it. The
-- source is closed when the last of them is.
-- @return n async generators, and nothing else
function tee.tee(n, x)
  n = source.check_count(n, 0, 1, "tee")
  source.check_iterable(x, 2, "tee")
  local shared = {x = x, open = n, owner = source.owner {x, n = 1}, pulling = false, waiting = {}}
  local node, branches = {}, {}
  for i = 1, n do branches[i] = (make_branch(shared, {node})) end
  return unpack(branches, 1, n)
end

return tee
