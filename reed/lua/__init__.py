"""LUA: the process of a Lua plugin, and the SDK in Lua (lua-api.md).

    reed.zygote ── fork ── host: one plugin
                             ├── sandbox   lupa, and nothing else of it
                             ├── core_session     registering, signals, next core
                             ├── core_connection  the connection to the core
                             ├── services         what Lua may ask Python for
                             ├── files            its two folders
                             ├── poller           what it waits for
                             └── messaging        messages; fifo, message_buffer, rubbish
    launch_spec what it is told         dispatcher the plugin's own handlers, under their guards    log  its log
    warmup      a small plugin's life, played before the fork
    sdk/     guard, json, plugin, reed, files, testing: the same names as the files, in Lua
    testing  runs a plugin's own tests (tests/test_*.lua) in the same sandbox

Nothing but strings, numbers and booleans crosses between Lua and Python (sandbox.md#lua).
"""
