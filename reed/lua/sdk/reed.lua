--[[ The SDK, as returned by `require "reed"` (lua-api.md).

    local reed = require "reed"
    local plugin = reed.create_plugin { name = "hello", version = "1.0.0" }
    plugin.action("greet", function(payload) return { hello = json.decode(payload) } end)
    plugin.run()

A handler gets the payload as a string. It returns a string, or any other value to be encoded as JSON, and optionally a
status. Functions of a plugin can be called as `plugin.f(…)` and `plugin:f(…)`. ]]
local guard, json = ...

local blame, error = guard.blame, error
local format, ipairs, pairs = string.format, ipairs, pairs
local next, rawget, rawset, select, setmetatable, tostring, type = next, rawget, rawset, select, setmetatable, tostring, type
local concat, find, gsub, math_type, sort, sub = table.concat, string.find, string.gsub, math.type, table.sort,
  string.sub
local decode, encode, ask = json.decode, json.encode, guard.ask
local metatable_of = guard.raw_getmetatable

local new_array, new_object = json.array, json.object -- a plugin may replace those of `json`; the host must not call them
local settings = new_object()
local reed = { json = json, settings = settings }
local state = { spec = nil, name = "", actions = {}, handlers = {}, messages = {}, created = false }

-- Failures ------------------------------------------------------------------------------------------------------------

--- A failure has `status`, `code` and `message`; `tostring` gives "404: no snippet 'x'".
local failure_meta = {
  __metatable = "failure",
  __tostring = function(failure) return format("%d: %s", failure.status, failure.message) end,
}

local function is_failure_status(status)
  return math_type(status) == "integer" and status >= 400 and status <= 599
end

--- `{status, message}` if the error value was raised by reed.fail, else nil. A plugin may have caught and changed it, so
-- the fields are checked again.
function guard.failure(value)
  if type(value) ~= "table" or metatable_of(value) ~= failure_meta or not rawget(value, "own") then return nil end
  local status, message = rawget(value, "status"), rawget(value, "message")
  if is_failure_status(status) and type(message) == "string" then return { status = status, message = message } end
end

--- Ends the call with a status (400 to 599) and a message to the caller.
function reed.fail(status, message)
  if not is_failure_status(status) then blame("reed.fail: the status must be an integer from 400 to 599") end
  error(setmetatable({ status = status, message = tostring(message or "failed"), own = true }, failure_meta), 0)
end

--- Calls a service of the host and returns its text; raises its error as a failure.
local function request_text(operation, ...)
  local ok, text = ask(operation, ...)
  if ok then return text end
  local failure = text and decode(text) or { status = 500, code = 50000, message = operation .. ": the host failed" }
  error(setmetatable(failure, failure_meta), 0)
end

--- As `request_text`, for a service that returns JSON.
local function request(operation, ...)
  local text = request_text(operation, ...)
  return text and decode(text)
end

local function expect(value, kind, what, optional)
  if type(value) == kind or optional and value == nil then return value end
  blame(format("%s: expected a %s, found %s", what, kind, value == nil and "nothing" or "a " .. type(value)))
end

-- The core's commands -------------------------------------------------------------------------------------------------

local function json_text(value, what)
  if type(value) == "string" then return value end
  expect(value, "table", what)
  return encode(value)
end

reed.snippet = {
  --- The snippet `{id, type, name, version, created_at, updated_at, content}`; failure 404 if there is none.
  get = function(ref) return request("snippet.get", encode { expect(ref, "string", "snippet.get: ref") }) end,

  --- Snippets in creation order, and the `after` of the next page ("" at the end).
  -- options: type, after, limit (100 by default; at most 1000)
  list = function(options)
    local page = request("snippet.list", encode(expect(options, "table", "snippet.list: options", true) or json.object()))
    return page.snippets, page.cursor
  end,

  --- A page in the format of `reed export`, with the content as stored: the lines, the ids of the snippets, the `after`
  -- of the next page, and a list of {id, name, bytes} of those that were skipped as too long for this plugin's memory.
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

  --- As `list`, for the snippets of a type whose top-level fields have these values, as in
  -- find("page", { path = "blog/intro" }). options: after, limit
  find = function(type_name, conditions, options)
    expect(type_name, "string", "snippet.find: type")
    options = expect(options, "table", "snippet.find: options", true) or {}
    local page = request("snippet.find", encode { type_name, options.after or "", options.limit or 0 },
      json_text(conditions, "snippet.find: conditions"))
    return page.snippets, page.cursor
  end,

  --- The id of the new snippet. `content` is a table or a JSON text; `name` may be nil or "". The old order
  -- create(type, content, name) is accepted too: no name is a table, or starts with a brace.
  create = function(type_name, name, content)
    expect(type_name, "string", "snippet.create: type")
    if type(name) == "table" or type(name) == "string" and (content == nil or find(name, "^%s*{")) then
      name, content = content, name
    end
    expect(name, "string", "snippet.create: name", true)
    return request("snippet.create", encode { type_name, name or "" }, json_text(content, "snippet.create: content"))
  end,

  --- Writes a snippet as returned by `get`, with its id, version and times; runs no filters. Returns 201 (new), 204 (an
  -- older version was replaced) or 200 (unchanged), and a warning or "".
  -- options: accept_unfit, overwrite, dry_run
  restore = function(record, options)
    expect(record, "table", "snippet.restore: record")
    options = expect(options, "table", "snippet.restore: options", true) or {}
    local flags = (options.accept_unfit and 1 or 0) | (options.overwrite and 2 or 0) | (options.dry_run and 4 or 0)
    local answer = request("snippet.restore", encode {
      flags, record.id or "", record.type or "", record.name or "", record.version or 1, record.created_at or 0,
      record.updated_at or 0,
    }, json_text(record.content, "snippet.restore: content"))
    return answer[1], answer[2]
  end,

  --- Applies a merge patch (RFC 7396: json.null removes a field); failure 409 unless `if_version`, if given, matches.
  update = function(ref, patch, if_version)
    expect(ref, "string", "snippet.update: ref")
    return request("snippet.update", encode { ref, if_version or 0 }, json_text(patch, "snippet.update: patch"))
  end,

  --- Sets the name ("" removes it) and returns the id; failure 409 if the name is in use.
  rename = function(ref, name)
    expect(ref, "string", "snippet.rename: ref")
    return request("snippet.rename", encode { ref, expect(name, "string", "snippet.rename: name") })
  end,

  --- Deletes a snippet, with `cascade` its bonds too; failure 409 for a bonded snippet without it.
  delete = function(ref, cascade)
    return request("snippet.delete", encode { expect(ref, "string", "snippet.delete: ref"), cascade and true or false })
  end,
}

reed.schema = {
  bond = function(parent, child, weight, path)
    expect(parent, "string", "schema.bond: parent")
    return request("schema.bond", encode { parent, expect(child, "string", "schema.bond: child"), weight or 0, path or "" })
  end,
  unbond = function(parent, child)
    expect(parent, "string", "schema.unbond: parent")
    return request("schema.unbond", encode { parent, expect(child, "string", "schema.unbond: child") })
  end,
  --- `{id, type, name, weight, path, children}`; without a root, the list of all roots.
  tree = function(root, depth) return request("schema.tree", encode { root or "", depth or 0 }) end,
}

reed.registry = {
  --- Defines a type, or redefines it; true if it is new.
  define = function(name, definition)
    expect(name, "string", "registry.define: name")
    return request("registry.define", encode { name }, json_text(definition, "registry.define: definition"))
  end,
  get = function(name) return request("registry.get", encode { expect(name, "string", "registry.get: name") }) end,
  --- All definitions, by type name.
  list = function() return request("registry.list") end,
  --- All definitions in the format of `reed export`, and their number.
  lines = function()
    local text = request_text("registry.lines")
    return text, select(2, gsub(text, "\n", ""))
  end,
}

reed.search = {
  --- `{total, hits = {{id, type, name, score, excerpt}, …}}`, best first. options: type, limit, offset
  query = function(text, options)
    expect(text, "string", "search.query: text")
    options = expect(options, "table", "search.query: options", true) or {}
    return request("search.query", encode { text, options.type or "", options.limit or 0, options.offset or 0 })
  end,
  --- Indexes a snippet again, or all of them; returns the number indexed.
  index = function(ref) return request("search.index", encode { ref or "" }) end,
}

-- Log -----------------------------------------------------------------------------------------------------------------

local function logger(level)
  return function(message, ...)
    local text = type(message) == "table" and encode(message) or tostring(message)
    if select("#", ...) > 0 then text = format(text, ...) end
    ask("log", level, text)
  end
end
reed.log = { debug = logger "debug", info = logger "info", warn = logger "warn", error = logger "error" }

-- The plugin ----------------------------------------------------------------------------------------------------------

local methods = {}

local function handler_of(fn, what)
  if type(fn) ~= "function" then blame(what .. ": expected a function as handler, found a " .. type(fn)) end
  return fn
end

--- Sets the handler of a command id, 1 to 239.
function methods.register_command(id, fn)
  if math_type(id) ~= "integer" or id < 1 or id > 239 then
    blame("register_command: the id must be an integer from 1 to 239")
  end
  handler_of(fn, "register_command")
  local name = format("command-%d", id)
  for action, command_id in pairs(state.spec.actions) do
    if command_id == id then name = action end
  end
  state.actions[name], state.handlers[id] = id, fn
end

--- Sets the handler of an action of plugin.yaml.
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
  state.actions[name], state.handlers[id] = id, fn
end

--- Sets the handler of a message type: fn(payload, source, type). A sender that waits (`request`) gets the returned value
-- as JSON (RESPONSE_DATA), or RESPONSE_ACK for nil; an error, or reed.fail, becomes a failure there.
function methods.on_message(message_type, fn)
  if math_type(message_type) ~= "integer" or message_type < 0 or message_type > 255 then
    blame("on_message: the type must be an integer from 0 to 255")
  end
  state.messages[message_type] = handler_of(fn, "on_message")
end
methods.register_message_handler = methods.on_message -- the name in ReedCMS's documents

--- fn(signal_type, data) is called for each signal of the core, before the SDK answers it.
function methods.on_signal(fn) state.on_signal = handler_of(fn, "on_signal") end

--- fn() is called before the plugin goes to sleep (plugin.yaml: sleep).
function methods.on_sleep(fn) state.on_sleep = handler_of(fn, "on_sleep") end

--- Sends a signal to the core, such as reed.signals.BUSY.
function methods.send_signal(signal_type, data)
  request("signal", encode { signal_type, data or "" })
end

--- Sends a message to `target`; the payload is a table or a JSON text. True if the FIFO has it, where it stays even while
-- the target does not run; false if it is queued because the FIFO is full. Failure 429 when the queue is full too.
function methods.send_message(target, message_type, payload)
  expect(target, "string", "send_message: target")
  return request("message", encode { target, message_type }, json_text(payload or json.object(), "send_message: payload"))
end
methods.send_plugin_message = methods.send_message -- the name in ReedCMS's documents

--- Sends a message and waits for its answer, up to `timeout` seconds (5 by default): nil for RESPONSE_ACK, the value of
-- RESPONSE_DATA, a failure for RESPONSE_ERROR, failure 504 without an answer. The message is sent again after 1, 2, 4 s,
-- and handled once.
function methods.request(target, message_type, payload, timeout)
  expect(target, "string", "request: target")
  local text = json_text(payload or json.object(), "request: payload")
  return request("message.request", encode { target, message_type, timeout or 5 }, text)
end

--- Serves calls until SHUTDOWN_GRACEFUL; then main.lua continues after run().
function methods.run() guard.park() end

reed.signals = { READY = 0x01, BUSY = 0x02, SLEEPING = 0x04, ERROR = 0x05,
  SHUTDOWN_GRACEFUL = 0x10, RELOAD_CONFIG = 0x12, HEALTH_CHECK = 0x13, WAKE_UP = 0x15 }
reed.messages = { KEYWORD_OPTIMIZED = 0x01, CONTENT_ANALYZED = 0x02,
  RESPONSE_ACK = 0xF0, RESPONSE_ERROR = 0xF1, RESPONSE_DATA = 0xF2 }

--- The plugin. `name` and `version` must be those of plugin.yaml; `socket_path` is ignored.
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
  for _, noun in ipairs { "snippet", "schema", "registry", "search", "fail" } do plugin[noun] = reed[noun] end
  for name, method in pairs(methods) do
    plugin[name] = function(first, ...)
      if first == plugin then return method(...) end
      return method(first, ...)
    end
  end
  return plugin
end

-- What the host calls -------------------------------------------------------------------------------------------------

local module = { reed = reed, state = state }

function module.set_settings(given)
  for key in next, settings do rawset(settings, key, nil) end
  for key, value in next, given do rawset(settings, key, value) end
end

--- The job of a call; returns status and body.
function module.answer(handler, payload)
  local body, status = handler(payload)
  if status == nil then status = 200
  elseif math_type(status) ~= "integer" or status < 200 or status > 599 then
    error("the handler's status must be an integer from 200 to 599", 0)
  end
  return status, type(body) == "string" and body or encode(body)
end

--- The job of a signal.
function module.notify(handler, signal) handler(signal[1], signal[2]) end

--- The job of on_sleep.
function module.sleep(handler) handler() end

--- The job of a message; returns the answer as JSON, or nothing.
function module.receive(handler, message)
  local value = handler(message[1], message[2], message[3])
  if value ~= nil then return encode(value) end
end

--- What the plugin registers (protocol.md#plugin-connections).
function module.manifest()
  local actions, messages = new_object(), new_array()
  for name, id in pairs(state.actions) do actions[name] = { command_id = id } end
  for message_type in pairs(state.messages) do messages[#messages + 1] = message_type end
  sort(messages)
  return { actions = actions, messages = messages }
end

return module
