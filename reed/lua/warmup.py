"""The life of a small plugin, played in the zygote before it forks (reed.zygote.heap).

What a real plugin runs has then been run: code is specialised, caches are filled, and a fork changes fewer pages.
"""

from __future__ import annotations

import os
import signal
import socket

from reed.lua.core_connection import CoreConnection
from reed.lua.fifo import FifoPaths
from reed.lua.host import Host
from reed.lua.launch_spec import LuaLaunchSpec
from reed.lua.sandbox import Sandbox
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse, SignalMessage
from reed.wire.plugins import PluginMessage

_TIMES = 3
_CALLS = 20
_TURNS = 4  # waiting, the call, the signal, the message
_FOLDER = os.path.join(os.path.dirname(__file__), "sdk", "warmup")


def warm_up() -> None:
    """Loads a plugin, registers it at nobody, and lets it answer some calls and messages."""
    for _ in range(_TIMES):
        stage, host = Stage(), Host(Sandbox())
        stage.start(host)
        stage.go_on(host)
        stage.close()
    signal.setitimer(signal.ITIMER_PROF, 0)


def _small_plugin() -> LuaLaunchSpec:
    fields = {"name": "warmup", "version": "0.0.0", "folder": _FOLDER, "entry": f"{_FOLDER}/main.lua"}
    nowhere = {"socket_path": "", "runtime_dir": "", "actions": {"try": 1}}
    return LuaLaunchSpec.of({**fields, **nowhere})


class _Pipes(FifoPaths):
    """The FIFOs from and to a plugin `other`, without names."""

    def __init__(self, plugin: str) -> None:
        super().__init__("", plugin)
        self.pipes = (os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC), os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))

    def reading(self, _source: str, /) -> int:
        return os.dup(self.pipes[0][0])

    def writing(self, _target: str, /) -> int:
        return os.dup(self.pipes[1][1])

    def send(self, timestamp: int) -> None:
        message = PluginMessage(1, "other", self.plugin, timestamp, b'{"a":[1,"b"]}')
        os.write(self.pipes[0][1], message.pack())

    def close(self) -> None:
        for pipe in self.pipes:
            for fd in pipe:
                os.close(fd)


class Stage:
    """A core and another plugin, as far as the small plugin needs them; the core has answered beforehand."""

    def __init__(self) -> None:
        self.spec = _small_plugin()
        self._core, self._ours = socket.socketpair()
        self._pipes = _Pipes(self.spec.name)
        answer = JsonResponse(200, b'{"settings":{"a":1},"peers":["other"],"sleep":null}').pack()
        self._core.sendall(frames.encode(Command.PLUGIN_REGISTER, answer, Flag.RESPONSE))

    def start(self, host: Host) -> None:
        """From main.lua to READY."""
        host.load(self.spec, self._pipes)
        host.register(CoreConnection(self._ours))

    def go_on(self, host: Host) -> None:
        """Calls, signals and messages."""
        check = SignalMessage(Signal.HEALTH_CHECK, 1, self.spec.name).pack()
        signal_frame = frames.encode(Command.PLUGIN_SIGNAL, check, Flag.SIGNAL)
        for number in range(_CALLS):
            self._core.sendall(frames.encode(1, b'{"a":[1,"b"]}') + signal_frame)
            self._pipes.send(number)
            for _ in range(_TURNS):
                host.turn()
        host.close()

    def close(self) -> None:
        self._core.close()
        self._ours.close()
        self._pipes.close()
