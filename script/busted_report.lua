-- The report of the specs: an output handler for busted.
--
-- Prints a dot for each spec that passed, each failure in full at once (so that a later
-- crash cannot lose it) and at the end one line
--
--     N passed, N failed[, N skipped]
--
-- where every spec counts once. A failure outside of the specs (a file that does not
-- load, a `setup`) counts as one more failure; an error after a spec (`after_each`, the
-- leak gate) turns that spec into a failed one. The process ends with 0 only if something
-- ran and nothing failed.

local SLOW = 0.25 -- seconds; a spec that takes longer is to be tagged #slow
local COLUMNS = 90

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()

  local passed, failed, skipped = 0, 0, 0
  local failures = {}    -- names, for the list at the end
  local slow = {}
  local last_status      -- of the spec that ended last; nil once its end was counted twice
  local last_name, last_place
  local column = 0
  local started = busted.monotime()
  local relaxed = (os.getenv("AGENDA_VARIANT") or "") ~= ""

  -- What script/run_specs reads when the process dies.
  local progress_path = os.getenv("AGENDA_SPEC_PROGRESS")
  local progress = progress_path and io.open(progress_path, "w")

  local function save_progress(state, name)
    if not progress then return end
    progress:seek("set", 0)
    progress:write(("%s %d %d %s\n%s\n"):format(state, passed, failed,
      skipped > 0 and skipped or "", name:gsub("\n", " ")))
    progress:flush()
  end

  local function mark(character)
    io.write(character)
    column = column + 1
    if column == COLUMNS then
      io.write("\n")
      column = 0
    end
    io.flush()
  end

  local function start_of_line()
    if column > 0 then
      io.write("\n")
      column = 0
    end
  end

  -- The trace that an error object of the library carries, if it does.
  local function own_trace(err)
    if type(err) ~= "table" and type(err) ~= "userdata" then return nil end
    local ok, trace = pcall(function() return err.traceback end)
    return ok and type(trace) == "string" and trace or nil
  end

  local function place_of(trace)
    return type(trace) == "table" and trace.short_src
      and ("%s:%s"):format(trace.short_src, trace.currentline) or nil
  end

  local function print_failure(kind, name, place, message, trace)
    start_of_line()
    place = place or place_of(trace) or "?"
    io.write("\n", kind, ": ", name, "\n  at ", place, "\n")
    local text = type(message) == "string" and message
      or message == nil and "nil error"
      or require "pl.pretty".write(message)
    io.write((("\n" .. text):gsub("\n", "\n  "):gsub("^\n", "")), "\n")
    if type(trace) == "table" then
      local stack = own_trace(trace.message)
      if stack and not text:find(stack, 1, true) then
        io.write("  ", (stack:gsub("\n", "\n  ")), "\n")
      end
      if trace.traceback and trace.traceback:find("%S") then
        io.write("  ", (trace.traceback:gsub("^%s+", ""):gsub("%s+$", ""):gsub("\n", "\n  ")), "\n")
      end
    end
    io.write("\n")
    io.flush()
    failures[#failures + 1] = ("%s (%s)"):format(name, place)
  end

  local function on_test_start(element)
    last_status = nil
    last_name = handler.getFullName(element)
    save_progress("running", last_name)
    return nil, true
  end

  local function on_test_end(element, _, status)
    local name = handler.getFullName(element)
    if status == "success" then
      passed = passed + 1
      mark(".")
    elseif status == "pending" then
      skipped = skipped + 1
      mark("s")
    else
      failed = failed + 1
    end
    last_status, last_place = status, place_of(element.trace)
    if not relaxed and (element.duration or 0) > SLOW and not name:find("#slow", 1, true) then
      slow[#slow + 1] = ("%s (%.2f s)"):format(name, element.duration)
    end
    save_progress("running", "(after) " .. name)
    return nil, true
  end

  local function on_problem(kind)
    return function(element, _, message, trace)
      if element.descriptor == "it" then
        -- Counted when the spec ends.
        print_failure(kind, handler.getFullName(element), nil, message, trace)
      elseif element.descriptor == "after_each" and last_status then
        if last_status == "success" then
          passed, failed = passed - 1, failed + 1
        elseif last_status == "pending" then
          skipped, failed = skipped - 1, failed + 1
        end
        last_status = "failure"
        print_failure(kind, last_name .. " (after_each)", last_place, message, trace)
      else
        failed = failed + 1
        local name = element.name and handler.getFullName(element) or ""
        print_failure(kind, ("%s %s"):format(element.descriptor or "?", name), nil, message, trace)
      end
      save_progress("running", last_name or "the start")
      return nil, true
    end
  end

  local function on_exit()
    start_of_line()
    for _, name in ipairs(slow) do
      io.write("slow, and not tagged #slow: ", name, "\n")
    end
    if #failures > 0 then
      io.write("\nfailed:\n")
      for _, name in ipairs(failures) do
        io.write("  ", name, "\n")
      end
    end
    local ok = failed == 0
    if passed + failed + skipped == 0 then
      io.write("no spec ran\n")
      ok = false
    end
    io.write(("%.1f s\n"):format(busted.monotime() - started))
    io.write(("%d passed, %d failed%s\n"):format(passed, failed,
      skipped > 0 and (", %d skipped"):format(skipped) or ""))
    io.flush()
    save_progress("finished", "the end")
    -- Closing the state is part of the test: it finalizes whatever is left.
    os.exit(ok, true)
  end

  function handler:subscribe(options)
    self.options = options
    require "busted.languages.en"
    busted.subscribe({"test", "start"}, on_test_start)
    busted.subscribe({"test", "end"}, on_test_end)
    busted.subscribe({"failure"}, on_problem("FAILED"))
    busted.subscribe({"error"}, on_problem("ERROR"))
    busted.subscribe({"exit"}, on_exit)
    save_progress("running", "the start")
  end

  return handler
end
