local agenda = require "agenda"
local program = require "spec.support.program"

local variant = os.getenv("AGENDA_VARIANT") or ""
if not program.available() or (variant ~= "" and variant ~= "asan") then return end

-- NB: what a sanitizer preloads is for us; curl and pgrep hang with it before they do anything.
local function output_of(command)
  return program.output("unset LD_PRELOAD; " .. command)
end

local function open(command)
  return assert(io.popen("unset LD_PRELOAD; " .. command))
end


-- A server that runs for one spec.
local server

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function wait_for(condition, what)
  for _ = 1, 400 do
    local value = condition()
    if value then return value end
    os.execute("sleep 0.02")
  end
  error("waited in vain for " .. what)
end

local function start(workers, grace)
  local folder = program.output("mktemp -d"):match("%S+")
  os.execute(("cp examples/embed/handler.lua %s/handler.lua"):format(folder))
  local command = ("LUA_PATH='%s;examples/embed/?.lua' exec %s 0 %d %g %s/handler.lua")
    :format(package.path, program.path("httpd"), workers, grace, folder)
  local pid = program.output(("{ %s; } >%s/out 2>%s/log & echo $!"):format(command, folder, folder))
  server = {folder = folder, pid = pid:match("%d+")}
  server.port = wait_for(function() return read(folder .. "/out"):match(":(%d+)\n") end, "the server")
  server.url = "http://127.0.0.1:" .. server.port
  wait_for(function() return output_of("curl -s " .. server.url .. "/-/ping") ~= "" end, "an answer")
end

local function alive() return program.run("kill -0 " .. server.pid) end

local function log() return read(server.folder .. "/log") end

local function get(path, options)
  return output_of(("curl -s -m 10 %s '%s%s'"):format(options or "", server.url, path))
end

-- The numbers of a page of lines with a name and a number.
local function numbers(path)
  local found = {}
  for name, number in get(path):gmatch("(%a+) (%d+)\n") do found[name] = math.tointeger(tonumber(number)) end
  return found
end

local function stop()
  if not server then return end
  program.run("kill " .. server.pid)
  wait_for(function() return not alive() end, "the end of the server")
  os.execute("rm -r " .. server.folder)
  server = nil
end

describe("the HTTP server in examples/embed", function()
  after_each(stop)

  it("answers #slow", function()
    start(2, 2)
    assert.equal(("x"):rep(1024), get("/hello"))
    assert.equal(1024, #get("/-/ping"))
    assert.equal("abc", get("/echo?q", "-d abc"))
    assert.truthy(get("/echo?q", "-i -d abc"):find("X-Query: q", 1, true))
    assert.equal("404", get("/nowhere", "-o /dev/null -w '%{http_code}'"))
    assert.falsy(get("/hello", "-I"):find("xxx"))
    assert.equal("awake\n", get("/sleep?0.01"))
    assert.equal("400", get("/hello", "-o /dev/null -w '%{http_code}' -H 'X: '$(head -c 20000 /dev/zero | tr '\\0' x)"))
  end)

  it("streams a body from an async generator", function()
    start(1, 2)
    assert.equal("tick 1\ntick 2\ntick 3\n", get("/ticks?3,0.001"))
    assert.equal(3000 * 1024, #get("/large?3000"))
    assert.equal(300 * 1024, #get("/large?300", "--limit-rate 4M"))
    assert.equal(1, numbers("/counts").streams)
  end)

  -- What comes on one connection, to its end.
  local function answers(requests)
    return agenda.run(function()
      local stream <close> = agenda.open_connection("127.0.0.1", tonumber(server.port), {timeout = 5})
      stream:write(requests)
      return agenda.with_timeout(10, stream.read, stream, "a")
    end)
  end

  it("streams to clients of HTTP/1.0 without chunks, to the end of the connection", function()
    start(1, 2)
    local head, body = answers("GET /ticks?2,0.001 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      :match("^(.-\r\n)\r\n(.*)$")
    assert.equal("tick 1\ntick 2\n", body)
    assert.truthy(head:find("Connection: close", 1, true))
    assert.falsy(head:find("chunked"))
  end)

  it("keeps the connection of an HTTP/1.0 client that asks for it, and says so", function()
    start(1, 2)
    local text = answers("GET /echo?1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /echo?2 HTTP/1.0\r\n\r\n")
    assert.truthy(text:find("Connection: keep%-alive\r\n.*X%-Query: 2"))
  end)

  it("gives no body for HEAD, nor the end of one", function()
    start(1, 2)
    local text = answers("HEAD /ticks?2,0.001 HTTP/1.1\r\n\r\nGET /echo HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert.truthy(text:find("^HTTP/1.1 200 OK\r\n[^\r]+\r\n\r\nHTTP/1.1 200 OK\r\n"), text)
  end)

  it("has handlers that call another server", function()
    start(1, 2)
    assert.equal(("x"):rep(1024), get("/fetch?" .. server.port .. "/hello"))
  end)

  it("lives on after an error in a handler, which is in the log with its trace", function()
    start(1, 2)
    assert.equal("500", get("/fail", "-o /dev/null -w '%{http_code}'"))
    assert.truthy(log():find("/fail: .-handler.lua:%d+: something is wrong here\nstack traceback:\n.*handler.lua"))
    assert.equal("so far so good\n", get("/fail-midway"))
    assert.truthy(log():find("and then it went wrong"))
    assert.equal(1024, #get("/hello"))
  end)

  it("cancels a handler whose client goes away #slow", function()
    start(1, 2)
    get("/sleep?100", "-m 0.05")
    wait_for(function() return numbers("/counts").cleaned == 1 end, "the cleanup")
    get("/ticks?1000,0.01", "-m 0.05")
    wait_for(function() return numbers("/counts").streams == 1 end, "the generator's cleanup")
    get("/large?1000000", "-m 0.1 --limit-rate 1M")
    wait_for(function() return numbers("/status").tasks == 1 end, "the end of the tasks")
    assert.falsy(log():find("httpd"))
  end)

  it("serves from a new Lua state after SIGHUP, and finishes old requests #slow", function()
    start(1, 2)
    get("/sleep?0.01")
    local pipe = open(("curl -s -m 10 '%s/sleep?0.5'"):format(server.url))
    os.execute("sleep 0.1")
    os.execute(("echo 'return (require \"serve\")(function() return 200, {}, \"new\" end, ...)' > %s/handler.lua")
      :format(server.folder))
    program.run("kill -HUP " .. server.pid)
    wait_for(function() return get("/hello") == "new" end, "the new handler")
    assert.equal("awake\n", pipe:read("a"))
    pipe:close()
    os.execute(("echo 'this is no Lua' > %s/handler.lua"):format(server.folder))
    program.run("kill -HUP " .. server.pid)
    wait_for(function() return log():find("syntax error") end, "the refusal")
    assert.equal("new", get("/hello"))
  end)

  it("finishes requests after SIGTERM, and cancels those that take too long #slow", function()
    start(2, 0.5)
    local short = open(("curl -s -m 10 '%s/sleep?0.3'"):format(server.url))
    local long = open(("curl -s -m 10 '%s/sleep?100'"):format(server.url))
    os.execute("sleep 0.1")
    program.run("kill " .. server.pid)
    assert.equal("awake\n", short:read("a"))
    assert.equal("Internal Server Error\n", long:read("a"))
    short:close()
    long:close()
    wait_for(function() return not alive() end, "the end of the server")
    os.execute("rm -r " .. server.folder)
    server = nil
  end)
end)

describe("the HTTP server's end", function()
  after_each(stop)

  it("does not wait for a client that keeps the connection of its stream #slow", function()
    start(1, 30)
    agenda.run(function()
      local stream <close> = agenda.open_connection("127.0.0.1", tonumber(server.port), {timeout = 5})
      stream:write("GET /ticks?3,0.1 HTTP/1.1\r\n\r\n")
      stream:readline()
      program.run("kill " .. server.pid)
      assert.truthy(agenda.with_timeout(10, stream.read, stream, "a"):find("\r\n0\r\n\r\n$"))
    end)
    wait_for(function() return not alive() end, "the end of the server")
  end)
end)

describe("the HTTP server under load", function()
  after_each(stop)

  local REQUESTS = variant == "" and 10000 or 1000
  local ROUTES = {"/hello", "/-/ping", "/sleep?0.002", "/ticks?4,0.002", "/large?100", "/echo?x"}

  -- One request; every other client goes away at some moment of its own choice.
  local function client()
    local stream = agenda.open_connection("127.0.0.1", tonumber(server.port))
    stream:write("GET ", ROUTES[math.random(#ROUTES)], " HTTP/1.1\r\nConnection: close\r\n\r\n")
    if math.random() < 0.5 then
      stream:read("a")
    else
      if math.random() < 0.7 then agenda.sleep(math.random() * 0.01) end
      if math.random() < 0.5 then stream:read(10) end
    end
    stream:abort()
  end

  local function load(requests)
    agenda.run(function()
      local left = requests
      agenda.with_taskgroup(function(group)
        for _ = 1, 50 do
          group:spawn(function()
            while left > 0 do
              left = left - 1
              client()
            end
          end)
        end
      end)
    end)
  end

  local function measure()
    local status
    wait_for(function()
      status = numbers("/status")
      return status.tasks == 1
    end, "the end of the tasks")
    local worker = output_of("pgrep -P " .. server.pid):match("%d+")
    status.descriptors = tonumber(output_of(("ls /proc/%s/fd | wc -l"):format(worker)))
    status.resident = tonumber(read(("/proc/%s/status"):format(worker)):match("VmRSS:%s*(%d+)"))
    return status
  end

  it("leaks nothing in thousands of requests with random disconnects #slow", function()
    start(1, 2)
    load(REQUESTS // 3)
    local before = measure()
    load(REQUESTS)
    local after = measure()
    assert.equal(before.descriptors, after.descriptors)
    assert.is_true(after.kilobytes <= before.kilobytes + 8, after.kilobytes - before.kilobytes .. " more KB of Lua's")
    if variant == "" then -- asan keeps what was freed for a while
      assert.is_true(after.resident <= before.resident + 1024, after.resident - before.resident .. " more KB resident")
    end
    assert.falsy(log():find("httpd"))
  end)

  it("leaks nothing under wrk, whose connections break off at its end #slow", function()
    start(1, 2)
    local function hit(path)
      local output = output_of(("wrk -t1 -c50 -d1 '%s%s'"):format(server.url, path))
      assert.falsy(output:find("Non%-2xx"), output)
      assert.truthy(output:find("requests in"), output)
    end
    for _, path in ipairs {"/ticks?5,0.001", "/large?50"} do hit(path) end
    local before = measure()
    for _, path in ipairs {"/ticks?5,0.001", "/large?50"} do hit(path) end
    local after = measure()
    assert.equal(before.descriptors, after.descriptors)
    assert.is_true(after.kilobytes <= before.kilobytes + 8, after.kilobytes - before.kilobytes .. " more KB of Lua's")
    assert.falsy(log():find("httpd"), log())
  end)
end)
