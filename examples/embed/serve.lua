-- What runs around a handler in httpd's workers.
--
-- A handler is a function. It gets a request, a table of `method`, `path`, `query`, `headers` (by
-- names in lower case) and `body`, and returns a status, a table of headers or nil, and a body:
-- nil, a string, or anything that agenda.aiter takes, which is streamed. A file for httpd is called
-- with the server's functions and ends with `return serve(handler, ...)`.
local agenda = require "agenda"

-- Many handlers never look at the headers.
local lazy = {__index = function(request, key)
  if key ~= "headers" then return nil end
  local headers = {}
  for name, value in request.raw:gmatch("(%Z*)%z(%Z*)%z") do
    headers[name:lower()] = value
  end
  request.headers = headers
  return headers
end}

return function(handler, server)
  local answer, write = server.answer, server.write

  -- The task of a request.
  local function handle(connection, method, path, query, raw, content)
    local status, headers, body = handler(setmetatable({
      method = method, path = path, query = query, raw = raw, body = content,
    }, lazy))
    if body == nil or type(body) == "string" then
      answer(connection, status, headers, body or "")
    else
      answer(connection, status, headers)
      for piece in agenda.aiter(body) do write(connection, piece) end
    end
  end

  return handle, agenda.traceback
end
