local agenda = require "agenda"
local expect = require "spec.support.expect"
local loopkit = require "spec.support.loopkit"
local streamkit = require "spec.support.streamkit"
local sweep = require "spec.support.sweep"
local errors, spawn, await = agenda.errors, agenda.spawn, agenda.await
local with = streamkit.with

local BIG = ("0123456789abcdef"):rep(64 * 1024)

describe("writing a stream", function()
  it("takes strings, numbers and lists", function()
    with(function(a, b)
      a:write("a", { "b", "c", 1 }, {}, 2.5, "")
      a:write {}
      a:write_eof()
      assert.equal("abc12.5", b:read("a"))
    end)
  end)

  it("takes long lists and many arguments", function()
    with(function(a, b)
      local list = {}
      for i = 1, 1000 do list[i] = "x" .. i end
      a:write(list)
      a:write(table.unpack(list, 1, 200))
      a:write_eof()
      assert.equal(table.concat(list) .. table.concat(list, "", 1, 200), b:read("a"))
    end)
  end)

  it("checks all before it sends any", function()
    with(function(a, b)
      loopkit.bad_argument(2, "write", function() a:write("x", true) end)
      loopkit.bad_argument(2, "write", function() a:write("x", { "y", false }) end)
      loopkit.bad_argument(1, "write", function() a:write() end)
      a:write_eof()
      assert.equal("", b:read("a"))
    end)
  end)

  it("waits while more than the high-water mark is unsent", function()
    with(function(a, b)
      local task = spawn(a.write, a, BIG)
      loopkit.turns(5)
      assert.is_false(task:done())
      local got = 0
      while not task:done() do
        got = got + #b:read()
        agenda.sleep(0)
      end
      assert.is_true(got >= #BIG - 64 * 1024 - 1024 * 1024 and got <= #BIG)
    end)
  end)

  it("goes on as soon as no more than that is unsent", function()
    with(function(reader, writer)
      local task = spawn(writer.write, writer, ("x"):rep(300000))
      local got = 0
      loopkit.turns(2)
      while not task:done() do
        got = got + #reader:read(4096)
        loopkit.turns(2)
      end
      local drained = spawn(writer.drain, writer)
      loopkit.turns(3)
      assert.is_false(drained:done())
      writer:close()
      assert.equal(300000 - got, #reader:read("a"))
      await(drained)
    end, nil, "pipe")
  end)

  it("keeps the order of the calls and each call whole", function()
    with(function(a, b)
      local tasks, expected = {}, {}
      for i = 1, 5 do
        local data = tostring(i):rep(300000)
        expected[i] = data
        tasks[i] = spawn(a.write, a, data)
      end
      spawn(function()
        for _, task in ipairs(tasks) do await(task) end
        a:write_eof()
      end)
      assert.equal(table.concat(expected), b:read("a"))
    end)
  end)

  it("sends what a cancelled call was given, once", function()
    sweep(function()
      local a, b = streamkit.sockets()
      local reader
      local writer = spawn(a.write, a, BIG)
      spawn(function()
        loopkit.turns(3)
        reader = spawn(b.read, b, "a")
      end)
      return { writer }, function(k)
        local sent = k > 0
        while not reader do agenda.sleep(0) end
        a:write("end")
        a:write_eof()
        assert.equal((sent and BIG or "") .. "end", await(reader))
        a:close()
        b:close()
      end
    end)
  end)

  it("raises EPIPE for a peer that has gone, and no signal", function()
    for _, kind in ipairs { "sockets", "pipe" } do
      with(function(a, b)
        local reading, writing = a, b
        if kind == "sockets" then reading, writing = b, a end
        reading:close()
        for _ = 1, 2 do
          local err = expect.raises(errors.OSError, nil, writing.write, writing, "x")
          assert.equal("EPIPE", err.code)
          assert.truthy(err.message:find(kind == "pipe" and "writer" or "near"))
        end
      end, nil, kind)
    end
  end)

  it("raises EPIPE for a peer that goes while it waits", function()
    with(function(a, b)
      local task = spawn(a.write, a, BIG)
      loopkit.turns(2)
      b:close()
      local err = expect.raises(errors.OSError, nil, await, task)
      assert.equal("EPIPE", err.code)
    end)
  end)

  describe("write_eof", function()
    it("ends the output after what is queued; the input stays", function()
      with(function(a, b)
        local task = spawn(a.write, a, BIG)
        loopkit.turns(1)
        a:write_eof()
        a:write_eof()
        assert.equal(BIG, b:read("a"))
        await(task)
        b:write("answer")
        assert.equal("answer", a:read())
        expect.raises(errors.RuntimeError, nil, a.write, a, "x")
      end)
    end)

    it("closes a pipe", function()
      with(function(a, b)
        b:write("x")
        b:write_eof()
        assert.equal("x", a:read("a"))
        expect.raises(errors.RuntimeError, nil, b.fileno, b)
        b:write_eof()
        b:close()
        b:wait_closed()
      end, nil, "pipe")
    end)
  end)

  describe("drain", function()
    it("waits until the system has all", function()
      with(function(a, b)
        a:drain()
        local writer = spawn(a.write, a, BIG)
        local drainer = spawn(a.drain, a)
        loopkit.turns(3)
        assert.is_false(drainer:done())
        local reader = spawn(b.read, b, "a")
        await(drainer)
        await(writer)
        a:close()
        assert.equal(#BIG, #await(reader))
      end)
    end)
  end)

  it("to one that is only read is an error, and the other way round", function()
    with(function(a, b)
      expect.raises_like(errors.RuntimeError, "^reader: ", a.write, a, "x")
      expect.raises_like(errors.RuntimeError, "^writer: ", b.read, b)
    end, nil, "pipe")
  end)

  it("takes a turn after 128 calls in a row that complete at once", function()
    agenda.run(function()
      local a, b = streamkit.sockets()
      local turns = 0
      local counter = spawn(function()
        while true do
          turns = turns + 1
          agenda.sleep(0)
        end
      end)
      agenda.sleep(0)
      local before = turns
      for _ = 1, 64 do
        a:write("x")
        b:read()
      end
      assert.equal(before, turns)
      a:write("x")
      assert.equal(before + 1, turns)
      counter:cancel()
      a:close()
      b:close()
    end)
  end)
end)
