"""The life of a small plugin, played in the nursery before it forks (heap.py).

What a real plugin runs has then been run: code is specialised, caches are filled, and a fork changes fewer pages.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path

from reed.lua.host import Host
from reed.lua.launch import LaunchSpec
from reed.lua.link import CoreGone, Link
from reed.lua.sandbox import Sandbox
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse, SignalMessage

_TIMES = 3
_CALLS = 20
_FOLDER = str(Path(__file__).parent / "sdk" / "rehearsal")


def rehearse() -> None:
    """Loads a plugin, registers it at nobody, and lets it answer some calls."""
    for _ in range(_TIMES):
        _play(_FOLDER)
    signal.setitimer(signal.ITIMER_PROF, 0)


def _play(folder: str) -> None:
    fields = {"name": "rehearsal", "version": "0.0.0", "folder": folder, "entry": f"{folder}/main.lua"}
    nowhere = {"socket_path": "", "runtime_dir": "", "actions": {"try": 1}}
    _, spec = LaunchSpec.unpack(LaunchSpec.of({**fields, **nowhere}).pack(1))
    core, ours = socket.socketpair()
    with core, ours:
        answer = JsonResponse(200, b'{"settings":{"a":1}}').pack()
        core.sendall(frames.encode(Command.PLUGIN_REGISTER, answer, Flag.RESPONSE))
        check = SignalMessage(Signal.HEALTH_CHECK, 1, spec.name).pack()
        for _ in range(_CALLS):
            core.sendall(frames.encode(1, b'{"a":[1,"b"]}') + frames.encode(Command.PLUGIN_SIGNAL, check, Flag.SIGNAL))
        core.shutdown(socket.SHUT_WR)
        host = Host(Sandbox())
        host.load(spec)
        link = Link(ours)
        host.register(link)
        with contextlib.suppress(CoreGone):
            while True:
                host.turn(link)
        host.close()
