"""Instructions of one request inside the core, counted by valgrind: alike on every run, however busy the machine is.

    python -m bench.counts KIND TIMES     the whole core and a client in one process, turn by turn: this is counted

A process with so many requests, less one with none, divided by their number. The client's write and read are in it, and
so is the indexer's look at what was created (it has nothing to index: its slices go by the clock, and would differ).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.content import KILOBYTE, SMALL, SMALL_TYPE
from bench.measure import receive
from bench.processes import HEADER, ROOT, connect
from reed.config import load
from reed.daemon import Daemon
from reed.wire import frames
from reed.wire.codes import Command
from reed.wire.snippets import SnippetCreate, SnippetList

KINDS = {"get": 800, "get, 100 in flight": 4000, "create, 64 at a time": 640, "list of 100": 60}

_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)  # flags are joined by functions in Python, 14,000 instructions


def count(kinds: dict[str, int] | None = None) -> dict[str, int]:
    """Instructions of a request of each kind; empty without valgrind."""
    if shutil.which("valgrind") is None:
        return {}
    kinds = kinds or KINDS
    first = next(iter(kinds))
    with tempfile.TemporaryDirectory(prefix="reed-bench-") as compiled, ThreadPoolExecutor(os.cpu_count()) as pool:
        _run([], first, 1, Path(compiled))  # compiles the modules, which none of the counted ones must do
        base = pool.submit(_instructions, first, 0, Path(compiled))
        fulls = {kind: pool.submit(_instructions, kind, times, Path(compiled)) for kind, times in kinds.items()}
    return {kind: (fulls[kind].result() - base.result()) // times for kind, times in kinds.items()}


def _instructions(kind: str, times: int, compiled: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="reed-bench-") as folder:
        counted = Path(folder) / "counted"
        _run(
            ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={counted}"],
            kind,
            times,
            compiled,
        )
        for line in counted.read_text().splitlines():
            if line.startswith("summary:"):
                return int(line.split()[1])
    raise RuntimeError("valgrind counted nothing")


def _run(under: list[str], kind: str, times: int, compiled: Path) -> None:
    environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(compiled)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [*under, sys.executable, "-m", "bench.counts", kind, str(times)]
    with tempfile.TemporaryDirectory(prefix="reed-bench-") as folder:
        subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True)


def run(kind: str, times: int, folder: Path) -> None:
    """A core in this process, and so many requests of this kind."""
    (folder / "plugin-registry.csv").write_text(HEADER)
    places = {name: str(folder / name) for name in ("runtime_dir", "data_dir")}
    flags = {**places, "registry": str(folder / "plugin-registry.csv")}
    daemon = Daemon(load(None, {}, flags), logging.getLogger("bench"))
    try:
        sock = connect(folder / "runtime_dir" / "core.sock")
        exchange = _Exchange(daemon, sock)
        exchange.prepare()
        requests, together = _requests(kind)
        exchange(requests, together, times)
        exchange.settle()
        sock.close()
    finally:
        daemon.close()


class _Exchange:
    """Requests written, turns run, answers read: all by one thread, so that every run is the same."""

    def __init__(self, daemon: Daemon, sock) -> None:  # type: ignore[no-untyped-def]
        self._turn: Callable[[], None] = daemon.loop.turn
        self._has_work: Callable[[], bool] = lambda: daemon.store.has_work
        self._sock = sock

    def prepare(self) -> None:
        from reed.wire.registry import RegistryDefine

        define = RegistryDefine("small", json.dumps({"schema": SMALL_TYPE["schema"]}).encode())
        self([frames.encode(Command.REGISTRY_DEFINE, define.pack())], 1, 1)
        page = SnippetCreate("small", "page", KILOBYTE).pack()
        self([frames.encode(Command.SNIPPET_CREATE, page)], 1, 1)
        filler = SnippetCreate("small", "", SMALL).pack()
        self([frames.encode(Command.SNIPPET_CREATE, filler)], 1, 120)
        self.settle()

    def settle(self) -> None:
        """Index what was created: part of its cost, in whatever turns it comes."""
        while self._has_work():
            self._turn()

    def __call__(self, requests: list[bytes], together: int, times: int) -> None:
        for _ in range(times // together):
            self._sock.sendall(b"".join(requests * together))
            for _ in range(together):
                self._read()

    def _read(self) -> None:
        header = self._receive(12)
        self._receive(int.from_bytes(header[8:12], "little"))

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        while not self._is_readable():
            self._turn()
        receive(self._sock, memoryview(data))
        return data

    def _is_readable(self) -> bool:
        try:
            return bool(self._sock.recv(1, _PEEK))
        except BlockingIOError:
            return False


def _requests(kind: str) -> tuple[list[bytes], int]:
    """The bytes of a request, and how many are sent together."""
    get = frames.encode(Command.SNIPPET_GET, b"page".ljust(36, b"\0"))
    create = frames.encode(Command.SNIPPET_CREATE, SnippetCreate("small", "", SMALL).pack())
    page = frames.encode(Command.SNIPPET_LIST, SnippetList("", "", 100).pack())
    return {
        "get": ([get], 1),
        "get, 100 in flight": ([get], 100),
        "create, 64 at a time": ([create], 64),
        "list of 100": ([page], 1),
    }[kind]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="reed-bench-") as name:
        run(sys.argv[1], int(sys.argv[2]), Path(name))
