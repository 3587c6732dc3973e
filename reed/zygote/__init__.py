"""ZYGOTE: the process from which processes of plugins and workers are forked (process-creation.md).

core ── launcher ── client ══ request ══ process ── fork ── spawn ─┬─ runs Lua: reed.lua.host
         the core's side  │   the zygote's side                    ├─ executes a program
                                                                   └─ runs the core's jobs: reed.workers

clone     fork by clone(2); a faster exec
cow_heap  keeps pages shared with the zygote
prefault  copies the pages of a start beforehand
"""
