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
  local function on_proxy(proxy)
    return on_collected(getmetatable(proxy).body, proxy)
  end

  --- Gives a body a new sentinel.
  function sentinel.arm(body)
    local proxy = newproxy(true)
    local metatable = getmetatable(proxy)
    metatable.__gc, metatable.body = on_proxy, body
    body._sentinel = proxy
  end
else
  local Sentinel = {__gc = function(self) return on_collected(self.body, self) end}

  function sentinel.arm(body)
    body._sentinel = setmetatable({body = body}, Sentinel)
  end
end

return sentinel
