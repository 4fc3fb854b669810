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
---@return any ...
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
function agenda.each(x, f) end

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

---@param default? any
---@return any
function contextvar:get(default) end

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

---Calls a Lua function on a thread, in a Lua state of its own.
---@param f function without upvalues but _ENV
---@param ... any plain values, which are copied
---@return agenda.future
function event_loop:run_in_executor(f, ...) end

---An awaitable that takes no more work for threads, waits for what there is, and ends the threads.
---@return agenda.coroutine
function event_loop:shutdown_default_executor() end

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

-- ----- structured concurrency ----------------------------------------------------------------

---A scope with a deadline; it ends with its block.
---@class agenda.timeout
local timeout = {}

---Moves the deadline to a time of the loop's; nil: never.
---@param when? number seconds
function timeout:reschedule(when) end

---The deadline, a time of the loop's; nil: never.
---@return number?
function timeout:when() end

---Whether the deadline passed while the scope was open.
---@return boolean
function timeout:expired() end

---A scope: `local t <close> = agenda.timeout(5)`. At its deadline the task is cancelled, which
---becomes TimeoutError at the end of the block.
---@param seconds? number from now on; nil: never
---@return agenda.timeout
function agenda.timeout(seconds) end

---The same with a point in time.
---@param when? number a time of the loop's, in seconds; nil: never
---@return agenda.timeout
function agenda.timeout_at(when) end

---Calls f(...), which may wait for so many seconds; TimeoutError when they are over.
---@async
---@param seconds? number nil: without limit
---@param f function
---@param ... any its arguments
---@return any ... f's results
function agenda.with_timeout(seconds, f, ...) end

---The same, but returns nothing when the time is over.
---@async
---@param seconds? number nil: without limit
---@param f function
---@param ... any its arguments
---@return any ... f's results, or nothing
function agenda.move_on_after(seconds, f, ...) end

---A group of tasks; it ends with its block.
---@class agenda.taskgroup
local taskgroup = {}

---Starts a task in the group.
---@param f function|agenda.awaitable
---@param ... any arguments of the function
---@return agenda.task
function taskgroup:spawn(f, ...) end

---The same as `spawn`.
---@param f function|agenda.awaitable
---@param ... any arguments of the function
---@return agenda.task
function taskgroup:create_task(f, ...) end

---Cancels the tasks of the group and its block.
---@param message? any
function taskgroup:cancel(message) end

---A group: `local tg <close> = agenda.taskgroup()`. The end of the block waits for its tasks and
---raises an ExceptionGroup of all failures.
---@return agenda.taskgroup
function agenda.taskgroup() end

---Calls f with a task group and waits for the group's tasks.
---@async
---@param f fun(tg: agenda.taskgroup): any ...
---@return any ... f's results; nothing if `tg:cancel()` cut f short
function agenda.with_taskgroup(f) end

---What `errors.ExceptionGroup` makes.
---@class agenda.exceptiongroup: agenda.error
---@field errors any[] at least one; errors may be any value
---@field tasks? (string|false)[] the names of the tasks, false for the block's own error
local exceptiongroup = {}

---Two groups: of the errors of the class, and of the others; nil for an empty one.
---@param class agenda.errorclass|fun(err: any): boolean
---@return agenda.exceptiongroup?
---@return agenda.exceptiongroup?
function exceptiongroup:split(class) end

---@class agenda.wait_options
---@field timeout? number seconds; nil: without limit
---@field return_when? "ALL_COMPLETED"|"FIRST_COMPLETED"|"FIRST_EXCEPTION"

---Waits for futures and tasks; cancels nothing and raises nothing of theirs.
---@async
---@param list (agenda.future|function)[]
---@param options? agenda.wait_options
---@return agenda.future[] done
---@return agenda.future[] pending
function agenda.wait(list, options) end

---Awaits something for so many seconds at most; then it is cancelled, and TimeoutError raised.
---@async
---@param aw agenda.awaitable|function
---@param timeout? number seconds; nil: without limit
---@return any ... the results
function agenda.wait_for(aw, timeout) end

---Gives futures as they are done.
---@param list (agenda.awaitable|function)[]
---@param options? {timeout: number?}
---@return agenda.asyncgen
---@return nil
---@return nil
---@return agenda.asyncgen
function agenda.as_completed(list, options) end

---A Future of an awaitable's results; cancelling it does not cancel the awaitable.
---@param aw agenda.awaitable|function
---@return agenda.future
function agenda.shield(aw) end

-- ----- context managers ------------------------------------------------------------------------

---What `with`, `enter` and `exitstack:enter` take: an object whose metatable has `__aenter(self)`
---and `__aexit(self, err)`, or anything whose metatable has `__close`.
---@alias agenda.contextmanager any

---Makes context managers of an async generator body that yields once. `fn`, or a name and `fn`.
---@param fn async fun(...: any)
---@return fun(...: any): agenda.contextmanager factory
---@overload fun(name: string, fn: async fun(...: any)): fun(...: any): agenda.contextmanager
function agenda.asynccontextmanager(fn) end

---Enters for the rest of the block: `local _ <close>, a = agenda.enter(cm)`.
---@async
---@param cm agenda.contextmanager
---@return any closing to be closed
---@return any ... the values entered with
function agenda.enter(cm) end

---Enters, calls `f(values..., ...)`, exits.
---@async
---@param cm agenda.contextmanager
---@param f async fun(...: any): ...
---@param ... any
---@return any ... f's results; nothing if the manager swallowed its error
function agenda.with(cm, f, ...) end

---A to-be-closed value that calls `f(...)` at the end of the block.
---@param f async fun(...: any)
---@param ... any
---@return any closing
function agenda.defer(f, ...) end

---A stack of exits; also a `<close>` variable and a context manager.
---@class agenda.exitstack
local exitstack = {}

---@return agenda.exitstack
function agenda.exitstack() end

---Enters a context manager and pushes its exit.
---@async
---@param cm agenda.contextmanager
---@return any ... the values entered with
function exitstack:enter(cm) end

---Pushes an exit without entering anything: an object with `__aexit` or `__close`, or a function
---that is called with the error or nil.
---@generic T
---@param cm T
---@return T
function exitstack:push(cm) end

---Pushes the call `f(...)`.
---@generic F: function
---@param f F
---@param ... any
---@return F
function exitstack:defer(f, ...) end

---Moves all that is pushed to a new stack.
---@return agenda.exitstack
function exitstack:pop_all() end

---Runs the exits now, the last one first.
---@async
function exitstack:aclose() end

-- ----- agenda.testing --------------------------------------------------------------------------

---What `require "agenda.testing"` gives.
---@class agenda.testing
local testing = {}

---Like `agenda.run`, on a virtual clock.
---@param main async fun(...: any): ... | agenda.awaitable
---@param ... any
---@return any ...
function testing.run(main, ...) end

---Awaits until every other task is blocked.
---@async
function testing.wait_all_blocked() end

---The virtual time, in seconds since `testing.run` began.
---@return number
function testing.clock() end

---Calls f and raises if it left tasks, handles, watchers or descriptors behind.
---@async
---@param f async fun(...: any): ...
---@param ... any
---@return any ...
function testing.leaks(f, ...) end

---Defines a spec of busted whose body is run by `testing.run`.
---@param name string
---@param f async fun()
function testing.it(name, f) end

-- ----- locks ---------------------------------------------------------------------------------

---A to-be-closed value that releases.
---@class agenda.guard

---@class agenda.lock
local lock = {}

---@async
---@return true
function lock:acquire() end

function lock:release() end

---@return boolean
function lock:locked() end

---Acquires for a block: `local _ <close> = lock:guard()`.
---@async
---@return agenda.guard
function lock:guard() end

---@return agenda.lock
function agenda.lock() end

---@class agenda.event
local event = {}

---@return boolean
function event:is_set() end

function event:set() end

function event:clear() end

---@async
---@return true
function event:wait() end

---@return agenda.event
function agenda.event() end

---@class agenda.condition
local condition = {}

---@async
---@return true
function condition:acquire() end

function condition:release() end

---@return boolean
function condition:locked() end

---Acquires for a block: `local _ <close> = condition:guard()`.
---@async
---@return agenda.guard
function condition:guard() end

---Releases the lock, waits until it is notified, acquires the lock.
---@async
---@return true
function condition:wait() end

---Waits until f() is true.
---@async
---@generic T
---@param f fun(): T
---@return T
function condition:wait_for(f) end

---@param n? integer 1 by default
function condition:notify(n) end

function condition:notify_all() end

---@param lock? agenda.lock one of its own by default
---@return agenda.condition
function agenda.condition(lock) end

---@class agenda.semaphore
local semaphore = {}

---@async
---@return true
function semaphore:acquire() end

function semaphore:release() end

---@return boolean
function semaphore:locked() end

---Acquires for a block: `local _ <close> = semaphore:guard()`.
---@async
---@return agenda.guard
function semaphore:guard() end

---@param n? integer 1 by default
---@return agenda.semaphore
function agenda.semaphore(n) end

---A semaphore that refuses to be released more often than it was acquired.
---@class agenda.bounded_semaphore : agenda.semaphore

---@param n? integer 1 by default
---@return agenda.bounded_semaphore
function agenda.bounded_semaphore(n) end

---@class agenda.barrier
---@field parties integer how many tasks it waits for
---@field n_waiting integer
---@field broken boolean
local barrier = {}

---@async
---@return integer number 0 to parties - 1
function barrier:wait() end

function barrier:abort() end

function barrier:reset() end

---@param n integer
---@return agenda.barrier
function agenda.barrier(n) end

-- ----- networking ----------------------------------------------------------------------------

---@class agenda.connection_options
---@field tls? boolean|agenda.tls_context true, or a context of agenda.tls
---@field server_name string? what the certificate must be for; the host unless given
---@field local_addr table? {host, port}
---@field timeout number? seconds for resolving, connecting and the handshake together
---@field limit number? of reads up to a separator, in bytes; 64 KiB unless given; math.huge: none
---@field nodelay boolean? TCP_NODELAY; true unless given

---Connects to a TCP server.
---@async
---@param host string
---@param port integer
---@param opts? agenda.connection_options
---@return agenda.stream
function agenda.open_connection(host, port, opts) end

---Connects to a Unix socket.
---@async
---@param path string
---@param opts? agenda.connection_options
---@return agenda.stream
function agenda.open_unix_connection(path, opts) end

---@class agenda.server_options
---@field backlog integer? 100 unless given
---@field reuseport boolean?
---@field tls? agenda.tls_context
---@field limit number? of the connections' streams
---@field max_connections integer? the rest wait in the backlog

---@class agenda.server
local server = {}

---The listening sockets; none once it is closed.
---@return agenda.socket[]
function server:sockets() end

---@return string host or path
---@return integer? port
function server:address() end

---How many connections have a handler that has not ended.
---@return integer
function server:connections() end

---Stops listening; live connections go on.
function server:close() end

---Until it is closed and all handlers have ended.
---@async
function server:wait_closed() end

---Closes the streams of all connections.
function server:close_clients() end

---Discards all connections.
function server:abort_clients() end

---Until somebody closes it; cancelled, it closes the server.
---@async
function server:serve_forever() end

---A TCP server; the handler runs as a task for each connection.
---@async
---@param handler fun(stream: agenda.stream)
---@param host string|string[]|nil nil: every interface
---@param port integer 0: one that is free
---@param opts? agenda.server_options
---@return agenda.server
function agenda.start_server(handler, host, port, opts) end

---A server at a Unix socket.
---@param handler fun(stream: agenda.stream)
---@param path string
---@param opts? agenda.server_options
---@return agenda.server
function agenda.start_unix_server(handler, path, opts) end

---What a server listens with.
---@class agenda.socket
local socket = {}

---@return string host or path
---@return integer? port
function socket:sockname() end

---@return string host or path
---@return integer? port
function socket:peername() end

---@return integer
function socket:fileno() end

function socket:close() end

---@class agenda.datagram : agenda.socket
local datagram = {}

---Sends a datagram; without an address to `remote_addr`.
---@async
---@param data string
---@param addr? table {host, port}
function datagram:send(data, addr) end

---@async
---@return string data
---@return table addr {host, port}
function datagram:recv() end

---What comes: data, {host, port}.
---@return agenda.asyncgen messages, nil, nil, agenda.asyncgen
function datagram:messages() end

---A socket for datagrams.
---@async
---@param opts {local_addr: table?, remote_addr: table?} at least one of them
---@return agenda.datagram
function agenda.datagram(opts) end

-- ----- queues --------------------------------------------------------------------------------

---@class agenda.queue
---@field maxsize number 0: no limit
local queue = {}

---@async
---@param item any not nil
function queue:put(item) end

---@async
---@return any item
function queue:get() end

---@param item any not nil
function queue:put_nowait(item) end

---@return any item
function queue:get_nowait() end

---@return integer
function queue:qsize() end

---@return boolean
function queue:empty() end

---@return boolean
function queue:full() end

function queue:task_done() end

---@async
function queue:join() end

---@param immediate? boolean drop what is left
function queue:shutdown(immediate) end

---The items, until the queue is shut down.
---@return agenda.asyncgen items, nil, nil, agenda.asyncgen
function queue:items() end

---@param maxsize? number
---@return agenda.queue
function agenda.queue(maxsize) end

---@class agenda.priority_queue : agenda.queue

---@param maxsize? number
---@param less? fun(a: any, b: any): boolean
---@return agenda.priority_queue
function agenda.priority_queue(maxsize, less) end

---@class agenda.lifo_queue : agenda.queue

---@param maxsize? number
---@return agenda.lifo_queue
function agenda.lifo_queue(maxsize) end

-- ----- streams -------------------------------------------------------------------------------

---Bytes in both directions: a socket, a pipe, a file.
---@class agenda.stream
local stream = {}

---What is there, at least one byte; "a": all up to the end. Nil at the end of input.
---@async
---@param n? integer|"a"
---@return string?
function stream:read(n) end

---@async
---@param n integer
---@return string
function stream:readexactly(n) end

---@async
---@return string? line without its "\n"
function stream:readline() end

---@async
---@param separator? string|string[] "\n" by default; of several the one that ends first
---@return string data which ends with the separator
function stream:readuntil(separator) end

---The lines, up to the end of input.
---@return agenda.asyncgen lines, nil, nil, agenda.asyncgen
function stream:lines() end

---What comes, up to the end of input.
---@param n? integer at most so many bytes at a time
---@return agenda.asyncgen chunks, nil, nil, agenda.asyncgen
function stream:chunks(n) end

---@return boolean
function stream:at_eof() end

---Awaits while more than 64 KiB are unsent.
---@async
---@param data string|number|(string|number)[]
---@param ... string|number|(string|number)[]
function stream:write(data, ...) end

---Waits until the system has taken all.
---@async
function stream:drain() end

function stream:write_eof() end

---Stops reading, sends what is unsent, closes.
function stream:close() end

---@async
function stream:wait_closed() end

---Discards what is unsent and closes.
function stream:abort() end

---@return string? host or path
---@return integer? port
function stream:peername() end

---@return string? host or path
---@return integer? port
function stream:sockname() end

---@return integer fd
function stream:fileno() end

---Standard input of the process.
---@type agenda.stream
agenda.stdin = nil

---Standard output of the process.
---@type agenda.stream
agenda.stdout = nil

---Standard error of the process.
---@type agenda.stream
agenda.stderr = nil

---Begins TLS, and awaits the handshake.
---@async
---@param context true|agenda.tls_context
---@param opts? agenda.starttls_options
function stream:starttls(context, opts) end

---@return agenda.tlsinfo? agreed nil without TLS
function stream:tlsinfo() end

-- ----- pipelines -----------------------------------------------------------------------------

---What a stage takes: an async generator, a generator, an object with `__aiter`, an iterator
---function.
---@alias agenda.source agenda.asyncgen|agenda.generator|table|fun(): any ...

---@class agenda.itertools
local itertools = {}

---@class agenda.map_options
---@field concurrency? integer how many items are worked on at once (1)
---@field ordered? boolean whether results keep the order of the items (true)

---What f gives for each item.
---@param f async fun(...: any): any ...
---@param x agenda.source
---@param options? agenda.map_options
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.map(f, x, options) end

---The items for which f gives a true value.
---@param f async fun(...: any): any
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.filter(f, x) end

---The items before the first for which f gives a false value.
---@param f async fun(...: any): any
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.takewhile(f, x) end

---The items from the first on for which f gives a false value.
---@param f async fun(...: any): any
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.dropwhile(f, x) end

---The first n items; item n + 1 is never pulled.
---@param n integer
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.take(n, x) end

---The items after the first n.
---@param n integer
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.drop(n, x) end

---Each item behind its number.
---@param x agenda.source
---@param first? number the first number (1)
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.enumerate(x, first) end

---The sources' first values side by side, until the first source ends.
---@param ... agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.zip(...) end

---The items of one source after those of the other.
---@param ... agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.chain(...) end

---The items of all sources as they come.
---@param ... agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.merge(...) end

---The items of the items, one level.
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.flatten(x) end

---Lists of up to n items; none is empty.
---@param n integer
---@param x agenda.source
---@param seconds? number how long a list may wait for more after its first item
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.batch(n, x, seconds) end

---The same items, pulled up to n ahead.
---@param n integer
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.buffer(n, x) end

---Running results, the first item (or init) first.
---@param f async fun(result: any, ...: any): any
---@param x agenda.source
---@param init? any
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.scan(f, x, init) end

---The same items; TimeoutError when one takes longer to come.
---@param seconds number
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.timeout(seconds, x) end

---The same items, each no earlier than that after the one before.
---@param seconds number
---@param x agenda.source
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function itertools.throttle(seconds, x) end

---n async generators, each of all items.
---@param n integer
---@param x agenda.source
---@return agenda.asyncgen ...
function itertools.tee(n, x) end

---All items as a list.
---@async
---@param x agenda.source
---@return any[]
function itertools.collect(x) end

---The last of the running results.
---@async
---@param f async fun(result: any, ...: any): any
---@param x agenda.source
---@param init? any
---@return any
function itertools.reduce(f, x, init) end

---@class agenda.foreach_options
---@field concurrency? integer how many calls run at once (1)

---Calls f for each item.
---@async
---@param f async fun(...: any)
---@param x agenda.source
---@param options? agenda.foreach_options
function itertools.foreach(f, x, options) end

---The number of items.
---@async
---@param x agenda.source
---@return integer
function itertools.count(x) end

-- ----- threads ---------------------------------------------------------------------------------

---Calls a Lua function on a thread, in a Lua state of its own.
---@async
---@param f function without upvalues but _ENV
---@param ... any plain values, which are copied
---@return any ... its results, copied
function agenda.to_thread(f, ...) end

-- ----- files -----------------------------------------------------------------------------------

---All that is in a file.
---@async
---@param path string
---@return string
function agenda.read_file(path) end

---Makes a file of the data.
---@async
---@param path string
---@param data string
function agenda.write_file(path, data) end

---@class agenda.file
local file = {}

---Opens a file.
---@async
---@param path string
---@param mode? string as io.open has them
---@return agenda.file
function agenda.open(path, mode) end

---Reads; nil at the end, but "" for "a".
---@async
---@param what? integer|"a"|"l"|"L" nothing: what is there
---@return string?
function file:read(what) end

---A line without its newline; nil at the end.
---@async
---@return string?
function file:readline() end

---The lines from here on.
---@param what? integer|"l"|"L"
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function file:lines(what) end

---Writes strings and numbers, or one list of them.
---@async
---@param ... string|number|(string|number)[]
---@return agenda.file
function file:write(...) end

---Hands what was written to the system.
---@async
---@return agenda.file
function file:flush() end

---Sets and gets the position.
---@async
---@param whence? "set"|"cur"|"end"
---@param offset? integer
---@return integer
function file:seek(whence, offset) end

---Closes the file.
---@async
function file:close() end

-- ----- names -----------------------------------------------------------------------------------

---@class agenda.address
---@field addr string numeric
---@field port integer
---@field family "inet"|"inet6"

---@class agenda.getaddrinfo_options
---@field family? "inet"|"inet6" only addresses of this family
---@field type? "stream"|"dgram" which service a name stands for
---@field passive? boolean no host: the addresses to listen on

---The addresses of a host and a port.
---@async
---@param host string? a name or a numeric address; nil: this machine
---@param port? integer|string a number or the name of a service
---@param opts? agenda.getaddrinfo_options
---@return agenda.address[]
function agenda.getaddrinfo(host, port, opts) end

-- ----- child processes -------------------------------------------------------------------------

---@alias agenda.stdio "pipe"|"null"|"inherit"|integer|file*|agenda.stream

---@class agenda.subprocess_spec
---@field [integer] string|number the command and its arguments
---@field stdin? agenda.stdio
---@field stdout? agenda.stdio
---@field stderr? agenda.stdio|"stdout"
---@field env? table<string, string|number> replaces the environment
---@field cwd? string the directory in which it starts
---@field limit? number of the streams

---A child process; `<close>` kills it and waits for its end.
---@class agenda.process
---@field pid integer
---@field stdin? agenda.stream
---@field stdout? agenda.stream
---@field stderr? agenda.stream
---@field returncode? integer nil while it runs; minus the number of the signal that ended it
local process = {}

---Waits for its end.
---@async
---@return integer? code nil if a signal ended it
---@return string? signal such as "SIGTERM"
function process:wait() end

---Asks the system whether it has ended.
---@return integer? returncode
function process:poll() end

---Writes the input, reads all output, waits for its end.
---@async
---@param input? string|string[]
---@return string? stdout nil if that is not a pipe
---@return string? stderr
function process:communicate(input) end

---Sends a signal, unless it has ended.
---@param sig string|integer such as "SIGHUP"
function process:send_signal(sig) end

---`send_signal("SIGTERM")`.
function process:terminate() end

---`send_signal("SIGKILL")`.
function process:kill() end

---Starts a program.
---@param spec agenda.subprocess_spec
---@return agenda.process
function agenda.subprocess(spec) end

-- ----- the clock and the system ----------------------------------------------------------------

---1, 2, 3 ... each no earlier than that many intervals after the first iteration.
---@param seconds number more than 0
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function agenda.interval(seconds) end

---The names of the signals that come.
---@param ... string such as "SIGHUP"
---@return agenda.asyncgen, nil, nil, agenda.asyncgen
function agenda.signals(...) end

-- ----- TLS ---------------------------------------------------------------------------------------

---Whom to trust and who to be, for any number of connections.
---@class agenda.tls_context

---@class agenda.tls_options
---@field cert? string path of a PEM file: the certificate, and the chain after it
---@field key? string path of a PEM file: the private key (the file of `cert`)
---@field ca? string path of a PEM file: the certificates to trust (those of the system)
---@field verify? boolean whether the peer is verified (clients do, servers do not)
---@field alpn? string[] protocols, the preferred first
---@field min_version? "TLSv1.2"|"TLSv1.3" ("TLSv1.2")

---@class agenda.tls
local tls = {}

---A context. Reads its files at once.
---@param options? agenda.tls_options
---@return agenda.tls_context
function tls.context(options) end

---@type agenda.tls
agenda.tls = nil

---@class agenda.tlsinfo
---@field version string "TLSv1.3"
---@field cipher string
---@field alpn string? the protocol agreed on

---@class agenda.starttls_options
---@field server_side? boolean (false)
---@field server_name? string what the server's certificate must be for

return agenda
