local reed = require "reed"

local SNIPPETS = {}
for i = 1, 7 do
  SNIPPETS[i] = { id = "id-" .. i, type = "page", name = i == 1 and "about" or "", version = i, created_at = i, updated_at = i + 1,
    content = { title = "Page " .. i, tags = json.array(), nothing = json.null, more = json.object() } }
end

local files, asked, listed

--- A data folder in memory.
local function open(path, mode)
  local opened = { close = function() return true end, flush = function() return true end }
  files[path] = ""
  function opened.write(self, text) files[path] = files[path] .. text; return self end
  return setmetatable(opened, { __close = function() end })
end

before_each(function()
  files, asked, listed = {}, {}, 0
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
  reed.registry.list = function() return { page = { schema = json.object() }, form = { schema = json.object() } } end
  reed.snippet.list = function(options)
    local page = json.array()
    for i = listed + 1, math.min(listed + options.limit, #SNIPPETS) do page[#page + 1] = SNIPPETS[i] end
    assert.equal(options.after, listed == 0 and "" or "id-" .. listed)
    asked[#asked + 1] = #page
    listed = listed + #page
    local done = listed == #SNIPPETS
    local cursor = done and "" or "id-" .. listed
    if done then listed = 0 end
    return page, cursor
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
  it("writes types, snippets by the page, and bonds between them", function()
    local answer = call("snapshot", {})
    assert.same({ answer.types, answer.snippets, answer.bonds }, { 2, 7, 1 })
    assert.same(asked, { 3, 3, 1, 3, 3, 1 })
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

  it("keeps the newest", function()
    reed.settings.keep = 2
    files["notes.txt"] = "mine"
    local first, second, third = call("snapshot", {}).file, call("snapshot", {}).file, call("snapshot", {})
    assert.is_true(first < second and second < third.file)
    assert.same(third.removed, { first })
    assert.same(call("list", {}).snapshots, { third.file, second })
    assert.equal(files["notes.txt"], "mine")
  end)

  it("leaves no file under a snapshot's name when it fails", function()
    reed.snippet.list = function() error("the core is gone", 0) end
    assert.fails(function() call("snapshot", {}) end, "the core is gone")
    assert.same(call("list", {}).snapshots, json.array())
  end)
end)
