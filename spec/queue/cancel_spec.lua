local agenda = require "agenda"
local loopkit = require "spec.support.loopkit"
local sweep = require "spec.support.sweep"
local errors, turns = agenda.errors, loopkit.turns

local CHOICES = { { 1 }, { 2 }, { 3 }, { 4 }, { 1, 2 }, { 1, 3 }, { 2, 4 }, { 3, 4 }, { 1, 2, 3, 4 } }

local function some(tasks, numbers)
  local chosen = {}
  for _, i in ipairs(numbers) do chosen[#chosen + 1] = tasks[i] end
  return chosen
end

-- Puts count as done when put returned, gets when get returned.
local function books()
  local put, got, n = {}, {}, 0
  return {
    put = function(item) assert(not put[item]) put[item] = true n = n + 1 end,
    got = function(item) assert(not got[item], "an item came twice") got[item] = true end,
    -- An item is in got or left in the queue when it was put, and only then.
    check = function(q)
      while not q:empty() do
        local item = q:get_nowait()
        assert(not got[item], "an item came twice")
        got[item] = true
      end
      for item in pairs(put) do assert(got[item], "an item is lost") end
      for item in pairs(got) do assert(put[item], "a cancelled put has put") end
    end,
  }
end

local function check_empty_lists(q)
  assert.is_nil(q.getters.first)
  assert.is_nil(q.putters.first)
  assert.is_nil(q.joiners.first)
  assert.equal(0, q.reserved_items)
  assert.equal(0, q.reserved_places)
end

for _, name in ipairs { "queue", "priority_queue", "lifo_queue" } do
  for _, choice in ipairs(CHOICES) do
    describe("agenda." .. name .. " with tasks " .. table.concat(choice, ", ") .. " cancelled at any turn", function()
      for _, limit in ipairs { 1, 2, 0 } do
        it("loses and doubles no item with the limit " .. limit, function()
          sweep(function()
            local q, account, over = agenda[name](limit), books(), false
            local tasks = {}
            for p = 1, 2 do
              tasks[p] = agenda.spawn(function()
                for i = 1, 4 do
                  local item = p * 10 + i
                  q:put(item)
                  account.put(item)
                  if i % 2 == 0 then turns(1) end
                end
              end)
            end
            for _ = 3, 6 do
              tasks[#tasks + 1] = agenda.spawn(function()
                for _ = 1, 2 do
                  account.got(q:get())
                  over = over or limit > 0 and q:qsize() > limit
                  turns(1)
                end
              end)
            end
            return some(tasks, choice), function()
              turns(10)
              assert.is_false(over)
              -- Nobody waits for what is there.
              for i = 3, 6 do
                if not tasks[i]:done() then assert.is_true(q:empty()) end
              end
              if not tasks[1]:done() or not tasks[2]:done() then assert.is_true(q:full()) end
              while not tasks[1]:done() or not tasks[2]:done() do
                account.got(q:get())
                turns(4)
              end
              for _, task in ipairs(tasks) do task:cancel() end
              turns(3)
              account.check(q)
              check_empty_lists(q)
            end
          end)
        end)
      end

      it("gives everything to the others before the end at a shutdown", function()
        sweep(function()
          local q, account = agenda[name](2), books()
          local tasks = {}
          for i = 1, 4 do
            tasks[i] = agenda.spawn(function()
              for item in q:items() do
                account.got(item)
                turns(i % 2)
              end
            end)
          end
          local producer = agenda.spawn(function()
            for item = 1, 8 do
              q:put(item)
              account.put(item)
            end
            q:shutdown()
          end)
          return some(tasks, choice), function()
            if #choice == 4 then
              pcall(function() while true do account.got(q:get()) end end)
            end
            agenda.await(producer)
            turns(20)
            for _, task in ipairs(tasks) do assert.is_true(task:done()) end
            assert.is_true(q:empty())
            account.check(q)
            check_empty_lists(q)
          end
        end)
      end)

      it("ends everybody at an immediate shutdown", function()
        sweep(function()
          local q = agenda[name](1)
          local tasks = {}
          for i = 1, 5 do
            tasks[i] = agenda.spawn(function()
              local ok, err = pcall(function()
                if i % 2 == 0 then
                  for item = 1, 3 do q:put(i * 10 + item) end
                else
                  while true do q:get() turns(1) end
                end
              end)
              if not ok and not errors.QueueShutDown:is(err) then error(err, 0) end
            end)
          end
          local closer = agenda.spawn(function() turns(4) q:shutdown(true) end)
          return some(tasks, choice), function()
            agenda.await(closer)
            turns(5)
            for _, task in ipairs(tasks) do assert.is_true(task:done()) end
            assert.equal(0, q:qsize())
            check_empty_lists(q)
          end
        end)
      end)

      it("leaves no join waiting", function()
        sweep(function()
          local q = agenda[name]()
          for item = 1, 3 do q:put(item) end
          local tasks = {}
          for i = 1, 4 do tasks[i] = agenda.spawn(q.join, q) end
          local worker = agenda.spawn(function()
            for _ = 1, 3 do
              q:get()
              turns(1)
              q:task_done()
            end
          end)
          return some(tasks, choice), function()
            agenda.await(worker)
            turns(2)
            for _, task in ipairs(tasks) do assert.is_true(task:done()) end
            check_empty_lists(q)
          end
        end)
      end)
    end)
  end
end
