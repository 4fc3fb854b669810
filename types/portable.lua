---@meta agenda.portable
-- What LuaLS needs to know of the portable edition; its objects are those of agenda.lua. The
-- reference in docs/reference/portable.md says more.

---@class agenda.portable
---@field _VERSION string
---@field errors agenda.errors
---@field itertools table the stages and sinks of `agenda.itertools`
local portable = {}

---What stages with tasks and time use of the host.
---@class agenda.portable_host
---@field spawn? fun(f: function, ...: any) runs f as a task
---@field sleep? fun(seconds: number)
---@field now? fun(): number in seconds
---@field event? fun(): agenda.portable_event

---@class agenda.portable_event
---@field tell fun(self: agenda.portable_event)
---@field wait fun(self: agenda.portable_event, seconds?: number)

---@param calls agenda.portable_host an absent field stays
function portable.set_host(calls) end

---@param name string
---@param fn function
---@return fun(...: any): agenda.generator, nil, nil, agenda.generator
---@overload fun(fn: function): fun(...: any): agenda.generator, nil, nil, agenda.generator
function portable.generator(name, fn) end

---@param name string
---@param fn function
---@return fun(...: any): agenda.asyncgen, nil, nil, agenda.asyncgen
---@overload fun(fn: function): fun(...: any): agenda.asyncgen, nil, nil, agenda.asyncgen
function portable.asyncgen(name, fn) end

---@param name string
---@param fn function
---@return fun(...: any): agenda.coroutine
---@overload fun(fn: function): fun(...: any): agenda.coroutine
function portable.async(name, fn) end

---Hands the values to the consumer of the generator whose body this is.
---@async
---@param ... any
---@return any ... what is sent
function portable.yield(...) end

---@async
---@param x any a generator, or what a `for` accepts
---@param ... any
---@return any ... the sub-generator's return values
function portable.yield_from(x, ...) end

---@async
---@param x any an awaitable
---@return any ...
function portable.await(x) end

---Hands the values to whoever drives the outermost coroutine.
---@async
---@param ... any
---@return any ...
function portable.suspend(...) end

---@param x any
---@param ... any
---@return any iterator, any state, any control, any closing
function portable.aiter(x, ...) end

---@param it any
---@param ... any the defaults
---@return agenda.awaitable
function portable.anext(it, ...) end

---Calls f with the values of each item; `false` stops. Closes what it iterates at the end.
---@async
---@param x any
---@param f fun(...: any): boolean?
---@param ... any
function portable.each(x, f, ...) end

---@async
---@param g any
---@param f fun(g: any): any ...
---@return any ...
function portable.aclosing(g, f) end

---@param hooks agenda.asyncgen_hooks
function portable.set_asyncgen_hooks(hooks) end

---@return agenda.asyncgen_hooks
function portable.get_asyncgen_hooks() end

---@param f function|false|nil
function portable.set_asyncgen_finalizer(f) end

---@return function?
function portable.get_asyncgen_finalizer() end

---@param f fun(context: table)?
function portable.set_warning_handler(f) end

---@param x any
---@return string?
function portable.type(x) end

---@param x any
---@return boolean
function portable.isgenerator(x) end

---@param x any
---@return boolean
function portable.isgeneratorfunction(x) end

---@param x any
---@return boolean
function portable.iscoroutine(x) end

---@param x any
---@return boolean
function portable.iscoroutinefunction(x) end

---@param x any
---@return boolean
function portable.isasyncgen(x) end

---@param x any
---@return boolean
function portable.isasyncgenfunction(x) end

---@param x any
---@return boolean
function portable.isawaitable(x) end

---@param x any
---@return boolean
function portable.isfuture(x) end

---@param err any
---@return string
function portable.traceback(err) end

---Like `pcall`, but GeneratorExit, CancelledError and KeyboardInterrupt pass through.
---@async
---@param f function
---@param ... any
---@return boolean, any ...
function portable.pcall(f, ...) end

---@param name string
---@param fn function
---@return fun(...: any): table
---@overload fun(fn: function): fun(...: any): table
function portable.asynccontextmanager(name, fn) end

---@async
---@param cm any
---@param f function
---@param ... any
---@return any ...
portable["with"] = function(cm, f, ...) end

---@async
---@param cm any
---@return any closing, any ...
function portable.enter(cm) end

---@param f function
---@param ... any
---@return table
function portable.defer(f, ...) end

---@return agenda.exitstack
function portable.exitstack() end

return portable
