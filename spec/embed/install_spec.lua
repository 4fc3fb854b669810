local program = require "spec.support.program"

if not program.available() then return end

describe("make install", function()
  local root, prefix, build = nil, nil, os.getenv("BUILD") or "build"

  local function sh(command)
    local ok, output = program.run(("export PKG_CONFIG_PATH=%s/lib/pkgconfig LUA_PATH='%s/share/lua/5.4/?.lua' "
      .. "LUA_CPATH='%s/lib/lua/5.4/?.so'; %s"):format(prefix, prefix, prefix, command))
    assert.is_true(ok, output)
    return output
  end

  setup(function()
    root = program.output("mktemp -d"):match("%S+")
    prefix = root .. "/prefix"
    local ok, output = program.run(("make -s install BUILD=%s PREFIX=%s -o all -o %s/libagenda.a"):format(
      build, prefix, build))
    assert.is_true(ok, output)
  end)

  teardown(function() os.execute("rm -r " .. root) end)

  it("puts header, libraries, module and pkg-config file below PREFIX", function()
    for _, name in ipairs {
      "include/agenda.h", "lib/libagenda.a", "lib/libagenda.so", "lib/pkgconfig/agenda.pc",
      "lib/lua/5.4/agenda/core.so", "share/lua/5.4/agenda.lua", "share/lua/5.4/agenda/run.lua",
    } do
      sh(("test -r %s/%s"):format(prefix, name))
    end
    assert.truthy(sh("pkg-config --cflags agenda"):find("-I" .. prefix .. "/include", 1, true))
  end)

  it("honours DESTDIR #slow", function()
    sh(("make -s install BUILD=%s DESTDIR=%s/stage PREFIX=/opt/x -o all -o %s/libagenda.a"):format(
      build, root, build))
    sh(("grep -q prefix=/opt/x %s/stage/opt/x/lib/pkgconfig/agenda.pc"):format(root))
    sh(("test -r %s/stage/opt/x/lib/libagenda.so"):format(root))
  end)

  -- NB: a build with sanitizers wants more of its host than these commands give.
  if (os.getenv("AGENDA_VARIANT") or "") == "" then
    it("serves hosts that are linked with the shared library, which have one copy of it #slow", function()
      sh(("cc spec/embed/api.c -o %s/shared $(pkg-config --cflags --libs agenda) -llua5.4 -lpthread"):format(root))
      for _, name in ipairs {"runs_with_plain_ev_run", "await", "import"} do
        sh(("%s/shared %s"):format(root, name))
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
      sh(("cc -I%s/include $(pkg-config --cflags lua5.4) spec/embed/api.c -o %s/static %s/lib/libagenda.a "
        .. "-llua5.4 -lev -lpthread -lm"):format(prefix, root, prefix))
      for _, name in ipairs {"runs_with_plain_ev_run", "shutdown", "import"} do
        sh(("LUA_CPATH=/nowhere/?.so %s/static %s"):format(root, name))
      end
    end)
  end
end)
