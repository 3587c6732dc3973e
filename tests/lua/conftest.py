"""The real zygote, and a fake core that listens on a plugin's socket."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reed.errors import CallError
from reed.lua.sandbox import LuaSandbox
from reed.plugin_host.launch_spec import HostedSpec
from reed.plugin_host.runtime import JobOutcome
from reed.plugin_types import LUA
from reed.sandbox.confine import Sandbox as Walls
from reed.sandbox.rules import rules_for
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import ErrorResponse, JsonResponse
from reed.wire.plugins import PluginAnswer, PluginRegister
from reed.wire.requests import SignalMessage
from reed.zygote.client import Zygote
from reed.zygote.request import SpawnRequest

DEADLINE = 10.0
_PR_SET_CHILD_SUBREAPER = 36

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'


class FakeCore:
    """The core's end of one plugin connection. `answers` maps a command of the plugin to its response payload."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(DEADLINE)
        self._buffer = frames.ReceiveBuffer()
        self.answers: dict[int, Callable[[bytes], bytes]] = {}
        self.seen: list[tuple[int, bytes]] = []

    def frame(self) -> tuple[int, int, bytes]:
        """The next frame of the plugin. Raises EOFError."""
        while True:
            frame = self._buffer.next_frame()
            if frame is not None:
                return frame.command_id, frame.flags, bytes(frame.payload)
            self._buffer.keep()
            data = self._connection.recv(65536)
            if not data:
                raise EOFError
            self._buffer.feed(memoryview(data))

    def register(self, settings: dict[str, Any] | None = None, **more: Any) -> PluginRegister:
        """Answers the registration and waits for READY."""
        payload = self.answer_registration(settings, **more)
        assert self.signal()[0] == Signal.PLUGIN_READY
        return PluginRegister.unpack(payload)

    def answer_registration(self, settings: dict[str, Any] | None = None, **more: Any) -> bytes:
        """Answers the next registration; returns its payload."""
        command, _, payload = self.frame()
        assert command == Command.PLUGIN_REGISTER
        answer = {"settings": settings, "permissions": [], "limits": {}, **more}
        self.send(command, JsonResponse(200, json.dumps(answer).encode()).pack(), Flag.RESPONSE)
        return payload

    def send(self, command: int, payload: bytes = b"", flags: int = 0) -> None:
        self._connection.sendall(frames.encode(command, payload, flags))

    def send_at_once(self, *messages: tuple[int, bytes, int]) -> None:
        """Commands, payloads and flags, in one write."""
        self._connection.sendall(b"".join(frames.encode(*message) for message in messages))

    def send_signal(self, kind: Signal, data: bytes = b"") -> None:
        self.send(Command.PLUGIN_SIGNAL, SignalMessage(kind, 1, "demo", data).pack(), Flag.SIGNAL)

    def signal(self) -> tuple[int, bytes]:
        """The next signal of the plugin."""
        command, flags, payload = self.frame()
        assert (command, flags) == (Command.PLUGIN_SIGNAL, Flag.SIGNAL)
        message = SignalMessage.unpack(payload)
        return message.signal_type, bytes(message.data)

    def response(self) -> tuple[int, bytes]:
        """The status and body of the next response; earlier requests of the plugin are answered from `answers`."""
        while True:
            command, flags, payload = self.frame()
            if flags & Flag.RESPONSE:
                break
            self.seen.append((command, payload))
            try:
                self.send(command, self.answers[command](payload), Flag.RESPONSE)
            except CallError as error:
                self.send(command, ErrorResponse.of(error).pack(), Flag.RESPONSE | Flag.ERROR)
        if flags & Flag.ERROR:
            error = ErrorResponse.unpack(payload)
            raise CallError(error.message, status=error.status, error_code=error.error_code)
        answer = PluginAnswer.unpack(payload)
        return answer.status, bytes(answer.body)

    def call(self, command: int, payload: bytes = b"null") -> tuple[int, bytes]:
        self.send(command, payload)
        return self.response()

    def closed(self) -> bool:
        """Waits for the plugin to close the connection."""
        try:
            self.frame()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def close(self) -> None:
        self._connection.close()


class Launched:
    """A plugin process of the real zygote, and the fake core that it registered with."""

    def __init__(self, pid: int, core: FakeCore, output: int, registered: PluginRegister) -> None:
        self.pid = pid
        self.core = core
        self.registered = registered
        self._output = output
        self._status: int | None = None

    def exit_status(self) -> int:
        """Waits until the process exits; negative: the Unix signal that killed it."""
        if self._status is None:
            self._status = wait_for(self.pid)
        return self._status

    def output(self) -> str:
        """Everything that the process wrote, once it has exited."""
        self.exit_status()
        return read_all(self._output)

    def stop_reading(self) -> None:
        """Closes the read end of the process's output."""
        with open(os.devnull, "rb") as null:
            os.dup2(null.fileno(), self._output)


def wait_for(pid: int) -> int:
    timer = threading.Timer(DEADLINE, os.kill, (pid, signal.SIGKILL))
    timer.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        timer.cancel()


def read_all(descriptor: int) -> str:
    parts = []
    while data := os.read(descriptor, 65536):
        parts.append(data)
    return b"".join(parts).decode()


def born(report: int) -> tuple[int, str]:
    """The pid from the report of a spawn request, and the reason if it failed; (0, "") if the zygote died."""
    said = b""
    waiting = select.poll()
    waiting.register(report, select.POLLIN)
    while waiting.poll(DEADLINE * 1000):
        data = os.read(report, 4096)
        if not data:
            os.close(report)
            pid, _, reason = said.decode().partition("\n")
            return int(pid or 0), reason.strip()
        said += data
    raise AssertionError("no report from the zygote")


class Workshop:
    """Writes plugins into a folder and launches them through one zygote."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self.zygote = zygote
        self.folder = folder
        self.walls = Walls()
        for link in ("to", "from"):
            (folder / "peers" / "demo" / link).mkdir(parents=True)
        self._pids: list[int] = []
        self._closing = contextlib.ExitStack()

    def spec(self, main: str, **fields: Any) -> dict[str, Any]:
        """The launch spec of a plugin `demo` with this main.lua."""
        plugin = self.folder / "demo"
        plugin.mkdir(exist_ok=True)
        (plugin / "main.lua").write_text(main)
        spec = {
            "name": "demo",
            "version": "1.0.0",
            "folder": str(plugin),
            "entry": str(plugin / "main.lua"),
            "socket_path": str(self.folder / "demo.sock"),
            "runtime_dir": str(self.folder),
            "limits": {"cpu": 0.3},
        }
        return {**spec, **fields}

    def start(self, spec: dict[str, Any]) -> tuple[int, int]:
        """The pid and the output of a new process."""
        reading, writing = os.pipe()
        self._closing.callback(os.close, reading)
        report = self.request(spec, writing)
        pid, reason = self.born(report)
        os.close(writing)
        assert not reason
        self._pids.append(pid)
        return pid, reading

    def request(self, spec: dict[str, Any], output: int) -> int:
        """Requests a process from the zygote, confined as by the core."""
        what = HostedSpec.of(spec)
        permissions = ["file_write"] if what.data_dir else []
        rules = rules_for(
            LUA.profile,
            what.folder,
            what.data_dir,
            what.runtime_dir,
            what.name,
            permissions,
            own_socket=what.socket_path,
        )
        ruleset = self.walls.ruleset(rules)
        self._closing.callback(os.close, ruleset)
        return self.zygote.request(SpawnRequest(what, rules, ruleset), [output, ruleset])

    born = staticmethod(born)

    def start_in_vain(self, main: str, **fields: Any) -> tuple[int, str]:
        """The exit status and the output of a plugin that exits before its registration."""
        pid, output = self.start(self.spec(main, **fields))
        return wait_for(pid), read_all(output)

    def launch(
        self,
        main: str,
        answered: dict[str, Any] | None = None,
        peers: tuple[str, ...] = (),
        sleep: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Launched:
        """A plugin that is READY; `answered` (settings), `peers` and `sleep` answer its registration."""
        spec = self.spec(main, **fields)
        with self.listening() as listener:
            pid, output = self.start(spec)
            core = FakeCore(listener.accept()[0])
        self._closing.callback(core.close)
        return Launched(pid, core, output, core.register(answered, peers=peers, sleep=sleep))

    @contextlib.contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """A core's listening socket; replaces an older one."""
        path = self.folder / "demo.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(DEADLINE)
            yield listener

    def next_core(self, **said: Any) -> FakeCore:
        """A new core, with which the running plugin has registered and is READY."""
        core = self.next_connection()
        core.register(**said)
        return core

    def next_connection(self) -> FakeCore:
        """A new core, which has read nothing of the running plugin yet."""
        with self.listening() as listener:
            core = FakeCore(listener.accept()[0])
        self._closing.callback(core.close)
        return core

    def close(self) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._closing.close()


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    zygote = Zygote()
    zygote.start()
    yield zygote
    zygote.stop()


@pytest.fixture
def workshop(zygote: Zygote, tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(zygote, tmp_path)
    yield workshop
    workshop.close()


class Bench:
    """A sandbox in this process, to run pieces of Lua in."""

    def __init__(self, lua: str, cpu: float = 2.0) -> None:
        self.lines: list[str] = []
        self.sandbox = LuaSandbox(lua)
        prepared = {
            "name": "demo",
            "version": "1.0.0",
            "settings": {},
            "cpu": cpu,
            "seed": [1, 2],
            "can_write": False,
            "actions": {"try": 1},
        }
        services = {b"log": lambda level, text: self.lines.append(f"{level.decode()}: {text.decode()}")}
        self.sandbox.start(services, memory=8 << 20, spec=json.dumps(prepared).encode())

    def load(self, source: str) -> JobOutcome:
        return self.sandbox.load("main.lua", source.encode())

    def handler(self, body: str) -> None:
        """Makes `body` the handler of command 1; `payload` is its argument. Its first line is line 4."""
        outcome = self.load(OPEN + f'plugin.action("try", function(payload)\n{body}\nend)\nplugin.run()')
        assert outcome.kind == "run", outcome

    def call(self, payload: bytes = b"") -> JobOutcome:
        return self.sandbox.call(1, payload)

    def run(self, body: str, payload: bytes = b"") -> JobOutcome:
        self.handler(body)
        return self.call(payload)

    def value(self, body: str, payload: bytes = b"") -> Any:
        """The JSON value that the body returns."""
        outcome = self.run(body, payload)
        assert outcome.kind == "done", outcome
        return json.loads(outcome.results[1])


@pytest.fixture(params=["5.5", "5.4"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


@pytest.fixture(params=["5.5", "5.4"])
def hurried(request: pytest.FixtureRequest) -> Bench:
    """A bench whose handlers have little time."""
    return Bench(request.param, cpu=0.05)
