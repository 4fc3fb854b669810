local agenda = require "agenda"
local core = require "agenda.core"
local expect = require "spec.support.expect"
local script = require "spec.support.script"
local errors = agenda.errors

local NONBLOCK = 2048

-- The flags of the open file behind a descriptor of this process.
local function flags_of(fd)
  local file <close> = assert(io.open("/proc/self/fdinfo/" .. fd))
  return tonumber(file:read("a"):match("flags:%s*(%d+)"), 8)
end

-- A command that runs code with the library.
local function command(code)
  return { "lua5.4", "-e", ("package.path=%q package.cpath=%q agenda=require 'agenda' "):format(
    package.path, package.cpath):gsub("\n", "n") .. code }
end

describe("the standard streams", function()
  it("are streams that need a running loop", function()
    for _, name in ipairs { "stdin", "stdout", "stderr" } do
      local stream = agenda[name]
      assert.equal("stream", agenda.type(stream))
      assert.truthy(tostring(stream):find("^<stream " .. name .. " at 0x"))
      expect.raises(errors.RuntimeError, "no running event loop", stream.fileno, stream)
    end
  end)

  it("go one way each", function()
    local result = script.run [[
      agenda.run(function()
        print(pcall(agenda.stdin.write, agenda.stdin, "x"))
        print(pcall(agenda.stderr.read, agenda.stderr))
        print(agenda.stdin:tlsinfo())
      end)
    ]]
    assert.truthy(result.stdout:find("false\tRuntimeError: stdin: the stream is not open for writing", 1, true))
    assert.truthy(result.stdout:find("false\tRuntimeError: stderr: the stream is not open for reading\nnil\n", 1, true))
  end)

  local COPY = [[
    agenda.run(function()
      for line in agenda.stdin:lines() do agenda.stdout:write("<", line, ">") end
    end)
  ]]

  it("work on files", function()
    assert.equal("<a><><b>", script.output(COPY, { input = "a\n\nb" }))
  end)

  it("work on pipes", function()
    assert.equal("<a><b>", script.output(COPY .. "io.write ''", { input_command = "(echo a; sleep 0.02; echo b)" }))
  end)

  it("work on /dev/null", function()
    assert.equal("", script.output(COPY, { input_command = "true </dev/null" }))
    local result = script.run [[
      os.execute("true")
      agenda.run(function() agenda.stderr:write("x") agenda.stderr:drain() end)
    ]]
    assert.equal("x", result.stderr)
  end)

  it("go on with what was read in an earlier run", function()
    local code = [[
      local stdin, stdout = agenda.stdin, agenda.stdout
      for _ = 1, 3 do agenda.run(function() stdout:write("[", tostring(stdin:readline()), "]") end) end
      agenda.run(function() stdout:write(stdin:read("a")) end)
    ]]
    assert.equal("[a][b][c]d\ne\n", script.output(code, { input = "a\nb\nc\nd\ne\n" }))
    assert.equal("[a][b][c]d\ne\n", script.output(code, { input_command = "printf 'a\\nb\\nc\\nd\\ne\\n'" }))
  end)

  it("keep the order with what was printed before", function()
    assert.equal("one two ", script.output [[
      io.write("one ")
      agenda.run(function() agenda.stdout:write("two ") end)
    ]])
  end)

  it("closed leave the descriptors of the process alone", function()
    local result = script.run [[
      agenda.run(function()
        do local out <close> = agenda.stdout out:write("a") end
        agenda.stderr:close()
        agenda.stdin:close()
        print(pcall(agenda.stdout.write, agenda.stdout, "x"))
        io.stderr:write("b")
      end)
    ]]
    assert.equal("afalse\tRuntimeError: stdout: the stream is closed\n", result.stdout)
    assert.equal("b", result.stderr)
  end)

  it("append to a file where others do", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local code = [[print(1) agenda.run(function() agenda.stdout:write("2\n") agenda.stderr:write("3\n") end) print(4)]]
    assert(agenda.run(function()
      local shell = { "sh", "-c", '"$@" >' .. path .. " 2>&1", "sh", table.unpack(command(code)) }
      return agenda.subprocess(shell):wait()
    end) == 0)
    local file <close> = assert(io.open(path))
    assert.equal("1\n2\n3\n4\n", file:read("a"))
  end)

  it("give back a file's mode at exit, also after an error #slow", function()
    local ends = {
      [[agenda.run(function() agenda.stdin:read() end)]],
      [[agenda.run(function() agenda.stdin:read() error("x") end)]],
      [[agenda.run(function() agenda.stdin:read() os.exit(3) end)]],
      [[agenda.run(function() agenda.stdin:read() os.exit(3, true) end)]],
      [[agenda.run(function() agenda.stdin:read() agenda.stdin:close() end) os.exit(3)]],
    }
    agenda.run(function()
      for _, code in ipairs(ends) do
        local theirs, ours = core.socketpair()
        local peer <close> = core.stream(ours)
        local words = command(code)
        words.stdin, words.stderr = theirs, "null"
        local process = agenda.subprocess(words)
        peer:write("x")
        process:wait()
        assert.equal(0, flags_of(theirs) & NONBLOCK)
        core.close(theirs)
      end
    end)
  end)

  it("give back a terminal's mode at exit #slow", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    do
      local file <close> = assert(io.open(path, "w"))
      file:write(("package.path=%q package.cpath=%q "):format(package.path, package.cpath), [[
        local agenda = require "agenda"
        agenda.run(function()
          agenda.stdout:write("got ", agenda.stdin:readline(), "\n")
          os.execute("stty raw -echo")
          error("x")
        end)
      ]])
    end
    local shell = ("lua5.4 %s 2>/dev/null; stty -a"):format(path)
    local typing = "(sleep 0.2; echo hello; sleep 0.2) | script -qec '%s' /dev/null"
    local pipe <close> = assert(io.popen(typing:format(shell)))
    local output = pipe:read("a")
    assert.truthy(output:find("got hello"))
    assert.truthy(output:find("[^-]icanon"))
    assert.truthy(output:find("[^-]echo[ ;\r\n]"))
  end)

  describe("have all sent at the end of a run", function()
    -- A child that writes more than a pipe has room for, and ends; f(process) is called then.
    local function with_writer(rest, f)
      agenda.run(function()
        local words = command([[local outcome = table.pack(pcall(agenda.run, function()
          agenda.stdout:write(("x"):rep(100000), "\n")
          agenda.stdout:write(("y"):rep(20000), "\n")
          agenda.stderr:write("written")
          ]] .. rest .. " end)) io.stderr:write('ended') print(table.unpack(outcome))")
        words.stdout, words.stderr = "pipe", "pipe"
        local process <close> = agenda.subprocess(words)
        assert.equal("written", process.stderr:readexactly(7))
        f(process)
      end)
    end
    local ALL = ("x"):rep(100000) .. "\n" .. ("y"):rep(20000) .. "\n"

    for rest, printed in pairs {
      [""] = "true\n", ["agenda.stdout:close()"] = "true\n", ["error 'oops'"] = "false\t.-: oops\n",
    } do
      it("whatever its end: " .. rest, function()
        with_writer(rest, function(process)
          agenda.sleep(0.02)
          local got = process.stdout:read("a")
          assert.equal(ALL, got:sub(1, #ALL))
          assert.truthy(got:find("^" .. printed .. "$", #ALL + 1))
          assert.equal(0, process:wait())
        end)
      end)
    end

    it("unless the reader goes", function()
      with_writer("", function(process)
        process.stdout:close()
        process:wait()
        assert.equal("ended", process.stderr:read("a"))
      end)
    end)

    it("unless Ctrl-C cuts that short", function()
      with_writer("", function(process)
        local interrupts = agenda.spawn(function()
          while true do
            process:send_signal("SIGINT")
            agenda.sleep(0.01)
          end
        end)
        assert.equal("ended", process.stderr:readexactly(5))
        interrupts:cancel()
        local got = process.stdout:read("a")
        assert.is_true(#got < #ALL)
      end)
    end)
  end)

  it("raise EBADF where they are closed, whatever has got their numbers", function()
    agenda.run(function()
      local words = command [[agenda.run(function()
        local server = agenda.start_server(print, '127.0.0.1', 0)
        local _, read = pcall(agenda.stdin.read, agenda.stdin)
        local _, write = pcall(agenda.stdout.write, agenda.stdout, 'x')
        agenda.stderr:write(tostring(read), '; ', tostring(write))
      end)]]
      local process = agenda.subprocess{"sh", "-c", [[exec "$@" <&- >&-]], "sh", words[1], words[2], words[3],
        stderr = "pipe"}
      assert.equal("OSError: open: stdin: Bad file descriptor; OSError: open: stdout: Bad file descriptor",
        process.stderr:read("a"))
      process:wait()
    end)
  end)

  it("raise EPIPE for a reader that has gone", function()
    agenda.run(function()
      local reading, writing = core.pipe()
      core.close(reading)
      local words = command [[agenda.run(function()
        local ok, err = pcall(agenda.stdout.write, agenda.stdout, 'x')
        agenda.stderr:write(err.code)
      end)]]
      words.stdout, words.stderr = writing, "pipe"
      local process = agenda.subprocess(words)
      core.close(writing)
      assert.equal("EPIPE", process.stderr:read("a"))
      process:wait()
    end)
  end)
end)
