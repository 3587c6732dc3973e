"""SANDBOX: what a plugin's process gives up, for good, before any of its code runs (sandbox.md).

    rules_for(plugin, permissions) ── Rules ── Sandbox.prepare ── Prepared.confine, in the plugin's own process

    mark         by which a plugin's process is known, and all that it forks
    limits       rlimits, descriptors, no_new_privs, capabilities
    landlock     which files, FIFOs and TCP ports; nothing outside is signalled
    filter       which system calls (seccomp; `denied` is the list, with its reasons)
    own_socket   the one address that a Lua plugin may connect to
    probe        which of these this kernel has

Native: after the fork, before the exec. Lua: after the fork, before the plugin's code is loaded. What is not held:
see `rules`.
"""
