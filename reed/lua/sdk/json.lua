--[[ Strict JSON (RFC 8259; protocol.md#json; lua-api.md#json): decoding and encoding again changes nothing.

Arrays with gaps and keys that are not strings are rejected. numbers.lua keeps the digits of numbers. ]]
local guard, numbers = ...

local byte, char, find, format, gsub, match, sub = string.byte, string.char, string.find, string.format, string.gsub,
  string.match, string.sub
local concat, error, math_type, next, pcall = table.concat, error, math.type, next, pcall
local rawget, rawlen, setmetatable, sort = rawget, rawlen, setmetatable, table.sort
local tonumber, tostring, type, utf8_char, utf8_len = tonumber, tostring, type, utf8.char, utf8.len
local blame, metatable_of = guard.blame, guard.raw_getmetatable
local huge = math.huge
local digits_of, spelled, read_number, remember = numbers.digits_of, numbers.spelled, numbers.read, numbers.remember

local MAX_DEPTH = 72 -- 64 of content, and those that answers put around it
local array_meta = { __metatable = "json array", __name = "json array" }
local object_meta = { __metatable = "json object", __name = "json object" }
local null = setmetatable({}, {
  __metatable = "json null",
  __tostring = function() return "null" end,
  __newindex = function() blame("json.null cannot be changed") end,
})

-- Decoding

local value_at -- value_at(text, position, depth) returns the value, the position after it, and digits to remember

local function wrong(text, at, message)
  local line, start = 1, 0
  while true do
    local newline = find(text, "\n", start + 1, true)
    if not newline or newline >= at then break end
    line, start = line + 1, newline
  end
  error({ message = format("JSON: %s at line %d column %d", message, line, at - start) }, 0)
end

local function skip(text, at) return (find(text, "[^ \t\r\n]", at)) or #text + 1 end

local ESCAPES = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

--- The text of an escape sequence, and the position after it.
local function escape_at(text, at)
  local letter = sub(text, at + 1, at + 1)
  if ESCAPES[letter] then return ESCAPES[letter], at + 2 end
  local digits = match(text, "^u(%x%x%x%x)", at + 1)
  if not digits then wrong(text, at, "invalid escape in a string") end
  local code = tonumber(digits, 16)
  if code < 0xD800 or code > 0xDFFF then return utf8_char(code), at + 6 end
  local low = code < 0xDC00 and tonumber(match(text, "^\\u([dD][c-fC-F]%x%x)", at + 6) or "", 16)
  if not low then wrong(text, at, "lone surrogate in a string") end
  return utf8_char(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), at + 12
end

--- `at` follows the opening quote.
local function string_at(text, at)
  local stop = find(text, '["\\%c]', at)
  if stop and byte(text, stop) == 34 then return sub(text, at, stop - 1), stop + 1 end
  local parts, n = {}, 0
  while true do
    if not stop then wrong(text, at - 1, "unterminated string") end
    n = n + 1
    parts[n] = sub(text, at, stop - 1)
    local code = byte(text, stop)
    if code == 34 then return concat(parts), stop + 1 end
    if code == 92 then
      n = n + 1
      parts[n], at = escape_at(text, stop)
    elseif code == 127 then -- %c matches DEL too, which JSON allows
      n, at = n + 1, stop + 1
      parts[n] = "\127"
    else
      wrong(text, stop, "control character in a string")
    end
    stop = find(text, '["\\%c]', at)
  end
end

local function number_at(text, at)
  local stop = match(text, "^-?%d+()", at)
  if not stop or find(text, "^-?0%d", at) then wrong(text, at, "expected a JSON value") end
  stop = match(text, "^%.%d+()", stop) or stop
  stop = match(text, "^[eE][+-]?%d+()", stop) or stop
  local number, digits = read_number(sub(text, at, stop - 1))
  if number == nil then wrong(text, at, digits) end
  return number, stop, digits
end

local function array_at(text, at, depth)
  local list, n, digits = {}, 0, nil
  at = skip(text, at)
  if byte(text, at) == 93 then return setmetatable(list, array_meta), at + 1 end
  while true do
    n = n + 1
    list[n], at, digits = value_at(text, at, depth)
    if digits then remember(list, n, digits) end
    at = skip(text, at)
    local code = byte(text, at)
    if code == 93 then return setmetatable(list, array_meta), at + 1 end
    if code ~= 44 then wrong(text, at, "expected ',' or ']'") end
    at = skip(text, at + 1)
  end
end

local function object_at(text, at, depth)
  local map = {}
  at = skip(text, at)
  if byte(text, at) == 125 then return map, at + 1 end
  while true do
    if byte(text, at) ~= 34 then wrong(text, at, "expected a key in quotes") end
    local key, start, digits = nil, at, nil
    key, at = string_at(text, at + 1)
    if map[key] ~= nil then wrong(text, start, format("duplicate key '%s'", key)) end
    at = skip(text, at)
    if byte(text, at) ~= 58 then wrong(text, at, "expected ':'") end
    map[key], at, digits = value_at(text, skip(text, at + 1), depth)
    if digits then remember(map, key, digits) end
    at = skip(text, at)
    local code = byte(text, at)
    if code == 125 then return map, at + 1 end
    if code ~= 44 then wrong(text, at, "expected ',' or '}'") end
    at = skip(text, at + 1)
  end
end

local WORDS = { t = { "true", true }, f = { "false", false }, n = { "null", null } }

function value_at(text, at, depth)
  local code = byte(text, at)
  if code == 34 then return string_at(text, at + 1) end
  if code == 123 or code == 91 then
    if depth >= MAX_DEPTH then wrong(text, at, format("nested deeper than %d", MAX_DEPTH)) end
    if code == 123 then return object_at(text, at + 1, depth + 1) end
    return array_at(text, at + 1, depth + 1)
  end
  if not code then wrong(text, at, "unexpected end") end
  local word = WORDS[char(code)]
  if not word then return number_at(text, at) end
  if sub(text, at, at + #word[1] - 1) ~= word[1] then wrong(text, at, "expected a JSON value") end
  return word[2], at + #word[1]
end

local function decode(text)
  if type(text) ~= "string" then error({ message = "JSON: expected a string, found a " .. type(text) }, 0) end
  local good, bad = utf8_len(text)
  if not good then wrong(text, bad, "invalid UTF-8") end
  local value, at = value_at(text, skip(text, 1), 0)
  at = skip(text, at)
  if at <= #text then wrong(text, at, "extra data") end
  return value
end

-- Encoding

local encode_value -- encode_value(value, out, n, depth, path, key, digits) appends to `out`, returns the new n

local function refuse(path, message)
  error({ message = format("JSON: %s%s", path == "" and "" or path .. ": ", message) }, 0)
end

local function escaped(letter)
  local short = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
    ["\t"] = "\\t" }
  return short[letter] or (letter == "\127" and letter) or format("\\u%04x", byte(letter))
end

local function quoted(text, path)
  if not utf8_len(text) then refuse(path, "invalid UTF-8 in a string") end
  if find(text, '["\\%c]') then text = gsub(text, '["\\%c]', escaped) end
  return '"' .. text .. '"'
end

--- `digits`: how the number was written.
local function number_text(number, path, digits)
  if digits and numbers.same(digits, number) then return digits end
  if math_type(number) == "integer" then return format("%d", number) end
  if number ~= number or number == huge or number == -huge then refuse(path, tostring(number) .. " is not a JSON number") end
  return numbers.float_text(number)
end

local function encode_array(list, out, n, depth, path)
  local count = rawlen(list)
  for key in next, list do
    if math_type(key) == "integer" and key > count then
      refuse(path, format("array with a gap before index %d (use json.null)", key))
    elseif math_type(key) ~= "integer" or key < 1 then
      refuse(path, format("array with the key '%s'", tostring(key)))
    end
  end
  local kept = spelled[list]
  n = n + 1
  out[n] = "["
  for i = 1, count do
    if i > 1 then n = n + 1; out[n] = "," end
    local item = rawget(list, i)
    if item == nil then refuse(path, format("array with a gap before index %d (use json.null)", i + 1)) end
    n = encode_value(item, out, n, depth, path, i, kept and kept[i])
  end
  n = n + 1
  out[n] = "]"
  return n
end

local function encode_object(map, out, n, depth, path)
  local keys, count = {}, 0
  for key in next, map do
    if type(key) ~= "string" then refuse(path, "the key " .. tostring(key) .. " is not a string") end
    count = count + 1
    keys[count] = key
  end
  sort(keys)
  local kept = spelled[map]
  n = n + 1
  out[n] = "{"
  for i = 1, count do
    local key = keys[i]
    out[n + 1] = (i > 1 and "," or "") .. quoted(key, path) .. ":"
    n = encode_value(rawget(map, key), out, n + 1, depth, path, key, kept and kept[key])
  end
  n = n + 1
  out[n] = "}"
  return n
end

function encode_value(value, out, n, depth, path, key, digits)
  local kind = type(value)
  if kind == "string" then
    out[n + 1] = quoted(value, path)
  elseif kind == "number" then
    out[n + 1] = number_text(value, path, digits)
  elseif kind == "boolean" or value == null then
    out[n + 1] = tostring(value)
  elseif kind == "table" and digits_of[value] then
    out[n + 1] = digits_of[value]
  elseif kind == "table" then
    if key then path = path .. (type(key) == "string" and "." .. key or format("[%d]", key)) end
    if depth >= MAX_DEPTH then refuse(sub(path, 1, 60), format("nested deeper than %d (a cycle?)", MAX_DEPTH)) end
    local meta = metatable_of(value)
    local is_array = meta == array_meta or meta ~= object_meta and rawlen(value) > 0
    return (is_array and encode_array or encode_object)(value, out, n, depth + 1, path)
  else
    refuse(path .. (key and "." .. tostring(key) or ""), "cannot encode a " .. kind)
  end
  return n + 1
end

local function encode(value)
  local out = {}
  local n = encode_value(value == nil and null or value, out, 0, 0, "")
  return concat(out, "", 1, n)
end

-- What plugins see

local function checked(ok, result)
  if ok then return result end
  if type(result) == "table" then blame(result.message) end
  error(result, 0)
end

local json = { null = null }

function json.decode(text) return checked(pcall(decode, text)) end

--- Compact, with sorted keys.
function json.encode(value) return checked(pcall(encode, value)) end

--- Marks a table as an array: an empty one is encoded as [].
function json.array(list) return setmetatable(list or {}, array_meta) end

function json.object(map) return setmetatable(map or {}, object_meta) end

json.number = numbers.of
json.tonumber = numbers.tonumber

function json.is_array(value)
  if type(value) ~= "table" then return false end
  local meta = metatable_of(value)
  return meta == array_meta or meta ~= object_meta and rawlen(value) > 0
end

return json
