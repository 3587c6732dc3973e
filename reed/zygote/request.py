"""A request of the core to the zygote: a plugin's process and its confinement, or a worker's process.

SpawnRequest ── pack ──> kind, fields of the LuaLaunchSpec or Program, RuleFlags ── SOCK_SEQPACKET ──> spawn.py
WorkerRequest ── pack ──> kind, fields
"""

from __future__ import annotations

import marshal
from typing import NamedTuple

from reed.lua.launch_spec import LuaLaunchSpec
from reed.sandbox.rules import Rules

MAX_REQUEST = 131072  # bytes of one request
RUN_LUA, EXECUTE, WORK = b"L", b"N", b"W"  # the kind, its first byte


class Program(NamedTuple):
    """What is executed, in which folder, with which environment."""

    argv: list[str]
    folder: str
    environment: dict[str, str]


class RuleFlags(NamedTuple):
    """The Rules (reed.sandbox.rules) without paths and ports, which are in the ruleset."""

    executes: bool
    network: bool
    mode: str  # auto or off; the core has checked strict
    memory: int | None  # bytes; None for Lua, whose limit is in the LuaLaunchSpec


class SpawnRequest(NamedTuple):
    """`ruleset`: the descriptor of a Landlock ruleset with its paths and ports; -1: none."""

    program: LuaLaunchSpec | Program
    rules: Rules
    ruleset: int = -1

    def pack(self) -> bytes:
        """Marshalled, because both ends run the same Python and reading it allocates only the values themselves."""
        rules = self.rules
        mode = "off" if rules.mode == "off" else "auto"
        kind = EXECUTE if rules.executes else RUN_LUA
        return kind + marshal.dumps(((*self.program,), (rules.executes, bool(rules.connect_tcp), mode, rules.memory)))


class WorkerRequest(NamedTuple):
    """A worker of the core (reed.workers). It serves the socket that is sent as its output."""

    memory: int  # bytes of data that it may have
    handlers: dict[str, str]  # "module:function" by kind of job
    ruleset: int = -1  # none: a worker runs the core's code

    def pack(self) -> bytes:
        return WORK + marshal.dumps((*self,))
