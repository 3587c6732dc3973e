"""WORKERS: processes that do what would keep the core's loop too long (workers.md).

    loop ── submit(kind, arguments) ── pool ── socketpair ── process: one job after the other ── handler
                                         │                      nice 10, RLIMIT_DATA, no garbage collection
                                         └ deadline: SIGKILL, an error for the caller, another process

A worker is forked from the zygote when there is a job for it, and ends after a minute without one. It keeps nothing
that cannot be lost: killing it at any moment is safe.
"""
