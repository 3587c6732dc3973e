"""A request of the core to the zygote, for a plugin's process or a worker's.

Marshalled, because both ends run the same Python and reading it allocates only the values themselves.
"""

from __future__ import annotations

import marshal
from typing import NamedTuple

from reed.plugin_host.launch_spec import HostedSpec
from reed.sandbox.rules import Rules

MAX_REQUEST = 131072  # bytes
DIE_WITH_CORE = "--die-with-core"  # an argument of the zygote
RUNNING = b"\n\n"  # ends the report of a process that executes no program
RUN_IN_FORK, EXECUTE, WORK = b"F", b"N", b"W"  # its first byte


class Program(NamedTuple):
    argv: list[str]
    folder: str
    environment: dict[str, str]


class RuleFlags(NamedTuple):
    """The Rules without paths and ports, which are in the ruleset."""

    executes: bool
    network: bool
    own_proc: bool
    mode: str  # auto or off; the core has checked strict
    memory: int | None  # None for one that runs in the fork, whose limit is in the HostedSpec


class SpawnRequest(NamedTuple):
    """`ruleset`: the descriptor of a Landlock ruleset; -1: none."""

    program: HostedSpec | Program
    rules: Rules
    ruleset: int = -1

    def pack(self) -> bytes:
        rules = self.rules
        mode = "off" if rules.mode == "off" else "auto"
        kind = EXECUTE if rules.executes else RUN_IN_FORK
        flags = RuleFlags(rules.executes, bool(rules.connect_tcp), rules.own_proc, mode, rules.memory)
        return kind + marshal.dumps(((*self.program,), (*flags,)))


class WorkerRequest(NamedTuple):
    """A worker serves the socket that is sent as its output."""

    memory: int  # bytes
    handlers: dict[str, str]  # "module:function" by kind of job
    installed: tuple[int, int]  # the mark of the core's own version
    ruleset: int = -1  # none: a worker runs the core's code

    def pack(self) -> bytes:
        return WORK + marshal.dumps((*self,))
