-- What may go wrong with peers, descriptors and signals: each ends in a clear error, never in a hang,
-- a crash or a busy loop.
local agenda = require "agenda"
local certificates = require "spec.support.certificates"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local netkit = require "spec.support.netkit"
local script = require "spec.support.script"
local streamkit = require "spec.support.streamkit"
local errors, fails = agenda.errors, loopkit.fails
local fails_with = netkit.fails_with

-- Under a checker memory and times are the checker's.
local checked = (os.getenv("AGENDA_VARIANT") or "") ~= ""

-- A server whose handlers do f(stream), and a connection to it.
local function connected(f)
  local server = agenda.start_server(f, "127.0.0.1", 0)
  return server, agenda.open_connection(server:address())
end

local function cancel_others()
  for _, task in ipairs(agenda.all_tasks()) do
    if task ~= agenda.current_task() then task:cancel() end
  end
end

-- KiB of this process that are in memory.
local function resident()
  local file <close> = assert(io.open("/proc/self/status"))
  return tonumber(file:read("a"):match("VmRSS:%s*(%d+)"))
end

-- Calls f() and gives how many KiB more are in use after it.
local function growth(f)
  collectgarbage()
  local count, pages = collectgarbage("count"), resident()
  f()
  collectgarbage()
  return collectgarbage("count") - count, resident() - pages
end

describe("a peer that resets the connection", function()
  -- What is closed with input unread is reset.
  local function rude(text)
    return function(stream)
      stream:write(text)
      stream:drain()
      agenda.sleep(0.005)
      stream:abort()
    end
  end

  it("is ECONNRESET, which names it, after the data that came before", function()
    agenda.run(function()
      local server <close>, stream = connected(rude("data\n"))
      stream:write("unread")
      assert.equal("data", stream:readline())
      local err = fails_with("ECONNRESET", stream.read, stream)
      assert.equal("read", err.syscall)
      assert.truthy(err.message:find("127.0.0.1:" .. select(2, server:address()), 1, true))
      stream:abort()
    end)
  end)

  it("ends a readexactly, a line and a loop over lines with that error", function()
    for _, read in ipairs {
      function(s) return s:readexactly(100) end,
      function(s) return s:readuntil("END") end,
      function(s) for _ in s:lines() do end end,
      function(s) return s:read("a") end,
    } do
      agenda.run(function()
        local _ <close>, stream = connected(rude("data\n"))
        stream:write("unread")
        fails_with("ECONNRESET", read, stream)
        stream:abort()
      end)
    end
  end)

  it("is EPIPE for who writes, time and again, and no signal", function()
    agenda.run(function()
      local _ <close>, stream = connected(rude(""))
      stream:write("unread")
      pcall(stream.read, stream)
      for _ = 1, 3 do
        fails_with("EPIPE", stream.write, stream, "more")
      end
      fails_with("EPIPE", stream.drain, stream)
      stream:abort()
    end)
  end)

  it("ends a handler, and the server serves others", function()
    local contexts = loopkit.reports(function()
      local server <close> = agenda.start_server(netkit.echo, "127.0.0.1", 0)
      for _ = 1, 5 do
        local stream = agenda.open_connection(server:address())
        stream:write(("x"):rep(100), "\n")
        agenda.sleep(0.002)
        stream:abort() -- with the echo unread
      end
      local stream <close> = agenda.open_connection(server:address())
      stream:write("hello\n")
      assert.equal("hello", stream:readline())
      stream:close()
      netkit.eventually(function() return server:connections() == 0 end)
    end)
    for _, context in ipairs(contexts) do -- a handler that reads on has its error told
      assert.is_true(errors.OSError:is(context.exception))
    end
  end)
end)

describe("a half-open peer", function()
  it("that vanished is told of by a later write", function()
    agenda.run(function()
      local stream
      local server <close> = agenda.start_server(function(s)
        stream = s
        agenda.sleep(math.huge)
      end, "127.0.0.1", 0)
      local _, port = server:address()
      local peer <close> = agenda.subprocess {
        "env", "-u", "LD_PRELOAD", "nc", "127.0.0.1", tostring(port),
        stdin = "pipe", stdout = "null",
      }
      netkit.eventually(function() return stream end)
      peer:kill()
      peer:wait()
      assert.is_nil(stream:read())
      local err
      netkit.eventually(function() -- the first one makes the system of the peer answer with a reset
        local ok, failure = pcall(stream.write, stream, "anybody there?")
        err = failure
        return not ok
      end)
      assert.is_true(errors.OSError:is(err))
      assert.equal("EPIPE", err.code)
      cancel_others()
    end)
  end)
end)

describe("a peer that never reads", function()
  local AMOUNT, PIECE = 64 * 1024, 16 -- KiB

  -- Writes to the stream as long as it takes some; gives the KiB that it took.
  local function fill(stream)
    local piece, taken = ("x"):rep(PIECE * 1024), 0
    pcall(agenda.with_timeout, 0.05, function()
      while taken < AMOUNT do
        stream:write(piece)
        taken = taken + PIECE
      end
    end)
    return taken
  end

  local function check(stream)
    local taken
    local heap, memory = growth(function() taken = fill(stream) end)
    assert.is_true(taken < AMOUNT, "it was read")
    assert.is_true(heap < 512, heap)
    if not checked then assert.is_true(memory < 8 * 1024, memory) end
    fails(errors.TimeoutError, agenda.with_timeout, 0.005, stream.drain, stream)
    local cpu = os.clock()
    agenda.sleep(0.03)
    if not checked then assert.is_true(os.clock() - cpu < 0.02, "a busy loop") end
  end

  it("costs no more than the high-water mark", function()
    agenda.run(function()
      local server <close>, stream = connected(function() agenda.sleep(10) end)
      check(stream)
      stream:abort()
      cancel_others()
      server:close()
    end)
  end)

  it("neither with a pipe", function()
    streamkit.with(function(_, writing) check(writing) end, nil, "pipe")
  end)

  it("neither with TLS #slow", function()
    local ca = certificates.new()
    local good = ca:issue {name = "localhost"}
    agenda.run(function()
      local server <close> = agenda.start_server(function() agenda.sleep(10) end, "127.0.0.1", 0,
        {tls = agenda.tls.context {cert = good.cert, key = good.key}})
      local stream = agenda.open_connection("127.0.0.1", select(2, server:address()),
        {tls = agenda.tls.context {ca = ca.cert}, server_name = "localhost"})
      check(stream)
      stream:abort()
      cancel_others()
      server:close()
    end)
    ca:remove()
  end)

  it("holds up who writes, not others", function()
    agenda.run(function()
      local server <close> = agenda.start_server(function(stream)
        if stream:readline() == "mute" then
          local piece = ("x"):rep(65536)
          while true do stream:write(piece) end
        end
        stream:write("answer\n")
      end, "127.0.0.1", 0)
      local mute = agenda.open_connection(server:address())
      mute:write("mute\n")
      agenda.sleep(0.02)
      local stream <close> = agenda.open_connection(server:address())
      stream:write("hello\n")
      assert.equal("answer", stream:readline())
      server:abort_clients()
      mute:abort()
    end)
  end)
end)

describe("a line that does not end", function()
  it("is LimitOverrunError, and costs no more than the limit", function()
    agenda.run(function()
      local server <close>, stream = connected(function(s)
        local piece = ("x"):rep(65536)
        pcall(function() while true do s:write(piece) end end)
      end)
      local heap, memory = growth(function()
        for _ = 1, 3 do
          fails(errors.LimitOverrunError, stream.readline, stream)
          agenda.sleep(0.01)
        end
      end)
      assert.is_true(heap < 512, heap)
      if not checked then assert.is_true(memory < 8 * 1024, memory) end
      assert.equal(("x"):rep(10), stream:readexactly(10))
      stream:abort()
      server:abort_clients()
    end)
  end)
end)

-- ----- in a process of its own -----------------------------------------------------------------

describe("SIGPIPE", function()
  it("does not end the process, though it is left at its default", function()
    local result = script.run([[
      io.stdout:setvbuf "no"
      local core = require "agenda.core"
      local function gone(stream, data)
        for _ = 1, 3 do
          local ok, err = pcall(stream.write, stream, data or "x")
          print(ok, err.code)
        end
        stream:abort()
      end
      agenda.run(function()
        for _, data in ipairs {"x", {"x", "y"}} do
          local near, far = core.socketpair()
          core.stream(far, {}):abort()
          gone(core.stream(near, {name = "near"}), data)
        end
        local reading, writing = core.pipe()
        core.stream(reading, {writable = false}):abort()
        gone(core.stream(writing, {name = "writer", readable = false}))
        local child <close> = agenda.subprocess {"true", stdin = "pipe"}
        child:wait()
        gone(child.stdin)
      end)
      kill "PIPE" -- another one has its effect
      print "not reached"
    ]])
    assert.equal(("false\tEPIPE\n"):rep(12), result.stdout)
    assert.equal(128 + 13, result.code, result.stderr)
  end)
end)

describe("without a descriptor left", function()
  it("every call says so, and goes on when there are some again", function()
    local result = script.run([[
      local path = os.tmpname()
      local function try(name, f, ...)
        local ok, err = pcall(f, ...)
        print(name, ok or (err.errno == 24 and "EMFILE") or tostring(err))
      end
      agenda.run(function()
        local server <close> = agenda.start_server(function(s) s:read() end, "127.0.0.1", 0)
        local _, port = server:address()
        agenda.to_thread(function() end)
        local function all()
          try("open_connection", function() agenda.open_connection("127.0.0.1", port):abort() end)
          try("start_server", function() agenda.start_server(print, "127.0.0.1", 0):close() end)
          try("datagram", function() agenda.datagram {local_addr = {"127.0.0.1", 0}}:close() end)
          try("subprocess", function() agenda.subprocess {"true", stdout = "pipe"}:wait() end)
          try("open", function() agenda.open(path):close() end)
          try("read_file", agenda.read_file, path)
          try("write_file", agenda.write_file, path, "x")
          try("getaddrinfo", agenda.getaddrinfo, "localhost", 80)
          try("start_unix_server", function()
            agenda.start_unix_server(print, path .. ".socket"):close()
          end)
        end
        local files = {}
        repeat
          local file = io.open("/dev/null")
          files[#files + 1] = file
        until not file
        all()
        for _, file in ipairs(files) do file:close() end
        all()
        agenda.sleep(0.15)
      end)
      os.remove(path)
    ]], {env = "ulimit -n 64;"})
    assert.equal(0, result.code, result.stderr)
    local names = {"open_connection", "start_server", "datagram", "subprocess", "open", "read_file",
      "write_file", "getaddrinfo", "start_unix_server"}
    local wanted = table.concat(names, "\tEMFILE\n") .. "\tEMFILE\n"
      .. table.concat(names, "\ttrue\n") .. "\ttrue\n"
    assert.equal(wanted, result.stdout)
  end)

  it("a server tells of every time that this happens, once, and does not loop #slow", function()
    local result = script.run([[
      agenda.run(function()
        local loop, reports = agenda.get_running_loop(), 0
        loop:set_exception_handler(function() reports = reports + 1 end)
        local server <close> = agenda.start_server(function(s)
          for line in s:lines() do s:write(line, "\n") end
        end, "127.0.0.1", 0)
        for round = 1, 2 do
          local files = {}
          repeat
            local file = io.open("/dev/null")
            files[#files + 1] = file
          until not file
          table.remove(files):close()
          local client = agenda.open_connection(server:address())
          client:write("hello\n")
          local cpu = os.clock()
          agenda.sleep(0.25)
          print(round, reports, server:connections(), os.clock() - cpu < 0.1)
          for _, file in ipairs(files) do file:close() end
          print(client:readline())
          client:close()
          client:wait_closed()
          while server:connections() > 0 do agenda.sleep(0.01) end
        end
      end)
    ]], {env = "ulimit -n 64;"})
    assert.equal(0, result.code, result.stderr)
    assert.equal("1\t1\t0\ttrue\nhello\n2\t2\t0\ttrue\nhello\n", result.stdout)
  end)

  it("a run cannot begin, and says so", function()
    local result = script.run([[
      local files = {}
      repeat
        local file = io.open("/dev/null")
        files[#files + 1] = file
      until not file
      local ok, err = pcall(agenda.run, function() end)
      print(ok, err and (err.code or err.message))
      for _, file in ipairs(files) do file:close() end
      print(agenda.run(function() agenda.sleep(0.001) return "fine" end))
    ]], {env = "ulimit -n 32;"})
    assert.equal(0, result.code, result.stderr)
    assert.truthy(result.stdout:find("\nfine\n$"), result.stdout)
    assert.truthy(result.stdout:find("^true") or result.stdout:find("EMFILE", 1, true), result.stdout)
  end)
end)

describe("signals", function()
  -- What each of these does is the same with and without signals.
  local WORK = [[
    local SIZE = 2 * 1024 * 1024
    local function checksum(text)
      local sum = 0
      for i = 1, #text, 997 do sum = (sum * 31 + text:byte(i)) % 1000000007 end
      return #text .. ":" .. sum
    end
    local parts = {}
    for i = 1, SIZE // 16 do parts[i] = ("%015d\n"):format(i) end
    local DATA = table.concat(parts)
    local SUM = checksum(DATA)

    local work = {}
    local function through(open)
      local stream = open()
      local got
      agenda.with_taskgroup(function(tg)
        tg:spawn(function() stream:write(DATA) stream:write_eof() end)
        tg:spawn(function() got = stream:read("a") end)
      end)
      stream:close()
      stream:wait_closed()
      assert(checksum(got) == SUM)
    end
    local function echo(stream)
      for chunk in stream:chunks() do stream:write(chunk) end
    end
    function work.tcp()
      local server <close> = agenda.start_server(echo, "127.0.0.1", 0)
      through(function() return agenda.open_connection(server:address()) end)
    end
    function work.connections()
      local server <close> = agenda.start_server(echo, "127.0.0.1", 0)
      for i = 1, 100 do
        local stream <close> = agenda.open_connection("localhost", select(2, server:address()))
        stream:write(i, "\n")
        assert(stream:readline() == tostring(i))
      end
    end
    function work.unix()
      local path = os.tmpname()
      os.remove(path)
      local server <close> = agenda.start_unix_server(echo, path)
      through(function() return agenda.open_unix_connection(path) end)
    end
    function work.children()
      for i = 1, 20 do
        local child <close> = agenda.subprocess {"sh", "-c", "exit " .. i}
        assert(child:wait() == i)
      end
      local cat <close> = agenda.subprocess {"cat", stdin = "pipe", stdout = "pipe"}
      assert(checksum((cat:communicate(DATA))) == SUM)
    end
    function work.files()
      local path = os.tmpname()
      agenda.write_file(path, DATA)
      assert(checksum(agenda.read_file(path)) == SUM)
      local file <close> = agenda.open(path)
      local n = 0
      for _ in file:lines() do n = n + 1 end
      assert(n == SIZE // 16)
      os.remove(path)
    end
    function work.threads()
      for i = 1, 50 do
        assert(agenda.to_thread(function(x)
          local sum = 0
          for k = 1, 20000 do sum = sum + k end
          return x
        end, i) == i)
        assert(agenda.getaddrinfo("localhost", 80)[1].port == 80)
      end
    end
    function work.datagrams()
      local a <close> = agenda.datagram {local_addr = {"127.0.0.1", 0}}
      local b <close> = agenda.datagram {remote_addr = {a:sockname()}}
      for i = 1, 500 do
        b:send(tostring(i))
        assert(a:recv() == tostring(i))
      end
    end
  ]]
  local NAMES = {"tcp", "connections", "unix", "children", "files", "threads", "datagrams"}

  for _, name in ipairs(NAMES) do
    it(("do no harm when there is a storm of them: %s #slow"):format(name), function()
      local output = script.output(WORK .. ([[
        local work_name = %q
        local seen = 0
        agenda.run(function()
          local loop = agenda.get_running_loop()
          loop:add_signal_handler("SIGUSR1", function() seen = seen + 1 end)
          local storm <close> = agenda.subprocess {
            "sh", "-c", "while kill -USR1 $PPID; do sleep 0.0005; done", stderr = "null",
          }
          while seen < 3 do agenda.sleep(0.001) end
          local from = seen
          while seen < from + 20 do work[work_name]() end
          storm:kill()
          storm:wait()
          print "whole"
        end)
      ]]):format(name), {seconds = 60})
      assert.equal("whole\n", output)
    end)
  end

  it("in the middle of a wait do not end it", function()
    local output = script.output([[
      agenda.run(function()
        local loop = agenda.get_running_loop()
        local seen = 0
        loop:add_signal_handler("SIGUSR1", function() seen = seen + 1 end)
        local fifo = os.tmpname()
        os.remove(fifo)
        os.execute("mkfifo " .. fifo)
        local server <close> = agenda.start_server(function(s)
          s:readline()
          s:write("answer\n")
        end, "127.0.0.1", 0)
        local stream <close> = agenda.open_connection(server:address())
        local box <close> = agenda.datagram {local_addr = {"127.0.0.1", 0}}
        local child <close> = agenda.subprocess {"cat", stdin = "pipe", stdout = "null"}
        local got = {}
        local waits = {
          read = function() got.read = stream:readline() end,
          recv = function() got.recv = box:recv() end,
          child = function() got.child = child:wait() end,
          file = function() got.file = agenda.read_file(fifo) end,
          closed = function() server:wait_closed() got.closed = true end,
        }
        local tasks = {}
        for name, f in pairs(waits) do tasks[name] = agenda.spawn(f) end
        agenda.sleep(0.02)
        for n = 1, 5 do
          kill "USR1"
          while seen < n do agenda.sleep(0.001) end
        end
        for name, task in pairs(tasks) do assert(not task:done(), name) end
        stream:write("go\n")
        agenda.datagram {remote_addr = {box:sockname()}}:send("data")
        child.stdin:close()
        agenda.write_file(fifo, "text")
        server:close()
        for _, task in pairs(tasks) do agenda.await(task) end
        print(got.read, got.recv, got.child, got.file, got.closed)
        os.remove(fifo)
      end)
    ]])
    assert.equal("answer\tdata\t0\ttext\ttrue\n", output)
  end)

  it("that stop the process and let it go on do no harm", function()
    local output = script.output([[
      agenda.run(function()
        local server <close> = agenda.start_server(function(s)
          for line in s:lines() do s:write(line, "\n") end
        end, "127.0.0.1", 0)
        local stream <close> = agenda.open_connection(server:address())
        local reader = agenda.spawn(stream.readline, stream)
        for _ = 1, 3 do
          agenda.subprocess {"sh", "-c", "kill -STOP $PPID; sleep 0.02; kill -CONT $PPID"}:wait()
        end
        assert(not reader:done())
        stream:write("hello\n")
        print(agenda.await(reader))
      end)
    ]])
    assert.equal("hello\n", output)
  end)

  it("of Ctrl-C in the middle end it, and close what is open", function()
    local result = script.run([[
      local ok, err = pcall(agenda.run, function()
        local server <close> = agenda.start_server(function(s)
          local _ <close> = setmetatable({}, {__close = function() print "handler ends" end})
          s:read()
        end, "127.0.0.1", 0)
        local stream <close> = agenda.open_connection(server:address())
        local _ <close> = setmetatable({}, {__close = function() print "main ends" end})
        kill_after(0.05, "INT")
        stream:read()
      end)
      print(ok, agenda.errors.KeyboardInterrupt:is(err))
    ]])
    assert.equal(0, result.code, result.stderr)
    assert.equal("main ends\nhandler ends\nfalse\ttrue\n", result.stdout)
  end)
end)

describe("an unreachable peer", function()
  it("is an error at once, or TimeoutError after the time that was given", function()
    agenda.run(function()
      fails_with("ENETUNREACH", agenda.open_connection, "255.255.255.255", 9)
      local silent, _ <close> = netkit.silent_port()
      expect.raises_like(errors.TimeoutError, "127.0.0.1:" .. silent, agenda.open_connection, "127.0.0.1",
        silent, {timeout = 0.02})
    end)
  end)
end)
