"""The life of a small plugin, played in the nursery before it forks (reed.nursery.heap).

What a real plugin runs has then been run: code is specialised, caches are filled, and a fork changes fewer pages.
"""

from __future__ import annotations

import os
import signal
import socket

from reed.lua.fifo import Places
from reed.lua.host import Host
from reed.lua.launch import LaunchSpec
from reed.lua.link import Link
from reed.lua.sandbox import Sandbox
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse, SignalMessage
from reed.wire.plugins import PluginMessage

_TIMES = 3
_CALLS = 20
_TURNS = 4  # waiting, the call, the signal, the message
_FOLDER = os.path.join(os.path.dirname(__file__), "sdk", "rehearsal")


def rehearse() -> None:
    """Loads a plugin, registers it at nobody, and lets it answer some calls and messages."""
    for _ in range(_TIMES):
        _play(_FOLDER)
    signal.setitimer(signal.ITIMER_PROF, 0)


class _Pipes(Places):
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


def _play(folder: str) -> None:
    fields = {"name": "rehearsal", "version": "0.0.0", "folder": folder, "entry": f"{folder}/main.lua"}
    nowhere = {"socket_path": "", "runtime_dir": "", "actions": {"try": 1}}
    spec = LaunchSpec.of({**fields, **nowhere})
    core, ours = socket.socketpair()
    pipes = _Pipes(spec.name)
    with core, ours:
        answer = JsonResponse(200, b'{"settings":{"a":1},"peers":["other"],"sleep":null}').pack()
        core.sendall(frames.encode(Command.PLUGIN_REGISTER, answer, Flag.RESPONSE))
        check = SignalMessage(Signal.HEALTH_CHECK, 1, spec.name).pack()
        host = Host(Sandbox())
        host.load(spec, pipes)
        link = Link(ours)
        host.register(link)
        for number in range(_CALLS):
            core.sendall(frames.encode(1, b'{"a":[1,"b"]}') + frames.encode(Command.PLUGIN_SIGNAL, check, Flag.SIGNAL))
            pipes.send(number)
            for _ in range(_TURNS):
                host.turn()
        host.close()
    pipes.close()
