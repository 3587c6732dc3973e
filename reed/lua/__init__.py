"""Lua plugins: Lua in a sandbox, and the SDK in Lua (lua-api.md). reed.plugin_host is the process around it.

sandbox   lupa; no other module knows it
warmup    runs a small plugin in the zygote
testing   runs a plugin's own tests
sdk/      the Lua side
"""
