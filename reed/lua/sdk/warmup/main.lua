-- The plugin that the zygote runs before it forks (reed/lua/warmup.py).
local reed = require "reed"
local plugin = reed.create_plugin { name = "warmup", version = "0.0.0" }
plugin.action("try", function(payload)
  plugin.send_message("other", 1, { a = payload })
  return json.decode(payload)
end)
plugin.on_message(1, function(payload) return json.decode(payload) end)
plugin.run()
