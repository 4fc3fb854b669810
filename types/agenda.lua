---@meta
-- What LuaLS needs to know of agenda. The reference in docs/reference/ says more.

---@class agenda
local agenda = {}

---@type string
agenda._VERSION = nil

---An awaitable: what `agenda.await` takes.
---@class agenda.awaitable
local awaitable = {}

---Awaits it; the same as `agenda.await(x)`.
---@async
---@return any ...
function awaitable:await() end

-- ----- errors --------------------------------------------------------------------------------

---An error object.
---@class agenda.error
---@field class agenda.errorclass
---@field name string the name of its class
---@field message any what went wrong, usually a string, or nil
---@field cause any the error that led to it, or nil
---@field traceback string? where it was raised, if that was inside agenda's coroutines

---@class agenda.errorclass
---@field name string
---@overload fun(message?: any, fields?: table): agenda.error
local errorclass = {}

---Whether v is an error object of this class or a descendant; false for any other value.
---@param v any
---@return boolean
function errorclass:is(v) end

---@class agenda.errors
---@field BaseError agenda.errorclass
---@field GeneratorExit agenda.errorclass
---@field CancelledError agenda.errorclass
---@field KeyboardInterrupt agenda.errorclass
---@field Error agenda.errorclass
---@field RuntimeError agenda.errorclass
---@field TypeError agenda.errorclass
---@field ValueError agenda.errorclass
---@field InvalidStateError agenda.errorclass
---@field TimeoutError agenda.errorclass
---@field StopIteration agenda.errorclass its objects have `value` and `values` (with `n`)
---@field StopAsyncIteration agenda.errorclass
---@field OSError agenda.errorclass its objects have `errno`, `code` ("ENOENT") and `syscall`
---@field TLSError agenda.errorclass its objects have `reason`
---@field IncompleteReadError agenda.errorclass its objects have `partial` and `expected`
---@field LimitOverrunError agenda.errorclass its objects have `consumed`
---@field QueueEmpty agenda.errorclass
---@field QueueFull agenda.errorclass
---@field QueueShutDown agenda.errorclass
---@field BrokenBarrierError agenda.errorclass
---@field ExceptionGroup agenda.errorclass its objects have `errors`, a list of at least one
local errors = {}

---A new error class.
---@param name string
---@param parent? agenda.errorclass Error by default
---@return agenda.errorclass
function errors.class(name, parent) end

---@type agenda.errors
agenda.errors = nil

---The text of an error and its recorded trace; also a message handler.
---@param err any
---@return string
function agenda.traceback(err) end

---Like `pcall`, but errors under BaseError and not under Error pass through.
---@param f function it may await
---@param ... any
---@return boolean
---@return any ...
function agenda.pcall(f, ...) end

---Who is told of warnings while no loop runs; nil: one line to stderr.
---@param f fun(context: table)?
function agenda.set_warning_handler(f) end

-- ----- generators ----------------------------------------------------------------------------

---@class agenda.generator
---@field name string may be assigned
---@field gi_running boolean
---@field gi_suspended boolean
---@field gi_yieldfrom any what `yield_from` delegates to, or nil
---@field gi_frame agenda.frame?
---@field gi_code function
---@overload fun(): any, ...
local generator = {}

---Where a body stands.
---@class agenda.frame
---@field source string
---@field currentline integer
---@field name string?

---The next yielded values; StopIteration at the end.
---@return any ...
function generator:next() end

---Sends values to the suspended yield; the next yielded values.
---@param ... any
---@return any ...
function generator:send(...) end

---Raises an error at the suspended yield; the next values if the body handles it.
---@param err any an error value or class
---@return any ...
function generator:throw(err) end

---Raises GeneratorExit at the suspended yield, so that the cleanup runs.
---@return any ... what the body returns, if it does
function generator:close() end

---Makes a generator function.
---@param name string
---@param fn function
---@return fun(...: any): agenda.generator, nil, nil, agenda.generator
---@overload fun(fn: function): fun(...: any): agenda.generator, nil, nil, agenda.generator
function agenda.generator(name, fn) end

---Hands values to the consumer; returns what is sent.
---@param ... any
---@return any ...
function agenda.yield(...) end

---Delegates to a generator, or to anything that a `for` accepts.
---@param x any
---@param ... any state, control and closing value of an iterator function
---@return any ... what the generator returns
function agenda.yield_from(x, ...) end

-- ----- coroutines ----------------------------------------------------------------------------

---@class agenda.coroutine: agenda.awaitable
---@field name string may be assigned
---@field cr_await any what it waits on, or nil
---@field cr_running boolean
---@field cr_suspended boolean
---@field cr_frame agenda.frame?
---@field cr_code function
local coroutine_object = {}

---Drives it to its next wait by hand.
---@param ... any
---@return any ... what it is blocked on
function coroutine_object:send(...) end

---Raises an error where it waits, and drives it on.
---@param err any
---@return any ...
function coroutine_object:throw(err) end

---Raises GeneratorExit where it waits, so that its cleanup runs.
function coroutine_object:close() end

---Makes a coroutine function.
---@param name string
---@param fn function
---@return fun(...: any): agenda.coroutine
---@overload fun(fn: function): fun(...: any): agenda.coroutine
function agenda.async(name, fn) end

---Awaits.
---@async
---@param x any an awaitable
---@return any ...
function agenda.await(x) end

---The lowest-level await-yield.
---@async
---@param ... any
---@return any ...
function agenda.suspend(...) end

-- ----- async generators ----------------------------------------------------------------------

---@class agenda.asyncgen
---@field name string may be assigned
---@field qualname string may be assigned
---@field ag_await any what it awaits, or nil
---@field ag_running boolean
---@field ag_suspended boolean
---@field ag_frame agenda.frame?
---@field ag_code function
---@overload fun(): any, ...
local asyncgen = {}

---@class agenda.asyncgen_call: agenda.awaitable
local asyncgen_call = {}

---Drives the call to its next wait by hand.
---@param ... any
---@return any ... what it is blocked on
function asyncgen_call:send(...) end

---Raises an error where it waits; before its first step, at the generator's yield.
---@param err any
---@return any ...
function asyncgen_call:throw(err) end

---Gives the call up.
function asyncgen_call:close() end

---The next values; StopAsyncIteration at the end.
---@return agenda.asyncgen_call
function asyncgen:anext() end

---Sends values to the suspended yield; gives the next values.
---@param ... any
---@return agenda.asyncgen_call
function asyncgen:asend(...) end

---Raises an error at the suspended yield; gives the next values if it is handled.
---@param err any
---@return agenda.asyncgen_call
function asyncgen:athrow(err) end

---Raises GeneratorExit at the suspended yield and runs the cleanup.
---@return agenda.asyncgen_call
function asyncgen:aclose() end

---Makes an async generator function.
---@param name string
---@param fn function
---@return fun(...: any): agenda.asyncgen, nil, nil, agenda.asyncgen
---@overload fun(fn: function): fun(...: any): agenda.asyncgen, nil, nil, agenda.asyncgen
function agenda.asyncgen(name, fn) end

---For a `for` that owns what it iterates.
---@param x any
---@param ... any
---@return any iterator
---@return any state
---@return any control
---@return any closing
function agenda.aiter(x, ...) end

---An awaitable of the next values; the defaults stand in for StopAsyncIteration.
---@param it any
---@param ... any
---@return agenda.awaitable
function agenda.anext(it, ...) end

---Calls f with the values of each item; closes what it iterates at the end.
---@async
---@param x any
---@param f function false from it stops
---@param ... any
function agenda.each(x, f, ...) end

---Calls f once with g and closes g at the end.
---@async
---@param g any
---@param f function
---@return any ...
function agenda.aclosing(g, f) end

---@class agenda.asyncgen_hooks
---@field firstiter function|false|nil
---@field finalizer function|false|nil

---@param hooks agenda.asyncgen_hooks
function agenda.set_asyncgen_hooks(hooks) end

---@return agenda.asyncgen_hooks
function agenda.get_asyncgen_hooks() end

---@param f function|false|nil
function agenda.set_asyncgen_finalizer(f) end

---@return function?
function agenda.get_asyncgen_finalizer() end

-- ----- predicates ----------------------------------------------------------------------------

---@param x any
---@return string? what kind of object of agenda's it is
function agenda.type(x) end

---@param x any
---@return boolean
function agenda.isgenerator(x) end

---@param x any
---@return boolean
function agenda.isgeneratorfunction(x) end

---@param x any
---@return boolean
function agenda.iscoroutine(x) end

---@param x any
---@return boolean
function agenda.iscoroutinefunction(x) end

---@param x any
---@return boolean
function agenda.isasyncgen(x) end

---@param x any
---@return boolean
function agenda.isasyncgenfunction(x) end

---@param x any
---@return boolean
function agenda.isawaitable(x) end

---@param x any
---@return boolean
function agenda.isfuture(x) end

-- ----- futures and tasks ---------------------------------------------------------------------

---@class agenda.future: agenda.awaitable
local future = {}

---@return boolean
function future:done() end

---@return boolean
function future:cancelled() end

---@return any ...
function future:result() end

---@return any error or nil
function future:exception() end

---@param message? any
---@return boolean whether it was not done yet
function future:cancel(message) end

---@param ... any
function future:set_result(...) end

---@param err any an error value or class
function future:set_exception(err) end

---@param f fun(future: agenda.future)
function future:add_done_callback(f) end

---@param f function
---@return integer how many were removed
function future:remove_done_callback(f) end

---@return agenda.event_loop?
function future:get_loop() end

---@class agenda.task: agenda.future
local task = {}

---@return string
function task:get_name() end

---@param name any
function task:set_name(name) end

---@return agenda.coroutine|thread|nil
function task:get_coro() end

---@return integer
function task:cancelling() end

---@return integer
function task:uncancel() end

---@return agenda.frame[]
function task:get_stack() end

---@param file? file* io.stderr by default
function task:print_stack(file) end

---A future that is tied to a loop when somebody first waits on it.
---@return agenda.future
function agenda.future() end

---A task on the running loop, first run in the next turn.
---@param f function|agenda.awaitable
---@param ... any
---@return agenda.task
function agenda.spawn(f, ...) end

---The same as `spawn`.
---@param f function|agenda.awaitable
---@param ... any
---@return agenda.task
function agenda.create_task(f, ...) end

---@param aw function|agenda.awaitable
---@return agenda.future
function agenda.ensure_future(aw) end

---@return agenda.task?
function agenda.current_task() end

---@return agenda.task[]
function agenda.all_tasks() end

---Prints every unfinished task with what it awaits and where.
---@param file? file* io.stderr by default
function agenda.print_tasks(file) end

---Waits.
---@async
---@param seconds number
---@param ... any
---@return any ... the extra arguments
function agenda.sleep(seconds, ...) end

---Takes a turn and delivers a pending cancellation.
---@async
function agenda.checkpoint() end

---@class agenda.gather_options
---@field return_exceptions boolean?
---@field packed boolean?

---Runs awaitables at once.
---@param list table a list of awaitables and functions
---@param options? agenda.gather_options
---@return agenda.future of a list with `n`
---@overload fun(...: any): agenda.future
function agenda.gather(list, options) end

---@class agenda.contextvar
---@field name string
---@field default any
local contextvar = {}

---@class agenda.contextvar_token

---@return any
function contextvar:get() end

---@param value any
---@return agenda.contextvar_token
function contextvar:set(value) end

---@param token agenda.contextvar_token
function contextvar:reset(token) end

---@param name string
---@param default? any
---@return agenda.contextvar
function agenda.contextvar(name, default) end

-- ----- the loop ------------------------------------------------------------------------------

---@class agenda.handle
local handle = {}

function handle:cancel() end

---@return boolean
function handle:cancelled() end

---@class agenda.timer_handle: agenda.handle
local timer_handle = {}

---@return number seconds on the loop's clock
function timer_handle:when() end

---@class agenda.event_loop
---@field slow_callback_duration number seconds
local event_loop = {}

function event_loop:run_forever() end

---@param aw function|agenda.awaitable
---@return any ...
function event_loop:run_until_complete(aw) end

---@param timeout? number seconds; 0 polls, nil waits for the next event
function event_loop:run_once(timeout) end

function event_loop:stop() end

function event_loop:close() end

---@return boolean
function event_loop:is_running() end

---@return boolean
function event_loop:is_closed() end

---@param f function
---@param ... any
---@return agenda.handle
function event_loop:call_soon(f, ...) end

---@param delay number seconds
---@param f function
---@param ... any
---@return agenda.timer_handle
function event_loop:call_later(delay, f, ...) end

---@param when number seconds on the loop's clock
---@param f function
---@param ... any
---@return agenda.timer_handle
function event_loop:call_at(when, f, ...) end

---@return number seconds
function event_loop:time() end

---@return agenda.future
function event_loop:create_future() end

---@param f function|agenda.awaitable
---@param ... any
---@return agenda.task
function event_loop:create_task(f, ...) end

---@param fd integer|file*
---@param f function
---@param ... any
function event_loop:add_reader(fd, f, ...) end

---@param fd integer|file*
---@return boolean
function event_loop:remove_reader(fd) end

---@param fd integer|file*
---@param f function
---@param ... any
function event_loop:add_writer(fd, f, ...) end

---@param fd integer|file*
---@return boolean
function event_loop:remove_writer(fd) end

---@param sig string|integer
---@param f function
---@param ... any
function event_loop:add_signal_handler(sig, f, ...) end

---@param sig string|integer
---@return boolean
function event_loop:remove_signal_handler(sig) end

---@param f fun(loop: agenda.event_loop, context: table)?
function event_loop:set_exception_handler(f) end

---@return function?
function event_loop:get_exception_handler() end

---@param context table
function event_loop:call_exception_handler(context) end

---@param on boolean
function event_loop:set_debug(on) end

---@return boolean
function event_loop:get_debug() end

---@return agenda.coroutine
function event_loop:shutdown_asyncgens() end

---@return agenda.event_loop
function agenda.new_event_loop() end

---@param loop agenda.event_loop?
function agenda.set_event_loop(loop) end

---@return agenda.event_loop
function agenda.get_event_loop() end

---@return agenda.event_loop
function agenda.get_running_loop() end

---Runs main on a new loop, which is closed at the end.
---@param main function|agenda.awaitable
---@param ... any
---@return any ... main's results
function agenda.run(main, ...) end

---For scripts: `run`; an error is printed and the process exits 1 (130 after Ctrl-C).
---@param f function|agenda.awaitable
---@param ... any
---@return any ... f's results
function agenda.main(f, ...) end

return agenda
