local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local script = require "spec.support.script"
local errors, fails = agenda.errors, loopkit.fails

describe("descriptor watchers", function()
  local loop, path, reading, writing

  -- A FIFO with both ends open in this process: neither open blocks.
  before_each(function()
    loop = agenda.new_event_loop()
    path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkfifo " .. path))
    reading = assert(io.open(path, "r+"))
    writing = assert(io.open(path, "w"))
    writing:setvbuf("no")
  end)

  after_each(function()
    loop:close()
    for _, file in ipairs { reading, writing } do
      if io.type(file) == "file" then file:close() end
    end
    os.remove(path)
    loop, reading, writing = nil, nil, nil
  end)

  -- Turns until condition() holds, or two seconds have passed.
  local function run_until(condition)
    local limit = loop:time() + 2
    while not condition() and loop:time() < limit do loop:run_once(0.02) end
    return condition()
  end

  -- The number of a descriptor that this process has open on the FIFO for reading.
  local function fifo_descriptor()
    local listing <close> = assert(io.popen("ls -l /proc/$PPID/fd"))
    for line in listing:lines() do
      local fd = line:match("^lrwx.* (%d+) %-> " .. path:gsub("%p", "%%%0") .. "$")
      if fd then return math.tointeger(fd) end
    end
    error "no descriptor of the FIFO was found"
  end

  describe("loop:add_reader", function()
    it("calls when there is something to read", function()
      local line
      loop:add_reader(reading, function() line = reading:read("l") end)
      writing:write("hello\n")
      run_until(function() return line end)
      assert.equal("hello", line)
    end)

    it("does not call before", function()
      local called = false
      loop:add_reader(reading, function() called = true end)
      loop:run_once(0)
      loop:run_once(0)
      assert.is_false(called)
    end)

    it("calls for what was there before it was added", function()
      writing:write("early\n")
      local line
      loop:add_reader(reading, function() line = reading:read("l") end)
      assert.equal("early", run_until(function() return line end))
    end)

    it("passes its arguments, nils included", function()
      local got
      loop:add_reader(reading, function(...) got = table.pack(...) end, 1, nil, "c", nil)
      writing:write("x\n")
      run_until(function() return got end)
      assert.same({ 1, nil, "c", n = 4 }, got)
    end)

    it("calls again as long as there is something", function()
      local called = 0
      loop:add_reader(reading, function() called = called + 1 end)
      writing:write("x\n")
      run_until(function() return called >= 3 end)
      assert.is_true(called >= 3)
    end)

    it("calls again for what comes later", function()
      local lines = {}
      loop:add_reader(reading, function() lines[#lines + 1] = reading:read("l") end)
      for i = 1, 3 do
        writing:write(i, "\n")
        run_until(function() return #lines == i end)
      end
      assert.same({ "1", "2", "3" }, lines)
    end)

    it("takes the descriptor's number", function()
      local fd, called = fifo_descriptor(), false
      loop:add_reader(fd, function()
        called = true
        loop:remove_reader(fd)
      end)
      writing:write("x\n")
      assert.is_true(run_until(function() return called end))
    end)

    it("knows a file and its number for the same descriptor", function()
      local fd = fifo_descriptor()
      loop:add_reader(reading, function() end)
      assert.is_true(loop:remove_reader(fd))
      assert.is_false(loop:remove_reader(reading))
    end)

    it("replaces the callback that was there", function()
      local log = {}
      loop:add_reader(reading, function() log[#log + 1] = "first" end)
      loop:add_reader(reading, function()
        log[#log + 1] = "second"
        loop:remove_reader(reading)
      end)
      writing:write("x\n")
      run_until(function() return #log > 0 end)
      assert.same({ "second" }, log)
    end)

    it("calls at the end of input", function()
      local pipe <close> = assert(io.popen("true", "r"))
      local ended = false
      loop:add_reader(pipe, function()
        ended = pipe:read(1) == nil
        loop:remove_reader(pipe)
      end)
      assert.is_true(run_until(function() return ended end))
    end)

    it("watches several at once", function()
      local a <close> = assert(io.popen("echo a", "r"))
      local b <close> = assert(io.popen("echo b", "r"))
      local got = {}
      for _, pipe in ipairs { a, b } do
        loop:add_reader(pipe, function()
          got[pipe] = pipe:read("l")
          loop:remove_reader(pipe)
        end)
      end
      run_until(function() return got[a] and got[b] end)
      assert.equal("a", got[a])
      assert.equal("b", got[b])
    end)

    it("keeps its callback alive", function()
      local called = false;
      (function() loop:add_reader(reading, function() called = true end) end)()
      loopkit.collect()
      writing:write("x\n")
      assert.is_true(run_until(function() return called end))
    end)

    it("outlives the coroutine that called it", function()
      local called = false
      coroutine.wrap(function() loop:add_reader(reading, function() called = true end) end)()
      loopkit.collect()
      writing:write("x\n")
      assert.is_true(run_until(function() return called end))
    end)

    it("calls outside of any task", function()
      local task = "unset"
      loop:add_reader(reading, function()
        task = agenda.current_task()
        loop:remove_reader(reading)
      end)
      writing:write("x\n")
      run_until(function() return task ~= "unset" end)
      assert.is_nil(task)
    end)

    it("wakes a main that waits", function()
      local line = agenda.run(function()
        local running, fut = agenda.get_running_loop(), agenda.future()
        running:add_reader(reading, function()
          running:remove_reader(reading)
          fut:set_result(reading:read("l"))
        end)
        running:call_later(0.001, function() writing:write("woken\n") end)
        return agenda.await(fut)
      end)
      assert.equal("woken", line)
    end)

    it("reports an error of its callback and goes on", function()
      local contexts = {}
      loop:set_exception_handler(function(_, context) contexts[#contexts + 1] = context end)
      loop:add_reader(reading, function()
        if #contexts == 1 then loop:remove_reader(reading) end
        error("in reader", 0)
      end)
      writing:write("x\n")
      run_until(function() return #contexts >= 2 end)
      assert.equal("in reader", contexts[1].exception)
      assert.equal(2, #contexts)
    end)

    it("does not starve timers", function()
      writing:write("x\n")
      loop:add_reader(reading, function() end)
      local fired = false
      loop:call_later(0.001, function() fired = true end)
      assert.is_true(run_until(function() return fired end))
    end)

    it("refuses a closed file", function()
      reading:close()
      assert.is_false((pcall(loop.add_reader, loop, reading, print)))
    end)

    it("refuses what is no descriptor", function()
      loopkit.bad_argument(1, "add_reader", function() loop:add_reader({}, print) end)
    end)

    it("refuses a callback that is no function", function()
      loopkit.bad_argument(2, "add_reader", function() loop:add_reader(reading, 1) end)
    end)

    it("refuses a number that is no open descriptor", function()
      local err = fails(errors.OSError, loop.add_reader, loop, 987, print)
      assert.equal("EBADF", err.code)
    end)

    it("refuses a negative number", function()
      assert.is_false((pcall(loop.add_reader, loop, -1, print)))
    end)

    it("is refused by a closed loop", function()
      loop:close()
      local err = fails(errors.RuntimeError, loop.add_reader, loop, reading, print)
      assert.equal("Event loop is closed", err.message)
    end)
  end)

  describe("loop:remove_reader", function()
    it("tells that there was one", function()
      loop:add_reader(reading, print)
      assert.is_true(loop:remove_reader(reading))
    end)

    it("tells that there was none", function()
      assert.is_false(loop:remove_reader(reading))
    end)

    it("tells that there is none any more", function()
      loop:add_reader(reading, print)
      loop:remove_reader(reading)
      assert.is_false(loop:remove_reader(reading))
    end)

    it("tells that there is none after the loop was closed", function()
      loop:add_reader(reading, print)
      loop:close()
      assert.is_false(loop:remove_reader(reading))
    end)

    it("keeps the callback from being called", function()
      local called = false
      loop:add_reader(reading, function() called = true end)
      writing:write("x\n")
      loop:remove_reader(reading)
      loop:run_once(0)
      loop:run_once(0)
      assert.is_false(called)
    end)

    it("works from another callback of the same turn", function()
      local a <close> = assert(io.popen("cat", "w"))
      local b <close> = assert(io.popen("cat", "w"))
      -- Both have room, so both are ready in the first turn.
      local called = 0
      local function only_one()
        called = called + 1
        loop:remove_writer(a)
        loop:remove_writer(b)
      end
      loop:add_writer(a, only_one)
      loop:add_writer(b, only_one)
      for _ = 1, 5 do loop:run_once(0.002) end
      assert.equal(1, called)
    end)

    it("lets go of the callback", function()
      local weak = setmetatable({}, { __mode = "v" });
      (function()
        weak[1] = {}
        loop:add_reader(reading, print, weak[1])
      end)()
      loop:remove_reader(reading)
      loop:run_once(0)
      loopkit.collect()
      assert.is_nil(weak[1])
    end)

    it("lets the reader be added again", function()
      loop:add_reader(reading, print)
      loop:remove_reader(reading)
      local line
      loop:add_reader(reading, function() line = reading:read("l") end)
      writing:write("again\n")
      assert.equal("again", run_until(function() return line end))
    end)

    it("leaves a writer of the same descriptor", function()
      loop:add_reader(reading, print)
      loop:add_writer(reading, print)
      loop:remove_reader(reading)
      assert.is_true(loop:remove_writer(reading))
    end)
  end)

  describe("loop:add_writer", function()
    it("calls when there is room", function()
      local got
      loop:add_writer(writing, function(...)
        got = table.pack(...)
        loop:remove_writer(writing)
      end, "room", nil)
      run_until(function() return got end)
      assert.same({ "room", n = 2 }, got)
    end)

    it("calls again while there is room", function()
      local called = 0
      loop:add_writer(writing, function() called = called + 1 end)
      run_until(function() return called >= 3 end)
      assert.is_true(called >= 3)
    end)

    it("replaces the callback that was there", function()
      local log = {}
      loop:add_writer(writing, function() log[#log + 1] = "first" end)
      loop:add_writer(writing, function()
        log[#log + 1] = "second"
        loop:remove_writer(writing)
      end)
      run_until(function() return #log > 0 end)
      assert.same({ "second" }, log)
    end)

    it("works beside a reader of the same descriptor", function()
      local log = {}
      loop:add_reader(reading, function()
        log.read = reading:read("l")
        loop:remove_reader(reading)
      end)
      loop:add_writer(reading, function()
        log.wrote = true
        loop:remove_writer(reading)
        writing:write("both\n")
      end)
      run_until(function() return log.read end)
      assert.same({ read = "both", wrote = true }, log)
    end)

    it("is removed by remove_writer, which tells", function()
      assert.is_false(loop:remove_writer(writing))
      loop:add_writer(writing, print)
      assert.is_true(loop:remove_writer(writing))
      assert.is_false(loop:remove_writer(writing))
    end)

    it("is refused by a closed loop", function()
      loop:close()
      local err = fails(errors.RuntimeError, loop.add_writer, loop, writing, print)
      assert.equal("Event loop is closed", err.message)
    end)
  end)

  it("take descriptor 0", function()
    assert.equal("from stdin\n", script.output([[
      agenda.run(function()
        local loop, fut = agenda.get_running_loop(), agenda.future()
        loop:add_reader(0, function()
          loop:remove_reader(0)
          fut:set_result(io.read("l"))
        end)
        print(agenda.await(fut))
      end)
    ]], { input_command = "echo from stdin" }))
  end)
end)
