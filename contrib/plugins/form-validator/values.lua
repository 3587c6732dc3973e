--[[ The types of a field. Each returns the normalised value, or nil and the code of a message.

A browser sends text, a program may send numbers or lists; both are accepted. min and max bound the number of characters,
the number, the date or time, or the number of choices, depending on the type. ]]
local values = {}

--- A string, or a number as text; nil for anything else.
local function text_of(value)
  if type(value) == "string" then return value end
  if json.tonumber(value) then return tostring(value) end
end

local function trim(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end

local function line(value)
  local text = text_of(value)
  if not text then return nil, "kind" end
  text = trim(text)
  if text:find("[\r\n]") then return nil, "line_break" end -- a line break could add mail headers
  if text:find("%c") or not utf8.len(text) then return nil, "characters" end
  return text
end

local function lines(value)
  local text = text_of(value)
  if not text then return nil, "kind" end
  text = text:gsub("\r\n?", "\n")
  if text:find("[%z\1-\8\11-\31\127]") or not utf8.len(text) then return nil, "characters" end
  return trim(text)
end

local function length(text, field, max)
  local count = utf8.len(text)
  if field.min and count < field.min then return nil, "too_short" end
  if count > (field.max or max) then return nil, "too_long", field.max or max end
  return text
end

--- A text type: one line that `is_valid` accepts.
local function checked(code, is_valid)
  return function(value, field, limits)
    local text, wrong = line(value)
    if not text then return nil, wrong end
    if not is_valid(text) then return nil, code end
    return length(text, field, limits.text_max)
  end
end

local function is_email(text)
  if #text > 254 or text:find("..", 1, true) then return false end
  local name, host = text:match("^([%w!#$%%&'*+/=?^_`{|}~.\128-\255-]+)@([%w.\128-\255-]+)$")
  return name ~= nil and #name <= 64 and not name:find("^%.") and not name:find("%.$")
    and host:find("^[%w\128-\255].*%.[%a\128-\255][%w\128-\255-]*[%w\128-\255]$") ~= nil
end

local function is_url(text)
  local host = text:match("^https?://([^/?#]+)")
  return host ~= nil and not text:find("[%s<>\"]") and not host:find("@", 1, true)
    and host:find("^[%w%[\128-\255]") ~= nil and (host:find(".", 1, true) ~= nil or host:find("^localhost") ~= nil)
end

local function is_tel(text)
  local digits = select(2, text:gsub("%d", ""))
  return text:find("^%+?[%d%s()/.-]+$") ~= nil and digits >= 5 and digits <= 17
end

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

--- Whether the text is an existing date.
function values.is_date(text)
  local year, month, day = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)$")
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not year or month < 1 or month > 12 or day < 1 then return false end
  local leap = month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return day <= DAYS[month] + (leap and 1 or 0)
end

function values.is_time(text)
  local hour, minute = text:match("^(%d%d):(%d%d)$")
  return hour ~= nil and tonumber(hour) < 24 and tonumber(minute) < 60
end

--- A date or time, compared as text.
local function moment(code, is_valid)
  return function(value, field)
    local text, wrong = line(value)
    if not text then return nil, wrong end
    if not is_valid(text) then return nil, code end
    if field.min and text < field.min then return nil, "too_early" end
    if field.max and text > field.max then return nil, "too_late" end
    return text
  end
end

local function number(code)
  return function(value, field)
    local parsed = json.tonumber(value)
    if type(value) == "string" then
      local text = trim(value)
      parsed = text:find("^[+-]?%d+%.?%d*$") and #text <= 30 and tonumber((text:gsub("^%+", ""))) or nil
    end
    if parsed and code == "integer" then parsed = math.tointeger(parsed) end
    if not parsed then return nil, code end
    if field.min and parsed < field.min then return nil, "too_small" end
    if field.max and parsed > field.max then return nil, "too_large" end
    return parsed
  end
end

local TRUE = { [true] = true, ["on"] = true, ["true"] = true, ["yes"] = true, ["1"] = true, [1] = true }
local FALSE = { [false] = true, ["off"] = true, ["false"] = true, ["no"] = true, ["0"] = true, [0] = true, [""] = true }

local function is_option(field, value)
  for _, option in ipairs(field.options) do
    if option.value == value then return true end
  end
  return false
end

local function one(value, field)
  local text, wrong = line(value)
  if not text then return nil, wrong end
  if not is_option(field, text) then return nil, "option" end
  return text
end

local function several(value, field)
  local list, seen = json.array(), {}
  for _, item in ipairs(json.is_array(value) and value or { value }) do
    local text, wrong = one(item, field)
    if not text then return nil, wrong end
    if not seen[text] then list[#list + 1] = text end
    seen[text] = true
  end
  if field.min and #list < field.min then return nil, "too_few" end
  if field.max and #list > field.max then return nil, "too_many" end
  return list
end

values.TYPES = {
  text = checked("kind", function() return true end),
  textarea = function(value, field, limits)
    local text, wrong = lines(value)
    if not text then return nil, wrong end
    return length(text, field, limits.textarea_max)
  end,
  email = checked("email", is_email),
  url = checked("url", is_url),
  tel = checked("tel", is_tel),
  number = number("number"),
  integer = number("integer"),
  date = moment("date", values.is_date),
  time = moment("time", values.is_time),
  checkbox = function(value)
    if TRUE[value] then return true end
    if FALSE[value] then return false end
    return nil, "kind"
  end,
  select = one,
  radio = one,
  checkboxes = several,
}

--- Types whose min and max are numbers of characters or choices.
values.COUNTED = { text = true, textarea = true, email = true, url = true, tel = true, checkboxes = true }
values.WITH_OPTIONS = { select = true, radio = true, checkboxes = true }
values.WITH_PATTERN = { text = true, tel = true, email = true, url = true }

--- Whether nothing was sent, or only white space.
function values.is_empty(value)
  if value == nil or value == json.null or value == false then return true end
  if type(value) == "string" then return not value:find("%S") end
  return type(value) == "table" and next(value) == nil
end

return values
