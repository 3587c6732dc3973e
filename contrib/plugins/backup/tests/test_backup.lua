local reed = require "reed"

local SNIPPETS = {}
for i = 1, 7 do
  SNIPPETS[i] = { kind = "snippet", id = "id-" .. i, type = "page", name = i == 1 and "about" or "", version = i, created_at = i, updated_at = i + 1,
    content = { title = "Page " .. i, tags = json.array(), nothing = json.null, more = json.object() } }
end

local files, asked, listed, too_long

--- A data folder in memory.
local function open(path, mode)
  local opened = { close = function() return true end, flush = function() return true end }
  files[path] = ""
  function opened.write(self, text) files[path] = files[path] .. text; return self end
  return setmetatable(opened, { __close = function() end })
end

before_each(function()
  files, asked, listed, too_long = {}, {}, 0, nil
  io = {
    open = open,
    list = function()
      local names = {}
      for name in pairs(files) do names[#names + 1] = name end
      return names
    end,
    remove = function(path) files[path] = nil; return true end,
    rename = function(from, to) files[to], files[from] = files[from], nil; return true end,
  }
  reed.settings.page, reed.settings.keep, reed.settings.after = 3, nil, nil
  reed.registry.lines = function()
    return '{"kind":"type","name":"form","definition":{}}\n{"kind":"type","name":"page","definition":{}}\n', 2
  end
  reed.snippet.lines = function(options)
    local text, ids = {}, json.array()
    for i = listed + 1, math.min(listed + options.limit, #SNIPPETS) do
      ids[#ids + 1] = SNIPPETS[i].id
      text[#text + 1] = i ~= too_long and json.encode(SNIPPETS[i]) .. "\n" or nil
    end
    assert.equal(options.after, listed == 0 and "" or "id-" .. listed)
    asked[#asked + 1] = #ids
    local skipped = json.array()
    if too_long and too_long > listed and too_long <= listed + #ids then
      skipped[1] = { id = SNIPPETS[too_long].id, name = "", bytes = 99 }
    end
    listed = listed + #ids
    local done = listed == #SNIPPETS
    local cursor = done and "" or "id-" .. listed
    if done then listed = 0 end
    return options.only_ids and "" or table.concat(text), ids, cursor, options.only_ids and {} or skipped
  end
  reed.schema.tree = function(id)
    if id == "id-2" then reed.fail(404, "deleted meanwhile") end
    local children = json.array()
    if id == "id-1" then
      children[1] = { id = "id-3", weight = 2, path = "hero" }
      children[2] = { id = "id-new", weight = 3, path = "" }
    end
    return { id = id, children = children }
  end
end)

describe("snapshot", function()
  it("writes types, snippets and bonds", function()
    local answer = call("snapshot", {})
    assert.same({ answer.types, answer.snippets, answer.bonds }, { 2, 7, 1 })
    assert.same(asked, { 3, 3, 1, 7 })
    assert.same(answer.skipped, json.array())
    local text = files[answer.file]
    assert.equal(#text, answer.bytes)
    local kinds = {}
    for line in text:gmatch("[^\n]+") do kinds[#kinds + 1] = json.decode(line) end
    assert.equal(#kinds, 10)
    assert.equal(kinds[1].name, "form")
    assert.equal(kinds[3].name, "about")
    assert.same(kinds[10], { kind = "bond", parent = "id-1", child = "id-3", weight = 2, path = "hero" })
    assert.contains(text, '"tags":[]')
    assert.contains(text, '"more":{}')
    assert.contains(text, '"nothing":null')
  end)

  it("skips and names snippets that are too long, and their bonds", function()
    too_long = 3
    local answer = call("snapshot", {})
    assert.same({ answer.types, answer.snippets, answer.bonds }, { 2, 6, 0 })
    assert.same(answer.skipped, { { id = "id-3", name = "", bytes = 99 } })
  end)

  it("keeps the newest snapshots", function()
    reed.settings.keep = 2
    files["notes.txt"] = "mine"
    local first, second, third = call("snapshot", {}).file, call("snapshot", {}).file, call("snapshot", {})
    assert.is_true(first < second and second < third.file)
    assert.same(third.removed, { first })
    assert.same(call("list", {}).snapshots, { third.file, second })
    assert.equal(files["notes.txt"], "mine")
  end)

  it("leaves no snapshot behind when it fails", function()
    reed.snippet.lines = function() error("the core is gone", 0) end
    assert.fails(function() call("snapshot", {}) end, "the core is gone")
    assert.same(call("list", {}).snapshots, json.array())
  end)
end)
