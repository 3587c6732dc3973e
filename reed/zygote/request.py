"""What the core asks of the zygote: a plugin's process and how it is confined, or a worker's.

Request ── pack ──> bytes: its kind, the fields of the LuaLaunchSpec or Program, the Terms ──> spawn.py
WorkerRequest ────> bytes: its kind, its fields
"""

from __future__ import annotations

import marshal
from typing import NamedTuple

from reed.lua.launch_spec import LuaLaunchSpec
from reed.sandbox.rules import Rules

MAX_REQUEST = 131072  # bytes of one request
TO_RUN, TO_EXECUTE, TO_WORK = b"L", b"N", b"W"  # how one begins: for a Lua plugin, a native one, a worker


class Program(NamedTuple):
    """A native plugin: what is executed, where, and its whole environment."""

    argv: list[str]
    folder: str
    environment: dict[str, str]


class Terms(NamedTuple):
    """Which confinement a process gets (reed.sandbox.rules); its paths and ports are in the ruleset."""

    executes: bool
    network: bool
    mode: str  # auto, off
    memory: int | None  # bytes; for a Program


class Request(NamedTuple):
    """What is to run, and what it gives up before: `ruleset` is the descriptor of its paths and ports, -1: none."""

    what: LuaLaunchSpec | Program
    rules: Rules
    ruleset: int = -1

    def pack(self) -> bytes:
        """The rest of the rules is in the ruleset, or has been checked (strict).

        Marshalled: both ends run the same Python, and reading it makes no more objects than it holds.
        """
        rules = self.rules
        mode = "off" if rules.mode == "off" else "auto"
        kind = TO_EXECUTE if rules.executes else TO_RUN
        return kind + marshal.dumps(((*self.what,), (rules.executes, bool(rules.connect_tcp), mode, rules.memory)))


class WorkerRequest(NamedTuple):
    """A worker of the core (reed.workers), which serves the socket that comes with the request."""

    memory: int  # bytes of data that it may have
    handlers: dict[str, str]  # "module:function" by kind of job
    ruleset: int = -1  # none: it is no plugin

    def pack(self) -> bytes:
        return TO_WORK + marshal.dumps((*self,))
