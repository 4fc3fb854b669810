rockspec_format = "3.0"
package = "agenda"
version = "scm-1"

source = {
  -- `luarocks make` works in the tree and fetches nothing.
  url = "git+file://.",
}

description = {
  summary = "Generators, coroutine objects, async generators and an event loop on libev",
  detailed = [[
    agenda brings Python's generators, coroutines, async generators (PEP 525) and an
    asyncio-like event loop to Lua 5.4. Written in C on libev: values and waits travel
    through any depth of nested coroutines, loops close what they leave early, and waking
    a body costs the same at any depth.
  ]],
  license = "MIT",
  labels = {"async", "coroutine", "generator", "eventloop", "libev"},
}

supported_platforms = {"linux"}

dependencies = {
  "lua >= 5.4, < 5.5",
}

external_dependencies = {
  EV = {header = "ev.h", library = "ev"},
  OPENSSL = {header = "openssl/ssl.h", library = "ssl"},
}

build = {
  type = "make",
  build_target = "all",
  build_variables = {
    BUILD = "build/rock",
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    EV_INCDIR = "$(EV_INCDIR)",
    EV_LIBDIR = "$(EV_LIBDIR)",
    OPENSSL_INCDIR = "$(OPENSSL_INCDIR)",
    OPENSSL_LIBDIR = "$(OPENSSL_LIBDIR)",
  },
  -- LuaRocks copies the files itself, from the list below, which `make lint` compares
  -- with the tree.
  install_pass = false,
  install = {
    lua = {
      ["agenda"] = "lua/agenda.lua",
      ["agenda.check"] = "lua/agenda/check.lua",
      ["agenda.connection"] = "lua/agenda/connection.lua",
      ["agenda.context"] = "lua/agenda/context.lua",
      ["agenda.contextvar"] = "lua/agenda/contextvar.lua",
      ["agenda.datagram"] = "lua/agenda/datagram.lua",
      ["agenda.endpoint"] = "lua/agenda/endpoint.lua",
      ["agenda.exception_group"] = "lua/agenda/exception_group.lua",
      ["agenda.files"] = "lua/agenda/files.lua",
      ["agenda.gather"] = "lua/agenda/gather.lua",
      ["agenda.inspect"] = "lua/agenda/inspect.lua",
      ["agenda.iterate"] = "lua/agenda/iterate.lua",
      ["agenda.itertools"] = "lua/agenda/itertools.lua",
      ["agenda.itertools.concurrent"] = "lua/agenda/itertools/concurrent.lua",
      ["agenda.itertools.crew"] = "lua/agenda/itertools/crew.lua",
      ["agenda.itertools.gate"] = "lua/agenda/itertools/gate.lua",
      ["agenda.itertools.sequential"] = "lua/agenda/itertools/sequential.lua",
      ["agenda.itertools.sinks"] = "lua/agenda/itertools/sinks.lua",
      ["agenda.itertools.source"] = "lua/agenda/itertools/source.lua",
      ["agenda.itertools.tee"] = "lua/agenda/itertools/tee.lua",
      ["agenda.itertools.timed"] = "lua/agenda/itertools/timed.lua",
      ["agenda.portable"] = "lua/agenda/portable.lua",
      ["agenda.portable.asyncgen"] = "lua/agenda/portable/asyncgen.lua",
      ["agenda.portable.awaitable"] = "lua/agenda/portable/awaitable.lua",
      ["agenda.portable.bodies"] = "lua/agenda/portable/bodies.lua",
      ["agenda.portable.both.checks"] = "lua/agenda/portable/both/checks.lua",
      ["agenda.portable.both.context"] = "lua/agenda/portable/both/context.lua",
      ["agenda.portable.both.iterate"] = "lua/agenda/portable/both/iterate.lua",
      ["agenda.portable.both.sequential"] = "lua/agenda/portable/both/sequential.lua",
      ["agenda.portable.both.sinks"] = "lua/agenda/portable/both/sinks.lua",
      ["agenda.portable.both.source"] = "lua/agenda/portable/both/source.lua",
      ["agenda.portable.context"] = "lua/agenda/portable/context.lua",
      ["agenda.portable.coroutine"] = "lua/agenda/portable/coroutine.lua",
      ["agenda.portable.errors"] = "lua/agenda/portable/errors.lua",
      ["agenda.portable.exception_group"] = "lua/agenda/portable/exception_group.lua",
      ["agenda.portable.frame"] = "lua/agenda/portable/frame.lua",
      ["agenda.portable.generator"] = "lua/agenda/portable/generator.lua",
      ["agenda.portable.hooks"] = "lua/agenda/portable/hooks.lua",
      ["agenda.portable.host"] = "lua/agenda/portable/host.lua",
      ["agenda.portable.inspect"] = "lua/agenda/portable/inspect.lua",
      ["agenda.portable.iterate"] = "lua/agenda/portable/iterate.lua",
      ["agenda.portable.itertools"] = "lua/agenda/portable/itertools.lua",
      ["agenda.portable.itertools.concurrent"] = "lua/agenda/portable/itertools/concurrent.lua",
      ["agenda.portable.itertools.crew"] = "lua/agenda/portable/itertools/crew.lua",
      ["agenda.portable.itertools.sequential"] = "lua/agenda/portable/itertools/sequential.lua",
      ["agenda.portable.itertools.sinks"] = "lua/agenda/portable/itertools/sinks.lua",
      ["agenda.portable.itertools.source"] = "lua/agenda/portable/itertools/source.lua",
      ["agenda.portable.itertools.tee"] = "lua/agenda/portable/itertools/tee.lua",
      ["agenda.portable.itertools.timed"] = "lua/agenda/portable/itertools/timed.lua",
      ["agenda.portable.object"] = "lua/agenda/portable/object.lua",
      ["agenda.portable.sentinel"] = "lua/agenda/portable/sentinel.lua",
      ["agenda.process"] = "lua/agenda/process.lua",
      ["agenda.queue"] = "lua/agenda/queue.lua",
      ["agenda.run"] = "lua/agenda/run.lua",
      ["agenda.server"] = "lua/agenda/server.lua",
      ["agenda.starttls"] = "lua/agenda/starttls.lua",
      ["agenda.stdio"] = "lua/agenda/stdio.lua",
      ["agenda.sync"] = "lua/agenda/sync.lua",
      ["agenda.taskgroup"] = "lua/agenda/taskgroup.lua",
      ["agenda.testing"] = "lua/agenda/testing.lua",
      ["agenda.threads"] = "lua/agenda/threads.lua",
      ["agenda.ticks"] = "lua/agenda/ticks.lua",
      ["agenda.timeout"] = "lua/agenda/timeout.lua",
      ["agenda.wait"] = "lua/agenda/wait.lua",
      ["agenda.waiters"] = "lua/agenda/waiters.lua",
    },
    lib = {
      ["agenda.core"] = "build/rock/agenda/core.so",
      ["agenda.tls"] = "build/rock/agenda/tls.so",
    },
  },
  copy_directories = {"docs", "types"},
}
