--[[ Requests of the SDK to the host, and the failures that they and plugins raise (lua-api.md#failures).

    error value                               the caller gets
    reed.fail(status, message)                that status and message
    a table {message, status and/or code, hint}  the same
    a failure of the core, not caught         500, with the failure's text, file and line
    anything else                             500, with the text or the shape of the value, file and line ]]
local guard, json = ...

local blame, error = guard.blame, error
local concat, format, math_type, next, rawget, setmetatable = table.concat, string.format, math.type, next, rawget, setmetatable
local sort, tostring, type = table.sort, tostring, type
local decode, encode, ask = json.decode, json.encode, guard.ask
local metatable_of = guard.raw_getmetatable

local requests = {}
local MAX_CODE = 0xFFFFFFFF
local MAX_FIELDS = 8 -- named in a message

--- A failure has `status`, `code` and `message`; `tostring` gives "404: no snippet 'x'".
local failure_meta = {
  __metatable = "failure",
  __tostring = function(failure) return format("%d: %s", failure.status, failure.message) end,
}

local function is_integer(value, first, last) return math_type(value) == "integer" and value >= first and value <= last end

local function is_failure_status(status) return is_integer(status, 400, 599) end

--- `{status, code, message}` if the error value says how the call is answered, else nil; 0 for a status or a code that
-- follows from the other. Calls no metamethod, as a plugin may have made or changed the table.
function guard.failure(value)
  if type(value) ~= "table" then return nil end
  if metatable_of(value) == failure_meta and not rawget(value, "own") then return nil end -- of the core
  local status, code, message, hint = rawget(value, "status"), rawget(value, "code"), rawget(value, "message"), rawget(value, "hint")
  if status == nil and is_failure_status(code) then status, code = code, nil end
  if status == nil and code == nil or type(message) ~= "string" then return nil end
  if status ~= nil and not is_failure_status(status) or code ~= nil and not is_integer(code, 1, MAX_CODE) then return nil end
  if type(hint) == "string" and hint ~= "" then message = message .. "; " .. hint end
  return { status = status or 0, code = code or 0, message = message }
end

--- What is wrong with a table that was raised and has no message or no valid status; calls no metamethod.
function guard.describe_table(value)
  local names = {}
  for key in next, value do
    if type(key) == "string" and #names < MAX_FIELDS then names[#names + 1] = key end
  end
  sort(names)
  local fields = #names > 0 and "the fields " .. concat(names, ", ") or "no fields"
  return format("error value is a table with %s; expected {message = text, status = 400 to 599, code = error code, "
    .. "hint = text}, where message and one of status and code are required", fields)
end

function requests.fail(status, message)
  if not is_failure_status(status) then blame("reed.fail: the status must be an integer from 400 to 599") end
  error(setmetatable({ status = status, message = tostring(message or "failed"), own = true }, failure_meta), 0)
end

--- Raises what the host or the core answered.
function requests.raise(failure) error(setmetatable(failure, failure_meta), 0) end

--- Calls a service of the host; raises its error as a failure.
function requests.request_text(operation, ...)
  local ok, text = ask(operation, ...)
  if ok then return text end
  requests.raise(text and decode(text) or { status = 500, code = 50000, message = operation .. ": the host failed" })
end

--- For a service that returns JSON.
function requests.request(operation, ...)
  local text = requests.request_text(operation, ...)
  return text and decode(text)
end

function requests.expect(value, kind, what, optional)
  if type(value) == kind or optional and value == nil then return value end
  blame(format("%s: expected a %s, found %s", what, kind, value == nil and "nothing" or "a " .. type(value)))
end

function requests.json_text(value, what)
  if type(value) == "string" then return value end
  requests.expect(value, "table", what)
  return encode(value)
end

return requests
