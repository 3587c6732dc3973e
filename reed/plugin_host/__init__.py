"""The process of a plugin that runs inside a fork of the zygote, whatever its language.

reed.zygote ── fork ── host ─┬─ runtime          what the host asks of a language: reed.lua, reed.python
                             ├─ core_session     registration, signals, reconnecting; core_connection
                             ├─ services, files  what the SDK offers
                             ├─ poller           poll(2) over the core and the FIFOs
                             ├─ messaging        messages of other plugins; fifo, message_buffer
                             └─ dispatcher       runs the plugin's handlers
"""
