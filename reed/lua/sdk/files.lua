--[[ io, for a plugin with the permission file_write: files of its own data folder, and nothing else.

    io.open(path, mode)   "r" (also "rb"), "w", "a"; gives a file, or nil and the reason
    io.lines(path)        line by line            io.list(folder)   the names in it, sorted
    io.remove(path)       io.rename(from, to)     each gives true, or nil and the reason

A file has read("a" | "l" | "L" | a number of bytes), lines(), write(…), flush() (onto the disk) and close(). ]]
local guard, json = ...

local ask, blame, concat, find, format = guard.ask, guard.blame, table.concat, string.find, string.format
local select, setmetatable, sub, tostring, type, math_type = select, setmetatable, string.sub, tostring, type, math.type
local CHUNK = 32768

--- `text` (or true) of an operation, or nil and the reason.
local function try(operation, ...)
  local ok, text = ask(operation, ...)
  if ok then return text or true end
  return nil, text and json.decode(text).message or "the host failed"
end

local file = {}
file.__index, file.__metatable, file.__name = file, "file", "file"

local function handle(self)
  if not self.handle then blame("the file is closed") end
  return self.handle
end

--- Reads on until `enough(buffer)` gives a position or the file ends; cuts the buffer after that position.
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

function file:read(what)
  what = what or "l"
  if what == "a" or what == "*a" then return read_all(self) end
  local text, reason
  if math_type(what) == "integer" and what >= 0 then
    text, reason = take(self, function(buffer) return #buffer >= what and what end)
  elseif what == "l" or what == "L" or what == "*l" then
    text, reason = take(self, function(buffer) return (find(buffer, "\n", 1, true)) end)
    if text and what ~= "L" and sub(text, -1) == "\n" then return sub(text, 1, -2) end
  else
    blame(format("read: '%s' is none of \"a\", \"l\", \"L\" and a number of bytes", tostring(what)))
  end
  if text == "" and what ~= 0 then return nil end
  return text, reason
end

function file:lines(what)
  return function() return self:read(what or "l") end
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

local io = {}

function io.open(path, mode)
  mode = (mode or "r"):gsub("b$", "")
  if mode ~= "r" and mode ~= "w" and mode ~= "a" then blame("open: the mode must be \"r\", \"w\" or \"a\"") end
  local id, reason = try("file.open", tostring(path), mode)
  if not id then return nil, reason end
  return setmetatable({ handle = id, buffer = "", ended = mode ~= "r" }, file)
end

function io.lines(path, what)
  local opened, reason = io.open(path)
  if not opened then blame(reason) end
  local next_line = opened:lines(what)
  return function()
    local line = next_line()
    if line == nil and opened.handle then opened:close() end
    return line
  end
end

function io.list(folder)
  local names, reason = try("file.list", folder or ".")
  if not names then return nil, reason end
  return json.decode(names)
end

function io.remove(path) return try("file.remove", tostring(path)) end
function io.rename(from, to) return try("file.rename", tostring(from), tostring(to)) end

local denied = setmetatable({}, {
  __metatable = "io",
  __index = function(_, name)
    blame(format("io.%s: this plugin lacks the permission file_write (plugin-registry.csv)", tostring(name)))
  end,
})

return function(can_write) return can_write and io or denied end
