"""LAYER 1: the registry of plugins, their permissions, and their processes (ReedCMS-10, Plugin Registry Layer).

configuration of plugins                              life cycle
registry_csv   plugin-registry.csv                    lifecycle       phases, triggers, and the table between them
manifest       plugin.yaml                            supervisor      all plugins: start, stop, reload
discovery      finds a plugin's folder and code       plugin          one plugin: specification, phase, processes
launch_spec    everything joined for a launch         replacement     a second process that takes over
permissions    permissions, Unix users and groups     row_changes     a reload of the registry
status         PLUGIN_HEALTH, and who grants what     reload_report   what one reload changed
                                                      timers          deadlines, health checks, backoff
                                                      callbacks       the interface to the core

processes
plugin_process    one process from launch to exit     pidfile     which process belongs to a plugin
watched_process   a pid: Unix signals and exit        adoption    processes that an earlier core launched
output            what it writes, line by line        orphans     what plugins forked and left

Supervision knows no sockets and no calls: it tells the core of changes through `callbacks.Callbacks`.
"""
