--[[ Safe replacements for what Lua libraries expect, and stubs for what a plugin lacks: calling one raises an error that
names the limit. ]]
local guard = ...

local blame, counted, is_expired, raw_traceback, raw_xpcall = guard.blame, guard.counted, guard.is_expired, guard.traceback, guard.xpcall
local concat, format, gmatch, ipairs, math_type, pcall = table.concat, string.format, string.gmatch, ipairs, math.type, pcall
local running, select, sub, type = coroutine.running, select, string.sub, type
local globals = guard.globals
local limits = {}
local MAX_LEVEL = 1 << 20

-- Errors with their stack

local caught, catcher -- the stack for an xpcall handler, and the handler's coroutine

--- Without the SDK's own frames.
local function readable(stack)
  local lines = {}
  for line in gmatch(stack, "[^\n]+") do
    if sub(line, 1, 6) ~= "\treed/" and line ~= "\t[C]: in local 'protected'" then lines[#lines + 1] = line end
  end
  return concat(lines, "\n")
end

--- debug.traceback; calls no metamethod.
local function traceback(thread, message, level)
  if type(thread) ~= "thread" then thread, message, level = nil, thread, message end
  local kind, stack = type(message), nil
  if kind ~= "nil" and kind ~= "string" and kind ~= "number" then return message end
  if math_type(level) ~= "integer" or level < 0 then level = thread and 0 or 1 end
  if level > MAX_LEVEL then level = MAX_LEVEL end -- in C it is an int
  if thread then stack = raw_traceback(thread, "", level)
  elseif caught and catcher == running() then stack = caught
  else stack = raw_traceback("", level + 1) end
  return (message and message .. "\n" or "") .. readable(stack)
end

local function handled(stack, thread, _, ...)
  caught, catcher = stack, thread
  return false, ...
end

local function outcome(handler, box, ok, ...)
  if ok then return ok, ... end
  local stack, thread = caught, catcher
  caught, catcher = box.stack, running()
  return handled(stack, thread, counted(pcall, handler, ...))
end

--- As Lua's xpcall, but the handler runs after the error, where the hook can stop it.
function globals.xpcall(body, handler, ...)
  if type(handler) ~= "function" then blame("bad argument #2 to 'xpcall' (function expected)") end
  local box = {}
  local function keep(value)
    if not is_expired() then box.stack = raw_traceback("", 2) end
    return value
  end
  return outcome(handler, box, counted(raw_xpcall, body, keep, ...))
end

-- Stubs

--- Adds stubs to `library`, and returns it.
function limits.lack(library, prefix, names, why)
  for _, name in ipairs(names) do
    library[name] = function() blame(format("%s%s: %s", prefix, name, why)) end
  end
  return library
end

local lack = limits.lack
lack(globals, "", { "dofile", "loadfile" }, "a plugin loads the files of its folder with require")
lack(globals.string, "string.", { "dump" }, "bytecode is not available to plugins")
lack(globals.os, "os.", { "execute", "exit", "tmpname", "setlocale" }, "a plugin has only os.time, os.date, os.clock and os.difftime")
lack(globals.os, "os.", { "getenv" }, "a plugin has no environment variables; use reed.settings")
lack(globals.os, "os.", { "remove", "rename" }, "use io.remove and io.rename, with the permission file_write")
globals.debug = lack({ traceback = traceback }, "debug.", { "debug", "gethook", "getinfo", "getlocal", "getmetatable",
  "getregistry", "getupvalue", "getuservalue", "sethook", "setlocal", "setmetatable", "setupvalue", "setuservalue",
  "upvalueid", "upvaluejoin" }, "a plugin has only debug.traceback")

function limits.package(loaded)
  local package = { loaded = loaded, preload = {}, path = "?.lua;?/init.lua", cpath = "", config = "/\n;\n?\n!\n-\n" }
  return lack(package, "package.", { "loadlib", "searchpath" }, "a plugin loads the files of its folder with require")
end

--- Adds the stubs for standard streams, and returns `io`.
function limits.streams(io, why)
  why = why or "a plugin has no standard input or output; use print or reed.log"
  lack(io, "io.", { "input", "output", "popen", "read", "tmpfile", "type", "write" }, why)
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    io[name] = lack({}, "io." .. name .. ":", { "close", "flush", "lines", "read", "seek", "setvbuf", "write" }, why)
  end
  return io
end

return limits
