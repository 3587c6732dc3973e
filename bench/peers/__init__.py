"""Peers, each ready to take its turn: an operation that gives a figure, or the reason why it is not there.

echoes      a server of the same bytes, asked by the same raw socket; where the protocol is its own, by its own client
programs    C and Go, compiled here into a folder that goes away with the run
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from bench.measure import timed
from bench.processes import connect, server, temporary_folder

HERE = Path(__file__).parent
T = TypeVar("T")


class Missing(Exception):
    """A peer that is not on this machine, and what would bring it."""


@dataclass(slots=True)
class Peers:
    """What a run has of peers; `absent` tells of the others, by name."""

    folder: Path
    stack: ExitStack
    absent: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, make: Callable[[], T]) -> T | None:
        """What `make` gives; None, noted, where the peer is missing."""
        try:
            return make()
        except Missing as why:
            self.absent[name] = str(why)
            return None

    # By the same raw socket.

    def raw(self, kind: str) -> socket.socket:
        """A connection to an echo: `asyncio`, `uvloop` or `C`."""
        path = self.folder / f"{kind}.sock"
        if kind == "C":
            command = [str(self.pingpong()), "serve", str(path)]
        else:
            if kind != "asyncio":
                _need(kind)
            command = [sys.executable, str(HERE / "echo.py"), kind, str(path)]
        self.stack.enter_context(server(command, path))
        return self.stack.enter_context(connect(path))

    def redis(self, *flags: str) -> socket.socket:
        """A connection to a redis of its own that keeps nothing on the disk."""
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("no redis-server; Debian: apt-get install redis-server")
        folder = self.folder / f"redis{len(flags)}"
        folder.mkdir()
        path = folder / "redis.sock"
        command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", "", *flags]
        self.stack.enter_context(server(command, path))
        return self.stack.enter_context(connect(path))

    # By clients of their own. Each gives a function that makes so many round trips one by one, in microseconds for one.

    def pyzmq(self, data: bytes) -> Callable[[int], float]:
        _need("zmq", "pyzmq")
        import zmq

        path = self._ipc("zmq_echo.py", "zmq.sock")
        sock = zmq.Context.instance().socket(zmq.DEALER)
        self.stack.callback(sock.close, 0)
        sock.connect(f"ipc://{path}")

        def trip() -> None:
            sock.send(data)
            sock.recv(copy=False)

        return _repeated(trip)

    def grpcio(self, data: bytes) -> Callable[[int], float]:
        _need("grpc", "grpcio")
        import grpc

        path = self._ipc("grpc_echo.py", "grpc.sock")
        channel = grpc.insecure_channel(f"unix:{path}")
        self.stack.callback(channel.close)
        call = channel.unary_unary("/bench.Peer/Echo")
        return _repeated(lambda: call(data))

    def pipe(self, data: bytes) -> Callable[[int], float]:
        from multiprocessing.connection import Client

        path = self._ipc("pipe_echo.py", "pipe.sock")
        connection = self.stack.enter_context(Client(str(path), "AF_UNIX"))

        def trip() -> None:
            connection.send_bytes(data)
            connection.recv_bytes()

        return _repeated(trip)

    def _ipc(self, program: str, name: str) -> Path:
        path = self.folder / name
        self.stack.enter_context(server([sys.executable, str(HERE / program), str(path)], path))
        return path

    # Programs.

    def pingpong(self) -> Path:
        """The C program, compiled."""
        program = self.folder / "pingpong"
        if not program.exists():
            compiler = shutil.which("cc")
            if compiler is None:
                raise Missing("no C compiler (cc)")
            subprocess.run([compiler, "-O2", "-o", program, HERE / "pingpong.c"], check=True)
        return program

    def pair(self, request: int, reply: int) -> Callable[[int], float]:
        """Microseconds for a round trip of two C processes over a socket pair."""
        program = self.pingpong()

        def measure(times: int) -> float:
            words = [str(program), "pair", str(request), str(reply), str(times)]
            return float(subprocess.check_output(words)) / 1000

        return measure

    def go_plugin(self, transport: str, size: int) -> Callable[[str], float]:
        """A host of go-plugin that takes `call TIMES` and `start`; microseconds."""
        program = self.folder / "goplugin"
        if not program.exists():
            if shutil.which("go") is None:
                raise Missing("no Go to build it")
            built = subprocess.run(
                ["go", "build", "-o", program, "."], cwd=HERE / "goplugin", capture_output=True, text=True, check=False
            )
            if built.returncode:
                raise Missing(f"go build failed: {(built.stderr.splitlines() or ['no reason'])[-1][:60]}")
        host = self.stack.enter_context(_host([str(program), transport, str(size)], sockets=temporary_folder()))

        def ask(line: str) -> float:
            assert host.stdin is not None
            assert host.stdout is not None
            host.stdin.write(line + "\n")
            host.stdin.flush()
            return float(host.stdout.readline()) / 1000

        return ask


@contextmanager
def _host(command: list[str], sockets: str) -> Iterator[subprocess.Popen[str]]:
    """`sockets`: the folder of the sockets that it makes."""
    environ = {**os.environ, "TMPDIR": sockets}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as host:
        yield host
        assert host.stdin is not None
        host.stdin.close()  # it ends, and its plugin with it


def _repeated(trip: Callable[[], object]) -> Callable[[int], float]:
    def measure(times: int) -> float:
        def run() -> None:
            for _ in range(times):
                trip()

        return timed(run) / times * 1e6

    measure(20)  # connected, and warm
    return measure


def _need(module: str, package: str = "") -> None:
    if find_spec(module) is None:
        raise Missing(f"not installed: pip install {package or module}")
