--[[ Many reads and many writes (lua-api.md#many-writes).

    each     page ── its snippets ── the next page, when it is needed ── …
    batch    fn() ── each write is packed by the host, and gives an empty handle ── fn returns ── all are sent at once
                └─ fn raises: nothing is sent                        handles are filled, failed writes raise one failure ]]
local guard, json, requests = ...

local blame, concat, format, ipairs, next = guard.blame, table.concat, string.format, ipairs, next
local setmetatable, type = setmetatable, type
local encode, expect, json_text, request, request_text = json.encode, requests.expect, requests.json_text, requests.request,
  requests.request_text

local bulk = {}
local MAX_NAMED = 5 -- failed writes in the message of a batch
local OPTIONS = { type = "string", where = "table", limit = "number" }

local handles -- of the writes of the batch whose function runs, else nil

--- Called by guard.lua before each job: the job before may have ended within a batch.
function guard.begin_job() handles = nil end

--- For each function that writes: its result or, in a batch, a handle.
function bulk.write(operation, ...)
  if not handles then return request(operation, ...) end
  request_text("batch.add", operation, ...)
  local handle = {}
  handles[#handles + 1] = handle
  return handle
end

--- `answer`: {result} or a failure.
local function fill(handle, answer)
  if answer.message then
    handle.error = answer
    return
  end
  local result = answer[1]
  if type(result) == "table" then handle.result, handle.warning = result[1], result[2] -- of a restore
  else handle.result = result end
  if type(result) == "string" then handle.id = result end
end

local function raise_failed(failed, count)
  local lines = {}
  for i, each in ipairs(failed) do
    if i > MAX_NAMED then break end
    lines[i] = format("write %d (%s): %s", each.index, each.command, each.message)
  end
  if #failed > MAX_NAMED then lines[#lines + 1] = format("and %d more in the field `failed` of this failure", #failed - MAX_NAMED) end
  local message = format("%d of the %d writes of the batch failed, the others hold: %s", #failed, count, concat(lines, "; "))
  requests.raise { status = failed[1].status, code = failed[1].code, message = message, failed = failed }
end

local function send(queued)
  if #queued == 0 then return end
  local failed = {}
  for i, answer in ipairs(request "batch.send") do
    fill(queued[i], answer)
    if answer.message then
      answer.index = i
      failed[#failed + 1] = answer
    end
  end
  if #failed > 0 then raise_failed(failed, #queued) end
end

function bulk.batch(fn)
  if type(fn) ~= "function" then blame("reed.batch: expected a function, found a " .. type(fn)) end
  if handles then blame("reed.batch: a batch cannot contain another one") end
  request_text "batch.begin"
  local queued = {}
  handles = queued
  local over <close> = setmetatable({}, { __close = function() handles = nil end })
  local function sent(...)
    handles = nil
    send(queued)
    return ...
  end
  return sent(fn())
end

--- An iterator over all snippets of a type, or over those whose fields equal `where`.
function bulk.each(options)
  options = expect(options, "table", "snippet.each: options", true) or {}
  for name, value in next, options do
    if not OPTIONS[name] then blame(format("snippet.each: unknown option '%s'; options: type, where, limit", name)) end
    expect(value, OPTIONS[name], "snippet.each: " .. name)
  end
  local type_name, limit, where = options.type or "", options.limit or 100, options.where
  if where and type_name == "" then blame("snippet.each: `where` requires a `type`") end
  where = where and json_text(where, "snippet.each: where")
  local page, at, after = {}, 0, ""
  return function()
    while at == #page do
      if not after then return nil end
      page, at = {}, 0 -- the page before is freed first
      local answer
      if where then answer = request("snippet.find", encode { type_name, after, limit }, where)
      else answer = request("snippet.list", encode { type = type_name, after = after, limit = limit }) end
      page, after = answer.snippets, answer.cursor ~= "" and answer.cursor
    end
    at = at + 1
    local snippet = page[at]
    page[at] = false -- freed while the others of its page are handled
    return snippet
  end
end

return bulk
