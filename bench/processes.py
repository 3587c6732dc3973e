"""The two sides of a measurement: a server process, and a client in this one, both pinned to the same processor."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ECHO = """
import asyncio, os, sys
if sys.argv[2] == "uvloop":
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

async def main():
    server = await asyncio.get_running_loop().create_unix_server(Echo, sys.argv[1])
    await server.serve_forever()

asyncio.run(main())
"""


def pin(processor: int | None = None) -> int:
    """Pin this process, and with it every child, to one processor; the last one where none is named."""
    processor = max(os.sched_getaffinity(0)) if processor is None else processor
    os.sched_setaffinity(0, {processor})
    return processor


@contextmanager
def echo(kind: str) -> Iterator[Path]:
    """The socket of a bare echo server on asyncio or uvloop."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "echo.sock"
        with _process([sys.executable, "-c", ECHO, str(path), kind], path):
            yield path


@contextmanager
def core(*flags: str) -> Iterator[Path]:
    """The runtime folder of a core of its own, with no plugins."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plugin-registry.csv").write_text(
            "plugin_name,plugin_type,socket_path,version,required_permissions,user_groups,auto_start,description\n"
        )
        places = [
            f"--runtime-dir={folder}/run",
            f"--data-dir={folder}/data",
            f"--registry={folder}/plugin-registry.csv",
        ]
        command = [sys.executable, "-m", "reed", "serve", *places, "--log-level=warning", *flags]
        with _process(command, folder / "run" / "core.sock"):
            yield folder / "run"


@contextmanager
def _process(command: list[str], path: Path) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                connect(path).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[:4]} did not start") from None
        yield
    finally:
        process.terminate()
        process.wait()


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock
