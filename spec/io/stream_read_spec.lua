local agenda = require "agenda"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local streamkit = require "spec.support.streamkit"
local sweep = require "spec.support.sweep"
local errors, spawn, await = agenda.errors, agenda.spawn, agenda.await
local with = streamkit.with

describe("reading a stream", function()
  describe("read", function()
    it("gives what is there", function()
      with(function(a, b)
        a:write("hello")
        assert.equal("hello", b:read())
      end)
    end)

    it("waits for at least one byte", function()
      with(function(a, b)
        local task = spawn(b.read, b)
        loopkit.turns(3)
        assert.is_false(task:done())
        a:write("x")
        assert.equal("x", await(task))
      end)
    end)

    it("gives at most n bytes and keeps the rest", function()
      with(function(a, b)
        a:write("hello")
        assert.equal("he", b:read(2))
        assert.equal("llo", b:read(100))
      end)
    end)

    it("gives nil at the end, again and again", function()
      with(function(a, b)
        a:write("x")
        a:close()
        assert.equal("x", b:read())
        assert.is_nil(b:read())
        assert.is_nil(b:read(7))
      end)
    end)

    it("gives an empty string for 0, without waiting, while another task waits and at the end", function()
      with(function(a, b)
        assert.equal("", b:read(0))
        local task = spawn(b.read, b)
        loopkit.turns(1)
        assert.equal("", b:read(0))
        assert.equal("", b:readexactly(0))
        a:write_eof()
        assert.is_nil(await(task))
        assert.equal("", b:read(0))
        b:close()
        expect.raises_like(errors.RuntimeError, "is closed$", b.read, b, 0)
        expect.raises_like(errors.RuntimeError, "is closed$", b.readexactly, b, 0)
      end)
    end)

    it("refuses a negative size", function()
      with(function(_, b) expect.raises(errors.ValueError, nil, b.read, b, -1) end)
    end)

    it("refuses what is no size", function()
      with(function(_, b)
        expect.bad_argument("bad argument #1 to 'read' (number expected, got table)",
          function() b:read {} end)
        loopkit.bad_argument(1, "read", function() b:read("l") end)
      end)
    end)

    it("of everything gives all up to the end, whatever the limit", function()
      with(function(a, b)
        local data = ("0123456789"):rep(50000)
        local task = spawn(function()
          a:write(data)
          a:write_eof()
        end)
        assert.equal(data, b:read("a"))
        assert.equal("", b:read("a"))
        assert.equal("", b:read("*a")) -- as Lua's files take it
        await(task)
      end, { limit = 10 })
    end)
  end)

  describe("readexactly", function()
    it("gives so many bytes, whatever the limit", function()
      with(function(a, b)
        local task = spawn(function()
          for _ = 1, 10 do
            a:write("0123456789")
            agenda.sleep(0)
          end
        end)
        assert.equal(("0123456789"):rep(9), b:readexactly(90))
        assert.equal("0123456789", b:readexactly(10))
        assert.equal("", b:readexactly(0))
        await(task)
      end, { limit = 5 })
    end)

    it("takes the partial out when the input ends before", function()
      with(function(a, b)
        a:write("abc")
        a:close()
        local err = expect.raises(errors.IncompleteReadError, nil, b.readexactly, b, 10)
        assert.equal("abc", err.partial)
        assert.equal(10, err.expected)
        assert.is_nil(b:read())
        err = expect.raises(errors.IncompleteReadError, nil, b.readexactly, b, 1)
        assert.equal("", err.partial)
      end)
    end)
  end)

  describe("readline", function()
    it("drops the newline and keeps a carriage return", function()
      with(function(a, b)
        a:write("one\r\n\ntwo\n")
        assert.equal("one\r", b:readline())
        assert.equal("", b:readline())
        assert.equal("two", b:readline())
      end)
    end)

    it("gives an unterminated last line, then nil", function()
      with(function(a, b)
        a:write("one\ntwo")
        a:close()
        assert.equal("one", b:readline())
        assert.equal("two", b:readline())
        assert.is_nil(b:readline())
      end)
    end)

    it("gives nul bytes", function()
      with(function(a, b)
        a:write("a\0b\n")
        assert.equal("a\0b", b:readline())
      end)
    end)
  end)

  describe("readuntil", function()
    it("keeps the separator", function()
      with(function(a, b)
        a:write("a\r\nb\r\n")
        assert.equal("a\r\n", b:readuntil("\r\n"))
        assert.equal("b\r", b:readuntil("\r"))
        assert.equal("\n", b:readuntil())
      end)
    end)

    it("finds a separator that comes in pieces", function()
      with(function(a, b)
        local task = spawn(b.readuntil, b, "END")
        for _, piece in ipairs { "xE", "EN", "", "N", "D", "rest" } do
          a:write(piece)
          loopkit.turns(2)
        end
        assert.is_false(task:done())
        a:write("END")
        assert.equal("xEENNDrestEND", await(task))
      end)
    end)

    it("refuses an empty separator", function()
      with(function(_, b) expect.raises(errors.ValueError, nil, b.readuntil, b, "") end)
    end)

    describe("with several separators", function()
      it("ends with the one that ends first", function()
        with(function(a, b)
          a:write("line 1\nline 2\rABCDEFG")
          assert.equal("line 1\n", b:readuntil { "\r", "\n" })
          assert.equal("line 2\r", b:readuntil { "\r", "\n" })
          assert.equal("ABCDE", b:readuntil { "DEF", "BCDE" })
          assert.equal("FG", b:read())
        end)
      end)

      it("finds a short one while a long one would not fit yet", function()
        with(function(a, b)
          a:write("data")
          local task = spawn(b.readuntil, b, { "A", "long separator" })
          for _, piece in ipairs { "Z", "Aaaa" } do
            loopkit.turns(2)
            a:write(piece)
          end
          assert.equal("dataZA", await(task))
          assert.equal("aaa", b:read())
        end)
      end)

      it("finds a long one that comes in pieces", function()
        with(function(a, b)
          local task = spawn(b.readuntil, b, { "\0", "\r\n\r\n" })
          for _, piece in ipairs { "a\r\n\r", "b\r", "\n\r", "\nrest" } do
            a:write(piece)
            loopkit.turns(2)
          end
          assert.equal("a\r\n\rb\r\n\r\n", await(task))
        end)
      end)

      it("keeps to the limit, and loses nothing", function()
        with(function(a, b)
          a:write("some dataA")
          local err = expect.raises(errors.LimitOverrunError, nil, b.readuntil, b, { "A", "ome dataAB" })
          assert.equal(9, err.consumed)
          assert.equal("some dataA", b:read())
        end, { limit = 3 })
      end)

      it("has them checked, and copied", function()
        with(function(a, b)
          expect.raises(errors.ValueError, "Separator should contain at least one element",
            b.readuntil, b, {})
          expect.raises(errors.ValueError, "Separator should be at least one-byte string",
            b.readuntil, b, { "x", "" })
          expect.bad_argument("bad argument #1 to 'readuntil' (string expected at index 2, got table)",
            function() b:readuntil { "x", {} } end)
          local list = { "x", "y" }
          local task = spawn(b.readuntil, b, list)
          loopkit.turns(2)
          list[2] = nil
          a:write("1y")
          assert.equal("1y", await(task))
        end)
      end)
    end)

    it("takes the partial out when the input ends before", function()
      with(function(a, b)
        a:write("a\nbc")
        a:close()
        assert.equal("a\n", b:readuntil("\n"))
        local err = expect.raises(errors.IncompleteReadError, nil, b.readuntil, b, "\n")
        assert.equal("bc", err.partial)
        assert.is_nil(err.expected)
        assert.is_nil(b:read())
      end)
    end)
  end)

  describe("the limit", function()
    it("counts the bytes before the separator", function()
      with(function(a, b)
        a:write("12345\n123456\n")
        assert.equal("12345", b:readline())
        local err = expect.raises(errors.LimitOverrunError, nil, b.readline, b)
        assert.equal(6, err.consumed)
        assert.truthy(err.message:find("is found", 1, true))
        assert.equal("123456", b:readexactly(err.consumed))
        assert.equal("", b:readline())
      end, { limit = 5 })
    end)

    it("is passed before a separator is seen; nothing is lost", function()
      with(function(a, b)
        a:write("12345678")
        local err = expect.raises(errors.LimitOverrunError, nil, b.readuntil, b, "ab")
        assert.equal(7, err.consumed)
        assert.truthy(err.message:find("not found", 1, true))
        err = expect.raises(errors.LimitOverrunError, nil, b.readuntil, b, "ab")
        assert.equal(7, err.consumed)
        assert.equal("12345678", b:read())
      end, { limit = 5 })
    end)

    it("may be infinite", function()
      with(function(a, b)
        a:write(("x"):rep(100000), "\n")
        assert.equal(100000, #b:readline())
      end, { limit = math.huge })
    end)

    it("may be skipped to try again", function()
      with(function(a, b)
        a:write(("x"):rep(20), "a")
        local err = expect.raises(errors.LimitOverrunError, nil, b.readuntil, b, "ab")
        assert.equal(20, #b:readexactly(err.consumed))
        a:write("b")
        assert.equal("ab", b:readuntil("ab"))
      end, { limit = 5 })
    end)

    it("must be more than 0", function()
      agenda.run(function()
        local core = require "agenda.core"
        for _, limit in ipairs { 0, -1 } do
          local fd, other = core.pipe()
          expect.raises(errors.ValueError, nil, core.stream, fd, { limit = limit })
          expect.raises(errors.OSError, nil, core.close, fd)
          core.close(other)
        end
      end)
    end)
  end)

  describe("lines", function()
    it("is an async generator", function()
      with(function(_, b)
        local g = b:lines()
        assert.equal("async_generator", agenda.type(g))
        assert.equal(4, select("#", b:lines()))
      end)
    end)

    it("gives each line and ends with the input", function()
      with(function(a, b)
        a:write("one\n\ntwo\nthree")
        a:close()
        local seen = {}
        for line in b:lines() do seen[#seen + 1] = line end
        assert.same({ "one", "", "two", "three" }, seen)
      end)
    end)

    it("reads only while it is waited for, so the body may read", function()
      with(function(a, b)
        a:write("4\nbody5\nhello")
        a:close()
        local seen = {}
        for size in b:lines() do seen[#seen + 1] = b:readexactly(tonumber(size)) end
        assert.same({ "body", "hello" }, seen)
      end)
    end)

    it("left early leaves the rest", function()
      with(function(a, b)
        a:write("one\ntwo\nthree\n")
        local seen = {}
        for _ = 1, 2 do
          for line in b:lines() do
            seen[#seen + 1] = line
            if line then break end
          end
          seen[#seen + 1] = b:read(1)
        end
        assert.same({ "one", "t", "wo", "t" }, seen)
      end)
    end)

    it("waits between lines", function()
      with(function(a, b)
        local task = spawn(function()
          for i = 1, 5 do
            a:write("line ", i)
            agenda.sleep(0)
            a:write("\n")
          end
          a:close()
        end)
        local n = 0
        for line in b:lines() do
          n = n + 1
          assert.equal("line " .. n, line)
        end
        assert.equal(5, n)
        await(task)
      end)
    end)

    it("raises for a line over the limit, which is not lost", function()
      with(function(a, b)
        a:write("ok\ntoo long\n")
        local seen = {}
        expect.raises(errors.LimitOverrunError, nil, function()
          for line in b:lines() do seen[#seen + 1] = line end
        end)
        assert.same({ "ok" }, seen)
        assert.equal("too long\n", b:read())
      end, { limit = 5 })
    end)
  end)

  describe("lines that have come already", function()
    it("are not given by a stream that was closed meanwhile", function()
      with(function(a, b)
        a:write("one\ntwo\nthree\n")
        local seen = {}
        expect.raises(errors.RuntimeError, nil, function()
          for line in b:lines() do
            seen[#seen + 1] = line
            b:close()
          end
        end)
        assert.same({ "one" }, seen)
      end)
    end)

    it("are not given by a generator that was closed, nor twice", function()
      with(function(a, b)
        a:write("one\ntwo\nthree\nfour\nfive\n")
        local g = b:lines()
        local seen = { g(), await(g:anext()), g() }
        await(g:aclose())
        seen[#seen + 1] = tostring(g())
        for line in b:lines() do
          seen[#seen + 1] = line
          if line then break end
        end
        assert.same({ "one", "two", "three", "nil", "four" }, seen)
        assert.equal("five\n", b:readuntil())
      end)
    end)

    it("take turns with other tasks", function()
      with(function(a, b)
        a:write(("x\n"):rep(10000))
        a:close()
        local turns, lines = 0, 0
        local other = spawn(function()
          while true do
            turns = turns + 1
            agenda.sleep(0)
          end
        end)
        for _ in b:lines() do lines = lines + 1 end
        other:cancel()
        assert.equal(10000, lines)
        assert.is_true(turns > 20, turns)
      end)
    end)
  end)

  describe("chunks", function()
    it("gives what comes, at most n bytes at a time", function()
      with(function(a, b)
        a:write("abcdefg")
        a:close()
        local seen = {}
        for chunk in b:chunks(3) do seen[#seen + 1] = chunk end
        assert.same({ "abc", "def", "g" }, seen)
      end)
    end)

    it("refuses a size below 1", function()
      with(function(_, b) expect.raises(errors.ValueError, nil, b.chunks, b, 0) end)
    end)
  end)

  describe("by two tasks", function()
    it("refuses the second", function()
      with(function(a, b)
        local task = spawn(b.readline, b)
        loopkit.turns(1)
        expect.raises_like(errors.RuntimeError, "already waiting", b.read, b)
        a:write("x\n")
        assert.equal("x", await(task))
      end)
    end)
  end)

  describe("that takes its turn after many that completed at once", function()
    -- A task that has begun its 129th read, and has not gone on.
    local function turning(b, read)
      local task = spawn(function()
        while read(b) do end
      end)
      loopkit.turns(1)
      return task
    end

    local verbs = {
      read = function(b) return b:read(1) end,
      lines = function(b)
        for _ in b:lines() do end
      end,
    }
    for name, read in pairs(verbs) do
      it("is a reader like others: " .. name, function()
        with(function(a, b)
          a:write(("\n"):rep(200))
          local task = turning(b, read)
          expect.raises_like(errors.RuntimeError, "already waiting", b.read, b)
          assert.is_false(task:done())
          task:cancel()
          expect.raises(errors.CancelledError, nil, await, task)
          assert.equal(72, #b:read())
        end)
      end)

      it("is told when the stream is closed: " .. name, function()
        with(function(a, b)
          a:write(("\n"):rep(200))
          local task = turning(b, read)
          b:close()
          expect.raises_like(errors.RuntimeError, "is closed$", await, task)
        end)
      end)
    end
  end)

  describe("that is cancelled", function()
    it("looks at all that is there when it is called again", function()
      with(function(a, b)
        a:write("abcd")
        local task = spawn(b.readline, b)
        loopkit.turns(3)
        task:cancel()
        expect.raises(errors.CancelledError, nil, await, task)
        assert.equal("ab", b:readuntil("b"))
        assert.equal("cd", b:read())
      end)
    end)

    it("loses no byte, whenever it is", function()
      for _, verb in ipairs { "readexactly", "readuntil", "lines" } do
        sweep(function()
          local a, b = streamkit.sockets()
          local got = {}
          local reader = spawn(function()
            if verb == "lines" then
              for line in b:lines() do got[#got + 1] = line .. "\n" end
            else
              for _ = 1, 4 do
                got[#got + 1] = verb == "readexactly" and b:readexactly(5) or b:readuntil("\n")
              end
            end
          end)
          local writer = spawn(function()
            for _, piece in ipairs { "12", "34\n56", "78\nab", "cd\n", "efgh\n" } do
              a:write(piece)
              agenda.sleep(0)
            end
            a:write_eof()
          end)
          return { reader }, function()
            await(writer)
            got[#got + 1] = b:read("a")
            assert.equal("1234\n5678\nabcd\nefgh\n", table.concat(got))
            a:abort()
            b:abort()
          end
        end)
      end
    end)
  end)

  it("goes on at once when another stream took the shared memory", function()
    agenda.run(function()
      local pairs_of = {}
      for i = 1, 5 do pairs_of[i] = table.pack(streamkit.sockets()) end
      for i, pair in ipairs(pairs_of) do pair[1]:write(i, "\nrest ", i, "\n", ("x"):rep(i * 100), "\n") end
      for i, pair in ipairs(pairs_of) do assert.equal(tostring(i), pair[2]:readline()) end
      for i, pair in ipairs(pairs_of) do assert.equal("rest " .. i, pair[2]:readline()) end
      for i, pair in ipairs(pairs_of) do
        assert.equal(("x"):rep(i * 100), pair[2]:readline())
        pair[1]:close()
        assert.is_nil(pair[2]:readline())
        pair[2]:close()
      end
    end)
  end)
end)
