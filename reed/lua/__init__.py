"""A Lua plugin's process, and the SDK in Lua (lua-api.md).

    reed.zygote ── fork ── host: one plugin
                             ├── sandbox          lupa; no other module knows it
                             ├── core_session     registration, signals, reconnecting
                             ├── core_connection  frames to and from the core
                             ├── services         the core's commands, for the SDK
                             ├── files            the plugin's folder and its data folder
                             ├── poller           poll(2) over the core and the FIFOs
                             ├── messaging        messages of other plugins; fifo, message_buffer
                             └── dispatcher       runs the plugin's handlers, within their limits
    launch_spec  what the core tells a new process
    warmup       a small plugin that the zygote runs before it forks
    testing      runs a plugin's own tests (tests/test_*.lua)
    sdk/         guard, limits, numbers, json, reed, files, plugin, testing: the Lua side

Only strings, numbers and booleans cross between Lua and Python (sandbox.md#lua).
"""
