"""ZYGOTE: the process from which processes of plugins and workers are forked (process-creation.md).

launcher ── client ══ request ══ process ── fork ── spawn ─┬─ runs Lua: reed.plugin_host.host
                                                           ├─ executes a program
                                                           └─ runs the core's jobs: reed.workers
"""
