--[[ backup: snapshots of all content, in the plugin's data folder.

    snapshot   writes types, snippets and bonds to a file that is renamed once it is complete; snippets that were skipped
               are in the answer and in the log
    list       the snapshots, newest first, and the number of changes since the last one

A change is a message MSG_CONTENT_ANALYZED of analytics. After `after` changes a snapshot is taken.
]]
local reed = require "reed"

local plugin = reed.create_plugin { name = "backup", version = "1.0.0" }

local NAME = "^snapshot%-%d%d%d%d%d%d%d%d%-%d%d%d%d%d%d[%d_]*%.jsonl$"
local UNFINISHED = "unfinished.jsonl"
local DEFAULTS = { keep = 7, after = 0, page = 50 }
local changes, last = 0, json.null

--- A setting if it is an integer of at least `least`, else its default.
local function setting(key, least)
  local value = reed.settings[key]
  if math.type(value) == "integer" and value >= least then return value end
  return DEFAULTS[key]
end

--- The names of the snapshots, newest first.
local function snapshots()
  local found = json.array()
  for _, name in ipairs(assert(io.list())) do
    if name:find(NAME) then found[#found + 1] = name end
  end
  table.sort(found, function(a, b) return a > b end)
  return found
end

--- A name that sorts after that of the newest snapshot.
local function new_name(newest)
  local stem = os.date("!snapshot-%Y%m%d-%H%M%S")
  local name, number = stem .. ".jsonl", 0
  while newest and name <= newest do
    number = number + 1
    name = ("%s_%03d.jsonl"):format(stem, number)
    if number == 999 then reed.fail(409, "the newest snapshot, " .. newest .. ", is in the future; check the clock") end
  end
  return name
end

local function bond_line(parent, child)
  return json.encode { kind = "bond", parent = parent, child = child.id, weight = child.weight, path = child.path } .. "\n"
end

--- Writes types, then snippets, then the bonds between the snippets that were written (ids rise with time). Content is
-- written as stored, without decoding it. Returns the snippets that were skipped as too long for this plugin's memory.
local function write_all(write)
  local types, count = reed.registry.lines()
  write("types", types, count)
  local skipped, left_out, newest, after = json.array(), {}, "", ""
  repeat
    local text, ids, cursor, too_long = reed.snippet.lines { after = after, limit = setting("page", 1) }
    write("snippets", text, #ids - #too_long)
    for _, snippet in ipairs(too_long) do
      skipped[#skipped + 1], left_out[snippet.id] = snippet, true
      reed.log.warn("%s (%s) was skipped: %d bytes are too much for limits.memory", snippet.id, snippet.name,
        snippet.bytes)
    end
    newest, after = ids[#ids] or newest, cursor
  until after == ""
  repeat
    local _, ids, cursor = reed.snippet.lines { after = after, limit = 1000, only_ids = true }
    for _, id in ipairs(ids) do
      local ok, tree = pcall(reed.schema.tree, id, 1)
      if not ok and tree.status ~= 404 then error(tree, 0) end -- 404: deleted meanwhile
      for _, child in ipairs(ok and tree.children or {}) do
        if id <= newest and child.id <= newest and not left_out[id] and not left_out[child.id] then
          write("bonds", bond_line(id, child), 1)
        end
      end
    end
    after = cursor
  until after == ""
  return skipped
end

--- Removes the oldest snapshots beyond `keep`; returns their names.
local function prune()
  local removed, all = json.array(), snapshots()
  for i = setting("keep", 1) + 1, #all do
    assert(io.remove(all[i]))
    removed[#removed + 1] = all[i]
  end
  return removed
end

local function snapshot()
  local name = new_name(snapshots()[1])
  local file <close> = assert(io.open(UNFINISHED, "w"))
  local counts = { types = 0, snippets = 0, bonds = 0, bytes = 0 }
  counts.skipped = write_all(function(kind, text, count)
    assert(file:write(text))
    counts[kind], counts.bytes = counts[kind] + count, counts.bytes + #text
  end)
  assert(file:flush())
  assert(io.rename(UNFINISHED, name)) -- so a snapshot is complete or absent
  counts.file, counts.removed = name, prune()
  changes, last = 0, counts
  return counts
end

plugin.action("snapshot", snapshot)

plugin.action("list", function() return { snapshots = snapshots(), changes = changes, last = last } end)

plugin.on_message(reed.messages.CONTENT_ANALYZED, function()
  changes = changes + 1
  local after = setting("after", 0)
  if after > 0 and changes >= after then
    local counts = snapshot()
    reed.log.info("%s: %d snippets, after %d changes", counts.file, counts.snippets, after)
  end
end)

plugin.run()
