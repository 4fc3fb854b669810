-- Options of connections, servers and datagrams that are wrong.
local agenda = require "agenda"
local expect = require "spec.support.expect"
local netkit = require "spec.support.netkit"
local errors = agenda.errors

-- name of the function, number of the options' argument, arguments before them
local CALLS = {
  {"open_connection", 3, "127.0.0.1", 1},
  {"open_unix_connection", 2, "/no/such/socket"},
  {"start_server", 4, print, "127.0.0.1", 0},
  {"start_unix_server", 3, print, "/no/such/socket"},
  {"datagram", 1},
}

-- wrong values of options, and what is said of them
local NO_NUMBER, NO_STRING = "number expected, got string", "string expected, got table"
local NO_BOOLEAN, NO_PAIR = "boolean expected, got string", "{host, port} expected, got string"
local NO_CONTEXT = "true or a context of agenda.tls expected, got number"
local CLIENT = {
  limit = {"64K", NO_NUMBER}, timeout = {"soon", NO_NUMBER}, server_name = {{}, NO_STRING},
  nodelay = {"no", NO_BOOLEAN}, tls = {1, NO_CONTEXT},
}
local SERVER = {
  limit = {"64K", NO_NUMBER}, backlog = {"5", NO_NUMBER}, max_connections = {"5", NO_NUMBER},
  reuseport = {"yes", NO_BOOLEAN}, tls = {1, NO_CONTEXT},
}
local WRONG = {
  open_connection = CLIENT, open_unix_connection = CLIENT, start_server = SERVER,
  start_unix_server = SERVER,
  datagram = {local_addr = {"127.0.0.1:1", NO_PAIR}, remote_addr = {"127.0.0.1:1", NO_PAIR}},
}

for _, entry in ipairs(CALLS) do
  local name, n = entry[1], entry[2]

  local function call(opts)
    local arguments = table.pack(table.unpack(entry, 3))
    arguments[n] = opts
    return agenda[name](table.unpack(arguments, 1, n))
  end

  local function refused(text, opts)
    agenda.run(function()
      expect.bad_argument(("bad argument #%d to '%s' (%s)"):format(n, name, text), call, opts)
    end)
  end

  describe("agenda." .. name .. " refuses", function()
    it("unknown options, which it names", function()
      refused("unknown option 'limt'", {limt = 1})
      refused("unknown option '1'", {"127.0.0.1"})
      refused("unknown option 'true'", {[true] = 1})
    end)

    for option, wrong in pairs(WRONG[name]) do
      it("a wrong " .. option, function()
        refused(("option '%s': %s"):format(option, wrong[2]), {[option] = wrong[1]})
      end)
    end
  end)
end

describe("the options of others", function()
  it("are refused by name", function()
    agenda.run(function()
      expect.bad_argument("bad argument #3 to 'open_connection' (unknown option 'backlog')",
        agenda.open_connection, "127.0.0.1", 1, {backlog = 1})
      expect.bad_argument("bad argument #4 to 'start_server' (unknown option 'timeout')",
        agenda.start_server, print, "127.0.0.1", 0, {timeout = 1})
      expect.bad_argument("bad argument #2 to 'open_unix_connection' (unknown option 'local_addr')",
        agenda.open_unix_connection, "/x", {local_addr = {"127.0.0.1", 0}})
    end)
  end)
end)

describe("an address {host, port}", function()
  it("has its host and its port checked, and the option is named", function()
    agenda.run(function()
      local datagram = "bad argument #1 to 'datagram' (option 'local_addr': "
      expect.bad_argument(datagram .. "host: string expected, got number)", agenda.datagram,
        {local_addr = {1, 2}})
      expect.bad_argument(datagram .. "port: number expected, got string)", agenda.datagram,
        {local_addr = {"127.0.0.1", "http"}})
      expect.bad_argument("bad argument #3 to 'open_connection' (option 'local_addr': port: "
        .. "number has no integer representation)", agenda.open_connection, "127.0.0.1", 1,
        {local_addr = {"127.0.0.1", 1.5}})
    end)
  end)
end)

describe("a host with a zero byte", function()
  it("is refused in the name of the function", function()
    agenda.run(function()
      expect.bad_argument("bad argument #1 to 'open_connection' (string contains zeros)",
        agenda.open_connection, "a\0b", 1)
      expect.bad_argument("bad argument #2 to 'start_server' (string contains zeros)",
        agenda.start_server, print, "a\0b", 1)
      expect.bad_argument("bad argument #1 to 'datagram' (option 'remote_addr': host: string contains zeros)",
        agenda.datagram, {remote_addr = {"a\0b", 1}})
      local d <close> = agenda.datagram {local_addr = {"127.0.0.1", 0}}
      expect.bad_argument("bad argument #2 to 'send' (host: string contains zeros)", d.send, d, "x",
        {"a\0b", 1})
    end)
  end)
end)

describe("options that are numbers", function()
  it("have to be integers, and large enough", function()
    agenda.run(function()
      for option, least in pairs {limit = 1, backlog = 0, max_connections = 1} do
        for _, value in ipairs {1.5, least - 1, 0 / 0, -math.huge} do
          local err = expect.raises(errors.ValueError, nil, agenda.start_server, print, "127.0.0.1",
            0, {[option] = value})
          assert.truthy(err.message:find(option, 1, true))
        end
      end
      expect.raises(errors.ValueError, nil, agenda.start_server, print, "127.0.0.1", 0,
        {backlog = math.huge})
      local _ <close> = agenda.start_server(print, "127.0.0.1", 0,
        {limit = math.huge, max_connections = math.huge})
    end)
  end)
end)

describe("stream:starttls", function()
  it("refuses unknown and wrong options", function()
    agenda.run(function()
      local _ <close>, port = netkit.echo_server()
      local stream <close> = agenda.open_connection("127.0.0.1", port)
      for text, opts in pairs {
        ["unknown option 'name'"] = {name = "x"},
        ["option 'server_side': boolean expected, got number"] = {server_side = 1},
        ["option 'server_name': string expected, got table"] = {server_name = {}},
      } do
        expect.bad_argument(("bad argument #2 to 'starttls' (%s)"):format(text), stream.starttls, stream,
          true, opts)
      end
      stream:write("still open\n")
      assert.equal("still open", stream:readline())
    end)
  end)
end)
