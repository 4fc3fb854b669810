-- What a child begins with: its program, its descriptors, its environment; and what cannot begin.
local agenda = require "agenda"
local expect = require "spec.support.expect"
local lfs = require "lfs"
local processkit = require "spec.support.processkit"
local errors = agenda.errors

local directory

local function path_of(name)
  return directory .. "/" .. name
end

local function write(name, text, mode)
  local file <close> = assert(io.open(path_of(name), "w"))
  file:write(text)
  file:close()
  if mode then os.execute(("chmod %s '%s'"):format(mode, path_of(name))) end
  return path_of(name)
end

local function read(name)
  local file <close> = assert(io.open(path_of(name)))
  return file:read("a")
end

-- What a child with these words and options prints.
local function print_in_run(spec)
  local file <close> = assert(io.open(path_of("output"), "w"))
  spec.stdout = file
  agenda.subprocess(spec):wait()
  return read("output")
end

local function output_of(spec)
  return agenda.run(print_in_run, spec)
end

local function start(spec)
  return agenda.run(agenda.subprocess, spec)
end

before_each(function()
  local pipe <close> = assert(io.popen("mktemp -d"))
  directory = pipe:read("l")
end)

after_each(function()
  os.execute(("rm -rf '%s'"):format(directory))
end)

describe("agenda.subprocess", function()
  it("gives the program its arguments as they are", function()
    local text = output_of {"printf", "<%s>", "", "a b", "$HOME", "*", "\n", "\xff", 5, 0.5}
    assert.equal("<><a b><$HOME><*><\n><\xff><5><0.5>", text)
  end)

  it("makes an object that says what it is", function()
    agenda.run(function()
      local p <close> = agenda.subprocess{"sleep", "60"}
      assert.equal("process", agenda.type(p))
      assert.matches("^<process " .. p.pid .. " at 0x%x+>$", tostring(p))
      assert.equal("agenda.process", getmetatable(p).__name)
      assert.equal("integer", math.type(p.pid))
      assert.is_nil(p.stdin or p.stdout or p.stderr)
    end)
  end)

  it("may be entered like a context manager", function()
    agenda.run(function()
      local code = agenda.with(agenda.subprocess{"sh", "-c", "exit 6"}, function(p) return p:wait() end)
      assert.equal(6, code)
    end)
  end)

  it("needs a running loop", function()
    expect.raises(errors.RuntimeError, "no running event loop", agenda.subprocess, {"true"})
  end)

  it("may be called from a callback", function()
    agenda.run(function()
      local p
      agenda.get_running_loop():call_soon(function() p = agenda.subprocess{"true"} end)
      agenda.sleep(0)
      assert.equal(0, p:wait())
    end)
  end)

  describe("looks for the program", function()
    it("in the PATH of this process", function()
      assert.equal("x\n", output_of {"echo", "x"})
    end)

    it("in the PATH that it is given", function()
      write("tool", "#!/bin/sh\necho mine", "+x")
      assert.equal("mine\n", output_of {"tool", env = {PATH = "/nowhere:" .. directory}})
    end)

    it("in the usual places when the environment that it is given has no PATH", function()
      assert.equal("x\n", output_of {"echo", "x", env = {}})
    end)

    it("below the directory where it is to start, for a relative path", function()
      write("tool", "#!/bin/sh\npwd", "+x")
      assert.equal(directory .. "\n", output_of {"./tool", cwd = directory})
    end)

    it("past files that cannot be run", function()
      os.execute(("mkdir '%s/a' '%s/b'"):format(directory, directory))
      write("a/tool", "", "-x")
      write("b/tool", "#!/bin/sh\necho b", "+x")
      local path = path_of("a") .. ":" .. path_of("b")
      assert.equal("b\n", output_of {"tool", env = {PATH = path}})
    end)
  end)

  describe("raises what keeps the program from starting", function()
    local function fails(code, syscall, what, spec)
      local err = expect.raises(errors.OSError, nil, start, spec)
      assert.equal(code, err.code)
      assert.equal(syscall, err.syscall)
      assert.is_truthy(err.message:find(what, 1, true), err.message)
      assert.equal("integer", math.type(err.errno))
    end

    it("ENOENT for a missing one", function()
      fails("ENOENT", "exec", "no-such-program", {"no-such-program"})
      fails("ENOENT", "exec", "/no/such/program", {"/no/such/program"})
      fails("ENOENT", "exec", "no-such-program", {"no-such-program", stdin = "pipe", stdout = "null"})
    end)

    it("EACCES for one that must not be run", function()
      local path = write("data", "text", "-x")
      fails("EACCES", "exec", path, {path})
      fails("EACCES", "exec", "data", {"data", env = {PATH = directory .. ":/bin"}})
      fails("EACCES", "exec", directory, {directory})
    end)

    it("ENOEXEC for one that is no program", function()
      local path = write("data", "text", "+x")
      fails("ENOEXEC", "exec", path, {path})
    end)

    it("E2BIG for arguments that are too long", function()
      if os.getenv "AGENDA_VARIANT" == "valgrind" then return end -- which fails by itself there
      fails("E2BIG", "exec", "true", {"true", ("x"):rep(1 << 20)})
    end)

    it("the directory's error, with its name", function()
      fails("ENOENT", "chdir", "/no/such/place", {"true", cwd = "/no/such/place"})
      fails("ENOTDIR", "chdir", "/etc/passwd", {"true", cwd = "/etc/passwd"})
    end)

    it("EBADF for a descriptor that is not open", function()
      fails("EBADF", "subprocess", "stdin", {"true", stdin = 999})
      fails("EBADF", "subprocess", "stderr", {"true", stdout = "pipe", stderr = -1})
    end)

    it("and leaves no process", function()
      agenda.run(function()
        for _ = 1, 20 do pcall(agenda.subprocess, {"no-such-program"}) end
        assert.equal(0, processkit.zombies())
      end)
    end)
  end)

  describe("refuses", function()
    local function wrong(text, spec)
      expect.bad_argument("bad argument #1 to 'subprocess' (" .. text .. ")",
        function() agenda.subprocess(spec) end)
    end

    local function invalid(text, spec)
      expect.raises(errors.ValueError, "subprocess: " .. text, agenda.subprocess, spec)
    end

    it("what is no table", function()
      wrong("table expected, got string", "true")
      wrong("table expected, got nil", nil)
    end)

    it("what is no command", function()
      invalid("there is no command", {})
      invalid("there is no command", {stdin = "pipe"})
      invalid("the command is empty", {""})
      wrong("command: string expected, got table", {{"true"}})
      wrong("command: string expected, got nil", {nil, "x"})
    end)

    it("arguments that are no strings", function()
      wrong("[2]: string expected, got table", {"true", {}})
      wrong("[3]: string expected, got boolean", {"true", "x", true})
      wrong("[2]: string expected, got nil", {"true", nil, "x"})
      invalid('[2] has a NUL byte in it: "a\\0b"', {"true", "a\0b"})
      invalid('command has a NUL byte in it: "tr\\0ue"', {"tr\0ue"})
    end)

    it("unknown options", function()
      wrong("unknown option 'sdtin'", {"true", sdtin = "pipe"})
      wrong("unknown option '0'", {[0] = "x", "true"})
      wrong("unknown option '1.5'", {"true", [1.5] = "x"})
    end)

    it("unknown modes", function()
      invalid("stdin: unknown mode 'pip'", {"true", stdin = "pip"})
      invalid("stdin: unknown mode 'stdout'", {"true", stdin = "stdout"})
      invalid("stdout: unknown mode 'stdout'", {"true", stdout = "stdout"})
      wrong("stderr: mode, descriptor or file expected, got table", {"true", stderr = {}})
      wrong("stdout: mode, descriptor or file expected, got number", {"true", stdout = 1.5})
      local file = io.tmpfile()
      file:close()
      invalid("stdin: the file is closed", {"true", stdin = file})
    end)

    it("an environment that cannot be", function()
      wrong("env: table expected, got string", {"true", env = "A=b"})
      wrong("env: names are strings, got number", {"true", env = {"A=b"}})
      wrong("env.A: string expected, got boolean", {"true", env = {A = true}})
      invalid('env: not a name of a variable: "A=B"', {"true", env = {["A=B"] = "c"}})
      invalid('env: not a name of a variable: ""', {"true", env = {[""] = "c"}})
      invalid('env: not a name of a variable: "A\\0"', {"true", env = {["A\0"] = "c"}})
      invalid('env.A has a NUL byte in it: "\\0"', {"true", env = {A = "\0"}})
    end)

    it("a directory that cannot be", function()
      wrong("cwd: string expected, got boolean", {"true", cwd = true})
      invalid('cwd has a NUL byte in it: "/tmp\\0"', {"true", cwd = "/tmp\0"})
    end)
  end)

  describe("gives the child", function()
    it("the environment of this process", function()
      assert.equal(os.getenv("PATH") .. "\n", output_of {"printenv", "PATH"})
    end)

    it("the environment that is asked for, and nothing else", function()
      local text = output_of {"/usr/bin/env", env = {A = "b c", B = 5}}
      local lines = {}
      for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
      table.sort(lines)
      assert.same({"A=b c", "B=5"}, lines)
      assert.equal("", (output_of {"/usr/bin/env", env = {}}))
    end)

    it("the directory that is asked for", function()
      assert.equal(directory .. "\n", output_of {"/bin/pwd", cwd = directory})
      assert.equal(lfs.currentdir() .. "\n", output_of {"/bin/pwd"})
    end)

    it("descriptors 0 to 2 alone", function()
      local kept <close> = assert(io.open("/dev/null"))
      local text = output_of {"bash", "-c",
        "for fd in {0..99}; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done"}
      assert.is_truthy(kept)
      assert.equal("0\n1\n2\n", text)
    end)

    it("none of the descriptors that C code forgot, however high", function()
      local low, high = {}, {}
      for i = 1, 20 do low[i] = assert(io.open("/dev/null")) end
      for i = 1, 5 do high[i] = assert(io.open("/dev/null")) end
      for _, file in ipairs(low) do file:close() end -- here come those of the call itself
      local text = output_of {"ls", "/proc/self/fd"}
      for _, file in ipairs(high) do file:close() end
      assert.equal("0\n1\n2\n3\n", text) -- the last is that of ls
    end)

    it("no ignored signals and an empty mask, whatever this process was started with", function()
      local path = write("status.lua", [[
        local agenda = require "agenda"
        agenda.run(function() agenda.subprocess{"cat", "/proc/self/status"}:wait() end)
      ]])
      local function masks_of(command)
        local pipe <close> = assert(io.popen("env --ignore-signal=HUP,PIPE,USR1 --block-signal=USR2,TERM "
          .. command))
        return pipe:read("a"):match("SigBlk:%s*(%x+)%s+SigIgn:%s*(%x+)")
      end
      local blocked, ignored = masks_of "cat /proc/self/status"
      assert.is_true(tonumber(blocked, 16) ~= 0 and tonumber(ignored, 16) ~= 0)
      blocked, ignored = masks_of("lua5.4 " .. path)
      assert.same({0, 0}, {tonumber(blocked, 16), tonumber(ignored, 16)})
    end)

    it("/dev/null for null", function()
      local text = output_of {"sh", "-c", "cat; readlink /proc/self/fd/0", stdin = "null"}
      assert.equal("/dev/null\n", text)
      agenda.run(function()
        assert.equal(0, agenda.subprocess{"sh", "-c", "echo x; echo y >&2", stdout = "null", stderr = "null"}:wait())
      end)
    end)

    it("a Lua file, after what was written to it, from where it was read", function()
      agenda.run(function()
        local out <close> = assert(io.open(path_of("out"), "w"))
        out:write("before\n")
        assert.equal(0, agenda.subprocess{"echo", "child", stdout = out}:wait())
        out:write("after\n")
        out:close()
        assert.equal("before\nchild\nafter\n", read("out"))
        local input <close> = assert(io.open(path_of("out")))
        assert.equal("before", input:read("l"))
        assert.equal("child\nafter\n", print_in_run {"cat", stdin = input})
      end)
    end)

    it("a descriptor", function()
      agenda.run(function()
        local input, out = write("in", "text"), assert(io.open(path_of("out"), "w"))
        local file <close> = assert(io.open(input))
        local p = agenda.subprocess{"cat", stdin = file, stdout = out}
        assert.equal(0, p:wait())
        out:close()
        assert.equal("text", read("out"))
      end)
    end)

    it("one descriptor for stdout and stderr", function()
      assert.equal("a\nb\nc\n", (output_of {"sh", "-c", "echo a; echo b >&2; echo c", stderr = "stdout"}))
    end)

    it("stdout and stderr exchanged", function()
      local code = [[
        local agenda = require "agenda"
        agenda.run(function()
          agenda.subprocess{"sh", "-c", "echo out; echo err >&2", stdout = 2, stderr = 1}:wait()
        end)
      ]]
      local path = write("exchange.lua", code)
      agenda.run(function()
        local out <close> = assert(io.open(path_of("out"), "w"))
        local err <close> = assert(io.open(path_of("err"), "w"))
        assert.equal(0, agenda.subprocess{"lua5.4", path, stdout = out, stderr = err}:wait())
      end)
      assert.equal("err\n", read("out"))
      assert.equal("out\n", read("err"))
    end)
  end)

  it("works where the standard descriptors are closed", function()
    local path = write("closed.lua", ([[
      local agenda = require "agenda"
      agenda.run(function()
        local p = agenda.subprocess{"sh", "-c", "echo text > '%s'", stdin = "null", stdout = "null"}
        assert(p:wait() == 0)
      end)
    ]]):format(path_of("out")))
    assert.is_true(os.execute(("lua5.4 '%s' <&- >&- 2>&-"):format(path)))
    assert.equal("text\n", read("out"))
  end)
end)
