--- The leak gate: a spec leaves nothing behind.
--
-- `install()` hooks into busted. Before each spec, ahead of every `before_each`, the
-- live-object counters of agenda.core and the open file descriptors are noted; after it,
-- when every `after_each` and `finally` is through, they must be what they were. If they
-- are not, the spec fails and the message names what is left.
--
-- What a describe block keeps in a local between `before_each` and `after_each` counts
-- too: set such a local to nil in `after_each`. What `setup` makes does not count.

local lfs = require "lfs"

local leaks = {}

-- Objects of agenda are finalized in two stages, what they held after them.
local MAX_COLLECTIONS = 6

local function live_objects()
  -- NB: each spec file gets its modules anew from busted, so ask for it each time.
  -- All of agenda is loaded, so that what it makes once is there from the start.
  local core = require "agenda.core"
  require "agenda"
  local counters = {}
  for name, count in pairs(core.live()) do
    counters[name] = count
  end
  return counters
end

local function open_descriptors()
  local targets = {}
  -- NB: the listing itself has a descriptor open, which is gone when it is asked about.
  for name in lfs.dir("/proc/self/fd") do
    local fd = math.tointeger(tonumber(name))
    local target = fd and lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    if target and target ~= ("/proc/%d/fd"):format(leaks.pid) then
      targets[fd] = target
    end
  end
  return targets
end

--- What there is now.
-- @treturn table `live` (name to count) and `fds` (descriptor to what it is)
function leaks.snapshot()
  return {live = live_objects(), fds = open_descriptors()}
end

--- What there is more of, as lines of text; an empty list if there is nothing.
-- @tparam table before a snapshot
-- @tparam table after a snapshot
function leaks.compare(before, after)
  local found = {}
  for name, count in pairs(after.live) do
    local earlier = before.live[name] or 0
    if count > earlier then
      found[#found + 1] = ("%s: %d more (%d, was %d)"):format(name, count - earlier, count, earlier)
    end
  end
  for fd, target in pairs(after.fds) do
    if not before.fds[fd] then
      found[#found + 1] = ("descriptor %d: %s"):format(fd, target)
    end
  end
  table.sort(found)
  return found
end

-- A snapshot after enough collections for it not to have more than `before` has; without
-- `before`, for it not to shrink any further.
local function settled_snapshot(before)
  local last
  for _ = 1, MAX_COLLECTIONS do
    collectgarbage()
    collectgarbage()
    local now = leaks.snapshot()
    if before and #leaks.compare(before, now) == 0 then return now end
    if not before and last and #leaks.compare(now, last) == 0 then return now end
    last = now
  end
  return last
end

--- Puts the gate round every spec of this run of busted.
function leaks.install()
  local busted = require "busted"
  leaks.pid = tonumber(lfs.symlinkattributes("/proc/self", "target"))

  local settled       -- the state after the last spec; nil if it is not known
  local before        -- the state before this one
  local status        -- how this one ended

  busted.before_each(function()
    status = nil
    -- Collecting is slow. When nothing happened since the last spec, its end will do.
    local now = settled and leaks.snapshot()
    if now and #leaks.compare(settled, now) == 0 and #leaks.compare(now, settled) == 0 then
      before = now
    else
      before = settled_snapshot()
    end
    settled = nil
  end)

  -- busted keeps what is given to `finally` in a local that is alive until after the last
  -- `after_each`, and with it everything which that function refers to. So it is called
  -- from here instead, at the same moment, and dropped.
  busted.subscribe({"test", "start"}, function(element)
    local body = element.run
    if type(body) ~= "function" or element.descriptor ~= "it" then return nil, true end
    local callback
    element.env = element.env or {}
    element.env.finally = function(f) callback = f end

    element.run = function(...)
      element.run = body
      local completed = false
      local _ <close> = setmetatable({}, {__close = function()
        element.env.finally = nil
        local f = callback
        callback = nil
        if not f then return end
        if completed then
          f()
        else
          -- The body's error is the one to report; this one is only mentioned.
          local ok, err = pcall(f)
          if not ok then io.stderr:write("also in finally: ", tostring(err), "\n") end
        end
      end})
      body(...)
      completed = true
    end
    return nil, true
  end)

  busted.subscribe({"test", "end"}, function(_, _, how)
    status = how
    return nil, true
  end)

  busted.after_each(function()
    -- A spec that failed is reported already, and may well leave something.
    if status ~= "success" or not before then return end
    local after = leaks.snapshot()
    if #leaks.compare(before, after) > 0 then
      after = settled_snapshot(before)
    end
    local found = leaks.compare(before, after)
    before = nil
    if #found > 0 then
      error("the spec leaks:\n  " .. table.concat(found, "\n  "), 0)
    end
    settled = after
  end)
end

return leaks
