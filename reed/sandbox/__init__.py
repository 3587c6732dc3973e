"""SANDBOX: the confinement of a plugin's process, permanent and before any of its code runs (sandbox.md).

    rules_for ── Rules ── Sandbox.prepare ── Confinement.apply, in the plugin's own process

    mark         identifies a plugin's process and all its descendants
    limits       rlimits, descriptors, no_new_privs, capabilities
    landlock     files, FIFOs, TCP ports, Unix signals
    filter       system calls (seccomp; `denied` has the list, with reasons)
    own_socket   the one address that a Lua plugin may connect to
    probe        which layers this kernel has

Native plugins: after the fork, before the exec. Lua: after the fork, before the plugin's code is loaded.
"""
