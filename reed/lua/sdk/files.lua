--[[ The library `io`, for a plugin with the permission file_write: only files of its own data folder (lua-api.md#files). ]]
local guard, json, limits = ...

local ask, blame, concat, find, format = guard.ask, guard.blame, table.concat, string.find, string.format
local gsub, select, setmetatable, sub, tostring, type, math_type = string.gsub, select, setmetatable, string.sub, tostring, type, math.type
local decode, tonumber, unpack = json.decode, tonumber, table.unpack
local CHUNK = 32768

--- Nil and the reason on failure.
local function try(operation, ...)
  local ok, text = ask(operation, ...)
  if ok then return text or true end
  return nil, text and decode(text).message or "internal error of the host"
end

--- Only a string may cross to the host.
local function path_of(value, operation)
  local kind = type(value)
  if kind == "string" or kind == "number" then return tostring(value) end
  blame(format("%s: expected a path, found %s", operation, value == nil and "nothing" or "a " .. kind))
end

local file = {}
file.__index, file.__metatable, file.__name = file, "file", "file"

local function handle(self)
  if not self.handle then blame("the file is closed") end
  return self.handle
end

--- The text up to the position that `enough(buffer)` returns, or to the end of the file.
local function take(self, enough)
  local id, stop = handle(self), enough(self.buffer)
  while not stop and not self.ended do
    local chunk, reason = try("file.read", id, tostring(CHUNK))
    if not chunk then return nil, reason end
    if chunk == true or chunk == "" then self.ended = true else self.buffer = self.buffer .. chunk end
    stop = enough(self.buffer)
  end
  stop = stop or #self.buffer
  local text = sub(self.buffer, 1, stop)
  self.buffer = sub(self.buffer, stop + 1)
  return text
end

local function read_all(self)
  local parts, id = { self.buffer }, handle(self)
  self.buffer = ""
  while true do
    local chunk, reason = try("file.read", id, tostring(CHUNK))
    if not chunk then return nil, reason end
    if chunk == true or chunk == "" then return concat(parts) end
    parts[#parts + 1] = chunk
  end
end

--- Takes the longest text that may be a number.
local function read_number(self)
  local text, reason = take(self, function(buffer)
    local _, stop = find(buffer, "^%s*[%w.+-]*")
    return stop < #buffer and stop
  end)
  if not text then return nil, reason end
  return tonumber(text)
end

local function read_one(self, what)
  what = type(what) == "string" and gsub(what, "^%*", "", 1) or what
  if what == "a" then return read_all(self) end
  if what == "n" then return read_number(self) end
  local text, reason
  if math_type(what) == "integer" and what >= 0 then
    text, reason = take(self, function(buffer) return #buffer >= what and what end)
    if text == "" and what == 0 and self.ended and self.buffer == "" then return nil end
  elseif what == "l" or what == "L" then
    text, reason = take(self, function(buffer) return (find(buffer, "\n", 1, true)) end)
    if text and what == "l" and sub(text, -1) == "\n" then return sub(text, 1, -2) end
  else
    blame(format("read: expected \"a\", \"l\", \"L\", \"n\" or a number of bytes, found '%s'", tostring(what)))
  end
  if text == "" and what ~= 0 then return nil end
  return text, reason
end

--- One value for each format, up to the first that is nil.
function file:read(...)
  local count = select("#", ...)
  if count <= 1 then return read_one(self, (...) or "l") end
  local values = {}
  for i = 1, count do
    local value, reason = read_one(self, (select(i, ...)))
    values[i] = value
    if value == nil then
      values[i + 1] = reason
      return unpack(values, 1, reason and i + 1 or i)
    end
  end
  return unpack(values, 1, count)
end

function file:lines(...)
  local count, wanted = select("#", ...), { ... }
  return function() return self:read(unpack(wanted, 1, count)) end
end

function file:write(...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    local kind = type(parts[i])
    if kind ~= "string" and kind ~= "number" then blame("write: expected strings and numbers, found a " .. kind) end
  end
  local ok, reason = try("file.write", handle(self), concat(parts))
  if ok then return self end
  return nil, reason
end

function file:flush() return try("file.flush", handle(self)) end

function file:close()
  local id = handle(self)
  self.handle = nil
  return try("file.close", id)
end

file.__close = function(self) if self.handle then self:close() end end

local io, open = {}, nil

function io.open(path, mode)
  local kind = type(mode) == "string" and gsub(mode, "b$", "") or mode == nil and "r"
  if kind ~= "r" and kind ~= "w" and kind ~= "a" then blame("open: the mode must be \"r\", \"w\" or \"a\"") end
  local id, reason = try("file.open", path_of(path, "io.open"), kind)
  if not id then return nil, reason end
  return setmetatable({ handle = id, buffer = "", ended = kind ~= "r" }, file)
end

function io.lines(path, ...)
  local opened, reason = open(path)
  if not opened then blame(reason) end
  local next_line = opened:lines(...)
  local function ended(line, ...)
    if line == nil and opened.handle then opened:close() end
    return line, ...
  end
  return function() return ended(next_line()) end
end

function io.list(folder)
  local names, reason = try("file.list", folder == nil and "." or path_of(folder, "io.list"))
  if not names then return nil, reason end
  return decode(names)
end

function io.close(opened) return opened:close() end
function io.remove(path) return try("file.remove", path_of(path, "io.remove")) end
function io.rename(from, to) return try("file.rename", path_of(from, "io.rename"), path_of(to, "io.rename")) end
open = io.open -- a plugin may replace io.open
limits.streams(io)

local WHY = "this plugin lacks the permission file_write (plugin-registry.csv)"
local denied = limits.streams(limits.lack({}, "io.", { "close", "lines", "list", "open", "remove", "rename" }, WHY), WHY)

return function(can_write) return can_write and io or denied end
