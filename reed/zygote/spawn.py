"""Turns a spare process into a plugin's (process-creation.md#start-of-a-process).

The pid is reported last, so that the core does not wake up while this process still needs the processor.
"""

from __future__ import annotations

import marshal
import os
import resource
import signal
import socket
import struct
from typing import NoReturn

from reed.import_path import UPGRADED, installed_mark
from reed.lua.sandbox import LuaSandbox
from reed.plugin_host.host import Host
from reed.plugin_host.launch_spec import HostedSpec
from reed.python.runtime import PythonRuntime
from reed.runtime_paths import MAX_SOCKET_PATH
from reed.sandbox.confine import Confinement, Sandbox
from reed.sandbox.kernel import SandboxError
from reed.sandbox.rules import Profile, rules_for
from reed.zygote.clone import AddressSpaceHolder
from reed.zygote.request import EXECUTE, MAX_REQUEST, RUNNING, WORK, Program, RuleFlags, WorkerRequest

_ROOM = 64 * 1024 * 1024  # for Python's side: a payload of 16 MiB, its copies and an answer
_HOLD_SECONDS = 0.03  # by then the exec is done
_WORKER_SOCKET = 3
# The profiles of the plugin types without their paths, which are in the ruleset
_LUA = Profile(executes=False)
_PYTHON = Profile(executes=False, network=True, own_proc=True)
_NATIVE = Profile(executes=True, network=True, own_proc=True)
_CONTROL = socket.CMSG_SPACE(4 * 3)


class Spawn:
    _task: HostedSpec | Program | WorkerRequest
    _flags: RuleFlags
    _output: int
    _pid_reported = False

    def __init__(self) -> None:
        self.sandbox = Sandbox()
        self._hold_address_space = AddressSpaceHolder(_HOLD_SECONDS)
        self._request = bytearray(MAX_REQUEST)
        self._null = os.open(os.devnull, os.O_RDONLY)
        # Fixed descriptor numbers, so that the confinement can be prepared
        self._report, self._ruleset, self._socket_folder = (os.dup(self._null) for _ in range(3))
        self._confinements = {
            (profile, network, mode): self._prepare(profile, network, mode)
            for profile, network in (
                (_LUA, False),
                (_PYTHON, False),
                (_PYTHON, True),
                (_NATIVE, False),
                (_NATIVE, True),
            )
            for mode in ("auto", "off")
        }
        with open("/proc/self/statm", "rb") as statm:
            self._size = int(statm.read().split()[5]) * resource.getpagesize()

    def _prepare(self, profile: Profile, network: bool, mode: str) -> Confinement:
        """Without memory limit, socket path and ruleset, which the request brings."""
        rules = rules_for(profile, "", None, "", "", (), (1,) if network else (), own_socket="", mode=mode)
        return self.sandbox.prepare(rules, keep=(self._report, self._socket_folder), ruleset=self._ruleset)

    def receive(self, core: socket.socket) -> bool:
        """False when the core closed the socket."""
        if core.recv(1, socket.MSG_PEEK) == EXECUTE:
            self._hold_address_space()  # before it could inherit the report, whose end tells of the exec
        size, control, _, _ = core.recvmsg_into([self._request], _CONTROL)
        if not size:
            return False
        message = marshal.loads(memoryview(self._request)[1:size])
        if self._request[:1] == WORK:
            self._task = WorkerRequest(*message)
        else:
            task, flags = message
            self._flags = RuleFlags(*flags)
            self._task = Program(*task) if self._flags.executes else HostedSpec(*task)
        report, self._output, *ruleset = struct.unpack(f"{len(control[0][2]) // 4}i", control[0][2])
        os.dup2(report, self._report, inheritable=False)
        if ruleset:
            os.dup2(ruleset[0], self._ruleset, inheritable=False)
        else:
            os.close(self._ruleset)
        return True

    def become(self, host: Host) -> NoReturn:
        os.setsid()
        os.dup2(self._null, 0)
        if isinstance(self._task, WorkerRequest):
            self._become_worker(self._task)
        task = self._task
        os.dup2(self._output, 1)
        os.dup2(self._output, 2)
        confinement = self._confinement()
        try:
            if isinstance(task, Program):
                self._execute(task, confinement)
            name_process(f"reed:{task.name}")
            if task.language == "python":
                host = Host(PythonRuntime())
            elif task.lua != "5.5":
                host = Host(LuaSandbox(task.lua))
            self.confine(task)
        except SandboxError as error:
            self._fail(str(error))
        except OSError as error:
            program = task.argv[0] if isinstance(task, Program) else task.entry
            self._fail(f"{program} cannot be run: {error.strerror}")
        self._report_pid(RUNNING)
        os.close(self._report)
        assert confinement.own_socket is not None
        host.run(task, confinement.own_socket.connect)

    def confine(self, task: HostedSpec) -> None:
        confinement = self._confinement()
        assert confinement.own_socket is not None
        confinement.own_socket.set_path(self._address(task.socket_path))
        confinement.apply(self._size + task.memory + _ROOM)

    def _confinement(self) -> Confinement:
        flags = self._flags
        profile = Profile(flags.executes, network=flags.executes or flags.own_proc, own_proc=flags.own_proc)
        return self._confinements[profile, flags.network, flags.mode]

    def _address(self, path: str) -> str:
        """A path longer than connect(2) takes goes through a descriptor of its folder."""
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            os.close(self._socket_folder)
            return path
        folder, name = os.path.split(path)
        os.dup2(os.open(folder, os.O_PATH | os.O_DIRECTORY), self._socket_folder, inheritable=False)
        return f"/proc/self/fd/{self._socket_folder}/{name}"

    def _execute(self, program: Program, confinement: Confinement) -> NoReturn:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and exec would keep that
            signal.signal(number, signal.SIG_DFL)
        os.chdir(program.folder)
        confinement.apply(self._flags.memory)
        self._report_pid()
        os.execve(program.argv[0], program.argv, program.environment)

    def _become_worker(self, request: WorkerRequest) -> NoReturn:
        if installed_mark() != request.installed:
            self._fail(f"{UPGRADED}; `reed restart` runs it")
        from reed.workers.process import run

        name_process("reed:worker")
        nowhere = os.open(os.devnull, os.O_WRONLY)  # a native library aborts with a backtrace at the memory limit
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        self._report_pid(RUNNING)
        sock = socket.socket(fileno=os.dup2(self._output, _WORKER_SOCKET))
        os.closerange(_WORKER_SOCKET + 1, os.sysconf("SC_OPEN_MAX"))
        run(sock, request.memory, request.handlers, request.installed)

    def _report_pid(self, end: bytes = b"\n") -> None:
        try:
            os.write(self._report, b"%d%b" % (os.getpid(), end))
        except BrokenPipeError:
            os._exit(0)  # the core is dead
        self._pid_reported = True

    def _fail(self, reason: str) -> NoReturn:
        if not self._pid_reported:
            self._report_pid()
        os.write(self._report, reason.encode())
        os._exit(1)


def name_process(name: str) -> None:
    """For ps and top: at most 15 bytes."""
    comm = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(comm, name.encode()[:15])
    os.close(comm)
