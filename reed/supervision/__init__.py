"""LAYER 1: which plugins there are, what they may do, and their processes (ReedCMS-10, Plugin Registry Layer).

what is said of plugins                              how they live
registry_csv     plugin-registry.csv                 lifecycle       phases, triggers, and the one table between them
registry_reload  reading it again, in slices         supervisor      all plugins: start, stop, reload
row_changes      rows that come, change and go       reload_report   what one reload changed
site_check       do rows and manifests fit
manifest         plugin.yaml                         plugin          one plugin: specification, phase, processes
discovery        where a plugin and its code are     replacement     a process beside the active one, to take over
launch_spec      all of it joined                    timers          deadlines, health checks, backoff
permissions      permission <-> command              waiters         callers that wait for a start, a stop, a reload
groups           people, by Unix user and group      callbacks       what the core is told
status           PLUGIN_HEALTH, and what grants each permission

their processes
plugin_process   one process, launch to exit         pidfile         which process is a plugin's
watched_process  one pid: Unix signals, exit         adoption        of processes that an earlier core launched
output           what it writes, line by line        orphans         what plugins forked and left behind
error_lines      what of it says what went wrong

It knows no sockets and no calls: the core is told of changes through `callbacks.Callbacks`.
"""
