--[[ The lines of an export, as `reed export` writes them and `reed import` reads them. One JSON object each.

    {"kind":"type","name":"page","definition":{…}}
    {"kind":"snippet","id":"0190…","type":"page","name":"blog/intro","version":3,"created_at":…,"updated_at":…,"content":{…}}
    {"kind":"bond","parent":"0190…","child":"0190…","weight":0,"path":""}
]]
local lines = {}

function lines.of_type(name, definition)
  return json.encode { kind = "type", name = name, definition = definition } .. "\n"
end

function lines.of_snippet(snippet)
  return json.encode {
    kind = "snippet", id = snippet.id, type = snippet.type, name = snippet.name, version = snippet.version,
    created_at = snippet.created_at, updated_at = snippet.updated_at, content = snippet.content,
  } .. "\n"
end

function lines.of_bond(parent, child)
  return json.encode { kind = "bond", parent = parent, child = child.id, weight = child.weight, path = child.path } .. "\n"
end

return lines
