--- What an ExceptionGroup can do, in both editions: after PEP 654 `split`, and the tree that
-- `tostring` shows. Gives a function that puts them into an edition's class.
-- @module agenda.portable.exception_group

return function(ExceptionGroup)
  -- ----- split ---------------------------------------------------------------------------------

  local function list_of(group)
    local list = rawget(group, "errors")
    return type(list) == "table" and list or {}
  end

  -- A group like this one, of other errors; nil for none.
  local function derive(group, list, names)
    if #list == 0 then
      return nil
    end
    local fields = {}
    for key, value in pairs(group) do
      fields[key] = value
    end
    fields.errors, fields.tasks = list, group.tasks and names or nil
    fields.traceback = group.traceback
    return group.class(group.message, fields)
  end

  local function add(list, names, err, name)
    local n = #list + 1
    list[n], names[n] = err, name or false
  end

  local function split(group, matches, matches_group)
    if matches_group and matches_group:is(group) then
      return group, nil
    end
    local match, match_names, rest, rest_names = {}, {}, {}, {}
    local names = group.tasks or {}
    for i, err in ipairs(list_of(group)) do
      local yes, no
      if ExceptionGroup:is(err) then
        yes, no = split(err, matches, matches_group)
        if yes ~= nil then add(match, match_names, yes, names[i]) end
        if no ~= nil then add(rest, rest_names, no, names[i]) end
      elseif matches(err) then
        add(match, match_names, err, names[i])
      else
        add(rest, rest_names, err, names[i])
      end
    end
    return derive(group, match, match_names), derive(group, rest, rest_names)
  end

  local function is_class(x)
    local metatable = type(x) == "table" and getmetatable(x)
    return type(metatable) == "table" and metatable.__name == "agenda.error_class"
  end

  local function is_class_of_groups(class)
    while class and class ~= ExceptionGroup do
      class = rawget(class, "parent")
    end
    return class == ExceptionGroup
  end

  function ExceptionGroup.split(group, class)
    if not ExceptionGroup:is(group) then
      error(("bad argument #1 to 'split' (ExceptionGroup expected, got %s)"):format(type(group)), 2)
    end
    local matches, matches_group = class, nil
    if is_class(class) then
      function matches(err) return class:is(err) end
      matches_group = is_class_of_groups(class) and class or nil
    elseif type(class) ~= "function" then
      error(("bad argument #2 to 'split' (error class expected, got %s)"):format(type(class)), 2)
    end
    return split(group, matches, matches_group)
  end

  -- ----- tostring ------------------------------------------------------------------------------

  local function heading(group)
    local n = #list_of(group)
    local message = rawget(group, "message")
    return ("%s%s (%d %s)"):format(group.name, message ~= nil and ": " .. tostring(message) or "",
      n, n == 1 and "error" or "errors")
  end

  -- An error in the group may have a `__tostring` that fails.
  local function text_of(err)
    local ok, text = pcall(tostring, err)
    return ok and text or type(err) .. " that cannot be printed"
  end

  local function add_lines(lines, group, indent, outer)
    if outer[group] then
      lines[#lines] = lines[#lines] .. " ..."
      return
    end
    outer[group] = true
    local names, list = rawget(group, "tasks") or {}, list_of(group)
    for i, err in ipairs(list) do
      local last = i == #list
      local inner = indent .. (last and "   " or "|  ")
      local is_group = ExceptionGroup:is(err)
      local text = is_group and heading(err) or text_of(err)
      local name = names[i] and names[i] .. ": " or ""
      lines[#lines + 1] = indent .. "+- " .. name .. text:gsub("\n", "\n" .. inner)
      if is_group then
        add_lines(lines, err, inner, outer)
      end
    end
    outer[group] = nil
  end

  local function tree(group)
    local lines = {heading(group)}
    add_lines(lines, group, "", {})
    return table.concat(lines, "\n")
  end

  getmetatable(ExceptionGroup("", {errors = {""}})).__tostring = tree
end
