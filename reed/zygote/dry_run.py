"""A start that is played once, so that its pages are known (prefault.py).

The request is there, the core has answered: all that a real start does not do itself is done before the fork.
"""

from __future__ import annotations

import os
import socket

from reed.lua.host import Host
from reed.lua.warmup import SimulatedCore
from reed.sandbox.rules import rules_for
from reed.zygote.request import Request
from reed.zygote.spawn import Spawn


class DryRun:
    """Made in the zygote; `start` runs in a fork, and uses the host up."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._core = SimulatedCore("start")
        self._asked, asking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        rules = rules_for("lua", "", None, "", "", (), (), own_socket="")
        ruleset = spawn.sandbox.ruleset(rules)
        null = os.open(os.devnull, os.O_RDWR)
        descriptors = [null, null, ruleset] if ruleset >= 0 else [null, null]
        with asking:
            socket.send_fds(asking, [Request(self._core.spec, rules, ruleset).pack()], descriptors)
        for descriptor in descriptors[1:]:
            os.close(descriptor)

    def start(self, host: Host) -> None:
        """From the request to READY, and confined."""
        self._spawn.receive(self._asked)
        self._core.start(host)
        self._spawn.confine(self._core.spec)

    def close(self) -> None:
        self._asked.close()
        self._core.close()
