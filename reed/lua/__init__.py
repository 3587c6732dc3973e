"""A Lua plugin's process, and the SDK in Lua (lua-api.md).

    reed.zygote ── fork ── host ─┬─ sandbox          lupa; no other module knows it
                                 ├─ core_session     registration, signals, reconnecting; core_connection
                                 ├─ services, files  what the SDK offers
                                 ├─ poller           poll(2) over the core and the FIFOs
                                 ├─ messaging        messages of other plugins; fifo, message_buffer
                                 └─ dispatcher       runs the plugin's handlers

`warmup` runs in the zygote; `testing` runs a plugin's own tests; sdk/ is the Lua side.
"""
