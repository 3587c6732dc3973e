--[[ The SDK, as returned by `require "reed"`. lua-api.md describes its functions. ]]
local guard, json, requests, bulk = ...

local blame, error = guard.blame, error
local format, ipairs, pairs = string.format, ipairs, pairs
local next, pcall, rawget, rawset, select, tostring, type = next, pcall, rawget, rawset, select, tostring, type
local concat, find, gsub, math_type, sort, sub = table.concat, string.find, string.gsub, math.type, table.sort,
  string.sub
local decode, encode, ask = json.decode, json.encode, guard.ask
local expect, json_text, request, request_text = requests.expect, requests.json_text, requests.request, requests.request_text
local write = bulk.write

local new_array, new_object = json.array, json.object -- a plugin may replace those of `json`; the host must not call them
local settings = new_object()
local reed = { json = json, settings = settings, fail = requests.fail, batch = bulk.batch }
local state = { spec = nil, name = "", actions = {}, handlers = {}, messages = {}, decodes = {}, created = false }

-- The core's commands

reed.snippet = {
  get = function(ref) return request("snippet.get", encode { expect(ref, "string", "snippet.get: ref") }) end,

  --- options: type, after, limit
  list = function(options)
    local page = request("snippet.list", encode(expect(options, "table", "snippet.list: options", true) or json.object()))
    return page.snippets, page.cursor
  end,

  each = bulk.each,

  --- The page's lines, ids, the `after` of the next page, and those skipped as too long for this plugin's memory.
  -- options: type, after, limit, only_ids
  lines = function(options)
    options = expect(options, "table", "snippet.lines: options", true) or {}
    local text = request_text("snippet.lines", encode {
      options.type or "", options.after or "", options.limit or 0, options.only_ids and true or false,
      (state.spec.memory or 8 << 20) // 3,
    })
    local head = find(text, "\n", 1, true)
    local page = decode(sub(text, 1, head - 1))
    return sub(text, head + 1), page.ids, page.cursor, page.skipped
  end,

  --- conditions: { field = value }; options: after, limit
  find = function(type_name, conditions, options)
    expect(type_name, "string", "snippet.find: type")
    options = expect(options, "table", "snippet.find: options", true) or {}
    local page = request("snippet.find", encode { type_name, options.after or "", options.limit or 0 },
      json_text(conditions, "snippet.find: conditions"))
    return page.snippets, page.cursor
  end,

  create = function(type_name, name, content)
    expect(type_name, "string", "snippet.create: type")
    expect(name, "string", "snippet.create: name", true)
    return write("snippet.create", encode { type_name, name or "" }, json_text(content, "snippet.create: content"))
  end,

  --- options: accept_unfit, overwrite, dry_run
  restore = function(record, options)
    expect(record, "table", "snippet.restore: record")
    options = expect(options, "table", "snippet.restore: options", true) or {}
    local flags = (options.accept_unfit and 1 or 0) | (options.overwrite and 2 or 0) | (options.dry_run and 4 or 0)
    local answer = write("snippet.restore", encode {
      flags, record.id or "", record.type or "", record.name or "", record.version or 1, record.created_at or 0,
      record.updated_at or 0,
    }, json_text(record.content, "snippet.restore: content"))
    if answer[1] == nil then return answer end -- a handle
    return answer[1], answer[2]
  end,

  update = function(ref, patch, if_version)
    expect(ref, "string", "snippet.update: ref")
    return write("snippet.update", encode { ref, if_version or 0 }, json_text(patch, "snippet.update: patch"))
  end,

  rename = function(ref, name)
    expect(ref, "string", "snippet.rename: ref")
    return write("snippet.rename", encode { ref, expect(name, "string", "snippet.rename: name") })
  end,

  delete = function(ref, cascade)
    return write("snippet.delete", encode { expect(ref, "string", "snippet.delete: ref"), cascade and true or false })
  end,
}

reed.schema = {
  bond = function(parent, child, weight, path)
    expect(parent, "string", "schema.bond: parent")
    return write("schema.bond", encode { parent, expect(child, "string", "schema.bond: child"), weight or 0, path or "" })
  end,
  unbond = function(parent, child)
    expect(parent, "string", "schema.unbond: parent")
    return write("schema.unbond", encode { parent, expect(child, "string", "schema.unbond: child") })
  end,
  tree = function(root, depth) return request("schema.tree", encode { root or "", depth or 0 }) end,
}

reed.registry = {
  define = function(name, definition)
    expect(name, "string", "registry.define: name")
    return write("registry.define", encode { name }, json_text(definition, "registry.define: definition"))
  end,
  get = function(name) return request("registry.get", encode { expect(name, "string", "registry.get: name") }) end,
  delete = function(name) return write("registry.delete", encode { expect(name, "string", "registry.delete: name") }) end,
  list = function() return request("registry.list") end,
  lines = function()
    local text = request_text("registry.lines")
    return text, select(2, gsub(text, "\n", ""))
  end,
}

reed.search = {
  --- options: type, limit, offset
  query = function(text, options)
    expect(text, "string", "search.query: text")
    options = expect(options, "table", "search.query: options", true) or {}
    return request("search.query", encode { text, options.type or "", options.limit or 0, options.offset or 0 })
  end,
  index = function(ref) return request("search.index", encode { ref or "" }) end,
}

-- Log

local function logger(level)
  return function(message, ...)
    local text = type(message) == "table" and encode(message) or tostring(message)
    if select("#", ...) > 0 then text = format(text, ...) end
    ask("log", level, text)
  end
end
reed.log = { debug = logger "debug", info = logger "info", warn = logger "warn", error = logger "error" }

-- The plugin

local methods = {}

local function handler_of(fn, what)
  if type(fn) ~= "function" then blame(what .. ": expected a function as handler, found a " .. type(fn)) end
  return fn
end

--- Inputs are decoded for handlers with a second parameter, so that others do not pay for it.
local function set_handler(name, id, fn)
  state.actions[name], state.handlers[id] = id, fn
  for _, each in ipairs(state.spec.byte_actions or {}) do
    if each == name then return end
  end
  state.decodes[fn] = guard.takes(fn, 2) or nil
end

function methods.register_command(id, fn)
  if math_type(id) ~= "integer" or id < 1 or id > 239 then
    blame("register_command: the id must be an integer from 1 to 239")
  end
  handler_of(fn, "register_command")
  local name = format("command-%d", id)
  for action, command_id in pairs(state.spec.actions) do
    if command_id == id then name = action end
  end
  set_handler(name, id, fn)
end

function methods.action(name, fn)
  handler_of(fn, "action")
  local known = state.spec.actions
  local id = rawget(known, name)
  if not id and state.spec.any_action then -- a test without plugin.yaml
    id = 1
    while state.handlers[id] do id = id + 1 end
  elseif not id then
    local names = {}
    for action in pairs(known) do names[#names + 1] = action end
    sort(names)
    blame(format("plugin.yaml has no action '%s'; its actions: %s", tostring(name), concat(names, ", ")))
  end
  set_handler(name, id, fn)
end

function methods.on_message(message_type, fn)
  if math_type(message_type) ~= "integer" or message_type < 0 or message_type > 255 then
    blame("on_message: the type must be an integer from 0 to 255")
  end
  state.messages[message_type] = handler_of(fn, "on_message")
  state.decodes[fn] = guard.takes(fn, 4) or nil
end
methods.register_message_handler = methods.on_message -- the name in ReedCMS's documents

function methods.on_signal(fn) state.on_signal = handler_of(fn, "on_signal") end

function methods.on_start(fn) state.on_start = handler_of(fn, "on_start") end

function methods.on_sleep(fn) state.on_sleep = handler_of(fn, "on_sleep") end

function methods.send_signal(signal_type, data)
  request("signal", encode { signal_type, data or "" })
end

function methods.send_message(target, message_type, payload)
  expect(target, "string", "send_message: target")
  return request("message", encode { target, message_type }, json_text(payload or json.object(), "send_message: payload"))
end
methods.send_plugin_message = methods.send_message -- the name in ReedCMS's documents

function methods.request(target, message_type, payload, timeout)
  expect(target, "string", "request: target")
  local text = json_text(payload or json.object(), "request: payload")
  return request("message.request", encode { target, message_type, timeout or 5 }, text)
end

function methods.run() guard.park() end

reed.signals = { READY = 0x01, BUSY = 0x02, SLEEPING = 0x04, ERROR = 0x05,
  SHUTDOWN_GRACEFUL = 0x10, RELOAD_CONFIG = 0x12, HEALTH_CHECK = 0x13, WAKE_UP = 0x15 }
reed.messages = { KEYWORD_OPTIMIZED = 0x01, CONTENT_ANALYZED = 0x02,
  RESPONSE_ACK = 0xF0, RESPONSE_ERROR = 0xF1, RESPONSE_DATA = 0xF2 }

function reed.create_plugin(options)
  expect(options, "table", "create_plugin: options")
  local spec = state.spec
  for _, field in ipairs { "name", "version" } do
    if spec[field] == "" then spec[field] = options[field] or "" end -- a test without plugin.yaml
    if options[field] ~= nil and options[field] ~= spec[field] then
      blame(format("create_plugin: %s is '%s', but '%s' in plugin.yaml", field, tostring(options[field]), spec[field]))
    end
  end
  if state.created then blame("create_plugin: already called; a process runs one plugin") end
  state.created = true
  local plugin = { name = spec.name, version = spec.version, settings = reed.settings, log = reed.log }
  for _, noun in ipairs { "snippet", "schema", "registry", "search", "fail", "batch" } do plugin[noun] = reed[noun] end
  for name, method in pairs(methods) do
    plugin[name] = function(first, ...)
      if first == plugin then return method(...) end
      return method(first, ...)
    end
  end
  return plugin
end

-- What the host calls

local module = { reed = reed, state = state }

function module.set_settings(given)
  for key in next, settings do rawset(settings, key, nil) end
  for key, value in next, given do rawset(settings, key, value) end
end

--- The value of a JSON text; nil if it is none. Its error would say nothing about the handler, which may not need it.
local function decoded(handler, text, place)
  guard.undecoded, guard.decoded_place = text, place
  if not state.decodes[handler] then return nil end
  local ok, value = pcall(decode, text)
  if ok then return value end
  if value == "not enough memory" or guard.is_expired() then error(value, 0) end
end

--- Returns status and body.
function module.answer(handler, payload)
  local body, status = handler(payload, decoded(handler, payload, "second"))
  if status == nil then status = 200
  elseif math_type(status) ~= "integer" or status < 200 or status > 599 then
    error("the handler's status must be an integer from 200 to 599", 0)
  end
  return status, type(body) == "string" and body or encode(body)
end

function module.notify(handler, signal) handler(signal[1], signal[2]) end

--- For on_start and on_sleep.
function module.run(handler) handler() end

--- Returns the answer as JSON, or nothing.
function module.receive(handler, message)
  local value = handler(message[1], message[2], message[3], decoded(handler, message[1], "fourth"))
  if value ~= nil then return encode(value) end
end

--- protocol.md#plugin-connections
function module.manifest()
  local actions, messages = new_object(), new_array()
  for name, id in pairs(state.actions) do actions[name] = { command_id = id } end
  for message_type in pairs(state.messages) do messages[#messages + 1] = message_type end
  sort(messages)
  return { actions = actions, messages = messages }
end

return module
