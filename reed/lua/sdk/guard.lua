--[[ The guards of the sandbox: what a plugin can reach, and what stops it (sandbox.md#lua).

    time       a count hook in every coroutine; once the job's time is used up, each further instruction raises an error
    jobs       plugin code runs in a worker, a coroutine whose stack shows the line where it failed

All functions here use locals: a plugin that overwrites a global or a library function harms only itself. ]]
local host, set_limit = ...

local clock, create, resume, yield, close = os.clock, coroutine.create, coroutine.resume, coroutine.yield, coroutine.close
local status, running = coroutine.status, coroutine.running
local sethook, gethook, getinfo, traceback = debug.sethook, debug.gethook, debug.getinfo, debug.traceback
local raw_getmetatable = debug.getmetatable
local error, find, getmetatable, load, pcall, rawget = error, string.find, getmetatable, load, pcall, rawget
local select, setmetatable, sub, tostring, type = select, setmetatable, string.sub, tostring, type
local collectgarbage, concat, format, math_type = collectgarbage, table.concat, string.format, math.type
local globals = _G

--- Lifts (false) or restores the memory limit.
local function limit(on) pcall(set_limit, on) end

local MEMORY = "not enough memory" -- Lua's own error value
local guard = { raw_getmetatable = raw_getmetatable }

-- Calling the host

local deadline -- of the running job, in processor time

local function answer(called, ok, text, lifted, uncharged)
  if lifted or not called then limit(true) end
  if not called then return false, nil end
  if uncharged and deadline then deadline = deadline + uncharged end
  return ok, text
end

--- Calls a service of the host with strings; returns `ok, text`. A Python exception must never become a value here: it
-- would be a way out. The host says whether it lifted the memory limit for its text, and returns the processor time
-- that the job is not charged for.
function guard.ask(operation, ...)
  return answer(pcall(host, operation, ...))
end

-- Time

local TICK = 1000 -- instructions between two readings of the clock
local seconds, limit_text = 0, ""
local expired, place = false, nil
local pcalls = 0 -- depth of nested pcalls

--- "main.lua:12" of the innermost frame that is the plugin's, or nil.
local function position(thread)
  for level = 0, 200 do
    local info
    if thread then info = getinfo(thread, level, "Sl") else info = getinfo(level, "Sl") end
    if not info then return nil end
    if info.currentline > 0 and sub(info.source, 1, 5) ~= "=reed" then
      return info.short_src .. ":" .. info.currentline
    end
  end
end

--- With the line of the plugin that called the SDK.
local function blame(message)
  local at = position()
  error(at and at .. ": " .. message or message, 0)
end

local function tick()
  deadline = deadline or clock() + seconds -- not earlier: most jobs end before, and save the system call
  if not expired and clock() < deadline then
    if select(3, gethook()) == 1 then sethook(tick, "", TICK) end
    return
  end
  sethook(tick, "", 1)
  if not expired then
    expired = true
    limit_text = format("time limit of %g s reached", seconds)
    limit(false) -- or unwinding each pcall could take a collection
    place = position()
  end
  error(limit_text, 0)
end

-- Jobs

-- How a job ended; not what a coroutine yields, as a plugin may yield anything.
local finished -- the worker that reached the end of its job
local parked = false -- main.lua waits in run()
local worker, latest, current -- latest: the coroutine of the latest job; current: the handler that it runs
local main -- coroutine

local function finish(...)
  finished = running()
  return ...
end

local function work(job, a, b)
  while true do job, a, b = yield(finish(job(a, b))) end
end

local function watched(body)
  local thread = create(body)
  sethook(thread, tick, "", TICK)
  return thread
end

--- Calls no metamethod of a plugin.
local function describe(value, at)
  local kind = type(value)
  local text = "error value is a " .. kind
  if kind == "string" or kind == "number" then text = tostring(value)
  elseif kind == "table" and type(rawget(value, "message")) == "string" then
    text = rawget(value, "message")
    if math_type(rawget(value, "status")) == "integer" then text = format("%s (%d)", text, rawget(value, "status")) end
  elseif kind == "table" then text = guard.describe_table(value)
  end
  if at and not find(text, "^[%w_./%-]+:%d+: ") and not find(text, "^%[string ") then text = at .. ": " .. text end
  return text
end

--- The line of the handler if that has left the stack by a tail call.
local function last_place(thread)
  local at = place or position(thread)
  if at or thread == main or not current then return at or "" end
  local info = getinfo(current, "S")
  return info.short_src .. ":" .. info.linedefined
end

local function failed(thread, value)
  limit(false) -- this needs memory
  local at = last_place(thread)
  local failure = not expired and guard.failure(value)
  local text, stack = describe(value, at ~= "" and at), traceback(thread)
  limit(true)
  latest = nil
  if not expired then close(thread) end -- after a time-out no hook would stop <close> handlers
  if expired then return "time", at end
  if value == MEMORY then return "memory", at end
  if failure then return "fail", failure.status, failure.message, failure.code end
  return "error", text, stack
end

local function outcome(thread, ok, ...)
  guard.undecoded = nil -- the payload is garbage from now on
  if ok and not expired then
    if finished == thread then return "done", ... end
    if thread == main and parked and status(thread) == "suspended" then return "run" end
  end
  local was_worker = thread == worker
  if was_worker then worker = nil end
  if not ok or expired then return failed(thread, (...)) end
  if status(thread) == "dead" and not was_worker then return "done" end
  local text = status(thread) == "dead" and "coroutine.close of the handler" or "coroutine.yield outside of a coroutine"
  local at, stack = last_place(thread), traceback(thread)
  close(thread) -- a plugin that kept it must not resume it
  return "error", describe(text, at), stack
end

local function start_clock(given)
  seconds, deadline, expired, place, pcalls, finished = given, nil, false, nil, 0, nil
  guard.begin_job()
end

--- Runs job(a, b) with `seconds` of processor time; `a` is the plugin's handler. Returns the JobOutcome of sandbox.py.
function guard.run(seconds, job, a, b)
  start_clock(seconds)
  worker = worker or watched(work)
  latest, current = worker, a
  return outcome(worker, resume(worker, job, a, b))
end

--- Runs main.lua: "run" if it waits in run(), "done" at its end, else as guard.run.
function guard.run_main(seconds, chunk)
  start_clock(seconds)
  main = watched(chunk)
  latest = main
  return outcome(main, resume(main))
end

--- Continues main.lua after run().
function guard.finish(seconds)
  start_clock(seconds)
  latest = main
  if parked and status(main) == "suspended" then return outcome(main, resume(main)) end
  return "done"
end

--- A job ran out of memory outside of its coroutine. The host has lifted the limit.
function guard.out_of_memory()
  local at = latest and last_place(latest) or ""
  worker, latest, guard.undecoded = nil, nil, nil
  return "memory", at
end

--- plugin.run()
function guard.park()
  if parked or running() ~= main then blame("run() is called once, at the end of main.lua") end
  parked = true
  yield()
end

--- Set by requests.lua, requests.lua and bulk.lua.
function guard.failure() end
function guard.describe_table() end
function guard.begin_job() end

--- Whether a function has a parameter of that number, or takes any number of them.
function guard.takes(fn, number)
  local info = getinfo(fn, "u")
  return info.nparams >= number or info.isvararg
end

local ROOM = 1000 -- short strings
local GROWTH = 200 -- percent

--- Called once the whole SDK is loaded, so that a plugin writes to few pages that it shares with the zygote. Minor
-- collections do not touch old objects; a heap that has grown by less than GROWTH is not collected as a whole. The table
-- of short strings gets room for those of a plugin, since it writes to each string when it grows.
function guard.age_heap()
  local strings = {}
  for i = 1, ROOM do strings[i] = "room " .. i end
  collectgarbage("generational")
  if _VERSION ~= "Lua 5.4" then collectgarbage("param", "minormajor", GROWTH) end -- 5.4 has 100
end

function guard.is_expired() return expired end
function guard.is_running(thread)
  local now = status(thread)
  return now == "running" or now == "normal"
end

-- Safe libraries

local MAX_PCALLS = 100

local function leave(depth, ...)
  pcalls = depth
  return ...
end

--- Limits the depth, as Lua walks over all nested pcalls for each error that is caught.
local function counted(protected, ...)
  local depth = pcalls
  if depth >= MAX_PCALLS then error("pcalls nested deeper than " .. MAX_PCALLS, 0) end
  pcalls = depth + 1
  return leave(depth, protected(...))
end

--- With the hook, and under a pcall: a coroutine that fails in its hook would run its <close> handlers without hooks.
local function safe_coroutines()
  local function new(body)
    if type(body) ~= "function" then blame("bad argument #1 to 'create' (function expected)") end
    if expired then error(limit_text, 0) end
    return watched(function(...) return pcall(body, ...) end)
  end
  local function resumed(thread, ok, ...)
    if expired then error(limit_text, 0) end
    if not ok or status(thread) ~= "dead" or select("#", ...) == 0 then return ok, ... end
    return ...
  end
  local function passed(ok, ...)
    if ok then return ... end
    error((...), 0)
  end
  local function resume_guarded(thread, ...)
    return resumed(thread, leave(pcalls, resume(thread, ...)))
  end
  local library = globals.coroutine
  library.create = function(body) return new(body) end
  library.resume = resume_guarded
  library.wrap = function(body)
    local thread = new(body)
    return function(...) return passed(resume_guarded(thread, ...)) end
  end
end

local function safe_basics()
  globals.pcall = function(...) return counted(pcall, ...) end
  globals.setmetatable = function(value, meta)
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then blame("__gc is not allowed in a plugin") end
    return setmetatable(value, meta)
  end
  globals.load = function(chunk, name, _, ...)
    if select("#", ...) > 0 then return load(chunk, name, "t", (...)) end
    return load(chunk, name, "t", globals)
  end
  globals.collectgarbage = function(option)
    if option == nil or option == "collect" or option == "count" then return collectgarbage(option or "collect") end
    blame("collectgarbage: only 'collect' and 'count' are allowed in a plugin")
  end
  globals.print = function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    guard.ask("log", "info", concat(parts, "\t"))
  end
  globals.warn = function(...) guard.ask("log", "warn", concat({ ... })) end
end

--- Methods of strings are those of `string`. A field that it lacks is nil, as in Lua, but an error for the payload of the
-- running handler: `payload.title` can only be a mistake.
local library = globals.string

local function find_method(value, key)
  local found = library[key]
  if found == nil and value == guard.undecoded then
    blame(format("the payload is a text and has no field '%s'; the decoded value is the handler's %s argument",
      tostring(key), guard.decoded_place))
  end
  return found
end

local function seal()
  local os = globals.os
  globals.os = { time = os.time, date = os.date, clock = os.clock, difftime = os.difftime }
  guard.xpcall = globals.xpcall
  for _, name in ipairs { "python", "debug", "io", "package", "require", "dofile", "loadfile", "xpcall" } do globals[name] = nil end
  globals.string.dump = nil
  local strings = getmetatable("")
  strings.__metatable, strings.__index = false, find_method
  safe_basics()
  safe_coroutines()
end

seal()
guard.globals, guard.load, guard.limit, guard.blame = globals, load, limit, blame
guard.counted, guard.traceback = counted, traceback
return guard
