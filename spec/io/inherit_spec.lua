local agenda = require "agenda"

-- What a program has open that somebody else than the library starts.
local function open_in_program()
  local pipe <close> = assert(io.popen("ls /proc/self/fd"))
  return pipe:read("a")
end

describe("a program that is started by fork and exec", function()
  it("inherits no descriptor of the library's", function()
    local before = open_in_program()
    agenda.run(function()
      local server <close> = agenda.start_server(function(stream) stream:read("a") end, "127.0.0.1", 0)
      local _, port = server:address()
      local client <close> = agenda.open_connection("127.0.0.1", port)
      local path = os.tmpname()
      os.remove(path)
      local unix_server <close> = agenda.start_unix_server(function(stream) stream:read("a") end, path)
      local unix_client <close> = agenda.open_unix_connection(path)
      local datagrams <close> = agenda.datagram {local_addr = {"127.0.0.1", 0}}
      local file <close> = agenda.open("/dev/null", "r")
      local process <close> = agenda.subprocess {"cat", stdin = "pipe", stdout = "pipe", stderr = "pipe"}
      agenda.to_thread(function() end)
      agenda.get_running_loop():add_signal_handler("SIGUSR2", print)
      client:write("x")
      unix_client:write("x")
      agenda.sleep(0.01) -- the accepted ends are open
      assert.equal(before, open_in_program())
      assert.truthy(server and unix_server and datagrams and file)
      process:kill()
      os.remove(path)
    end)
  end)
end)
