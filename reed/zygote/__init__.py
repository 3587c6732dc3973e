"""NURSERY: where every plugin's process comes from, of both types: forked, confined, then run (process-creation.md).

core ── launcher ── nursery (the core's side) ══ process ── fork ── birth ─┬─ Lua: reed.lua.host
                                request between them                       └─ native: executed

clone   a fork whose child is the core's, and what makes an exec short
heap    what makes a fork small
warming what makes a start short; trial: the start that it learns from
"""
