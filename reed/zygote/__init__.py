"""ZYGOTE: the process that every plugin's process is forked from, and then confined (process-creation.md).

core ── launcher ── client (the core's side) ══ process ── fork ── spawn ─┬─ Lua: reed.lua.host
                                 request between them                     └─ native: executed

clone     a fork whose child is the core's, and what makes an exec short
cow_heap  what keeps a fork small: pages stay shared until they are written to
prefault  what makes a start short; dry_run: the start that it learns from
"""
