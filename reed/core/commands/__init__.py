"""The handlers of the commands, one module per noun; `routes(…)` of each binds them to what they work on.

A handler unpacks the payload (Malformed is the call's 400), asks the store or the registry, and ends the call.
PLUGIN_SEND has a module of its own, `sending`.
"""
