--[[ Reads the definition of a form from its snippet, and reports its problems (action check).

    {"title": "Contact", "honeypot": "website", "unknown_fields": "refuse", "fields": [
      {"name": "email", "label": "E-mail", "type": "email", "required": true},
      {"name": "plz", "label": "Postcode", "pattern": "%d%d%d%d%d", "message": "Five digits, please."},
      {"name": "topic", "type": "select", "options": ["Order", {"value": "other", "label": "Something else"}]}]}

`read` returns the form with its defaults, and a list of problems; an error makes the form unusable, a warning does not.
A pattern is a Lua pattern for the whole value. So that matching takes bounded time, it has only single characters, classes
and at most three repetitions, and its values have at most 200 characters. ]]
local values = require "values"
local format = string.format

local definition = {}

local KEYS = { name = "string", label = "string", type = "string", required = "boolean", min = true, max = true, pattern = "string",
  options = "table", message = "string", help = "string", same_as = "string", placeholder = "string", default = true }
local FORM_KEYS = { title = "string", description = "string", fields = "table", honeypot = "string", unknown_fields = "string" }
local PATTERN_LENGTH, PATTERN_REPEATS, PATTERN_VALUE = 100, 3, 200 -- together they bound the time of a match

--- Levenshtein distance.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local above = row[j]
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j], diagonal = math.min(above + 1, row[j - 1] + 1, diagonal + cost), above
    end
  end
  return row[#b]
end

--- "Did you mean “x”?", or the known names.
local function nearest(name, known)
  local names, best, least = {}, nil, 3
  for candidate in pairs(known) do
    names[#names + 1] = candidate
    local far = #name <= 40 and distance(name, candidate) or 99
    if far < least or far == least and best and candidate < best then best, least = candidate, far end
  end
  table.sort(names)
  return best and format("Did you mean “%s”?", best) or "Known names: " .. table.concat(names, ", ") .. "."
end

--- What is wrong with a pattern, or nil.
function definition.pattern_problem(pattern)
  if #pattern > PATTERN_LENGTH then return format("it has more than %d characters", PATTERN_LENGTH) end
  local bare = pattern:gsub("%%%%", "")
  if bare:find("%%[bf%d]") then return "%b, %f and %1 are not allowed" end
  if bare:gsub("%%.", ""):find("[()]") then return "groups ( ) are not allowed" end
  local _, repeats = bare:gsub("%%.", "x"):gsub("%[[^%]]*%]", "x"):gsub("[*+?-]", "")
  if repeats > PATTERN_REPEATS then return format("it has more than %d repetitions", PATTERN_REPEATS) end
  local ok, message = pcall(string.find, "", "^" .. pattern .. "$")
  if not ok then return (message:gsub("^.-:%d+: ", "")) end
end

local Reader = {}
Reader.__index = Reader

function Reader:problem(field, code, severity, message, hint)
  self.problems[#self.problems + 1] = { field = field, code = code, severity = severity, message = message, hint = hint }
  if severity == "error" then self.ok = false end
end

--- Reports unknown keys and values of a wrong type.
function Reader:keys(map, known, where, field)
  for key, value in pairs(map) do
    local kind = known[key]
    if not kind then
      self:problem(field, "key-unknown", "warning",
        format("%s has the unknown key “%s”.", where, tostring(key)), nearest(tostring(key), known))
    elseif kind ~= true and value ~= json.null and type(value) ~= kind then
      self:problem(field, "key-kind", "error",
        format("“%s” of %s is a %s.", key, where, type(value)), format("It must be a %s.", kind))
      map[key] = nil
    elseif value == json.null then
      map[key] = nil
    end
  end
end

function Reader:bounds(field)
  local type_name, name = field.type, field.name
  for _, key in ipairs { "min", "max" } do
    local bound = field[key]
    local good = bound == nil
    if type_name == "date" then good = good or type(bound) == "string" and values.is_date(bound)
    elseif type_name == "time" then good = good or type(bound) == "string" and values.is_time(bound)
    elseif values.COUNTED[type_name] then good = good or math.type(bound) == "integer" and bound >= 0
    elseif type_name == "number" or type_name == "integer" then good = good or json.tonumber(bound) ~= nil end
    if not good then
      self:problem(name, "bound", "error",
        format("“%s” of %s is %s.", key, name, json.encode(bound)),
        format("For a %s it must fit the type: a number of characters or choices, a number, a date or a time.", type_name))
      field[key] = nil
    end
  end
  if field.min and field.max and field.min > field.max then
    self:problem(name, "bounds-crossed", "error", format("%s: min is above max.", name), "No value can satisfy both.")
  end
end

function Reader:options(field)
  local name = field.name
  if not values.WITH_OPTIONS[field.type] then
    if field.options then
      self:problem(name, "options-unused", "warning",
        format("%s has options, but is a %s.", name, field.type), "Only select, radio and checkboxes have options.")
    end
    return
  end
  local list, seen = {}, {}
  for _, option in ipairs(field.options or {}) do
    local value = type(option) == "table" and option.value or option
    local label = type(option) == "table" and option.label or value
    if json.tonumber(value) then value = tostring(value) end
    if type(value) ~= "string" or value == "" then
      self:problem(name, "option-kind", "error",
        format("%s has an option without a value.", name), 'An option is a text, or {"value", "label"}.')
    elseif seen[value] then
      self:problem(name, "option-twice", "warning",
        format("%s has the option “%s” twice.", name, value), "Remove one.")
    else
      list[#list + 1], seen[value] = { value = value, label = tostring(label) }, true
    end
  end
  if #list == 0 then
    self:problem(name, "options-missing", "error",
      format("%s has no options.", name), "A visitor has nothing to choose from.")
  end
  field.options = list
end

function Reader:pattern(field)
  if not field.pattern then return end
  local wrong = definition.pattern_problem(field.pattern)
  if not values.WITH_PATTERN[field.type] then wrong = format("a %s has no pattern", field.type) end
  if wrong then
    self:problem(field.name, "pattern", "error", format("The pattern of %s cannot be used: %s.", field.name, wrong),
      "Use a Lua pattern for the whole value, such as %d%d%d%d%d or [A-Z]+-%d+.")
    field.pattern = nil
    return
  end
  field.max = math.min(field.max or PATTERN_VALUE, PATTERN_VALUE)
  if not field.message then
    self:problem(field.name, "pattern-message", "warning",
      format("%s has a pattern but no message.", field.name), "Describe in `message` what a visitor should enter.")
  end
end

function Reader:field(map, number)
  local where = "field " .. number
  if type(map) ~= "table" or json.is_array(map) then
    return self:problem("", "field-kind", "error",
      format("Field %d is not an object.", number), 'A field is {"name", "type", …}.')
  end
  local name = type(map.name) == "string" and map.name or ""
  if not name:find("^[%a_][%w_-]*$") or #name > 64 then
    return self:problem(name, "name", "error",
      format("Field %d has no valid name.", number), "A name has letters, digits, _ and -, starts with a letter, and has at most 64 characters.")
  end
  if self.by_name[name] then
    return self:problem(name, "name-twice", "error",
      format("Two fields have the name %s.", name), "Each field needs a name of its own.")
  end
  self:keys(map, KEYS, name, name)
  map.type = map.type or "text"
  if not values.TYPES[map.type] then
    self:problem(name, "type-unknown", "error",
      format("%s has the type “%s”.", name, map.type), nearest(map.type, values.TYPES))
    return
  end
  if not map.label then
    self:problem(name, "label-missing", "warning",
      format("%s has no label.", name), "Errors name a field by its label.")
  end
  map.label = map.label or name
  self:bounds(map)
  self:options(map)
  self:pattern(map)
  self.by_name[name] = map
  self.fields[#self.fields + 1] = map
end

--- Reads the content of a form snippet; returns the form {fields, by_name, honeypot, unknown_fields, ok, problems}.
function definition.read(content)
  local form = setmetatable({ fields = {}, by_name = {}, problems = json.array(), ok = true }, Reader)
  if type(content) ~= "table" or not json.is_array(content.fields) then
    form:problem("", "fields-missing", "error", "The form has no list of fields.", '"fields": [{"name", "type", …}]')
    return form
  end
  form:keys(content, FORM_KEYS, "the form", "")
  for number, map in ipairs(content.fields) do form:field(map, number) end
  for _, field in ipairs(form.fields) do
    if field.same_as and not form.by_name[field.same_as] then
      form:problem(field.name, "same-as", "error",
        format("%s must be the same as %s, but there is no such field.", field.name, field.same_as),
        nearest(field.same_as, form.by_name))
    end
  end
  form.honeypot, form.unknown_fields = content.honeypot, content.unknown_fields
  if form.honeypot and form.by_name[form.honeypot] then
    form:problem(form.honeypot, "honeypot", "error",
      format("The honeypot %s is also a field.", form.honeypot), "A visitor who fills it in would be taken for a robot.")
  end
  if form.unknown_fields and form.unknown_fields ~= "refuse" and form.unknown_fields ~= "ignore" then
    form:problem("", "unknown-fields", "error",
      "unknown_fields is neither refuse nor ignore.", "The default is refuse.")
  end
  return form
end

return definition
