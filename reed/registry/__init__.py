"""LAYER 1: which plugins there are, what they may do, and their processes (the source, Plugin Registry Layer).

rows         plugin-registry.csv               lifecycle    states, events, and the one table between them
manifest     plugin.yaml                       supervisor   carries the table out: start, stop, restart, reload
folders      where a plugin and its code are   plugin       one plugin: its row, state, process, last lines
permissions  permission <-> command            processes    launching; child: watching, ending; pid_files
groups       people, by Unix user and group    output       what plugins write, line by line

It knows no sockets and no calls: the core is told of changes through `supervisor.Hooks`.
"""
