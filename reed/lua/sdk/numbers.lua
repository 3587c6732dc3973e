--[[ Numbers of JSON whose digits a Lua number would not keep (lua-api.md#json).

    1.50, 1E2, -0           a Lua number; json.encode writes the digits as long as that field has the same value
    18446744073709551615    an exact number, because it exceeds 64 bits: comparison, `..`, arithmetic (as a float) ]]
local guard = ...

local find, format, gsub, huge, match, math_type = string.find, string.format, string.gsub, math.huge, string.match,
  math.type
local rawequal, setmetatable, sub, tonumber, tostring, type = rawequal, setmetatable, string.sub, tonumber, tostring, type
local blame = guard.blame

local MAX_DIGITS = 4300 -- of an integer, as in the core
local digits_of = setmetatable({}, { __mode = "k" }) -- exact number -> its digits
local spelled = setmetatable({}, { __mode = "k" }) -- table -> field -> digits
local numbers = { digits_of = digits_of, spelled = spelled }

--- The shortest digits; nil for infinity and NaN.
local function float_text(number)
  for precision = 15, 17 do
    local text = format("%." .. precision .. "g", number)
    if tonumber(text) == number then return find(text, "[.e]") and text or text .. ".0" end
  end
end
numbers.float_text = float_text

-- Exact numbers

local function value(operand)
  local number = digits_of[operand] and tonumber(digits_of[operand]) or tonumber(operand)
  if not number then blame(format("attempt to calculate with a %s", type(operand))) end
  return number
end

local function text(operand)
  local kind = type(operand)
  if not digits_of[operand] and kind ~= "string" and kind ~= "number" then
    blame(format("attempt to concatenate a %s value", kind))
  end
  return digits_of[operand] or tostring(operand)
end

--- -1, 0 or 1; integers are compared by their digits.
local function compare(a, b)
  local x, y = digits_of[a] or tostring(a), digits_of[b] or tostring(b)
  if not (match(x, "^-?%d+$") and match(y, "^-?%d+$")) then
    x, y = value(a), value(b)
    return x < y and -1 or x > y and 1 or 0
  end
  local sign = sub(x, 1, 1) == "-" and -1 or 1
  if sign ~= (sub(y, 1, 1) == "-" and -1 or 1) then return sign end
  if #x ~= #y then return #x < #y and -sign or sign end
  return x == y and 0 or x < y and -sign or sign
end

local exact_meta = {
  __metatable = "json number",
  __name = "json number",
  __tostring = function(a) return digits_of[a] end,
  __concat = function(a, b) return text(a) .. text(b) end,
  __newindex = function() blame("a number cannot be changed") end,
  __add = function(a, b) return value(a) + value(b) end,
  __sub = function(a, b) return value(a) - value(b) end,
  __mul = function(a, b) return value(a) * value(b) end,
  __div = function(a, b) return value(a) / value(b) end,
  __mod = function(a, b) return value(a) % value(b) end,
  __pow = function(a, b) return value(a) ^ value(b) end,
  __idiv = function(a, b) return value(a) // value(b) end,
  __unm = function(a) return -value(a) end,
  __eq = function(a, b) return digits_of[a] ~= nil and rawequal(digits_of[a], digits_of[b]) end,
  __lt = function(a, b) return compare(a, b) < 0 end,
  __le = function(a, b) return compare(a, b) <= 0 end,
}

local function exact(digits)
  local number = setmetatable({}, exact_meta)
  digits_of[number] = digits
  return number
end

-- Reading and writing

--- The value, and its digits if json.encode would write it differently. For a number out of range: nil and the reason.
function numbers.read(digits)
  local number = tonumber(digits)
  if math_type(number) == "integer" then return number, number == 0 and digits ~= "0" and digits or nil end
  if not find(digits, "[.eE]") then
    if #gsub(digits, "-", "") > MAX_DIGITS then return nil, format("integer of more than %d digits", MAX_DIGITS) end
    return exact(digits)
  end
  if number == huge or number == -huge then return nil, "number out of range" end
  return number, float_text(number) ~= digits and digits or nil
end

function numbers.remember(container, field, digits)
  local fields = spelled[container]
  if not fields then
    fields = {}
    spelled[container] = fields
  end
  fields[field] = digits
end

function numbers.same(digits, number)
  local before = tonumber(digits)
  return before == number and math_type(before) == math_type(number)
end

--- json.number
function numbers.of(digits)
  if type(digits) == "number" then digits = math_type(digits) == "integer" and tostring(digits) or float_text(digits) end
  local whole = type(digits) == "string" and match(digits, "^-?%d+()")
  local stop = whole and (match(digits, "^%.%d+()", whole) or whole)
  stop = stop and (match(digits, "^[eE][+-]?%d+()", stop) or stop)
  if stop ~= #(digits or "") + 1 or find(digits, "^-?0%d") then
    blame("json.number: expected the digits of a JSON number")
  end
  local number, other = numbers.read(digits)
  if number == nil then blame("json.number: " .. other) end
  return other and exact(digits) or number
end

--- json.tonumber
function numbers.tonumber(any)
  if type(any) == "number" then return any end
  return digits_of[any] and tonumber(digits_of[any]) or nil
end

return numbers
