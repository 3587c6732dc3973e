"""Worker processes, for what would take the loop too long (workers.md).

    loop ── submit(kind, arguments) ── pool ── socketpair ── process: one job after the other ── handler
                                         │                      nice 10, RLIMIT_DATA, no garbage collection
                                         └ deadline: SIGKILL, an error for the caller, another process

A worker is forked from the zygote for its first job and exits after an idle minute. Killing one is always safe.
"""
