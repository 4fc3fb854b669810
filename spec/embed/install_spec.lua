local certificates = require "spec.support.certificates"
local program = require "spec.support.program"

if not program.available() then return end

-- Talks to itself by TLS; its arguments are the certificate, its key, the authority's certificate.
local TLS_HOST = [[
#include <agenda.h>
#include <ev.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

static int done;

static void on_done(lua_State *L, int status, int nresults, void *ud)
{
  done = 1;
  puts(luaL_tolstring(L, 1, NULL));
}

int main(int argc, char **argv)
{
  struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  agenda_loop *attached = agenda_attach(L, loop, 0);
  luaL_requiref(L, "agenda.tls", luaopen_agenda_tls, 0);
  luaL_loadstring(L, "local agenda, cert, key, ca = require 'agenda', ..."
    " local server = agenda.start_server(function(s) s:write(s:readline(), '!') end, '127.0.0.1', 0,"
    "   {tls = agenda.tls.context {cert = cert, key = key}})"
    " local stream = agenda.open_connection('127.0.0.1', select(2, server:address()),"
    "   {tls = agenda.tls.context {ca = ca}})"
    " stream:write('private\\n') return stream:read('a')");
  for (int i = 1; i < argc; i++)
    lua_pushstring(L, argv[i]);
  agenda_spawn(L, argc - 1, on_done, NULL);
  while (!done && agenda_step(attached, 5) >= 0)
    ;
  agenda_shutdown(L, 5);
  lua_close(L);
  ev_loop_destroy(loop);
  return 0;
}
]]

-- Of the programs in spec/embed what an installed library is tried with.
local PROGRAMS = {api = {"runs_with_plain_ev_run", "await"}, ends = {"shutdown"}, states = {"import"}}

describe("make install", function()
  local root, prefix, build = nil, nil, os.getenv("BUILD") or "build"
  local STATIC = "cc -I%s/include $(pkg-config --cflags lua5.4) %s -o %s/static %s -llua5.4 -lev -lpthread -lm"

  -- Installs what is built already.
  local function install(variables)
    return ("make -s install BUILD=%s %s -o all -o %s/libagenda.a -o %s/libagenda_tls.a")
      :format(build, variables, build, build)
  end

  local function sh(command)
    local ok, output = program.run(("export PKG_CONFIG_PATH=%s/lib/pkgconfig LUA_PATH='%s/share/lua/5.4/?.lua' "
      .. "LUA_CPATH='%s/lib/lua/5.4/?.so'; %s"):format(prefix, prefix, prefix, command))
    assert.is_true(ok, output)
    return output
  end

  setup(function()
    root = program.output("mktemp -d"):match("%S+")
    prefix = root .. "/prefix"
    local ok, output = program.run(install("PREFIX=" .. prefix))
    assert.is_true(ok, output)
  end)

  teardown(function() os.execute("rm -r " .. root) end)

  it("puts header, libraries, module and pkg-config file below PREFIX", function()
    for _, name in ipairs {
      "include/agenda.h", "lib/libagenda.a", "lib/libagenda_tls.a", "lib/libagenda.so",
      "lib/pkgconfig/agenda.pc",
      "lib/lua/5.4/agenda/core.so", "share/lua/5.4/agenda.lua", "share/lua/5.4/agenda/run.lua",
    } do
      sh(("test -r %s/%s"):format(prefix, name))
    end
    assert.truthy(sh("pkg-config --cflags agenda"):find("-I" .. prefix .. "/include", 1, true))
  end)

  it("honours DESTDIR #slow", function()
    sh(install(("DESTDIR=%s/stage PREFIX=/opt/x"):format(root)))
    sh(("grep -q prefix=/opt/x %s/stage/opt/x/lib/pkgconfig/agenda.pc"):format(root))
    sh(("test -r %s/stage/opt/x/lib/libagenda.so"):format(root))
  end)

  -- NB: a build with sanitizers wants more of its host than these commands give.
  if (os.getenv("AGENDA_VARIANT") or "") == "" then
    it("serves hosts that are linked with the shared library, which have one copy of it #slow", function()
      for file, names in pairs(PROGRAMS) do
        sh(("cc spec/embed/%s.c -o %s/shared $(pkg-config --cflags --libs agenda) -llua5.4 -lpthread")
          :format(file, root))
        for _, name in ipairs(names) do sh(("%s/shared %s"):format(root, name)) end
      end
      sh(("echo 'require \"agenda\" io.write(io.open(\"/proc/self/maps\"):read(\"a\"))' > %s/maps.lua")
        :format(root))
      local maps = sh(("LD_PRELOAD=%s/lib/libagenda.so lua5.4 %s/maps.lua"):format(prefix, root))
      local copies = {}
      for path in maps:gmatch("(%S*core%.so)\n") do copies[path] = true end
      for path in maps:gmatch("(%S*libagenda%.so%S*)\n") do copies[path] = true end
      local first = next(copies)
      assert.truthy(first)
      assert.is_nil(next(copies, first))
    end)

    it("serves the program of docs/embedding.md #slow", function()
      local file <close> = assert(io.open("docs/embedding.md"))
      local source <close> = assert(io.open(root .. "/host.c", "w"))
      source:write(file:read("a"):match("\n```c\n(.-)\n```"), "\n")
      source:close()
      sh(("cc -Wall -Werror %s/host.c -o %s/host $(pkg-config --cflags --libs agenda lua5.4)"):format(root, root))
      assert.equal("hello, host\n", sh(root .. "/host"))
    end)

    it("serves hosts that are linked statically and have no module to load #slow", function()
      for file, names in pairs(PROGRAMS) do
        sh(STATIC:format(prefix, ("spec/embed/%s.c"):format(file), root, prefix .. "/lib/libagenda.a"))
        for _, name in ipairs(names) do
          sh(("LUA_CPATH=/nowhere/?.so %s/static %s"):format(root, name))
        end
      end
    end)

    it("has TLS for them #slow", function()
      local file <close> = assert(io.open(root .. "/tls.c", "w"))
      file:write(TLS_HOST)
      file:close()
      sh(STATIC:format(prefix, root .. "/tls.c", root,
        ("%s/lib/libagenda.a %s/lib/libagenda_tls.a -lssl -lcrypto"):format(prefix, prefix)))
      local authority = certificates.new()
      local own = authority:issue {name = "localhost", ip = "127.0.0.1"}
      local said = sh(("LUA_CPATH=/nowhere/?.so %s/static %s %s %s"):format(root, own.cert, own.key, authority.cert))
      authority:remove()
      assert.equal("private!\n", said)
    end)
  end
end)
