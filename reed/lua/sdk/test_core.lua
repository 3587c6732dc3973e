--[[ `core` and `call` for a plugin's own tests (lua-api.md#tests): the test plays the core and the other plugins, and sees
what the plugin sent to them. Content and lists are kept by reed/fake_core, behind the services "test.…". ]]
local guard, json, sdk = ...

local ask, blame = guard.ask, guard.blame
local error, format, ipairs, next, pairs, pcall = error, string.format, ipairs, next, pairs, pcall
local setmetatable, sort, concat, tostring, type = setmetatable, table.sort, table.concat, tostring, type
local decode, encode, date = json.decode, json.encode, os.date
local state, reed = sdk.state, sdk.reed

local function service(operation, ...)
  local ok, text = ask("test." .. operation, ...)
  if not ok then blame(decode(text).message) end
  return text
end

local function json_text(value)
  if type(value) == "string" then return value end
  return encode(value)
end

--- The action that plugin.yaml names below `kind` ("events", "filters", "schedules").
local function action_of(kind, name)
  local known = state.spec[kind] or {}
  if known[name] then return known[name] end
  local names = {}
  for each in pairs(known) do names[#names + 1] = each end
  sort(names)
  blame(format("plugin.yaml has no %s '%s'; it has: %s", kind, tostring(name), #names > 0 and concat(names, ", ") or "none"))
end

-- What the core and other plugins send

--- As the core does; returns the decoded answer and its status.
local function call(action, input)
  local id = state.actions[action]
  if not id then blame(format("the plugin has no action '%s'", tostring(action))) end
  local status, body = sdk.answer(state.handlers[id], json_text(input))
  local ok, value = pcall(decode, body)
  if not ok then value = body end
  return value, status
end
guard.globals.call = call

local core = {}

--- Returns the answer, nil for an ACK.
function core.message(source, message_type, payload)
  local handler = state.messages[message_type]
  if not handler then
    reed.fail(404, format("%s has no handler for messages of type 0x%02X", state.spec.name, message_type))
  end
  local answer = sdk.receive(handler, { json_text(payload == nil and json.object() or payload), source, message_type })
  return answer and decode(answer)
end

--- `data`: text, or a table; with RELOAD_CONFIG it replaces the settings.
function core.signal(signal_type, data)
  local text = data == nil and "" or json_text(data)
  if signal_type == reed.signals.RELOAD_CONFIG and text ~= "" then sdk.set_settings(decode(text)) end
  if state.on_signal then sdk.notify(state.on_signal, { signal_type, text }) end
end

function core.start()
  if state.on_start then sdk.run(state.on_start) end
end

function core.sleep()
  if state.on_sleep then sdk.run(state.on_sleep) end
end

function core.wake() core.signal(reed.signals.WAKE_UP) end

--- `about`: the name or id of a snippet, or the fields of the event.
function core.event(name, about, fields)
  local action = action_of("events", name)
  if type(about) == "table" then about, fields = "", about end
  return call(action, service("event", encode { name, about or "" }, encode(fields or json.object())))
end

--- Returns the content that the core would write, or nil and the reasons of a refusal.
function core.filter(name, write)
  local action = action_of("filters", name)
  if type(write) ~= "table" or type(write.content) ~= "table" then
    blame("core.filter: expected a table with content, such as { type = \"page\", content = { title = \"Hello\" } }")
  end
  local answer, status = call(action, {
    event = name, type = write.type or "", name = write.name or "", id = write.id or json.null, version = write.version,
    content = write.content,
  })
  if status ~= 200 then blame(format("the filter answered %d; a filter answers 200", status)) end
  if answer == json.null then return write.content end
  if type(answer) ~= "table" then blame("the filter answered a " .. type(answer) .. ", expected an object") end
  for key in next, answer do
    if key ~= "content" and key ~= "refuse" then
      blame(format("the filter answered an unknown key '%s'; a filter answers content or refuse", tostring(key)))
    end
  end
  if type(answer.refuse) == "table" and #answer.refuse > 0 then return nil, answer.refuse end
  return answer.content or write.content
end

--- `due`: a time with offset, now by default.
function core.schedule(name, due)
  return call(action_of("schedules", name), { schedule = name, due = due or date("!%Y-%m-%dT%H:%M:%S+00:00") })
end

-- What they have and answer

function core.add(snippet_type, name, content)
  return decode(service("add", encode { snippet_type, name or "" }, json_text(content)))
end

function core.update(ref, patch) service("update", encode { ref }, json_text(patch)) end

function core.delete(ref) service("delete", encode { ref }) end

function core.define(type_name, definition) service("define", encode { type_name }, json_text(definition)) end

--- nil if there is none
function core.get(ref)
  local text = service("get", encode { ref })
  return text and decode(text)
end

function core.answer(target, message_type, value)
  service("answer", encode { target, message_type }, encode(value == nil and json.null or value))
end

function core.answer_error(target, message_type, status, message)
  service("answer_error", encode { target, message_type, status, message })
end

function core.fail(command, status, message) service("fail", encode { command, status, message or "failed" }) end

-- What the plugin sent

local sent = {}
for _, name in ipairs { "messages", "signals", "writes", "log" } do sent[name] = true end

guard.globals.core = setmetatable(core, {
  __index = function(_, name)
    if sent[name] then return decode(service("sent", name)) end
    error(format("core has no '%s'; see lua-api.md#tests", tostring(name)), 2)
  end,
})
