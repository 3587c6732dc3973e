"""From a spare process to a plugin's, in this order (process-creation.md#start-of-a-process).

    in the zygote   a confinement is prepared for each kind of plugin: what a fork finds ready, it need not make
    receive          what is to run, its terms, and three descriptors: the report, the output, the ruleset
    take_place       a session, streams and name of its own · all layers of reed.sandbox · its pid to the report
                     · Lua: the report is closed, the host runs it      · native: executed, which closes the report

A native plugin's memory before its exec is left to a process that lingers in it (clone.py).

A reason in the report after the pid says what failed; the process ends then. The pid comes late: the core is not woken
while this process has work to do.
"""

from __future__ import annotations

import marshal
import os
import resource
import signal
import socket
import struct
from typing import NoReturn

from reed.lua.host import Host
from reed.lua.launch_spec import LuaLaunchSpec
from reed.lua.sandbox import LuaSandbox
from reed.runtime_paths import MAX_SOCKET_PATH
from reed.sandbox.confine import Prepared, Sandbox
from reed.sandbox.kernel import SandboxError
from reed.sandbox.rules import rules_for
from reed.zygote.clone import AddressSpaceHolder
from reed.zygote.request import MAX_REQUEST, TO_EXECUTE, Program, Terms

_ROOM = 64 * 1024 * 1024  # bytes for Python's side: a payload of 16 MiB, its copies and an answer
_EXEC = 0.03  # seconds that an exec may take until its old memory goes as well
_CONTROL = socket.CMSG_SPACE(4 * 3)


class Spawn:
    """Made in the zygote."""

    _what: LuaLaunchSpec | Program
    _terms: Terms
    _output: int
    _told = False  # its pid

    def __init__(self) -> None:
        self.sandbox = Sandbox()
        self._linger = AddressSpaceHolder(_EXEC)
        self._request = bytearray(MAX_REQUEST)
        self._null = os.open(os.devnull, os.O_RDONLY)
        # Their descriptors in a plugin's process, known before there is one.
        self._report, self._ruleset, self._sockets = (os.dup(self._null) for _ in range(3))
        self._prepared = {
            (is_lua, network, mode): self._prepare(is_lua, network, mode)
            for is_lua, network in ((True, False), (False, False), (False, True))
            for mode in ("auto", "off")
        }
        with open("/proc/self/statm", "rb") as statm:
            self._size = int(statm.read().split()[5]) * resource.getpagesize()

    def _prepare(self, is_lua: bool, network: bool, mode: str) -> Prepared:
        """All but the plugin's memory and the path of its socket; the ruleset is not there yet."""
        kind, ports = "lua" if is_lua else "native", (1,) if network else ()
        rules = rules_for(kind, "", None, "", "", (), ports, own_socket="", mode=mode)
        return self.sandbox.prepare(rules, keep=(self._report, self._sockets), ruleset=self._ruleset)

    def receive(self, core: socket.socket) -> bool:
        """The request of the core; False when there is none, and no core."""
        if core.recv(1, socket.MSG_PEEK) == TO_EXECUTE:
            self._linger()  # before the report is open here, which tells of the exec by being closed
        size, control, _, _ = core.recvmsg_into([self._request], _CONTROL)
        if not size:
            return False
        what, terms = marshal.loads(memoryview(self._request)[1:size])
        self._terms = Terms(*terms)
        self._what = LuaLaunchSpec(*what) if self._terms.is_lua else Program(*what)
        report, self._output, *ruleset = struct.unpack(f"{len(control[0][2]) // 4}i", control[0][2])
        os.dup2(report, self._report, inheritable=False)
        if ruleset:
            os.dup2(ruleset[0], self._ruleset, inheritable=False)
        else:
            os.close(self._ruleset)
        return True

    def take_place(self, host: Host) -> NoReturn:
        """Becomes the plugin; `host` is the one for Lua 5.5."""
        what, terms = self._what, self._terms
        os.setsid()
        os.dup2(self._null, 0)
        os.dup2(self._output, 1)
        os.dup2(self._output, 2)
        prepared = self._prepared[terms.is_lua, terms.network, terms.mode]
        try:
            if isinstance(what, Program):
                self._execute(what, prepared)
            name_process(f"reed:{what.name}")
            if what.lua != "5.5":
                host = Host(LuaSandbox(what.lua))
            self.confine(what)
        except SandboxError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"{what.entry} cannot be run: {error.strerror}")
        self._tell_pid()
        os.close(self._report)
        assert prepared.own_socket is not None
        host.run(what, prepared.own_socket.connect)

    def confine(self, what: LuaLaunchSpec) -> None:
        """This process, as what was received last says. Raises SandboxError."""
        prepared = self._prepared[True, self._terms.network, self._terms.mode]
        assert prepared.own_socket is not None
        prepared.own_socket.lead_to(self._address(what.socket_path))
        prepared.confine(self._size + what.memory + _ROOM)

    def _address(self, path: str) -> str:
        """What the plugin connects to: a path too long for that is led through a descriptor that it keeps."""
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            os.close(self._sockets)
            return path
        folder, name = os.path.split(path)
        os.dup2(os.open(folder, os.O_PATH | os.O_DIRECTORY), self._sockets, inheritable=False)
        return f"/proc/self/fd/{self._sockets}/{name}"

    def _execute(self, program: Program, prepared: Prepared) -> NoReturn:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these
            signal.signal(number, signal.SIG_DFL)
        os.chdir(program.folder)
        prepared.confine(self._terms.memory)
        self._tell_pid()
        os.execve(program.entry, [program.entry], program.environment)

    def _tell_pid(self) -> None:
        try:
            os.write(self._report, b"%d\n" % os.getpid())
        except BrokenPipeError:
            os._exit(0)  # the core that asked is dead
        self._told = True

    def _fail(self, reason: str) -> NoReturn:
        if not self._told:
            self._tell_pid()
        os.write(self._report, reason.encode())
        os._exit(1)


def name_process(name: str) -> None:
    """What ps and top show of this process: at most 15 bytes."""
    comm = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(comm, name.encode()[:15])
    os.close(comm)
