"""LUA: the nursery, the plugin process that is forked from it, and the SDK in Lua (DESIGN.md, Lua).

    core ── nursery (core's side) ══ nursery_process ── fork ── birth ── host: one plugin
                                                                         ├── sandbox   lupa, and nothing else of it
                                                                         ├── contact   registering, signals, next core
                                                                         ├── link      the connection to the core
                                                                         ├── services  what Lua may ask Python for
                                                                         ├── files     its two folders
                                                                         ├── turns     what it waits for
                                                                         └── mailbox   messages; fifo, message_buffer
    heap, rehearsal   what makes a fork small    handlers   the plugin's own, under their guards    words   its log
    sdk/     guard, json, plugin, reed, files, testing: the same names as the files, in Lua
    testing  runs a plugin's own tests (tests/test_*.lua) in the same sandbox

Nothing but strings, numbers and booleans crosses between Lua and Python (SECURITY.md, Lua inside lupa).
"""
