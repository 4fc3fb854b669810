--- Sentinels: how a body learns that it is collected.
--
-- A body is collected when its sentinel is: an object that only the body holds, made when the body
-- was first suspended, so that it is younger than what the body had opened by then, and finalized
-- before. Tables of Lua 5.1 have no finalizers; there it is a userdata.
-- @module agenda.portable.sentinel

local sentinel = {}

local function on_collected(body, its_sentinel)
  if body._sentinel ~= its_sentinel then return end
  body._sentinel = false
  if body._status == "waiting" and body._caller then
    return sentinel.arm(body) -- closed by the outermost body of its chain, collected with it
  end
  if body._status ~= "finished" then
    body._kind.collected(body)
  end
end

local newproxy = rawget(_G, "newproxy")

if newproxy then
  -- One metatable for all; a proxy holds its body by its environment.
  local setfenv, getfenv = debug.setfenv, debug.getfenv -- luacheck: ignore 143
  local model = newproxy(true)
  getmetatable(model).__gc = function(proxy)
    local body = getfenv(proxy)
    if rawget(body, "_kind") then
      return on_collected(body, proxy)
    end
  end

  --- Gives a body a new sentinel.
  function sentinel.arm(body)
    body._sentinel = setfenv(newproxy(model), body)
  end
else
  local Sentinel = {__gc = function(self) return on_collected(self.body, self) end}

  function sentinel.arm(body)
    body._sentinel = setmetatable({body = body}, Sentinel)
  end
end

return sentinel
