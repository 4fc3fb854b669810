--- A certificate authority in a folder of its own, made with the `openssl` command.
--
--     local ca = certificates.new()
--     local server = ca:issue{name = "localhost", ip = "127.0.0.1"}   -- server.cert, server.key
--     ca:remove()
--
-- Keys are of the curve P-256, which is quick to make. One key serves for all certificates but
-- those that ask for one (`own_key`).

local certificates = {}

local Authority = {}
Authority.__index = Authority

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read("a")
  if not pipe:close() then error(command .. "\n" .. output, 0) end
  return output
end

local function write(path, ...)
  local file = assert(io.open(path, "w"))
  assert(file:write(...))
  file:close()
  return path
end

local NEW_KEY = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out %s"

--- A path in the authority's folder.
function Authority:path(name)
  return self.folder .. "/" .. name
end

--- A file in the authority's folder; returns its path.
function Authority:write(name, ...)
  return write(self:path(name), ...)
end

--- A certificate.
-- @tparam table options `name`: DNS name; `ip`: address; `days`: until it ends, negative for one
-- that has; `self_signed`: boolean; `own_key`: boolean; `ca`: whether it may sign others;
-- `by`: who signs it, the authority itself by default
-- @treturn table `cert` and `key`: paths
function Authority:issue(options)
  self.count = self.count + 1
  local base = self:path("cert" .. self.count)
  local cert, key = base .. ".pem", options.own_key and base .. ".key" or self.shared_key
  if options.own_key then run(NEW_KEY:format(key)) end
  local names = {}
  if options.name then names[#names + 1] = "DNS:" .. options.name end
  if options.ip then names[#names + 1] = "IP:" .. options.ip end
  local extensions = {options.ca and "basicConstraints=critical,CA:TRUE" or "basicConstraints=CA:FALSE"}
  if #names > 0 then extensions[2] = "subjectAltName=" .. table.concat(names, ",") end
  local extfile = write(base .. ".ext", table.concat(extensions, "\n"), "\n")
  local subject = ("/CN=%s"):format(options.subject or options.name or options.ip or "nobody")
  local by = options.by or self
  local signer = options.self_signed and ("-signkey %s"):format(key)
    or ("-CA %s -CAkey %s -set_serial %d"):format(by.cert, by.key, self.count)
  run(("openssl req -new -key %s -subj '%s' | openssl x509 -req %s -days %d -extfile %s -out %s"):format(
    key, subject, signer, options.days or 2, extfile, cert))
  return {cert = cert, key = key}
end

--- Several files after each other in a new one; returns its path.
function Authority:bundle(name, ...)
  local parts = {}
  for i, path in ipairs {...} do
    local file <close> = assert(io.open(path))
    parts[i] = file:read("a")
  end
  return write(self:path(name), table.concat(parts))
end

function Authority:remove()
  run(("rm -rf '%s'"):format(self.folder))
end

--- A new authority in a new folder.
function certificates.new(subject)
  local folder = run("mktemp -d"):gsub("\n", "")
  local self = setmetatable({folder = folder, count = 0}, Authority)
  self.key, self.cert = self:path("ca.key"), self:path("ca.pem")
  self.shared_key = self:path("shared.key")
  run(NEW_KEY:format(self.key) .. " && " .. NEW_KEY:format(self.shared_key))
  run(("openssl req -x509 -new -key %s -subj '/CN=%s' -days 30 -out %s"):format(self.key,
    subject or "agenda test CA", self.cert))
  return self
end

return certificates
