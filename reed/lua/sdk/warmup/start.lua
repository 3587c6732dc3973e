--[[ The plugin of the zygote's dry run (reed/zygote/dry_run.py): main.lua, and about as much further Lua as a plugin has,
in a module and compiled from text. ]]
local parts = require "parts"
local line = "function parts.part_%d(item, set) if item.size > set.%s then return { name = item.name, rest = set } end end\n"
local text = { "local parts = ...\n" }
for number = 1, 150 do text[#text + 1] = line:format(number, "limit_" .. number) end
assert(load(table.concat(text)))(parts)
require "main"
