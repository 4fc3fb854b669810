local program = require "spec.support.program"

if not program.available() then return end

for _, file in ipairs {"api", "posts", "ends", "states"} do
  describe("agenda.h (" .. file .. ".c)", function()
    for _, name in ipairs(program.tests(file)) do
      it(name:gsub("_", " "), function()
        local ok, output = program.checked(file, name)
        assert.equal("", output)
        assert.is_true(ok)
      end)
    end
  end)
end

describe("agenda.h as a header", function()
  local function compiles(command, lines)
    local ok, output = program.run(("printf '%s' | %s -fsyntax-only -Isrc %s -"):format(
      lines, command, "$(pkg-config --cflags lua5.4 2>/dev/null || echo -I/usr/include/lua5.4)"))
    assert.equal("", output)
    assert.is_true(ok)
  end

  local STRICT = " -Wall -Wextra -Wpedantic -Werror -Wno-unused-function"
  local USE = [[#include <agenda.h>\nint f(lua_State *L);\nint f(lua_State *L) { %s }\n]]

  it("is C99", function()
    compiles("gcc -xc -std=c99" .. STRICT, USE:format("return agenda_detach(L);"))
  end)

  it("is C++, also with libev and lua.hpp before it #slow", function()
    compiles("g++ -xc++ -std=c++11" .. STRICT, USE:format("return agenda_detach(L);"))
    compiles("g++ -xc++ -std=c++11" .. STRICT, "#include <lua.hpp>\\n#include <ev.h>\\n"
      .. USE:format("return agenda_import(L)->detach(L);"))
  end)

  it("gives modules the functions by their names", function()
    compiles("g++ -xc++ -std=c++11" .. STRICT, "#define AGENDA_MODULE\\n"
      .. USE:format("agenda_import(L); agenda_spawn(L, 0, NULL, NULL); return agenda_await(L, 1, 0, NULL);"))
  end)
end)
