--[[ form-validator: checks what a visitor sent against the fields of a form snippet.

    validate {"form": REF, "data": {…}}   {"valid", "spam", "errors": [{"field","label","code","message"}], "values": {…}}
    check REF                             {"ok", "problems": [{"field","code","severity","message","hint"}]}

`values` has the normalised values of the valid fields: trimmed, numbers as numbers, without unknown fields.
]]
local reed = require "reed"
local definition = require "definition"
local messages = require "messages"
local values = require "values"

local plugin = reed.create_plugin { name = "form-validator", version = "2.1.0" }
local DEFAULTS = {
  language = "en", honeypot = "", unknown_fields = "refuse", max_bytes = 65536, text_max = 1000, textarea_max = 10000,
}

local function setting(key)
  local value = reed.settings[key]
  if value == nil then return DEFAULTS[key] end
  return value
end

local function fill(text, parts)
  return (text:gsub("{(%a+)}", function(name) return parts[name] ~= nil and tostring(parts[name]) or nil end))
end

--- The message of a code in the configured language. A field's own message replaces all but "required".
local function message_of(code, field, parts)
  if field.message and code ~= "required" then return field.message end
  local own = reed.settings.messages or {}
  return fill(own[code] or (messages[setting "language"] or messages.en)[code], parts)
end

local function option_labels(field)
  local labels = {}
  for i, option in ipairs(field.options or {}) do
    if i > 10 then labels[i] = "…"; break end
    labels[i] = option.label
  end
  return table.concat(labels, ", ")
end

local function report(errors, field, code, bound, other)
  local parts = { label = field.label, min = field.min or bound, max = field.max or bound, other = other }
  parts.options = option_labels(field)
  errors[#errors + 1] = { field = field.name, label = field.label, code = code, message = message_of(code, field, parts) }
end

local function missing_code(field)
  if field.type == "checkbox" then return "accept" end
  return values.WITH_OPTIONS[field.type] and "choose" or "required"
end

--- Checks one field and keeps its value if it is valid.
local function check_field(field, sent, result)
  if values.is_empty(sent) and not (field.type == "checkbox" and sent == false and not field.required) then
    if field.required then report(result.errors, field, missing_code(field)) end
    return
  end
  local limits = { text_max = setting "text_max", textarea_max = setting "textarea_max" }
  local value, code, bound = values.TYPES[field.type](sent, field, limits)
  if value == nil then return report(result.errors, field, code, bound) end
  if field.type == "checkbox" and field.required and not value then return report(result.errors, field, "accept") end
  if field.pattern and not value:find("^" .. field.pattern .. "$") then return report(result.errors, field, "pattern") end
  result.values[field.name] = value
end

local function check_same(form, data, result)
  for _, field in ipairs(form.fields) do
    local other = field.same_as and form.by_name[field.same_as]
    if other and result.values[field.name] ~= result.values[other.name] and not values.is_empty(data[field.name]) then
      report(result.errors, field, "same", nil, other.label)
      result.values[field.name] = nil
    end
  end
end

local function check_unknown(form, data, honeypot, result)
  if (form.unknown_fields or setting "unknown_fields") == "ignore" then return end
  local names = {}
  for name in pairs(data) do
    if not form.by_name[name] and name ~= honeypot then names[#names + 1] = name end
  end
  table.sort(names)
  for i = 1, math.min(#names, 10) do
    local name = utf8.len(names[i]) and utf8.len(names[i]) <= 64 and names[i] or "…"
    report(result.errors, { name = name, label = name }, "unknown")
  end
end

local function read_form(ref)
  local ok, snippet = pcall(reed.snippet.get, ref)
  if not ok then
    if type(snippet) == "table" and snippet.status == 404 then reed.fail(404, "no form “" .. ref .. "”") end
    error(snippet, 0)
  end
  local form = definition.read(snippet.content)
  for _, problem in ipairs(form.problems) do
    if problem.severity == "error" then
      reed.fail(422, string.format("the form “%s” cannot be used: %s %s", ref, problem.message, problem.hint))
    end
  end
  return form
end

plugin.action("validate", function(payload)
  local result = { valid = false, spam = false, errors = json.array(), values = json.object() }
  if #payload > setting "max_bytes" then
    local kilobytes = setting "max_bytes" // 1024
    report(result.errors, { name = "", label = "", max = kilobytes }, "too_big")
    return result
  end
  local request = json.decode(payload)
  local valid = type(request) == "table" and type(request.form) == "string" and type(request.data) == "table"
  if not valid or json.is_array(request.data) then
    reed.fail(422, 'expected {"form": REF, "data": {…}}')
  end
  local form, data = read_form(request.form), request.data
  local honeypot = form.honeypot or setting "honeypot"
  if honeypot ~= "" and not form.by_name[honeypot] and not values.is_empty(data[honeypot]) then
    result.spam = true
    return result
  end
  for _, field in ipairs(form.fields) do check_field(field, data[field.name], result) end
  check_same(form, data, result)
  check_unknown(form, data, honeypot, result)
  result.valid = #result.errors == 0
  return result
end)

plugin.action("check", function(_, snippet)
  local form = definition.read(type(snippet) == "table" and snippet.content)
  return { ok = form.ok, problems = form.problems, fields = #form.fields }
end)

plugin.run()
