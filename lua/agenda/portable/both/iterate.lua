--- Iteration in both editions but for what owns: `aiter`, `anext`, and the protocol for objects of
-- the user's own.
-- @module agenda.portable.both.iterate

local metamethod = require "agenda.portable.both.checks".metamethod

-- @tparam table edition `errors`, `await`, `async`, `isawaitable`, `type`, `pack`, `unpack`;
-- `is_generator(x)`, of either kind
-- @treturn table the public functions
-- @treturn table what the edition's own ones need
return function(edition)
  local errors, await, type_of = edition.errors, edition.await, edition.type
  local is_generator = edition.is_generator
  local TypeError, RuntimeError = errors.TypeError, errors.RuntimeError
  local StopAsyncIteration = errors.StopAsyncIteration

  local iterate = {}

  local function describe(value)
    return type_of(value) or type(value)
  end

  -- What `__anext` of an iterator gives, if it can be awaited. That of `anext` is left to `await`.
  local function next_awaitable(iterator, anext)
    local awaitable = anext(iterator)
    if not edition.isawaitable(awaitable) then
      error(TypeError(("__anext of %s gave a %s, which cannot be awaited")
        :format(describe(iterator), describe(awaitable))), 0)
    end
    return awaitable
  end

  local function check_leading(ok, first, ...)
    if ok then
      if first == nil then
        error(RuntimeError("__anext gave a leading nil, which a loop takes for the end"), 0)
      end
      return first, ...
    end
    if StopAsyncIteration:is(first) then
      return nil
    end
    error(first, 0)
  end

  local function await_next(object, anext)
    return await(next_awaitable(object, anext))
  end

  -- What `aiter` makes of an object with `__anext`: a Lua iterator that `anext` takes, too, and
  -- that closes the object, if that has `__close`.
  -- StopAsyncIteration ends it, be it raised by what `__anext` gives or by `__anext` itself.
  local Iterator = {__name = "agenda.async_iterator"}

  function Iterator:__call()
    return check_leading(pcall(await_next, self.object, self.anext))
  end

  function Iterator:__anext()
    return self.anext(self.object)
  end

  function Iterator:__close(err)
    local close = metamethod(self.object, "__close")
    if close then
      close(self.object, err)
    end
  end

  function Iterator:__tostring()
    return ("<async_iterator of %s>"):format(tostring(self.object))
  end

  --- An asynchronous `for` over what it gives owns the generator: leaving the loop awaits
  -- `aclose()`.
  -- @function aiter
  -- @param x an async generator, a generator, an object with `__aiter`, or a Lua iterator triple
  -- @return an iterator function or generator, its state, its control value, and what closes it
  -- @raise TypeError for anything else
  function iterate.aiter(x, ...)
    if is_generator(x) then
      return x, nil, nil, x
    end
    local aiter = metamethod(x, "__aiter")
    if aiter then
      local iterator = aiter(x)
      if is_generator(iterator) then
        return iterator, nil, nil, iterator
      end
      local anext = metamethod(iterator, "__anext")
      if not anext then
        error(TypeError(("__aiter of %s gave a %s, which has no __anext")
          :format(describe(x), describe(iterator))), 0)
      end
      local made = setmetatable({object = iterator, anext = anext}, Iterator)
      return made, nil, nil, made
    end
    if select("#", ...) == 0 and getmetatable(x) == Iterator then
      return x, nil, nil, x
    end
    if type(x) == "function" or (type_of(x) == nil and metamethod(x, "__call")) then
      return x, ...
    end
    error(TypeError(("'%s' object is not iterable: it is no generator and has no __aiter")
      :format(describe(x))), 0)
  end

  local function or_default(default, ok, ...)
    if ok then
      return ...
    end
    local err = ...
    if StopAsyncIteration:is(err) then
      return edition.unpack(default, 2, default.n)
    end
    error(err, 0)
  end

  -- How many of the arguments count: a call of a generator function (or of `aiter`) at the end of
  -- the list leaves `nil, nil, g` behind g.
  local function count(arguments)
    local n = arguments.n
    local last = arguments[n]
    if n >= 4 and rawequal(last, arguments[n - 3]) and arguments[n - 1] == nil
        and arguments[n - 2] == nil and (is_generator(last) or getmetatable(last) == Iterator) then
      return n - 3
    end
    return n
  end

  local next_or_default = edition.async("anext", function(awaitable, default)
    return or_default(default, pcall(await, awaitable))
  end)

  --- An awaitable of an iterator's next values.
  -- @function anext
  -- @param it an async generator or an object with `__anext`
  -- @param ... what the awaitable gives at the end in place of StopAsyncIteration
  -- @return the awaitable
  -- @raise TypeError for what is no async iterator
  function iterate.anext(it, ...)
    local awaitable
    if type_of(it) == "async_generator" then
      awaitable = it:anext()
    else
      local anext = metamethod(it, "__anext")
      if not anext then
        error(TypeError(("'%s' object is not an async iterator"):format(describe(it))), 0)
      end
      awaitable = anext(it)
    end
    if select("#", ...) > 0 then
      local arguments = edition.pack(it, ...)
      arguments.n = count(arguments)
      if arguments.n > 1 then
        return next_or_default(awaitable, arguments)
      end
    end
    return awaitable
  end

  local Closing = {__close = function(self) await(self.object:aclose()) end}

  -- Something with `__close` that closes g: g itself if that has it.
  local function closing_of(g)
    if metamethod(g, "__close") then
      return g
    end
    if type(g) ~= "table" and type(g) ~= "userdata" or g.aclose == nil then
      error(TypeError(("'%s' object cannot be closed: it has neither aclose nor __close")
        :format(describe(g))), 0)
    end
    return setmetatable({object = g}, Closing)
  end

  -- Calls f with an item; the control value for the next one, or nil when that is all.
  local function give(f, first, ...)
    if first == nil or f(first, ...) == false then
      return nil
    end
    return first
  end

  return iterate, {give = give, closing_of = closing_of}
end
