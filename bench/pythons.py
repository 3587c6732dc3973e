"""`python -m bench pythons PYTHON…`: GET of 1 KB by a core of each of these Pythons, beside redis GET.

PYTHON is a program that finds what reed depends on, such as /opt/venv312/bin/python; without any, the Python that runs
this. Figures are processor time of server and client together: all are pinned to one processor, so on a machine that
does nothing else this is the time of a round trip, and on a busy one it can still be compared.
"""

from __future__ import annotations

import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.content import KILOBYTE
from bench.measure import exchange, exchange_many
from bench.peers import Peers
from bench.processes import HEADER, ROOT, connect, pin, server
from bench.rows.get import IN_FLIGHT, redis_get
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command

REDIS = "redis GET"
_ROUNDS = 40
_VERSION = "import platform; print(platform.python_version())"


@dataclass(slots=True)
class Side:
    pid: int
    request: bytes
    reply_size: int
    sock: socket.socket

    def one(self) -> float:
        """Microseconds of a GET, one at a time."""
        return self._used(lambda: exchange(self.sock, self.request, self.reply_size, 300)) / 300

    def many(self) -> float:
        """GETs a second, 100 in flight."""
        used = self._used(lambda: exchange_many(self.sock, self.request, self.reply_size, IN_FLIGHT, 15))
        return 15 * IN_FLIGHT / used * 1e6

    def _used(self, operation: Callable[[], object]) -> float:
        """Microseconds of processor time of both processes."""
        before = _used_by(self.pid) + _used_by(os.getpid())
        operation()
        return _used_by(self.pid) + _used_by(os.getpid()) - before


def main(words: list[str]) -> int:
    pin()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-bench-")))
        sides = {}
        for number, python in enumerate(words or [sys.executable]):
            version = subprocess.run(
                [python, "-c", _VERSION], check=True, capture_output=True, text=True
            ).stdout.strip()
            sides[f"Python {version}"] = _core(python, folder / str(number), stack)
        peers = Peers(folder, stack)
        redis = peers.take(REDIS, peers.redis)
        if redis is None:
            print(f"not measured: {peers.absent[REDIS]}")
            return 1
        size = next(iter(sides.values())).reply_size
        sides[REDIS] = Side(_peer_of(redis), *redis_get(redis, size), redis)
        figures: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
        for _ in range(_ROUNDS):
            for name, side in sides.items():
                figures[name][0].append(side.one())
                figures[name][1].append(side.many())
    medians = {name: (statistics.median(one), statistics.median(many)) for name, (one, many) in figures.items()}
    theirs = medians[REDIS]
    print(f"{'GET of 1 KB, processor time':28}{'one at a time':>24}{'100 in flight':>28}")
    for name, (one, many) in medians.items():
        print(f"{name:28}{one:>12.1f} us {one / theirs[0]:>8.2f}{many:>18,.0f} /s {many / theirs[1]:>6.2f}")
    return 0


def _core(python: str, folder: Path, stack: ExitStack) -> Side:
    folder.mkdir()
    registry, path = folder / "plugin-registry.csv", folder / "run" / "core.sock"
    registry.write_text(HEADER)
    run = "import sys; sys.path.insert(0, sys.argv.pop(1)); import reed.cli; sys.exit(reed.cli.main())"
    places = [
        "--runtime-dir",
        str(path.parent),
        "serve",
        "--data-dir",
        str(folder / "data"),
        "--registry",
        str(registry),
    ]
    process = stack.enter_context(server([python, "-c", run, str(ROOT), *places], path))
    with Client(path) as client:
        client.registry_define("page", b"{}")
        snippet_id = client.snippet_create("page", "bench", KILOBYTE)
    request = frames.encode(Command.SNIPPET_GET, snippet_id.encode())
    sock = stack.enter_context(connect(path))
    sock.sendall(request)
    return Side(process.pid, request, len(sock.recv(1 << 16)), sock)


def _used_by(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[0]) / 1000


def _peer_of(sock: socket.socket) -> int:
    """The process that accepted the connection."""
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)
