-- The plugin that the nursery rehearses with (reed/lua/rehearsal.py).
local reed = require "reed"
local plugin = reed.create_plugin { name = "rehearsal", version = "0.0.0" }
plugin.action("try", function(payload)
  plugin.send_plugin_message("other", 1, { a = payload })
  return json.decode(payload)
end)
plugin.register_message_handler(1, function(payload) return json.decode(payload) end)
plugin.run()
