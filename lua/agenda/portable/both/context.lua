--- Context managers of both editions but for `with`: `enter`, exit stacks, `defer`, what
-- `asynccontextmanager` makes. As contextlib's.
--
-- A manager is an object whose metatable has `__aenter(self)` and `__aexit(self, err)`. Whatever
-- has `__close` will do in its place: it counts as entered already, and its exit is that call.
-- @module agenda.portable.both.context

local checks = require "agenda.portable.both.checks"

local metamethod, is_callable = checks.metamethod, checks.is_callable

-- @tparam table edition `errors`, `await`, `type`, `pack`, `unpack`; `check`, with `callable` and
-- `self` as agenda.check has them; `address(object)` as text;
-- `close_stack(stack)`, which closes it as the end of a block does
-- @treturn table the public functions
-- @treturn table what the edition's own ones need
return function(edition)
  local errors, await, address = edition.errors, edition.await, edition.address
  local check = edition.check
  local pack, unpack = edition.pack, edition.unpack
  local RuntimeError, TypeError = errors.RuntimeError, errors.TypeError
  local StopAsyncIteration, StopIteration = errors.StopAsyncIteration, errors.StopIteration

  local context = {}

  local function describe(value)
    local name = edition.type(value) or metamethod(value, "__name")
    return type(name) == "string" and name or type(value)
  end

  -- NB: `error(nil)` has no value that an exit could tell from no error.
  local function or_nil_error(err)
    if err == nil then
      return RuntimeError("nil error")
    end
    return err
  end

  -- Files of LuaJIT have no `__close`.
  local function close_file(file)
    if io.type(file) == "file" then
      file:close()
    end
  end

  -- The metamethods of a manager; of something with `__close`: nil and that.
  local function protocol(value)
    local aenter, aexit = metamethod(value, "__aenter"), metamethod(value, "__aexit")
    if aenter and aexit then
      return aenter, aexit
    end
    local close = metamethod(value, "__close") or io.type(value) and close_file
    if not aenter and not aexit and close then
      return nil, close
    end
    local lacks = aenter and "__aexit" or aexit and "__aenter"
      or "__aenter and __aexit, nor __close"
    error(TypeError(("'%s' object is not a context manager: it has no %s")
      :format(describe(value), lacks)), 0)
  end

  -- ----- managers from async generators ----------------------------------------------------------

  local Manager = {
    __name = "agenda.asynccontextmanager",
    __agenda_type = "asynccontextmanager",
  }

  function Manager:__tostring()
    return ("<asynccontextmanager %s at %s>"):format(self.body.name, address(self))
  end

  local function entered_with(ok, ...)
    if ok then
      return ...
    end
    local err = ...
    if StopAsyncIteration:is(err) then
      error(RuntimeError("generator didn't yield"), 0)
    end
    error(err, 0)
  end

  function Manager:__aenter()
    if self.entered then
      error(RuntimeError("generator didn't yield"), 0)
    end
    self.entered = true
    return entered_with(pcall(await, self.body:anext()))
  end

  -- The body yielded once more: it is closed, and that it yielded is the error, unless closing
  -- fails.
  local function refuse_to_go_on(body)
    await(body:aclose())
    error(RuntimeError("generator didn't stop"), 0)
  end

  -- Whether what came out of the body is the very error that was thrown in. The async generator
  -- wraps a StopIteration or StopAsyncIteration, and `athrow` makes an object of a class.
  local function is_thrown(err, thrown)
    if rawequal(err, thrown) then
      return true
    end
    if RuntimeError:is(err) and rawequal(err.cause, thrown) then
      return StopAsyncIteration:is(thrown) or StopIteration:is(thrown)
    end
    return errors.BaseError:is(err) and rawequal(err.class, thrown)
  end

  function Manager:__aexit(err)
    local body = self.body
    if err == nil then
      local more, stop = pcall(await, body:anext())
      if more then
        refuse_to_go_on(body)
      end
      if not StopAsyncIteration:is(stop) then
        error(stop, 0)
      end
      return false
    end
    local more, out = pcall(await, body:athrow(err))
    if more then
      refuse_to_go_on(body)
    end
    if is_thrown(out, err) then
      return false
    end
    if StopAsyncIteration:is(out) then
      return true
    end
    error(out, 0)
  end

  -- The manager of an async generator that has not begun.
  local function manager(body)
    return setmetatable({body = body, entered = false}, Manager)
  end

  -- ----- enter -----------------------------------------------------------------------------------

  local Entered = {__name = "agenda.entered", __agenda_type = "entered"}

  function Entered:__tostring()
    return ("<entered %s at %s>"):format(describe(self.manager), address(self))
  end

  function Entered:__close(err)
    self.exit(self.manager, err)
  end

  --- Enters a context manager for the rest of the block: `local _ <close>, a = agenda.enter(cm)`.
  -- Exit runs when the block ends, with the error if there is one; it may await. What `__aexit`
  -- returns has no effect, since Lua's `<close>` cannot swallow an error. Awaits if entering does.
  -- @function enter
  -- @param cm a context manager, or anything with `__close`
  -- @return a to-be-closed value, which is cm itself if that has `__close`, and the values entered
  -- with: those of `__aenter`, else cm
  -- @raise TypeError for anything else; what entering raises
  function context.enter(cm)
    local aenter, exit = protocol(cm)
    if not aenter then
      return cm, cm
    end
    -- What can be closed by Lua knows best what to do when the block's error goes on; see `unwind`.
    if metamethod(cm, "__close") then
      return cm, aenter(cm)
    end
    return setmetatable({manager = cm, exit = exit}, Entered), aenter(cm)
  end

  -- ----- exit stacks -----------------------------------------------------------------------------

  local Stack = {__name = "agenda.exitstack", __agenda_type = "exitstack"}
  Stack.__index = Stack

  local function push(self, exit)
    self.n = self.n + 1
    self[self.n] = exit
  end

  local function pop(self)
    local exit = self[self.n]
    self[self.n] = nil
    self.n = self.n - 1
    return exit
  end

  -- Runs the exits, the last one first, and those that they push. `goes_on`: Lua raises the block's
  -- error again whatever this does, so that after a swallowed one the exits see it again.
  -- Returns whether the block's error is swallowed.
  local function unwind(self, block_error, goes_on)
    local err, pending, swallowed = block_error, false, false
    while self.n > 0 do
      local ok, result = pcall(pop(self), err)
      if not ok then
        err, pending = or_nil_error(result), true
      elseif result then
        err, pending, swallowed = nil, false, true
        if goes_on then
          err = block_error
        end
      end
    end
    if pending then
      error(err, 0)
    end
    return swallowed and block_error ~= nil
  end

  function Stack:__tostring()
    return ("<exitstack of %d at %s>"):format(self.n, address(self))
  end

  function Stack:__close(err)
    unwind(self, err, true)
  end

  function Stack:__aenter()
    return self
  end

  function Stack:__aexit(err)
    return unwind(self, err, false)
  end

  --- Enters a context manager and pushes its exit. Awaits if entering does.
  -- @function exitstack:enter
  -- @param cm a context manager, or anything with `__close`
  -- @return the values entered with; cm itself if it has only `__close`
  -- @raise TypeError for anything else; what entering raises, and then nothing is pushed
  function Stack:enter(cm)
    check.self(self, Stack, "enter")
    local aenter, exit = protocol(cm)
    if not aenter then
      push(self, function(err) exit(cm, err) end)
      return cm
    end
    local values = pack(aenter(cm))
    push(self, function(err) return exit(cm, err) end)
    return unpack(values, 1, values.n)
  end

  --- Pushes an exit without entering anything. Does not await.
  -- @function exitstack:push
  -- @param cm an object with `__aexit` or `__close`, or a function that is called with the error or
  -- nil; a true value from `__aexit` or the function swallows the error
  -- @return cm
  -- @raise TypeError for anything else
  function Stack:push(cm)
    check.self(self, Stack, "push")
    local aexit, close = metamethod(cm, "__aexit"), metamethod(cm, "__close")
    if aexit then
      push(self, function(err) return aexit(cm, err) end)
    elseif close then
      push(self, function(err) close(cm, err) end)
    elseif is_callable(cm) then
      push(self, function(err) return cm(err) end)
    else
      error(TypeError(("'%s' object is not a context manager: it has no __aexit, nor __close")
        :format(describe(cm))), 0)
    end
    return cm
  end

  --- Pushes the call `f(...)`, which may await. It does not get the error and cannot swallow it.
  -- @function exitstack:defer
  -- @tparam function f
  -- @param ... its arguments
  -- @return f
  function Stack:defer(f, ...)
    check.self(self, Stack, "defer")
    check.callable(f, 1, "defer")
    local arguments = pack(...)
    push(self, function() f(unpack(arguments, 1, arguments.n)) end)
    return f
  end

  --- Moves all that is pushed to a new stack; this one is empty then. Does not await.
  -- @function exitstack:pop_all
  -- @treturn exitstack
  function Stack:pop_all()
    check.self(self, Stack, "pop_all")
    local moved = context.exitstack()
    moved.n = self.n
    for i = 1, self.n do
      moved[i], self[i] = self[i], nil
    end
    self.n = 0
    return moved
  end

  --- Runs the exits now, the last one first. Awaits as they do; with nothing pushed it does
  -- nothing.
  -- @function exitstack:aclose
  -- @raise the newest error of an exit, if no later exit swallowed it
  function Stack:aclose()
    check.self(self, Stack, "aclose")
    return edition.close_stack(self)
  end

  --- A stack of exits, run in reverse order when the block ends (`<close>`), `with` ends or
  -- `aclose()` is called. Each sees the newest error; what is pushed while they run is run too.
  -- After contextlib's AsyncExitStack. Does not await.
  -- @function exitstack
  -- @treturn exitstack
  function context.exitstack()
    return setmetatable({n = 0}, Stack)
  end

  -- ----- defer -----------------------------------------------------------------------------------

  local Deferred = {__name = "agenda.deferred", __agenda_type = "deferred"}

  function Deferred:__tostring()
    return ("<deferred call at %s>"):format(address(self))
  end

  function Deferred:__close()
    self.f(unpack(self, 1, self.n))
  end

  --- A to-be-closed value that calls `f(...)`, without the error, at the end of the block:
  -- `local _ <close> = agenda.defer(f, ...)`. The call may await.
  -- @function defer
  -- @tparam function f
  -- @param ... its arguments
  -- @return the to-be-closed value
  function context.defer(f, ...)
    check.callable(f, 1, "defer")
    local deferred = pack(...)
    deferred.f = f
    return setmetatable(deferred, Deferred)
  end

  return context, {protocol = protocol, or_nil_error = or_nil_error, manager = manager}
end
