--[[ The functions that the host calls, and `require` for the plugin's own files. A job returns what guard.run returns. ]]
local guard, json, sdk, files, limits = ...

local ask, globals, limit = guard.ask, guard.globals, guard.limit
local blame, error = guard.blame, error
local find, format, gsub, ipairs, load, sub, type = string.find, string.format, string.gsub, ipairs, guard.load, string.sub, type
local rawget, running, setmetatable, _VERSION = rawget, coroutine.running, setmetatable, _VERSION
local decode, encode, randomseed = json.decode, json.encode, math.randomseed
local state = sdk.state
local seconds = 2 -- of processor time for each job

-- require

local loaded, loading = { reed = sdk.reed, ["reed-cms-plugin-sdk"] = sdk.reed, _G = globals }, {}
local builtin = { json = json } -- a file of the plugin takes precedence
local package = limits.package(loaded)

globals.package = package
for _, name in ipairs { "coroutine", "debug", "math", "os", "package", "string", "table", "utf8" } do loaded[name] = globals[name] end

--- Skips a byte order mark and a first line "#!…".
local function compile(source, name)
  if find(source, "^\xEF\xBB\xBF") then source = sub(source, 4) end
  if find(source, "^#") then source = gsub(source, "^#[^\n]*", "", 1) end
  local chunk, message = load(source, "@" .. name, "t", globals)
  if message and find(message, "assign to const variable", 1, true) and _VERSION ~= "Lua 5.4" then
    message = message .. " (since Lua 5.5 the variable of a for loop is const; plugin.yaml can set lua: \"5.4\")"
  end
  return chunk, message
end

--- Source and path of a module; nil if there is no such file; nil and the reason if it cannot be read.
local function search(name)
  for _, pattern in ipairs { "%s.lua", "%s/init.lua" } do
    local path = format(pattern, (gsub(name, "%.", "/")))
    local ok, text = ask("source", path)
    if ok then return text, path end
    local failure = text and decode(text) or { message = "internal error of the host" }
    if failure.status ~= 404 then return nil, failure.message end
  end
end

local function check_name(name)
  if type(name) ~= "string" then blame("require: expected a name, found a " .. type(name)) end
  if not find(name, "^[%w_][%w_-]*[%w_.-]*$") or find(name, "..", 1, true) then
    blame(format("require: '%s' is not a module name (words joined by dots)", name))
  end
  if loading[name] and guard.is_running(loading[name]) then blame(format("require: '%s' requires itself", name)) end
end

--- If the loader fails, another `require` tries again.
local function run(loader, name, place)
  local over <close> = setmetatable({}, { __close = function() loading[name] = nil end })
  loading[name] = running()
  local value = loader(name, place)
  if value ~= nil then loaded[name] = value
  elseif loaded[name] == nil then loaded[name] = true end
  return loaded[name]
end

local function required(name)
  if type(name) == "string" and loaded[name] ~= nil then return loaded[name] end
  check_name(name)
  local preload = rawget(package, "preload")
  local loader = type(preload) == "table" and rawget(preload, name)
  if type(loader) == "function" then return run(loader, name, ":preload:") end
  local source, place = search(name)
  if not source then
    if place then blame(format("module '%s': %s", name, place)) end
    if builtin[name] == nil then
      local path = gsub(name, "%.", "/")
      blame(format("module '%s' not found: %s/init.lua: no such file, and no %s.lua", name, path, path))
    end
    loaded[name] = builtin[name]
    return loaded[name]
  end
  local chunk, message = compile(source, place)
  if not chunk then error(message, 0) end
  return run(chunk, name, place)
end

globals.require = function(name) return required(name) end
globals.json = json

-- Called by the host

local host = {}

--- The host may have lifted the memory limit to push a long text.
local function enter(lifted)
  if lifted then limit(true) end
end

--- `text`: HostedSpec.for_sdk.
function host.prepare(text)
  local spec = decode(text)
  state.spec = spec
  seconds = spec.cpu
  randomseed(spec.seed[1], spec.seed[2])
  sdk.set_settings(spec.settings)
  globals.io = files(spec.can_write)
  loaded.io = globals.io
end

function host.load(name, source, lifted)
  enter(lifted)
  local chunk, message = compile(source, name)
  if not chunk then return "error", message, "" end
  return guard.run_main(seconds, chunk)
end

function host.manifest() return encode(sdk.manifest()) end

function host.settings(text) sdk.set_settings(decode(text)) end

function host.call(id, payload, lifted)
  enter(lifted)
  local handler = state.handlers[id]
  if not handler then return "none" end
  return guard.run(seconds, sdk.answer, handler, payload)
end

function host.signal(signal_type, data, lifted)
  enter(lifted)
  if not state.on_signal then return "done" end
  return guard.run(seconds, sdk.notify, state.on_signal, { signal_type, data })
end

function host.message(source, message_type, payload, lifted)
  enter(lifted)
  local handler = state.messages[message_type]
  if not handler then return "none" end
  return guard.run(seconds, sdk.receive, handler, { payload, source, message_type })
end

function host.start(lifted)
  enter(lifted)
  if not state.on_start then return "done" end
  return guard.run(seconds, sdk.run, state.on_start)
end

function host.sleep(lifted)
  enter(lifted)
  if not state.on_sleep then return "done" end
  return guard.run(seconds, sdk.run, state.on_sleep)
end

function host.finish(lifted)
  enter(lifted)
  return guard.finish(seconds)
end

function host.out_of_memory() return guard.out_of_memory() end

guard.age_heap()

return host
