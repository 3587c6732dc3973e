--[[ What the host calls: load, call, signal, message, sleep, finish; and `require` for the plugin's own files.

Each gives what guard.run gives: "done" and results, or "error", "time", "memory", "fail" with theirs. ]]
local guard, json, sdk, files = ...

local ask, globals, limit = guard.ask, guard.globals, guard.limit
local blame, error = guard.blame, error
local find, format, gsub, ipairs, load, type = string.find, string.format, string.gsub, ipairs, guard.load, type
local state = sdk.state
local seconds = 2 -- of processor time for each job

-- require -------------------------------------------------------------------------------------------------------------

local loaded, loading = { reed = sdk.reed, ["reed-cms-plugin-sdk"] = sdk.reed, json = json }, {}

--- The chunk of a Lua file: text alone, a first line "#!…" is skipped.
local function compile(source, name)
  return load(gsub(source, "^#[^\n]*", "", 1), "@" .. name, "t", globals)
end

local function required(name)
  if type(name) ~= "string" then blame("require: expected a name, found a " .. type(name)) end
  if loaded[name] ~= nil then return loaded[name] end
  if not find(name, "^[%w_][%w_-]*[%w_.-]*$") or find(name, "..", 1, true) then
    blame(format("require: '%s' is no name of a module (words joined by dots)", name))
  end
  if loading[name] then blame(format("require: '%s' requires itself", name)) end
  local ok, source, path = nil, nil, nil
  for _, pattern in ipairs { "%s.lua", "%s/init.lua" } do
    path = format(pattern, (gsub(name, "%.", "/")))
    ok, source = ask("source", path)
    if ok then break end
  end
  if not ok then
    local reason = source and json.decode(source).message or "the host failed"
    blame(format("module '%s' not found: %s", name, reason))
  end
  local chunk, message = compile(source, path)
  if not chunk then error(message, 0) end
  loading[name] = true
  local value = chunk(name, path)
  loading[name] = nil
  if value == nil then value = true end
  loaded[name] = value
  return value
end

globals.require = function(name) return required(name) end
globals.json = json

-- The host's entries --------------------------------------------------------------------------------------------------

local host = {}

--- The host pushes a long text with the memory limit lifted; from here on it holds again.
local function enter(lifted)
  if lifted then limit(true) end
end

--- Before main.lua: the launch spec as JSON.
function host.prepare(text)
  local spec = json.decode(text)
  state.spec = spec
  seconds = spec.cpu
  math.randomseed(spec.seed[1], spec.seed[2])
  sdk.set_settings(spec.settings)
  globals.io = files(spec.can_write)
end

function host.load(name, source, lifted)
  enter(lifted)
  local chunk, message = compile(source, name)
  if not chunk then return "error", message, "" end
  return guard.run_main(seconds, chunk)
end

function host.manifest() return json.encode(sdk.manifest()) end

function host.settings(text) sdk.set_settings(json.decode(text)) end

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

function host.sleep(lifted)
  enter(lifted)
  if not state.on_sleep then return "done" end
  return guard.run(seconds, sdk.rest, state.on_sleep)
end

function host.finish(lifted)
  enter(lifted)
  return guard.finish(seconds)
end

function host.aftermath() return guard.aftermath() end

return host
