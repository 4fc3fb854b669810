-- A pool of workers over a queue, with a graceful end: at SIGTERM no more jobs are taken in, those
-- that are in the queue are still done, and the group's end waits for the workers.
local agenda = require "agenda"
local QueueShutDown = agenda.errors.QueueShutDown

local WORKERS, ROOM = 3, 5
local accepted, done = 0, 0

local function worker(number, jobs)
  local mine = 0
  for _ in jobs:items() do -- ends when the queue is shut down and empty
    agenda.sleep(0.005)
    mine = mine + 1
    done = done + 1
    jobs:task_done()
  end
  print(("worker %d goes home after %d jobs"):format(number, mine))
end

-- Puts jobs in for as long as they are taken; the queue's bound holds it back.
local function produce(jobs)
  local ok, err
  repeat
    ok, err = agenda.pcall(jobs.put, jobs, accepted + 1)
    if ok then accepted = accepted + 1 end
  until not ok
  if not QueueShutDown:is(err) then error(err, 0) end
  print("no more jobs are taken in")
end

local function shut_down_at(signal, jobs)
  local signals <close> = agenda.signals(signal)
  local name = signals() -- waits for the first
  print(("%s: %d jobs are waiting"):format(name, jobs:qsize()))
  jobs:shutdown()
end

agenda.main(function()
  local jobs = agenda.queue(ROOM)
  agenda.with_taskgroup(function(tg)
    tg:spawn(shut_down_at, "SIGTERM", jobs)
    tg:spawn(produce, jobs)
    for number = 1, WORKERS do tg:spawn(worker, number, jobs) end

    agenda.sleep(0.05)
    print("sending myself SIGTERM")
    os.execute("kill -TERM $PPID") -- the shell's parent is this process
  end)
  jobs:join() -- at once: every job was dealt with
  print("jobs lost: " .. accepted - done)
end)
