--[[ @name@: what it does, in one line.

    greet   {"name"}    {"greeting"}
    count   a snippet   {"words", "minutes"}
]]
local reed = require "reed"
local plugin = reed.create_plugin { name = "@name@" }

plugin.action("greet", function(_, input)
  if type(input) ~= "table" or type(input.name) ~= "string" then reed.fail(422, 'expected {"name": …}') end
  return { greeting = string.format("%s, %s!", reed.settings.greeting, input.name) }
end)

plugin.action("count", function(_, page)
  local body = page.content.body
  if type(body) ~= "string" then reed.fail(422, "this page has no body") end
  local words = select(2, body:gsub("%S+", ""))
  reed.log.info("%s has %d words", page.name, words)
  return { words = words, minutes = math.ceil(words / reed.settings.words_per_minute) }
end)

plugin.run()
