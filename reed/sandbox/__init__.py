"""SANDBOX: the confinement of a plugin's process, permanent and before any of its code runs (sandbox.md).

    rules_for ── Rules ── Sandbox.prepare ── Confinement.apply, in the plugin's own process

Layers: mark, limits, landlock, own_socket, filter (seccomp; `denied` has the list). `probe` finds those of this kernel.
"""
