local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"
local errors, fails = agenda.errors, loopkit.fails

local function slurp(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function spit(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

describe("files", function()
  local folder, path, fifo

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    path = folder .. "/file"
    fifo = folder .. "/fifo"
  end)

  after_each(function() assert(os.execute("rm -r " .. folder)) end)

  local function make_fifo()
    assert(os.execute("mkfifo " .. fifo))
  end

  -- A file of that text, open in the running loop.
  local function file_of(text, mode)
    spit(path, text)
    return agenda.open(path, mode)
  end

  describe("read_file", function()
    it("gives all of it, byte by byte", function()
      local text = ("\0\r\n\255"):rep(50000)
      spit(path, text)
      assert.is_true(agenda.run(agenda.read_file, path) == text)
    end)

    it("gives the empty string for an empty file", function()
      spit(path, "")
      assert.equal("", agenda.run(agenda.read_file, path))
    end)

    it("is OSError with code, call and path where there is none", function()
      agenda.run(function()
        local err = fails(errors.OSError, agenda.read_file, path)
        assert.same({ "ENOENT", 2, "open" }, { err.code, err.errno, err.syscall })
        assert.matches(path, err.message, 1, true)
      end)
    end)

    it("is OSError EISDIR for a folder", function()
      agenda.run(function()
        assert.equal("EISDIR", fails(errors.OSError, agenda.read_file, folder).code)
      end)
    end)

    it("reads /proc, whose files say that they are empty", function()
      local text = agenda.run(agenda.read_file, "/proc/self/status")
      assert.matches("^Name:", text)
    end)

    it("reads a FIFO until its writers are gone", function()
      make_fifo()
      agenda.run(function()
        local task = agenda.spawn(agenda.read_file, fifo)
        loopkit.turns(3)
        local pipe <close> = assert(io.popen("cat > " .. fifo, "w"))
        pipe:write(("x"):rep(100000))
        pipe:close()
        assert.equal(100000, #task:await())
      end)
    end)

    it("cancelled at a FIFO that nobody writes ends at once", function()
      make_fifo()
      agenda.run(function()
        local task = agenda.spawn(agenda.read_file, fifo)
        agenda.sleep(0.01)
        task:cancel()
        fails(errors.CancelledError, task.await, task)
      end)
    end)

    it("lets the loop go on", function()
      spit(path, ("x"):rep(1 << 20))
      local turns = 0
      agenda.run(function()
        local task = agenda.spawn(agenda.read_file, path)
        while not task:done() do
          agenda.sleep(0)
          turns = turns + 1
        end
      end)
      assert.is_true(turns >= 2)
    end)

    it("checks its arguments, and whether it can wait", function()
      loopkit.bad_argument(1, "read_file", function() agenda.read_file() end)
      loopkit.bad_argument(1, "read_file", function() agenda.read_file("a\0b") end)
      fails(errors.RuntimeError, agenda.read_file, path)
    end)
  end)

  describe("write_file", function()
    it("makes a file", function()
      local text = ("\0binary\n"):rep(20000)
      agenda.run(agenda.write_file, path, text)
      assert.is_true(slurp(path) == text)
    end)

    it("takes the place of what was there", function()
      spit(path, "something longer")
      agenda.run(agenda.write_file, path, "short")
      assert.equal("short", slurp(path))
    end)

    it("gives nothing", function()
      assert.equal(0, select("#", agenda.run(agenda.write_file, path, "x")))
    end)

    it("is OSError with code, call and path where it cannot", function()
      agenda.run(function()
        local nowhere = folder .. "/no/file"
        local err = fails(errors.OSError, agenda.write_file, nowhere, "x")
        assert.same({ "ENOENT", "open" }, { err.code, err.syscall })
        assert.matches(nowhere, err.message, 1, true)
        local full = fails(errors.OSError, agenda.write_file, "/dev/full", "x")
        assert.same({ "ENOSPC", "write" }, { full.code, full.syscall })
      end)
    end)

    it("writes to a FIFO as somebody reads it", function()
      make_fifo()
      agenda.run(function()
        local task = agenda.spawn(agenda.write_file, fifo, ("x"):rep(300000))
        agenda.sleep(0.01)
        assert.equal(300000, #agenda.read_file(fifo))
        task:await()
      end)
    end)

    it("cancelled at a FIFO that nobody reads ends at once", function()
      make_fifo()
      agenda.run(function()
        local task = agenda.spawn(agenda.write_file, fifo, "x")
        agenda.sleep(0.01)
        task:cancel()
        fails(errors.CancelledError, task.await, task)
      end)
    end)

    it("to a FIFO whose reader goes is EPIPE, no signal", function()
      make_fifo()
      agenda.run(function()
        local reader = agenda.spawn(function()
          local file <close> = agenda.open(fifo)
          file:read(1)
        end)
        local err = fails(errors.OSError, agenda.write_file, fifo, ("x"):rep(1000000))
        assert.equal("EPIPE", err.code)
        reader:await()
      end)
    end)

    it("checks its arguments", function()
      loopkit.bad_argument(1, "write_file", function() agenda.write_file() end)
      loopkit.bad_argument(2, "write_file", function() agenda.write_file(path) end)
      loopkit.bad_argument(2, "write_file", function() agenda.write_file(path, {}) end)
    end)
  end)

  describe("open", function()
    it("gives a file", function()
      agenda.run(function()
        local file <close> = file_of("")
        assert.equal("file", agenda.type(file))
        assert.matches("^<file " .. path:gsub("%p", "%%%0") .. " at 0x", tostring(file))
      end)
    end)

    it("has the modes of io.open", function()
      local function outcome(open, mode, close)
        spit(path, "0123")
        local ok, file = pcall(open, path, mode)
        if not ok or not file then return "none" end
        local _, read = pcall(file.read, file, "a")
        file:seek("set", 1)
        pcall(file.write, file, "x")
        close(file)
        return (type(read) == "string" and read or "") .. "|" .. slurp(path)
      end
      agenda.run(function()
        for mode in ("r w a r+ w+ a+ rb wb ab r+b w+b a+b"):gmatch("%S+") do
          assert.equal(outcome(io.open, mode, io.close),
            outcome(agenda.open, mode, function(file) file:close() end), mode)
        end
      end)
    end)

    it("makes a file in the modes w and a only", function()
      agenda.run(function()
        for mode in ("r r+"):gmatch("%S+") do
          assert.equal("ENOENT", fails(errors.OSError, agenda.open, path, mode).code)
        end
        for mode in ("w a w+ a+"):gmatch("%S+") do
          agenda.open(path, mode):close()
          assert(os.remove(path))
        end
      end)
    end)

    it("refuses other modes", function()
      for _, mode in ipairs { "", "x", "rw", "r++", "+r", "rb+", "br" } do
        loopkit.bad_argument(2, "open", function() agenda.open(path, mode) end)
      end
    end)

    it("is OSError with code, call and path when it fails", function()
      agenda.run(function()
        local err = fails(errors.OSError, agenda.open, path)
        assert.same({ "ENOENT", 2, "open" }, { err.code, err.errno, err.syscall })
        assert.matches(path, err.message, 1, true)
        assert.equal("EISDIR", fails(errors.OSError, agenda.open, folder).code)
      end)
    end)

    it("cancelled after k turns leaves no descriptor, for every k", function()
      spit(path, "")
      for k = 0, 6 do
        agenda.run(function()
          local task = agenda.spawn(agenda.open, path)
          loopkit.turns(k)
          task:cancel()
          local ok, file = pcall(task.await, task)
          if ok then file:close() end
        end)
      end
    end)
  end)

  describe("file:read", function()
    it("of n gives n bytes, fewer at the end, then nil", function()
      agenda.run(function()
        local file <close> = file_of("12345")
        assert.same({ "123", "45" }, { file:read(3), file:read(3) })
        assert.is_nil(file:read(3))
        assert.is_nil(file:read(1))
      end)
    end)

    it("of many more bytes than are read at once gives them", function()
      agenda.run(function()
        local file <close> = file_of(("0123456789"):rep(50000))
        assert.equal(499990, #file:read(499990))
        assert.equal("0123456789", file:read(1 << 40))
      end)
    end)

    it("of 0 is the empty string", function()
      agenda.run(function()
        local file <close> = file_of("")
        assert.equal("", file:read(0))
      end)
    end)

    it("of nothing gives what is there, nil at the end", function()
      agenda.run(function()
        local file <close> = file_of("some text\nand more")
        assert.equal("some text\nand more", file:read())
        assert.is_nil(file:read())
      end)
    end)

    it('of "a" gives what is left, "" at the end', function()
      agenda.run(function()
        local file <close> = file_of("one\ntwo\n")
        file:readline()
        assert.same({ "two\n", "", "" }, { file:read("a"), file:read("a"), file:read("a") })
      end)
    end)

    it('of "l" and "L" gives lines without and with their newlines', function()
      agenda.run(function()
        local file <close> = file_of("one\r\ntwo\nthree")
        assert.same({ "one\r", "two\n", "three" }, { file:read("l"), file:read("L"), file:read("L") })
        assert.is_nil(file:read("L"))
      end)
    end)

    it("of a FIFO gives what is there", function()
      make_fifo()
      agenda.run(function()
        local reader <close> = agenda.open(fifo, "r")
        local writer <close> = agenda.open(fifo, "w")
        writer:write("first")
        assert.equal("first", reader:read())
        writer:write("second")
        assert.equal("sec", reader:read(3))
        writer:close()
        assert.equal("ond", reader:read(10))
        assert.is_nil(reader:read())
      end)
    end)

    it("cancelled has taken nothing", function()
      make_fifo()
      agenda.run(function()
        local reader <close> = agenda.open(fifo, "r")
        local writer <close> = agenda.open(fifo, "w")
        writer:write("half a li")
        local task = agenda.spawn(reader.readline, reader)
        agenda.sleep(0.01)
        task:cancel()
        fails(errors.CancelledError, task.await, task)
        writer:write("ne\n")
        assert.equal("half a line", reader:readline())
      end)
    end)

    it("of a file opened for writing is OSError EBADF", function()
      agenda.run(function()
        local file <close> = agenda.open(path, "w")
        local err = fails(errors.OSError, file.read, file)
        assert.same({ "EBADF", "read" }, { err.code, err.syscall })
      end)
    end)

    it("checks its argument", function()
      agenda.run(function()
        local file <close> = file_of("")
        loopkit.bad_argument(1, "read", function() file:read("x") end)
        loopkit.bad_argument(1, "read", function() file:read({}) end)
        loopkit.bad_argument(1, "read", function() file:read(-1) end)
        loopkit.bad_argument(1, "read", function() file:read(1.5) end)
      end)
    end)
  end)

  describe("file:readline", function()
    it("drops the newline, keeps the carriage return, gives an unterminated last line", function()
      agenda.run(function()
        local file <close> = file_of("one\r\n\nlast")
        assert.same({ "one\r", "", "last" }, { file:readline(), file:readline(), file:readline() })
        assert.is_nil(file:readline())
      end)
    end)

    it("gives lines of any length", function()
      local lines = {}
      for i = 1, 40 do lines[i] = ("x"):rep(i * 10007 % 200000) end
      agenda.run(function()
        local file <close> = file_of(table.concat(lines, "\n"))
        for i = 1, 40 do assert.is_true(file:readline() == lines[i], i) end
      end)
    end)
  end)

  describe("file:lines", function()
    it("is an async generator of the lines", function()
      agenda.run(function()
        local file <close> = file_of("one\ntwo\n\nfour")
        assert.equal("async_generator", agenda.type((file:lines())))
        local got = {}
        for line in file:lines() do got[#got + 1] = line end
        assert.same({ "one", "two", "", "four" }, got)
      end)
    end)

    it("left early goes on where it stopped", function()
      agenda.run(function()
        local file <close> = file_of("one\ntwo\nthree\n")
        for _ in file:lines() do break end -- luacheck: ignore
        assert.equal("two", file:readline())
        local got = {}
        for line in file:lines("L") do got[#got + 1] = line end
        assert.same({ "three\n" }, got)
      end)
    end)

    it("may be pieces of n bytes", function()
      agenda.run(function()
        local file <close> = file_of("12345")
        local got = {}
        for piece in file:lines(2) do got[#got + 1] = piece end
        assert.same({ "12", "34", "5" }, got)
      end)
    end)

    it("may be over a file that nobody else holds", function()
      agenda.run(function()
        spit(path, ("line\n"):rep(20000))
        local count = 0
        for _ in agenda.open(path):lines() do count = count + 1 end
        assert.equal(20000, count)
      end)
    end)

    it("checks its arguments", function()
      agenda.run(function()
        local file <close> = file_of("")
        loopkit.bad_argument(1, "lines", function() file:lines("a") end)
        loopkit.bad_argument(1, "lines", function() file.lines({}) end)
      end)
    end)
  end)

  describe("file:write", function()
    it("writes strings and numbers in order, and gives the file", function()
      agenda.run(function()
        local file <close> = agenda.open(path, "w")
        assert.equal(file, file:write("a", 1, 2.5, "\n"))
        file:write():write(""):write("b")
      end)
      assert.equal("a12.5\nb", slurp(path))
    end)

    it("takes a list", function()
      agenda.run(function()
        local file <close> = agenda.open(path, "w")
        file:write { "one", 2, "three" }:write {}
      end)
      assert.equal("one2three", slurp(path))
    end)

    it("writes what is larger than its buffer in order", function()
      local expected = {}
      agenda.run(function()
        local file <close> = agenda.open(path, "w")
        for i, size in ipairs { 1, 70000, 3, 65536, 65535, 2, 200000 } do
          local part = string.char(64 + i):rep(size)
          expected[i] = part
          file:write(part, "")
        end
      end)
      assert.is_true(slurp(path) == table.concat(expected))
    end)

    it("checks all arguments before it writes any", function()
      agenda.run(function()
        local file <close> = agenda.open(path, "w")
        loopkit.bad_argument(2, "write", function() file:write("a", {}) end)
        loopkit.bad_argument(1, "write", function() file:write { "a", {} } end)
        loopkit.bad_argument(1, "write", function() file:write(nil) end)
      end)
      assert.equal("", slurp(path))
    end)

    it("to a file opened for reading is OSError EBADF", function()
      agenda.run(function()
        local file <close> = file_of("")
        local err = fails(errors.OSError, file.write, file, "x")
        assert.same({ "EBADF", "write" }, { err.code, err.syscall })
      end)
    end)

    it("to a device raises what the system says at once", function()
      agenda.run(function()
        local file <close> = agenda.open("/dev/full", "w")
        local err = fails(errors.OSError, file.write, file, "x")
        assert.same({ "ENOSPC", "write" }, { err.code, err.syscall })
      end)
    end)

    it("appends in mode a, wherever the position is", function()
      agenda.run(function()
        local file <close> = file_of("old", "a+")
        file:seek("set", 0)
        file:write("new")
        file:seek("set", 0)
        assert.equal("oldnew", file:read("a"))
      end)
    end)

    it("after a read goes on where that stopped", function()
      agenda.run(function()
        local file <close> = file_of("one\ntwo\n", "r+")
        file:readline()
        file:write("TWO")
        assert.equal("\n", file:read("a"))
      end)
      assert.equal("one\nTWO\n", slurp(path))
    end)
  end)

  describe("file:flush", function()
    it("hands what was written to the system", function()
      agenda.run(function()
        local file <close> = agenda.open(path, "w")
        file:write("text")
        assert.equal("", slurp(path))
        assert.equal(file, file:flush())
        assert.equal("text", slurp(path))
      end)
    end)

    it("raises what the system says, and close once more, which closes all the same", function()
      local output = script.output(([[
        agenda.run(function()
          local file = agenda.open(%q, "w")
          file:write(("x"):rep(30000))
          for _, call in ipairs { file.flush, file.close } do
            local ok, err = pcall(call, file)
            print(ok, err.code, err.syscall)
          end
          print((tostring(file):gsub(" at.*", "")))
        end)
      ]]):format(path), { env = "ulimit -f 16;" })
      assert.equal("false\tEFBIG\twrite\nfalse\tEFBIG\twrite\n<file closed\n", output)
    end)
  end)

  describe("file:seek", function()
    it("gives and sets positions as Lua's", function()
      agenda.run(function()
        local file <close> = file_of("0123456789")
        file:read(3)
        assert.same({ 3, 5, 10, 7 },
          { file:seek(), file:seek("cur", 2), file:seek("end"), file:seek("end", -3) })
        assert.equal("789", file:read("a"))
        assert.equal(1, file:seek("set", 1))
        assert.equal("12", file:read(2))
        assert.equal(3, file:seek("cur", 0))
      end)
    end)

    it("counts what was written", function()
      agenda.run(function()
        local file <close> = agenda.open(path, "w+")
        file:write("text")
        assert.equal(4, file:seek())
        file:seek("set", 10)
        file:write("!")
        file:seek("set")
        assert.equal("text\0\0\0\0\0\0!", file:read("a"))
      end)
    end)

    it("is OSError when the system refuses", function()
      make_fifo()
      agenda.run(function()
        local file <close> = file_of("x")
        assert.equal("EINVAL", fails(errors.OSError, file.seek, file, "set", -1).code)
        local pipe <close> = agenda.open(fifo)
        local err = fails(errors.OSError, pipe.seek, pipe)
        assert.same({ "ESPIPE", "lseek" }, { err.code, err.syscall })
      end)
    end)

    it("checks its arguments", function()
      agenda.run(function()
        local file <close> = file_of("x")
        loopkit.bad_argument(1, "seek", function() file:seek("middle") end)
        loopkit.bad_argument(2, "seek", function() file:seek("set", "x") end)
      end)
    end)
  end)

  describe("file:close", function()
    it("writes what is left, and may be called again", function()
      agenda.run(function()
        local file = agenda.open(path, "w")
        file:write("text")
        file:close()
        file:close()
        assert.matches("^<file closed at", tostring(file))
      end)
      assert.equal("text", slurp(path))
    end)

    it("makes all other calls ValueError", function()
      agenda.run(function()
        local file = file_of("text", "r+")
        file:close()
        for _, name in ipairs { "read", "readline", "write", "flush", "seek" } do
          local err = fails(errors.ValueError, file[name], file)
          assert.equal("I/O operation on closed file", err.message)
        end
        fails(errors.ValueError, function() agenda.each(file:lines(), print) end)
      end)
    end)

    it("ends a read of a FIFO with ValueError at once", function()
      make_fifo()
      agenda.run(function()
        local file = agenda.open(fifo, "r+")
        local first = agenda.spawn(file.read, file)
        local second = agenda.spawn(file.readline, file)
        agenda.sleep(0.01)
        file:close()
        fails(errors.ValueError, first.await, first)
        fails(errors.ValueError, second.await, second)
      end)
    end)

    it("comes after the calls that are under way", function()
      agenda.run(function()
        local file = agenda.open(path, "w")
        local tasks = {}
        for i = 1, 10 do tasks[i] = agenda.spawn(file.write, file, (tostring(i % 10)):rep(100000)) end
        agenda.sleep(0)
        file:close()
        for _, task in ipairs(tasks) do task:await() end
      end)
      assert.equal(1000000, #slurp(path))
    end)

    it("cancelled goes on by itself", function()
      agenda.run(function()
        local file = agenda.open(path, "w")
        file:write("text")
        local task = agenda.spawn(file.close, file)
        agenda.sleep(0)
        task:cancel()
        pcall(task.await, task)
        for _ = 1, 1000 do
          if tostring(file):find("closed", 1, true) then break end
          agenda.sleep(0.001)
        end
        assert.matches("closed", tostring(file))
      end)
      assert.equal("text", slurp(path))
    end)

    it("asked for by a task that is to be cancelled is done", function()
      agenda.run(function()
        local task
        task = agenda.spawn(function()
          local file <close> = agenda.open(path, "w")
          file:write("text")
          task:cancel()
          agenda.sleep(1)
        end)
        fails(errors.CancelledError, task.await, task)
      end)
      assert.equal("text", slurp(path))
    end)

    it("happens at the end of the block, also on an error, which stays", function()
      local err = { "mine" }
      local file
      agenda.run(function()
        local ok, raised = pcall(function()
          local f <close> = agenda.open(path, "w")
          file = f
          f:write("text")
          error(err)
        end)
        assert.is_false(ok)
        assert.equal(err, raised)
        assert.matches("closed", tostring(file))
      end)
      assert.equal("text", slurp(path))
    end)

    it("happens at the end of agenda.with", function()
      agenda.run(function()
        agenda.with(agenda.open(path, "w"), function(file) file:write("text") end)
      end)
      assert.equal("text", slurp(path))
    end)

    it("happens at the end of run", function()
      local file
      agenda.run(function()
        file = agenda.open(path, "w")
        file:write("text")
      end)
      assert.equal("text", slurp(path))
      fails(errors.ValueError, file.write, file, "x")
    end)

    it("happens on collection", function()
      agenda.run(function()
        agenda.open(path, "w"):write("text")
        loopkit.collect()
        assert.equal("text", slurp(path))
      end)
    end)

    it("works where nothing can wait", function()
      agenda.run(function()
        local file = agenda.open(path, "w")
        file:write("text");
        ("x"):gsub("x", function() file:close() end)
        assert.equal("text", slurp(path))
      end)
    end)
  end)

  describe("calls of several tasks", function()
    it("take effect in their order", function()
      local expected = {}
      agenda.run(function()
        local file <close> = agenda.open(path, "w")
        agenda.with_taskgroup(function(group)
          for i = 1, 50 do
            local part = ("%02d"):format(i):rep(i % 3 == 0 and 50000 or 5)
            expected[i] = part
            group:spawn(file.write, file, part)
          end
        end)
      end)
      assert.is_true(slurp(path) == table.concat(expected))
    end)

    it("read each byte once", function()
      local seen = {}
      agenda.run(function()
        local text = {}
        for i = 1, 2000 do text[i] = i end
        local file <close> = file_of(table.concat(text, "\n"))
        agenda.with_taskgroup(function(group)
          for _ = 1, 5 do
            group:spawn(function()
              for line in file:lines() do
                assert.is_nil(seen[line])
                seen[line] = true
              end
            end)
          end
        end)
      end)
      for i = 1, 2000 do assert.is_true(seen[tostring(i)]) end
    end)

    it("cancelled in the queue have no effect", function()
      make_fifo()
      agenda.run(function()
        local file <close> = agenda.open(fifo, "r+")
        local first = agenda.spawn(file.readline, file)
        local second = agenda.spawn(file.write, file, "never written\n")
        agenda.sleep(0.01)
        second:cancel()
        fails(errors.CancelledError, second.await, second)
        first:cancel()
        fails(errors.CancelledError, first.await, first)
        file:write("written\n")
        assert.equal("written", file:readline())
      end)
    end)
  end)

  it("that wait for FIFOs leave room for others", function()
    make_fifo()
    agenda.run(function()
      local tasks = {}
      for i = 1, 40 do tasks[i] = agenda.spawn(agenda.read_file, fifo) end
      agenda.sleep(0.02)
      agenda.write_file(path, "text")
      assert.equal("text", agenda.read_file(path))
      for i = 1, 40 do tasks[i]:cancel() end
      for i = 1, 40 do fails(errors.CancelledError, tasks[i].await, tasks[i]) end
    end)
  end)

  it("that wait for FIFOs do not hold up the end of run", function()
    make_fifo()
    local started = os.time()
    agenda.run(function()
      for _ = 1, 10 do agenda.spawn(agenda.read_file, fifo) end
      agenda.spawn(agenda.open, fifo, "w"):cancel()
      agenda.sleep(0.01)
    end)
    assert.is_true(os.time() - started < 5)
  end)

  it("that wait for FIFOs do not hold up loop:close()", function()
    make_fifo()
    local started = os.time()
    loopkit.with_loop(function(loop)
      loop:set_exception_handler(function() end)
      loop:create_task(agenda.read_file, fifo)
      loop:run_once(0)
      loop:run_once(0.01)
    end)
    assert.is_true(os.time() - started < 5)
  end)

  it("serve the cleanup of a generator that is collected with them", function()
    agenda.run(function()
      local rows = agenda.asyncgen(function()
        local file = agenda.open(path, "w")
        local _ <close> = loopkit.on_close(function()
          agenda.sleep(0)
          file:write("the end")
          file:close()
        end)
        agenda.yield(1)
      end)
      do
        local g = rows()
        g()
      end
      loopkit.collect()
      agenda.sleep(0.02)
      loopkit.collect()
      agenda.sleep(0.02)
    end)
    assert.equal("the end", slurp(path))
  end)

  it("dropped unclosed are reported in debug mode, with where they were opened", function()
    local contexts = loopkit.reports(function(loop)
      loop:set_debug(true)
      loop.slow_callback_duration = math.huge
      agenda.open(path, "w")
      agenda.sleep(0)
      loopkit.collect()
    end)
    assert.equal(1, #contexts)
    assert.matches("unclosed file '" .. path:gsub("%p", "%%%0") .. "', opened at .*file_spec.lua:%d+$",
      contexts[1].message)
  end)

  it("belong to their loop", function()
    local other = agenda.new_event_loop()
    local file = other:run_until_complete(function() return agenda.open(path, "w") end)
    file:write("x")
    agenda.run(function() fails(errors.RuntimeError, file.flush, file) end)
    other:close()
    assert.equal("x", slurp(path))
  end)

  it("leave a tty's or a child's modes alone: /dev/null and /dev/zero work", function()
    agenda.run(function()
      assert.equal("", agenda.read_file("/dev/null"))
      agenda.write_file("/dev/null", "x")
      local file <close> = agenda.open("/dev/zero")
      assert.equal(("\0"):rep(10), file:read(10))
    end)
  end)

  it("are closed when the program ends in the middle", function()
    local output = script.output(([[
      local loop = agenda.new_event_loop()
      local file = loop:run_until_complete(function() return agenda.open(%q, "w") end)
      file:write("text")
      print("here")
    ]]):format(path))
    assert.equal("here\n", output)
    assert.equal("text", slurp(path))
  end)
end)
