--[[ describe, it and assert for a plugin's own tests, tests/test_*.lua (lua-api.md#tests). `core`: test_core.lua. ]]
local guard, json = ...

local concat, error, format, ipairs, next, pcall = table.concat, error, string.format, ipairs, next, pcall
local rawequal, rawget, setmetatable, tostring, type = rawequal, rawget, setmetatable, tostring, type
local find, gsub = string.find, string.gsub
local globals = guard.globals

local cases, titles = {}, {} -- titles: of the enclosing describes
local before = {} -- functions to run before each `it`, outermost first

-- Collecting

globals.describe = function(title, body)
  titles[#titles + 1] = title
  local kept = #before
  body()
  for i = #before, kept + 1, -1 do before[i] = nil end
  titles[#titles] = nil
end

globals.before_each = function(body) before[#before + 1] = body end

globals.it = function(title, body)
  titles[#titles + 1] = title
  cases[#cases + 1] = { title = concat(titles, ": "), body = body, before = { table.unpack(before) } }
  titles[#titles] = nil
end

-- Asserting

local function show(value)
  if type(value) == "string" then return format("%q", value) end
  if type(value) ~= "table" or value == json.null then return tostring(value) end
  local ok, text = pcall(json.encode, value)
  return ok and text or tostring(value)
end

--- Deep equality; integers and floats of one value are equal, as in Lua.
local function same(a, b)
  if rawequal(a, b) or a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for key, value in next, a do
    if not same(value, rawget(b, key)) then return false end
  end
  for key in next, b do
    if rawget(a, key) == nil then return false end
  end
  return true
end

local check = {}

local function verify(ok, message, ...)
  if not ok then guard.blame(format(message, ...)) end
end

function check.equal(found, expected) verify(found == expected, "expected %s, found %s", show(expected), show(found)) end
function check.same(found, expected) verify(same(found, expected), "expected %s, found %s", show(expected), show(found)) end
function check.differs(found, other) verify(not same(found, other), "expected anything but %s", show(other)) end
function check.is_true(found) verify(found == true, "expected true, found %s", show(found)) end
function check.is_false(found) verify(found == false, "expected false, found %s", show(found)) end
function check.is_nil(found) verify(found == nil, "expected nil, found %s", show(found)) end

function check.matches(text, pattern)
  verify(type(text) == "string" and find(text, pattern), "expected a match of %s, found %s", show(pattern), show(text))
end

function check.contains(text, part)
  verify(type(text) == "string" and find(text, part, 1, true), "expected %s in %s", show(part), show(text))
end

--- Returns the error.
function check.fails(fn, pattern)
  local ok, failure = pcall(fn)
  verify(not ok, "expected an error, but there was none")
  local text = type(failure) == "table" and rawget(failure, "message") or tostring(failure)
  if pattern then verify(find(text, pattern), "expected an error that matches %s, found %s", show(pattern), show(text)) end
  return failure
end

globals.assert = setmetatable(check, {
  __call = function(_, value, message, ...)
    if value then return value, message, ... end
    if type(message) == "string" or message == nil then guard.blame(message or "assertion failed!") end
    error(message, 0)
  end,
})

-- Running

local runner = {}

function runner.titles()
  local list = json.array()
  for i, case in ipairs(cases) do list[i] = case.title end
  return json.encode(list)
end

local function run_case(case)
  for _, prepare in ipairs(case.before) do prepare() end
  case.body()
end

--- As guard.run.
function runner.run(number, seconds) return guard.run(seconds, run_case, cases[number]) end

function runner.collect(name, source, seconds)
  local chunk, message = guard.load(gsub(source, "^#[^\n]*", "", 1), "@" .. name, "t", globals)
  if not chunk then return "error", message, "" end
  return guard.run(seconds, chunk)
end

return runner
