"""ZYGOTE: the process from which every plugin's process is forked, and then confined (process-creation.md).

core ── launcher ── client ══ request ══ process ── fork ── spawn ─┬─ runs Lua: reed.lua.host
         the core's side  │   the zygote's side                    └─ executes a program

clone     fork by clone(2); a faster exec
cow_heap  keeps pages shared with the zygote
prefault  copies the pages of a start beforehand
"""
