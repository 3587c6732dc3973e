"""Runs a small plugin in the zygote before it forks (process-creation.md#memory)."""

from __future__ import annotations

import os
import signal
import socket

from reed.lua.sandbox import LuaSandbox
from reed.plugin_host.fifo import FifoPaths
from reed.plugin_host.host import Host
from reed.plugin_host.launch_spec import HostedSpec
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse
from reed.wire.plugins import PluginMessage
from reed.wire.requests import SignalMessage

_RUNS = 2
_CALLS = 20
_TURNS = 4  # a wait, the call, the signal, the message
_FOLDER = os.path.join(os.path.dirname(__file__), "sdk", "warmup")


def warm_up() -> None:
    for _ in range(_RUNS):
        run_a_plugin()
    signal.setitimer(signal.ITIMER_PROF, 0)


def run_a_plugin() -> None:
    """The small plugin's whole life."""
    core, host = SimulatedCore(), Host(LuaSandbox())
    core.start(host)
    core.exchange(host)
    core.close()


class _Pipes(FifoPaths):
    def __init__(self, plugin: str) -> None:
        super().__init__("", plugin)
        self.pipes = (os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC), os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))

    def open_from(self, _source: str, /) -> int:
        return os.dup(self.pipes[0][0])

    def open_to(self, _target: str, /) -> int:
        return os.dup(self.pipes[1][1])

    def send(self, timestamp: int) -> None:
        message = PluginMessage(1, "other", self.plugin, timestamp, b'{"a":[1,"b"]}')
        os.write(self.pipes[0][1], message.pack())

    def close(self) -> None:
        for pipe in self.pipes:
            for fd in pipe:
                os.close(fd)


class SimulatedCore:
    """For the small plugin of sdk/warmup. The registration is answered beforehand."""

    def __init__(self) -> None:
        self.spec = HostedSpec.of(
            {
                "name": "warmup",
                "version": "0.0.0",
                "folder": _FOLDER,
                "entry": f"{_FOLDER}/main.lua",
                "socket_path": "",
                "runtime_dir": "",
                "actions": {"try": 1},
            }
        )
        self._core, self._ours = socket.socketpair()
        self._pipes = _Pipes(self.spec.name)
        answer = JsonResponse(200, b'{"settings":{"a":1},"peers":["other"],"sleep":null}').pack()
        self._core.sendall(frames.encode(Command.PLUGIN_REGISTER, answer, Flag.RESPONSE))

    def start(self, host: Host) -> None:
        host.load(self.spec, self._pipes)
        host.register(self._ours)

    def exchange(self, host: Host) -> None:
        check = SignalMessage(Signal.HEALTH_CHECK, 1, self.spec.name).pack()
        signal_frame = frames.encode(Command.PLUGIN_SIGNAL, check, Flag.SIGNAL)
        for number in range(_CALLS):
            self._core.sendall(frames.encode(1, b'{"a":[1,"b"]}') + signal_frame)
            self._pipes.send(number)
            for _ in range(_TURNS):
                host.turn()
            self._core.sendall(frames.encode(1, b'{"a":[1,"b"]}'))
            host.turn(once=True)
        host.close()

    def close(self) -> None:
        self._core.close()
        self._ours.close()
        self._pipes.close()
