--- `tee`: one source for several consumers.
--
-- Items form a linked list, and each branch holds on to the node it is at, so what all branches
-- have passed is collected. A node is filled in by a task of its own: a branch whose wait is
-- cancelled takes nothing from the others.
-- @module agenda.itertools.tee

local core = require "agenda.core"
local iterate = require "agenda.iterate"
local crew = require "agenda.itertools.crew"
local source = require "agenda.itertools.source"

local asyncgen, yield = core.asyncgen, core.yield
local pack, unpack = table.pack, table.unpack

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

local function wake(shared, node)
  local waiters = node.waiters
  shared.pulling, node.waiters = nil, nil
  for _, waiter in ipairs(waiters or {}) do
    if not waiter:done() then waiter:set_result() end
  end
end

local function start(shared, node)
  local group = crew.new()
  shared.pulling = group
  group:spawn("tee", function(_, err)
    node.failed, node.err = true, err
    wake(shared, node)
  end, function()
    pull(shared, node)
    wake(shared, node)
  end)
  -- Cancelled before it began, it has told nobody.
  for task in pairs(group.tasks) do
    task:add_done_callback(function()
      if not (node.item or node.ended or node.failed) then
        node.failed, node.err = true, group.lost or core.errors.CancelledError()
        wake(shared, node)
      end
    end)
  end
end

-- Waits until the node is filled in.
local function fill(shared, node)
  if not shared.pulling then start(shared, node) end
  local waiter = core.future()
  node.waiters = node.waiters or {}
  table.insert(node.waiters, waiter)
  core.await(waiter)
end

local branch = {__name = "agenda.itertools.branch"}

-- The last branch to go closes the source.
function branch:__close(err)
  local shared = self.shared
  shared.open = shared.open - 1
  if shared.open > 0 then return end
  local _ <close> = setmetatable({}, {__close = function() source.close(shared.owner, err) end})
  local _ <close> = shared.pulling
end

-- NB: the node is passed in a table, which the body empties: its arguments stay on its stack, and
-- would hold on to all the items.
local make_branch = asyncgen("tee", function(shared, start_node)
  local _ <close> = setmetatable({shared = shared}, branch)
  local node = start_node[1]
  start_node[1] = nil
  while true do
    while not (node.item or node.ended or node.failed) do fill(shared, node) end
    if node.failed then error(node.err, 0) end
    if node.ended then return end
    local item = node.item
    node = node.next
    yield(unpack(item, 1, item.n))
  end
end)

local tee = {}

--- n async generators, each of all the items. What one has not taken yet is kept for it. The
-- source is closed when the last of them is.
-- @function tee
-- @tparam integer n 0 or more
-- @param x what `agenda.aiter` takes as one value
-- @return n async generators, and nothing else
function tee.tee(n, x)
  n = source.check_count(n, 0, 1, "tee")
  source.check_iterable(x, 2, "tee")
  local shared = {x = x, open = n, owner = source.owner {x, n = 1}}
  local node, branches = {}, {}
  for i = 1, n do branches[i] = (make_branch(shared, {node})) end
  return unpack(branches, 1, n)
end

return tee
