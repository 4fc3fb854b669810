-- Connections and streams whose task is cancelled after k turns, for every k.
local agenda = require "agenda"
local certificates = require "spec.support.certificates"
local core = require "agenda.core"
local fails = require("spec.support.loopkit").fails
local netkit = require "spec.support.netkit"
local streamkit = require "spec.support.streamkit"
local sweep = require "spec.support.sweep"
local spawn = agenda.spawn

local BIG = ("x"):rep(1000000)

describe("cancelled after any number of turns,", function()
  describe("open_unix_connection", function()
    local path
    netkit.each_with_socket_path(function(given) path = given end)

    it("leaves nothing", function()
      sweep(function()
        local server = agenda.start_unix_server(netkit.echo, path)
        local stream
        local task = spawn(function() stream = agenda.open_unix_connection(path) end)
        return {task}, function()
          if stream then stream:close() end
          server:close()
          server:wait_closed()
        end
      end)
    end)

    it("leaves nothing while it waits for a full backlog", function()
      for turns = 0, 20 do
        agenda.run(function()
          local listener <close> = core.socket("unix", "stream")
          listener:bind(path)
          listener:listen(0)
          local first = agenda.open_unix_connection(path)
          local task = spawn(agenda.open_unix_connection, path)
          for _ = 1, turns do agenda.sleep(0) end
          task:cancel()
          fails(agenda.errors.CancelledError, agenda.await, task)
          first:abort()
        end)
        os.remove(path)
      end
    end)
  end)

  describe("a connection that a server accepts", function()
    it("is closed, and the next one is served", function()
      sweep(function()
        local server, port = netkit.echo_server()
        local first = agenda.open_connection("127.0.0.1", port)
        local asked = spawn(function()
          first:write("hello\n")
          pcall(first.readline, first)
        end)
        -- The handlers are cancelled, whatever they do by then.
        local victim = spawn(function()
          for _ = 1, 8 do
            agenda.sleep(0)
          end
        end)
        return {victim}, function()
          for _, task in ipairs(agenda.all_tasks()) do
            if task ~= agenda.current_task() and task ~= asked then task:cancel() end
          end
          agenda.await(asked)
          first:abort()
          local stream = agenda.open_connection("127.0.0.1", port)
          stream:write("again\n")
          assert.equal("again", stream:readline())
          stream:close()
          server:close()
          server:wait_closed()
        end
      end)
    end)
  end)

  describe("TLS:", function()
    local ca, serving, trusting
    setup(function()
      ca = certificates.new()
      local good = ca:issue {name = "localhost"}
      serving = agenda.tls.context {cert = good.cert, key = good.key}
      trusting = agenda.tls.context {ca = ca.cert}
    end)
    teardown(function() ca:remove() end)

    it("the handshake of open_connection leaves nothing", function()
      local contexts = {}
      sweep(function()
        agenda.get_running_loop():set_exception_handler(function(_, context)
          contexts[#contexts + 1] = context
        end)
        local server, port = netkit.echo_server {tls = serving}
        local stream
        local task = spawn(function()
          stream = agenda.open_connection("127.0.0.1", port,
            {tls = trusting, server_name = "localhost"})
        end)
        return {task}, function()
          if stream then
            stream:close()
            stream:wait_closed()
          end
          server:close()
          server:wait_closed()
        end
      end)
      for _, context in ipairs(contexts) do
        error(context.message .. ": " .. tostring(context.exception))
      end
    end)

    it("starttls closes the stream, on either side", function()
      for _, victim_serves in ipairs {false, true} do
        sweep(function()
          local near, far = streamkit.sockets()
          local begun = false
          local function secure(stream, mine, context, opts)
            begun = begun or mine
            stream:starttls(context, opts)
          end
          local client = spawn(secure, near, not victim_serves, trusting, {server_name = "localhost"})
          local serving_side = spawn(secure, far, victim_serves, serving, {server_side = true})
          local victim, other, stream = client, serving_side, near
          if victim_serves then victim, other, stream = serving_side, client, far end
          return {victim}, function()
            if begun and victim:cancelled() then
              assert.is_false((pcall(stream.write, stream, "x")))
            end
            stream:abort()
            pcall(agenda.await, other)
            near:abort()
            far:abort()
          end
        end)
      end
    end)
  end)

  it("drain sends everything all the same", function()
    sweep(function()
      local a, b = streamkit.sockets()
      local writer = spawn(a.write, a, BIG)
      agenda.sleep(0)
      local task = spawn(a.drain, a)
      local reader = spawn(b.read, b, "a")
      return {task}, function()
        agenda.await(writer)
        a:close()
        assert.equal(BIG, agenda.await(reader))
        b:close()
      end
    end)
  end)

  it("wait_closed sends everything all the same, and may be called again", function()
    sweep(function()
      local a, b = streamkit.sockets()
      local writer = spawn(a.write, a, BIG)
      agenda.sleep(0)
      a:close()
      local task = spawn(a.wait_closed, a)
      local reader = spawn(b.read, b, "a")
      return {task}, function()
        a:wait_closed()
        agenda.await(writer)
        assert.equal(BIG, agenda.await(reader))
        b:close()
      end
    end)
  end)

  it("a block that ends while its stream is being sent sends or aborts", function()
    sweep(function()
      local a, b = streamkit.sockets()
      local begun = false
      local task = spawn(function()
        local stream <close> = a
        begun = true
        pcall(function() stream:write(BIG) end)
      end)
      local reader = spawn(function() return select(2, pcall(b.read, b, "a")) end)
      return {task}, function()
        if not begun then a:abort() end
        agenda.await(reader)
        assert.is_false((pcall(a.fileno, a)))
        b:close()
      end
    end)
  end)

  for _, name in ipairs {"wait_closed", "serve_forever"} do
    it("server:" .. name .. " leaves the server as it says", function()
      sweep(function()
        local server, port = netkit.echo_server()
        local stream = agenda.open_connection("127.0.0.1", port)
        local task = spawn(server[name], server)
        local closer = spawn(function()
          for turn = 1, 6 do
            agenda.sleep(0)
            if turn == 3 then server:close() end
          end
          stream:write("still served\n")
          assert.equal("still served", stream:readline())
          stream:close()
        end)
        return {task}, function()
          agenda.await(closer)
          server:wait_closed()
          assert.equal(0, server:connections())
        end
      end)
    end)
  end
end)
