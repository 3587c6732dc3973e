"""LAYER 1: the registry of plugins, their permissions, and their processes (ReedCMS-10, Plugin Registry Layer).

configuration   registry_csv, manifest (plugin.yaml), discovery of folders, launch_spec, permissions
life cycle      lifecycle (the table), supervisor, plugin, replacement, row_changes, reload_report, timers
reports         status, explain
processes       plugin_process, watched_process, output, adoption (pid files), orphans
installation    changes a plugin's folder and row (registry_edit) together
callbacks       the interface to the core, which has the sockets and calls
"""
