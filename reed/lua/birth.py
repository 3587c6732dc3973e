"""From a spare process to a plugin's: what is done once its request was read, in this order (SECURITY.md, Processes).

    receive      what is to run, its rules, and descriptors: the report, the output, the ruleset
    take_place   its pid to the report · a session, streams and name of its own · all layers of reed.sandbox
                 · Lua: the report is closed, the host runs it      · native: executed, which closes the report

A reason in the report after the pid says what failed; the process ends then.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
from typing import NoReturn

from reed.lua.host import Host
from reed.lua.launch import MAX_REQUEST, LaunchSpec, Program
from reed.lua.sandbox import Sandbox as LuaSandbox
from reed.sandbox.confine import Sandbox
from reed.sandbox.kernel import SandboxError
from reed.sandbox.own_socket import OwnSocket
from reed.sandbox.rules import Rules, rules_for

_ROOM = 64 * 1024 * 1024  # bytes for Python's side: a payload of 16 MiB, its copies and an answer
_MOST = 3  # descriptors of a request
_CONTROL = socket.CMSG_SPACE(4 * _MOST)


class Birth:
    """Made in the nursery, so that the plugin's process finds the kernel, its filters and its own size ready."""

    _what: LaunchSpec | Program
    _rules: Rules
    _descriptors: list[int]

    def __init__(self) -> None:
        self._sandbox = Sandbox()
        self._null = os.open(os.devnull, os.O_RDONLY)
        for kind, ports in (("lua", ()), ("native", ()), ("native", (1,))):  # makes the programs of their filters
            rules = rules_for(kind, "/", None, "/", "none", (), ports, own_socket="/")
            self._sandbox.prepare(rules, ruleset=-1).close()
        with open("/proc/self/statm", "rb") as statm:
            self._size = int(statm.read().split()[5]) * resource.getpagesize()

    def receive(self, core: socket.socket) -> bool:
        """The request of the core; False when there is none, and no core."""
        message, control, _, _ = core.recvmsg(MAX_REQUEST, _CONTROL)
        if not message:
            return False
        what, rules = json.loads(message)
        self._rules = Rules(*rules)
        self._what = LaunchSpec(*what) if self._rules.is_lua else Program(*what)
        self._descriptors = [*struct.unpack(f"{len(control[0][2]) // 4}i", control[0][2])]
        return True

    def take_place(self, host: Host) -> NoReturn:
        """Becomes the plugin; `host` is the one for Lua 5.5."""
        what, (report, output, *ruleset) = self._what, self._descriptors
        os.write(report, b"%d\n" % os.getpid())
        os.setsid()
        os.dup2(self._null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            if isinstance(what, Program):
                self._execute(what, *ruleset)
            name_process(f"reed:{what.name}")
            if what.lua != "5.5":
                host = Host(LuaSandbox(what.lua))
            door = self._confine(what, report, *ruleset)
        except SandboxError as error:
            os.write(report, str(error).encode())
            os._exit(1)
        except OSError as error:
            os.write(report, f"{what.entry} cannot be run: {error.strerror}".encode())
            os._exit(1)
        os.close(report)
        host.run(what, door.connect)

    def _confine(self, spec: LaunchSpec, report: int, ruleset: int = -1) -> OwnSocket:
        """This process, as the Lua plugin's; gives the one socket that it may connect to from now on."""
        rules = self._rules._replace(memory=self._size + spec.memory + _ROOM)
        prepared = self._sandbox.prepare(rules, keep=(report,), ruleset=ruleset)
        prepared.confine()
        assert prepared.own_socket is not None
        return prepared.own_socket

    def _execute(self, program: Program, ruleset: int = -1) -> NoReturn:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these
            signal.signal(number, signal.SIG_DFL)
        os.chdir(program.folder)
        self._sandbox.prepare(self._rules, ruleset=ruleset).confine()
        os.execve(program.entry, [program.entry], program.environment)


def name_process(name: str) -> None:
    """What ps and top show of this process: at most 15 bytes."""
    with open("/proc/self/comm", "wb", buffering=0) as comm:
        comm.write(name.encode()[:15])
