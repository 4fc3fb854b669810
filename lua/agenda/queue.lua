--- Queues: first in first out, by priority, last in first out; after asyncio.
--
-- Items are counted, never handed over: `head` items were taken, `tail` were put. Who waits is
-- woken with a reservation of an item or of a free place, which is that task's alone and goes back
-- when it is cancelled; so nothing is lost, and nothing is in two places.
--
-- `put_limit` and `get_limit` are for the fast paths: while `tail < put_limit` a put need not look
-- at anything else, and neither need a get while `head < get_limit`. `settle` computes them.
-- @module agenda.queue

local core = require "agenda.core"
local check = require "agenda.check"
local waiters = require "agenda.waiters"

local errors, yield = core.errors, core.yield
local any, wait, wake = waiters.any, waiters.wait, waiters.wake
local min, huge, never = math.min, math.maxinteger, math.mininteger

local queue = {}

local function describe(self)
  return ("<%s at %p>"):format(getmetatable(self).__agenda_type, self)
end

-- ----- the ring of a queue -------------------------------------------------------------------

-- NB: free places hold nil, yet the table keeps its size, for no key outside of it is ever set.
local function new_ring(size)
  local ring = {}
  for i = 1, size do
    ring[i] = false
  end
  for i = 1, size do
    ring[i] = nil
  end
  return ring
end

local FIRST_SIZE, MAX_FIRST_SIZE = 16, 1024

local function ring_init(self)
  local size = FIRST_SIZE
  while size < min(self.room, MAX_FIRST_SIZE) and self.room < huge do
    size = size * 2
  end
  self.ring, self.mask = new_ring(size), size - 1
end

local function ring_push(self, item)
  local ring, mask, tail = self.ring, self.mask, self.tail
  if tail - self.head > mask then
    local larger, larger_mask = new_ring(2 * mask + 2), 2 * mask + 1
    for i = self.head, tail - 1 do
      larger[(i & larger_mask) + 1] = ring[(i & mask) + 1]
    end
    ring, mask = larger, larger_mask
    self.ring, self.mask = ring, mask
  end
  ring[(tail & mask) + 1] = item
end

local function ring_pop(self)
  local ring, place = self.ring, (self.head & self.mask) + 1
  local item = ring[place]
  ring[place] = nil
  return item
end

local function ring_capacity(self)
  return self.mask + 1
end

-- ----- the heap of a priority queue ------------------------------------------------------------

local function default_less(a, b)
  return a < b
end

local function heap_init(self)
  self.heap, self.numbers, self.counter = {}, {}, 0
end

-- NB: `less` may fail, so that each finds the place first and moves items afterwards.
local function heap_push(self, item)
  local heap, numbers, less = self.heap, self.numbers, self.less
  local place = self.tail - self.head + 1
  local last = place
  while place > 1 and less(item, heap[place // 2]) do
    place = place // 2
  end
  while last > place do
    local parent = last // 2
    heap[last], numbers[last] = heap[parent], numbers[parent]
    last = parent
  end
  self.counter = self.counter + 1
  heap[place], numbers[place] = item, self.counter
end

local function comes_first(self, a, b)
  local heap, less = self.heap, self.less
  if less(heap[a], heap[b]) then
    return true
  end
  return self.numbers[a] < self.numbers[b] and not less(heap[b], heap[a])
end

local function heap_pop(self)
  local heap, numbers = self.heap, self.numbers
  local n = self.tail - self.head
  local place, path, depth = 1, {1}, 1
  while 2 * place < n do
    local child = 2 * place
    if child + 1 < n and comes_first(self, child + 1, child) then
      child = child + 1
    end
    if not comes_first(self, child, n) then
      break
    end
    place, depth = child, depth + 1
    path[depth] = place
  end
  local item, moved, number = heap[1], heap[n], numbers[n]
  for i = 1, depth - 1 do
    heap[path[i]], numbers[path[i]] = heap[path[i + 1]], numbers[path[i + 1]]
  end
  heap[place], numbers[place] = moved, number
  heap[n], numbers[n] = nil, nil
  return item
end

-- ----- the stack of a last in, first out queue ---------------------------------------------------

local function stack_init(self)
  self.stack = {}
end

local function stack_push(self, item)
  self.stack[self.tail - self.head + 1] = item
end

local function stack_pop(self)
  local n = self.tail - self.head
  local item = self.stack[n]
  self.stack[n] = nil
  return item
end

local function no_capacity()
  return huge
end

-- ----- the common part -------------------------------------------------------------------------

-- How many items nobody has reserved, and how many free places.
local function ready(self)
  return self.tail - self.head - self.reserved_items
end

local function free(self)
  return self.room - (self.tail - self.head) - self.reserved_places
end

-- Wakes all without a reservation.
local function turn_away(list)
  local waiter = wake(list)
  while waiter do
    waiter.granted = nil
    waiter = wake(list)
  end
end

-- Brings waiters and limits in order after a change.
local function settle(self)
  local getters, putters = self.getters, self.putters
  while getters.cursor and ready(self) > 0 and wake(getters) do
    self.reserved_items = self.reserved_items + 1
  end
  while putters.cursor and free(self) > 0 and wake(putters) do
    self.reserved_places = self.reserved_places + 1
  end
  if self.closed then
    turn_away(putters)
    if ready(self) <= 0 then
      turn_away(getters)
    end
  end
  local waiting_getters, waiting_putters = getters.cursor ~= nil, putters.cursor ~= nil
  local head, tail = self.head, self.tail
  if self.closed or putters.first or waiting_getters then
    self.put_limit = never
  else
    local capacity = min(self.room, self.capacity(self))
    self.put_limit = capacity < huge - head and head + capacity or huge
  end
  self.get_limit = (getters.first or waiting_putters) and never or tail
end

local function store(self, item)
  self.push(self, item)
  self.tail = self.tail + 1
  settle(self)
end

local function take(self)
  local item = self.pop(self)
  self.head = self.head + 1
  settle(self)
  return item
end

local function check_item(item)
  if item == nil then
    error(errors.TypeError("an item of a queue cannot be nil"), 0)
  end
end

local function raise_shut_down()
  error(errors.QueueShutDown("the queue is shut down"), 0)
end

local function slow_put(self, item)
  check_item(item)
  local putters = self.putters
  while true do
    if self.closed then
      raise_shut_down()
    end
    if free(self) > 0 and not any(putters) then
      break
    end
    self.put_limit, self.get_limit = never, never
    local granted, ok, err = wait(putters)
    if granted then
      self.reserved_places = self.reserved_places - 1
    end
    if not ok or self.closed then
      settle(self)
      if not ok then
        error(err, 0)
      end
    elseif granted then
      break
    end
  end
  return store(self, item)
end

-- Takes an item, or gives nil when the queue is shut down and nothing is left.
local function slow_get(self)
  local getters = self.getters
  while true do
    if ready(self) > 0 and not any(getters) then
      break
    end
    if self.closed and self.tail == self.head then
      return nil
    end
    self.put_limit, self.get_limit = never, never
    local granted, ok, err = wait(getters)
    if granted and self.reserved_items > 0 then
      self.reserved_items = self.reserved_items - 1
    else
      granted = false
    end
    if not ok then
      settle(self)
      error(err, 0)
    elseif granted then
      break
    end
  end
  return take(self)
end

local Methods = {}

--- Puts an item, as soon as there is room and all who came before have put theirs. Awaits, unless
-- there is. As in asyncio.
-- @function queue:put
-- @param item any value but nil
-- @raise QueueShutDown; TypeError for nil; CancelledError, with nothing put
function Methods:put(item)
  if self.tail < self.put_limit and item ~= nil then
    return store(self, item)
  end
  return slow_put(self, item)
end

--- Takes an item, as soon as there is one and all who came before have theirs. Awaits, unless there
-- is. As in asyncio.
-- @function queue:get
-- @return the item
-- @raise QueueShutDown when it is shut down and nothing is left; CancelledError, with nothing taken
function Methods:get()
  local item
  if self.head < self.get_limit then
    item = take(self)
  else
    item = slow_get(self)
    if item == nil then
      raise_shut_down()
    end
  end
  return item
end

--- Puts an item without waiting.
-- @function queue:put_nowait
-- @param item any value but nil
-- @raise QueueFull; QueueShutDown; TypeError for nil
function Methods:put_nowait(item)
  check_item(item)
  if self.closed then
    raise_shut_down()
  end
  if free(self) <= 0 then
    error(errors.QueueFull("the queue is full"), 0)
  end
  store(self, item)
end

--- Takes an item without waiting.
-- @function queue:get_nowait
-- @return the item
-- @raise QueueEmpty, also when all that is left is for tasks that are being woken; QueueShutDown
function Methods:get_nowait()
  if ready(self) <= 0 then
    if self.closed then
      raise_shut_down()
    end
    error(errors.QueueEmpty("the queue is empty"), 0)
  end
  return take(self)
end

--- How many items can be taken. An item that a waiting `get` is being woken for is not counted.
-- @function queue:qsize
-- @treturn integer
function Methods:qsize()
  return ready(self)
end

--- Whether `qsize()` is 0.
-- @function queue:empty
-- @treturn boolean
function Methods:empty()
  return ready(self) <= 0
end

--- Whether `put_nowait` would raise QueueFull. A place that a waiting `put` is being woken for is
-- taken.
-- @function queue:full
-- @treturn boolean
function Methods:full()
  return free(self) <= 0
end

local function wake_joiners(self)
  if self.tail - self.finished == 0 then
    while wake(self.joiners) do end
  end
end

--- Says that an item which was taken is dealt with; see `join`.
-- @function queue:task_done
-- @raise ValueError if it is called more often than items were put
function Methods:task_done()
  if self.tail - self.finished <= 0 then
    error(errors.ValueError("task_done() called too many times"), 0)
  end
  self.finished = self.finished + 1
  wake_joiners(self)
end

--- Waits until `task_done` was called for each item that was put. Awaits, unless that is so.
-- @function queue:join
-- @raise CancelledError
function Methods:join()
  if self.tail - self.finished > 0 then
    local _, ok, err = wait(self.joiners)
    if not ok then
      error(err, 0)
    end
  end
end

--- Ends the queue: `put` raises QueueShutDown, also those that wait; so does `get` when nothing is
-- left. As in asyncio 3.13.
-- @function queue:shutdown
-- @tparam[opt=false] boolean immediate drop what is left, and count it as dealt with
function Methods:shutdown(immediate)
  self.closed = true
  if immediate then
    while self.tail > self.head do
      self:drop()
      self.head = self.head + 1
      if self.finished < self.tail then
        self.finished = self.finished + 1
      end
    end
    self.reserved_items = 0
    wake_joiners(self)
  end
  settle(self)
end

local items = core.asyncgen("items", function(self)
  while true do
    local item
    if self.head < self.get_limit then
      item = self:get()
    else
      item = slow_get(self)
      if item == nil then
        return
      end
    end
    yield(item)
  end
end)

--- An async generator of the items: it takes each when it is asked for it, and ends when the queue
-- is shut down and nothing is left. Left early it keeps the rest. Several tasks may iterate one
-- queue, each with an `items()` of its own.
-- @function queue:items
-- @treturn asyncgen and, like every such call, nil, nil and the generator again
function Methods:items()
  return items(self)
end

-- ----- the three -------------------------------------------------------------------------------

local function class(name, init, capacity, push, pop)
  local methods = {
    __name = "agenda." .. name, __agenda_type = name, __tostring = describe,
    init = init, capacity = capacity, push = push, pop = pop, drop = pop,
  }
  for key, method in pairs(Methods) do
    methods[key] = method
  end
  methods.__index = methods
  return methods
end

local Queue = class("queue", ring_init, ring_capacity, ring_push, ring_pop)
local PriorityQueue = class("priority_queue", heap_init, no_capacity, heap_push, heap_pop)
local LifoQueue = class("lifo_queue", stack_init, no_capacity, stack_push, stack_pop)

-- When `less` fails, what was reserved for this is for others.
local function settled(f)
  return function(self, item)
    local ok, result = pcall(f, self, item)
    if not ok then
      settle(self)
      error(result, 0)
    end
    return result
  end
end

PriorityQueue.push, PriorityQueue.pop = settled(heap_push), settled(heap_pop)

-- No order is needed to drop items.
function PriorityQueue:drop()
  local n = self.tail - self.head
  self.heap[n], self.numbers[n] = nil, nil
end

-- The same as those above, without a call.
function Queue:put(item)
  local tail = self.tail
  if tail < self.put_limit and item ~= nil then
    self.ring[(tail & self.mask) + 1] = item
    self.tail = tail + 1
    self.get_limit = self.get_limit + 1
    return
  end
  return slow_put(self, item)
end

function Queue:get()
  local head = self.head
  if head < self.get_limit then
    local ring, place = self.ring, (head & self.mask) + 1
    local item = ring[place]
    ring[place] = nil
    self.head = head + 1
    self.put_limit = self.put_limit + 1
    return item
  end
  local item = slow_get(self)
  if item == nil then
    raise_shut_down()
  end
  return item
end

local function new(methods, maxsize, less)
  local name = methods.__agenda_type
  if maxsize == nil then
    maxsize = 0
  elseif not math.type(maxsize) then
    check.refuse(1, name, "number", maxsize, 3)
  elseif maxsize ~= maxsize then
    error(("bad argument #1 to '%s' (number expected, got NaN)"):format(name), 3)
  else
    maxsize = math.tointeger(maxsize) or maxsize
  end
  local room = maxsize > 0 and math.tointeger(math.ceil(maxsize)) or huge
  local self = setmetatable({
    maxsize = maxsize, room = room, less = less,
    head = 0, tail = 0, finished = 0, reserved_items = 0, reserved_places = 0,
    put_limit = never, get_limit = never, closed = false,
    -- NB: found here, without the metatable, these make a queue a quarter faster.
    put = methods.put, get = methods.get,
  }, methods)
  self.getters, self.putters, self.joiners = {owner = self}, {owner = self}, {owner = self}
  self:init()
  settle(self)
  return self
end

--- A queue, first in, first out. Its field `maxsize` is what it was made with. As in asyncio.
-- @function queue
-- @tparam[opt=0] number maxsize 0 and less: no limit
-- @treturn queue
function queue.queue(maxsize)
  return (new(Queue, maxsize))
end

--- A queue that gives the least item first; among equal ones the one that was put first.
-- @function priority_queue
-- @tparam[opt=0] number maxsize 0 and less: no limit
-- @tparam[opt] function less whether its first argument comes before its second, `<` by default;
-- it must not await
-- @treturn queue
function queue.priority_queue(maxsize, less)
  if less ~= nil then
    check.type(less, "function", 2, "priority_queue")
  end
  return (new(PriorityQueue, maxsize, less or default_less))
end

--- A queue that gives the item first that was put last. As in asyncio.
-- @function lifo_queue
-- @tparam[opt=0] number maxsize 0 and less: no limit
-- @treturn queue
function queue.lifo_queue(maxsize)
  return (new(LifoQueue, maxsize))
end

return queue
