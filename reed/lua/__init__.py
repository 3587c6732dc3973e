"""LUA: the process of a Lua plugin, and the SDK in Lua (lua-api.md).

    reed.zygote ── fork ── host: one plugin
                             ├── sandbox   lupa, and nothing else of it
                             ├── contact   registering, signals, next core
                             ├── link      the connection to the core
                             ├── services  what Lua may ask Python for
                             ├── files     its two folders
                             ├── turns     what it waits for
                             └── mailbox   messages; fifo, message_buffer
    launch      what it is told         handlers   the plugin's own, under their guards    words   its log
    warmup      a small plugin's life, played before the fork
    sdk/     guard, json, plugin, reed, files, testing: the same names as the files, in Lua
    testing  runs a plugin's own tests (tests/test_*.lua) in the same sandbox

Nothing but strings, numbers and booleans crosses between Lua and Python (sandbox.md#lua).
"""
