"""The other side of a measurement: cores and peers as processes of their own, and which processor all run on."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reed.client import Client
from reed.testing import Core
from reed.testing.rows import registry_text

HEADER = registry_text()
ROOT = Path(__file__).parents[1]
TMPFS = "/dev/shm"


def pin(processor: int | None = None) -> int:
    """Pin this process, and with it every child, to one processor; the last one where none is named."""
    processor = max(os.sched_getaffinity(0)) if processor is None else processor
    os.sched_setaffinity(0, {processor})
    return processor


@contextmanager
def unpinned() -> Iterator[None]:
    """On every processor of the machine, or of its container, until the end of the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptors(wanted: int = 100_000) -> int:
    """Let this process, and those it starts from now on, open so many files, or as many as may be; how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(wanted, hard), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
        except (ValueError, PermissionError):
            continue
    return hard


class Site(Core):
    """A core in folders of its own, with the plugins of a measurement."""

    def __init__(self, folder: Path, runtime_dir: Path | None = None) -> None:
        super().__init__(folder, runtime_dir=runtime_dir)
        self.python = [sys.executable]  # the first words of the core's command line
        self.environ["REED_RUNTIME_DIR"] = str(self.runtime_dir)  # for commands
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def command(self, *flags: str) -> list[str]:
        return [*self.python, *super().command(*flags)[1:]]

    def set_rows(self, rows: list[tuple[str, str]]) -> None:
        """The registry: (name, type) of each plugin, which may read and write snippets and is started by hand."""
        lines = [
            f'{name},{kind},/tmp/reed-cms/plugins/{name}.sock,1.0.0,"snippet_read,snippet_write",admin,false,bench\n'
            for name, kind in rows
        ]
        self.registry.write_text(HEADER + "".join(lines))

    def add_lua(self, name: str, main: str, manifest: str) -> None:
        self._add(name, manifest, "main.lua", main)

    def add_native(self, name: str, program: str, manifest: str) -> None:
        self._add(name, manifest, name, program).chmod(0o755)

    def _add(self, name: str, manifest: str, file: str, text: str) -> Path:
        folder = self.plugins / name
        folder.mkdir()
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\n{manifest}")
        (folder / file).write_text(text)
        return folder / file

    def reed(self, *words: str) -> list[str]:
        """A command line of this checkout."""
        return [sys.executable, "-c", "import sys, reed.cli; sys.exit(reed.cli.main())", *words]

    def memory(self) -> int:
        """Bytes of the core's own memory (PSS)."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no Pss in smaps_rollup")

    def wait_until_started(self) -> None:
        """Until the zygote is ready too: it starts for 0.1 s after the core's first answer, on the same processor."""
        before = -1
        while (used := self._processor_time()) != before:
            before = used
            time.sleep(0.1)

    def _processor_time(self) -> int:
        """Nanoseconds that the core's children have used."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) for child in children)


def temporary_folder() -> str:
    """A tmpfs, if there is one to write to."""
    return TMPFS if os.access(TMPFS, os.W_OK) else tempfile.gettempdir()


@contextmanager
def site(*, in_memory: bool = False) -> Iterator[Site]:
    """A site's folders, its core not started. `in_memory`: the runtime folder on a tmpfs, as /run is, if it may be."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-bench-")))
        if in_memory and temporary_folder() == TMPFS:
            runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-bench-", dir=TMPFS))
            yield Site(folder, Path(runtime) / "run")
        else:
            yield Site(folder)


@contextmanager
def running(place: Site, *flags: str) -> Iterator[Site]:
    """Its core, running."""
    place.start("--log-level=error", *flags)
    try:
        yield place
    finally:
        place.stop()


@contextmanager
def core(*flags: str, environ: dict[str, str] | None = None) -> Iterator[Site]:
    """A running core of its own, with no plugins."""
    with site() as place:
        place.environ.update(environ or {})
        with running(place, *flags):
            yield place


@contextmanager
def server(command: list[str], path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A peer of reed that listens on `path`; RuntimeError with its output if it does not."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            _wait_for(process, path, command, said)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], path: Path, command: list[str], said) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while True:
        try:
            connect(path).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said.seek(0)
                raise RuntimeError(f"{command[:3]} did not start: {said.read().decode()[-500:]}") from None
            time.sleep(0.005)


@contextmanager
def database(conninfo: str) -> Iterator[str]:
    """The conninfo of an empty database. `own`: of a server that runs until the end of the block and flushes what it
    writes. Enter it before `pin`, so that the server may use every processor."""
    if conninfo != "own":
        yield conninfo
        return
    from tests.postgres.cluster import Cluster

    with Cluster(fsync=True) as cluster:
        yield cluster.conninfo(cluster.create_database())


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


def settle(client: Client) -> None:
    """Until the core does nothing by itself: when the index has caught up, its segments are merged for a while."""
    client.search("nothingfindsthis")
    turns = -10
    while (now := client.stats()["loop"]["turns"]) > turns + 5:
        turns = now
        time.sleep(0.1)
