-- The plugin that the zygote warms up with (reed/lua/warmup.py).
local reed = require "reed"
local plugin = reed.create_plugin { name = "warmup", version = "0.0.0" }
plugin.action("try", function(payload)
  plugin.send_plugin_message("other", 1, { a = payload })
  return json.decode(payload)
end)
plugin.register_message_handler(1, function(payload) return json.decode(payload) end)
plugin.run()
