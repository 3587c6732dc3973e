--[[ What a plugin can reach, and what stops it (sandbox.md#lua).

    away      python debug package io os.* dofile loadfile collectgarbage string.dump: nothing leads out of the sandbox
    instead   os.time/date/clock, load for text alone, require of the plugin's own files, xpcall without its danger,
              debug.traceback (limits.lua)
    time      a count hook in every thread; once a job's time is over each further instruction raises again
    memory    the host's limit; see `ask` for what happens at the limit
    jobs      plugin code runs in a worker, a coroutine whose stack tells the line when it died

Everything here works on locals: a plugin may overwrite any global or library function, it harms itself alone. ]]
local host, set_limit = ...

local clock, create, resume, yield, close = os.clock, coroutine.create, coroutine.resume, coroutine.yield, coroutine.close
local status, running = coroutine.status, coroutine.running
local sethook, gethook, getinfo, traceback = debug.sethook, debug.gethook, debug.getinfo, debug.traceback
local raw_getmetatable = debug.getmetatable
local error, find, getmetatable, load, pcall, rawget = error, string.find, getmetatable, load, pcall, rawget
local select, setmetatable, sub, tostring, type = select, setmetatable, string.sub, tostring, type
local collectgarbage, concat, format, math_type = collectgarbage, table.concat, string.format, math.type
local globals = _G

--- limit(false) lifts the memory limit, limit(true) sets it again.
local function limit(on) pcall(set_limit, on) end

local MEMORY = "not enough memory" -- Lua's own words
local guard = { raw_getmetatable = raw_getmetatable }

-- Asking the host -----------------------------------------------------------------------------------------------------

local deadline -- of the job that runs, by the clock of the process

--- Calls the host with strings; gives `ok, text`. A Python exception must never become a value here: it would be a way
-- out. The host lifts the memory limit when its answer might not fit (a failed push ends the process), and says so. It
-- also says what it did for others meanwhile, in seconds: the job does not pay for that.
local function asked(called, ok, text, lifted, for_others)
  if lifted or not called then limit(true) end
  if not called then return false, nil end
  if for_others and deadline then deadline = deadline + for_others end
  return ok, text
end

function guard.ask(operation, ...)
  return asked(pcall(host, operation, ...))
end

-- Time ----------------------------------------------------------------------------------------------------------------

local TICK = 1000 -- instructions between two looks at the clock
local seconds, limit_text = 0, "" -- the clock is a system call: a job that ends before its first tick asks for none
local expired, place = false, nil
local pcalls = 0 -- that are open now, one in another

--- "main.lua:12" of the innermost frame that is the plugin's own, or nil.
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

--- Raises an error at the plugin's line, whatever the SDK has on the stack above it.
local function blame(message)
  local at = position()
  error(at and at .. ": " .. message or message, 0)
end

local function tick()
  deadline = deadline or clock() + seconds
  if not expired and clock() < deadline then
    if select(3, gethook()) == 1 then sethook(tick, "", TICK) end
    return
  end
  sethook(tick, "", 1)
  if not expired then
    expired = true
    limit_text = format("time limit of %g s reached", seconds)
    limit(false) -- or the way back up through ten thousand pcalls would be one collection each
    place = position()
  end
  error(limit_text, 0)
end

-- Jobs ----------------------------------------------------------------------------------------------------------------

-- How a job ended is told by these, never by what a thread yields: a plugin may yield whatever it has got hold of.
local finished -- the worker that came to the end of its job
local parked = false -- main.lua waits in run()
local worker, latest, current -- latest: the thread of the latest job; current: the plugin's handler that it runs
local main -- runs main.lua

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

--- The text of an error value, with its place. No metamethod of a plugin is called.
local function describe(value, at)
  local kind = type(value)
  local text = "error value is a " .. kind
  if kind == "string" or kind == "number" then text = tostring(value)
  elseif kind == "table" and type(rawget(value, "message")) == "string" then
    text = rawget(value, "message")
    if math_type(rawget(value, "status")) == "integer" then text = format("%s (%d)", text, rawget(value, "status")) end
  end
  if at and not find(text, "^[%w_./%-]+:%d+: ") and not find(text, "^%[string ") then text = at .. ": " .. text end
  return text
end

--- Where a dead thread was; where its handler stands, when that has left the stack by a tail call.
local function last_place(thread)
  local at = place or position(thread)
  if at or thread == main or not current then return at or "" end
  local info = getinfo(current, "S")
  return info.short_src .. ":" .. info.linedefined
end

--- What a dead thread died of. At the memory limit even this needs memory: the limit is lifted for it.
local function died(thread, value)
  limit(false)
  local at = last_place(thread)
  local failure = not expired and guard.failure(value)
  local text, stack = describe(value, at ~= "" and at), traceback(thread)
  limit(true)
  latest = nil
  if not expired then close(thread) end -- runs what the plugin marked <close>; after a time-out no hook would stop that
  if expired then return "time", at end
  if value == MEMORY then return "memory", at end
  if failure then return "fail", failure.status, failure.message end
  return "error", text, stack
end

local function ended(thread, ok, ...)
  if ok and not expired then
    if finished == thread then return "done", ... end
    if thread == main and parked and status(thread) == "suspended" then return "run" end
  end
  local was_worker = thread == worker
  if was_worker then worker = nil end
  if not ok or expired then return died(thread, (...)) end
  if status(thread) == "dead" and not was_worker then return "done" end
  local text = status(thread) == "dead" and "coroutine.close of the handler" or "coroutine.yield outside of a coroutine"
  local at, stack = last_place(thread), traceback(thread)
  close(thread) -- a plugin may have kept it: nobody goes on with it
  return "error", describe(text, at), stack
end

local function allow(given)
  seconds, deadline, expired, place, pcalls, finished = given, nil, false, nil, 0, nil
end

--- Runs job(a, b), `a` being the plugin's handler, with `seconds` of processor time. Gives "done" and its results, or
-- "error", text, stack, or "time", place, or "memory", place, or "fail", status, message.
function guard.run(seconds, job, a, b)
  allow(seconds)
  worker = worker or watched(work)
  latest, current = worker, a
  return ended(worker, resume(worker, job, a, b))
end

--- Runs main.lua in a thread of its own: "run" when it called run(), "done" at its end, else as guard.run.
function guard.run_main(seconds, chunk)
  allow(seconds)
  main = watched(chunk)
  latest = main
  return ended(main, resume(main))
end

--- Goes on after run(), when the plugin shuts down.
function guard.finish(seconds)
  allow(seconds)
  latest = main
  if parked and status(main) == "suspended" then return ended(main, resume(main)) end
  return "done"
end

--- After a job that left not even the memory to say so: where it was. The host has lifted the limit.
function guard.aftermath()
  local at = latest and last_place(latest) or ""
  worker, latest = nil, nil
  return "memory", at
end

--- run(): parks main.lua until the shutdown.
function guard.park()
  if parked or running() ~= main then blame("run() is called once, at the end of main.lua") end
  parked = true
  yield()
end

--- `{status, message}` of an error value that carries them, checked; set by reed.lua.
function guard.failure() end

--- Whether the time of the job is over: each further instruction of it raises.
function guard.is_over() return expired end

--- Whether this thread runs, or waits for one that does.
function guard.is_under_way(thread)
  local now = status(thread)
  return now == "running" or now == "normal"
end

-- Safe libraries ------------------------------------------------------------------------------------------------------

local MAX_PCALLS = 100

local function left(depth, ...)
  pcalls = depth
  return ...
end

--- Calls pcall or xpcall, not deeper than MAX_PCALLS: an error caught under ten thousand others takes Lua a walk over
-- all of them.
local function counted(protected, ...)
  local depth = pcalls
  if depth >= MAX_PCALLS then error("pcall in pcall, deeper than " .. MAX_PCALLS, 0) end
  pcalls = depth + 1
  return left(depth, protected(...))
end

--- Coroutines carry the hook, and run under a pcall: a thread that dies in its hook would close its variables with hooks off.
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
  local function again(thread, ...)
    return resumed(thread, left(pcalls, resume(thread, ...)))
  end
  local library = globals.coroutine
  library.create = function(body) return new(body) end
  library.resume = again
  library.wrap = function(body)
    local thread = new(body)
    return function(...) return passed(again(thread, ...)) end
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

--- Takes the ways out away, once, before any plugin code is there.
local function seal()
  local os = globals.os
  globals.os = { time = os.time, date = os.date, clock = os.clock, difftime = os.difftime }
  guard.xpcall = globals.xpcall
  for _, name in ipairs { "python", "debug", "io", "package", "require", "dofile", "loadfile", "xpcall" } do globals[name] = nil end
  globals.string.dump = nil
  getmetatable("").__metatable = false
  safe_basics()
  safe_coroutines()
end

seal()
collectgarbage("generational") -- a fork then leaves the SDK alone, and shares it with the zygote
guard.globals, guard.load, guard.limit, guard.blame = globals, load, limit, blame
guard.counted, guard.traceback = counted, traceback
return guard
