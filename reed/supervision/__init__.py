"""LAYER 1: which plugins there are, what they may do, and their processes (the source, Plugin Registry Layer).

what is said of plugins                            how they live
rows         plugin-registry.csv                   lifecycle   states, events, and the one table between them
reloading    reading it again, in slices           supervisor  all plugins: start, stop, restart, reload
manifest     plugin.yaml                           plugin      one plugin: its row, its state, its process
folders      where a plugin and its code are       planned     what it was launched as, and what the files say now
specs        all of it joined; digests: short      renewal     a second process beside the first, to take over
permissions  permission <-> command                restarts    after a crash: when, and how often
groups       people, by Unix user and group        health      HEALTH_CHECK; deadlines: what it has time for
grounds      why a plugin may what it may          waiting     who is told of its start or end
figures      what PLUGIN_HEALTH tells              hooks       what the core is told

their processes
run          one process, launch to end            processes   launching, pid files
child        by its pidfd: watched, ended          output      what it writes, line by line
leftovers    of the core before this one           orphans     what plugins forked and left behind

It knows no sockets and no calls: the core is told of changes through `hooks.Hooks`.
"""
