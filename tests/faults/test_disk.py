"""A full disk, and power cuts."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from reed.client import Client
from reed.errors import CallError, NotFound, StoreFull
from tests.inline_store import inline_store

AS_ROOT = os.geteuid() == 0
KB = 1024
TURNS = 90  # enough for some checkpoints
BLOCK = 512  # bytes that a disk writes atomically
# The beginning of programs whose system calls strace records: store, turns (argv 2) and a random sequence (argv 3).
WRITER_BEGIN = """
import json, os, random, sys, time
from reed.store.sqlite import wal
from tests.inline_store import inline_store

wal.LONG = 150  # frames
rnd = random.Random(int(sys.argv[3]))
store = inline_store(sys.argv[1])
fail = lambda error: sys.exit(str(error))
store.define("page", b'{"searchable":{"title":1}}', lambda new: None, fail)
store.commit()
"""
# Writes a few snippets in each turn, and prints those that are acknowledged.
WRITER = (
    WRITER_BEGIN
    + """
for turn in range(int(sys.argv[2])):
    said = []
    for number in range(rnd.randrange(1, 12)):
        content = "%d/%d " % (turn, number) * rnd.randrange(1, 400)
        def created(snippet_id, name="%d/%d" % (turn, number)):
            said.append(name)
        store.create("page", f"{turn}/{number}", json.dumps({"title": content}).encode(), created, fail)
    store.work(time.monotonic() + 0.002)
    store.commit()
    os.write(1, (" ".join(said) + " ").encode())
os._exit(0)
"""
)
# The same, with checkpoints that another process makes, as in a core.
BUSY_WRITER = WRITER.replace("rnd =", """
from reed.store.sqlite.store import INDEXER_HANDLERS
from tests.inline_store import InlineWorkers

class Forked(InlineWorkers):
    def submit(self, kind, arguments, done, failed, **options):
        pid = os.fork()
        if pid == 0:
            super().submit(kind, arguments, lambda answer: os._exit(0), lambda error: os._exit(1), **options)
        os.waitpid(pid, 0)
        if kind == "checkpoint":
            done(None)

rnd =""", 1)  # fmt: skip
BUSY_WRITER = BUSY_WRITER.replace(
    "inline_store(sys.argv[1])", "inline_store(sys.argv[1], indexer=Forked(INDEXER_HANDLERS))"
)
# PID pwrite64(fd<path>, "data", length, where …), ftruncate(fd<path>, where …), fdatasync(fd<path> …); and its end
CALL = re.compile(r'(\d+) +(\w+)\((\d+)<([^>]*)>(?:, "([^"]*)", \d+)?(?:, (\d+))?(\) += \d+| <unfinished)')
END = re.compile(r"(\d+) +<\.\.\. f\w+sync resumed>\) += 0")


@pytest.fixture
def small_disk(ground):
    """A tmpfs of 32 MB for the data folder."""
    if not AS_ROOT:
        pytest.skip("only root can mount a small tmpfs")
    folder = ground.site.data_dir
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    if ground.site.process is not None and ground.site.process.poll() is None:
        assert ground.site.stop() == 0
    with_files = passes_integrity_check(folder / "content.db")
    subprocess.run(["umount", folder], check=True)
    assert with_files


def passes_integrity_check(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


def test_a_full_disk_refuses_writes_with_507_and_loses_nothing(ground, small_disk, times) -> None:
    """The free space differs in each turn, so that a different write fails."""
    client = ground.start()
    ballast = small_disk / "ballast"
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    kept: dict[str, bytes] = {}
    with ground.fault("a full disk, at each write", "507, reads continue, writes resume when there is space") as fault:
        for turn in range(times(5, 12)):  # after some twenty, the content itself fills the disk
            fill(ballast, rnd.randrange(0, 96 * KB))
            for number in range(1000):
                name = f"{turn}/{number}"
                content = json.dumps({"title": "x" * rnd.randrange(1, 100_000)}).encode()
                try:
                    client.snippet_create("page", name, content)
                    kept[name] = content
                except StoreFull:
                    break
            else:
                raise AssertionError("the disk never filled")
            fault.injected()
            some = rnd.choice(list(kept) or [""])
            assert not some or bytes(client.snippet_get(some).content) == kept[some], f"seed {seed}"
            ballast.unlink()
            client.snippet_create("page", "", b"{}")
            for name in list(kept)[:-5]:  # free space for the next turn
                client.snippet_delete(name)
                del kept[name]
        for name, content in kept.items():
            assert bytes(client.snippet_get(name).content) == content, f"seed {seed}"
        ground.until(lambda: created(client))


def fill(ballast: Path, left: int) -> None:
    """Fill the disk up to `left` bytes."""
    with ballast.open("wb") as file:
        status = os.statvfs(ballast)
        free = status.f_bavail * status.f_frsize - left
        while free > 0:
            try:
                os.posix_fallocate(file.fileno(), 0, free)
                return
            except OSError:  # the companion has written meanwhile
                free -= 16 * KB


def created(client: Client) -> bool:
    try:
        client.snippet_create("page", "", b"{}")
    except CallError:
        return False
    return True


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the writes")
@pytest.mark.parametrize("busy", [False, True], ids=["alone", "checkpoints by another process"])
def test_a_power_cut_at_any_moment_keeps_every_acknowledged_write(tmp_path, times, row, busy) -> None:
    """Record the writes of a store and replay them up to a cut.

    Writes before a file's last fsync are on the disk; of later ones, any combination of blocks is. Then a store opens
    the files. Some cuts fall within a checkpoint.
    """
    name = "a power cut, checkpoints elsewhere" if busy else "a power cut, at any write or fsync"
    line = row(name, "acknowledged writes are there, integrity_check passes")
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    calls = record(tmp_path, BUSY_WRITER if busy else WRITER, 2 * TURNS if busy else TURNS, seed)
    processes = {process for process, what, name, *_ in calls if what == "fdatasync" and name == "reed.db"}
    assert (len(processes) > 1) == busy, "the wrong process ran the checkpoints"
    disk = Disk(rnd)
    moments = set(rnd.sample(range(len(calls)), min(len(calls), times(100, 5000))))
    lost = 0
    for number, call in enumerate(calls):
        disk.take(call)
        if number in moments and disk.kept:
            lost += len(disk.missing_after_cut(tmp_path / "cut", f"seed {seed}, call {number}"))
            line.injected()
    line.lost = str(lost)
    assert not lost, f"seed {seed}"


class Event(NamedTuple):
    """A system call: a write, a truncation, the start of a sync, or its "end"."""

    process: str
    what: str
    name: str
    data: bytes
    where: int


def record(folder: Path, writer: str, turns: int, seed: int) -> list[Event]:
    trace = folder / "trace"
    asked = "trace=write,pwrite64,ftruncate,fsync,fdatasync"
    command = [sys.executable, "-c", writer, str(folder / "reed.db"), str(turns), str(seed)]
    strace = ["strace", "-f", "-y", "-xx", "-s", "100000", "-e", asked, "-o", str(trace)]
    done = subprocess.run([*strace, *command], check=False, capture_output=True)
    if done.returncode and b"ptrace" in done.stderr:
        pytest.skip("strace cannot trace here")
    assert done.returncode == 0, done.stderr
    events: list[Event] = []
    syncing: dict[str, str] = {}
    for text in trace.read_text().splitlines():
        if ended := END.match(text):
            events.append(Event(ended[1], "end", syncing.pop(ended[1]), b"", 0))
        if (found := CALL.match(text)) is None:
            continue
        process, what, fd, path, data, where, end = found.groups()
        name = "stdout" if fd == "1" else os.path.basename(decoded(path).decode())
        events.append(Event(process, what, name, decoded(data or ""), int(where or 0)))
        if what in {"fsync", "fdatasync"}:
            if end.startswith(")"):
                events.append(Event(process, "end", name, b"", 0))
            else:
                syncing[process] = name
    assert sum(what == "fdatasync" and name == "reed.db" for _, what, name, *_ in events) > 1, "no checkpoint"
    return events


def decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class Disk:
    """The durable contents of files, and the writes since their last fsync."""

    def __init__(self, rnd: random.Random) -> None:
        self.kept: list[str] = []  # names that were acknowledged
        self._rnd = rnd
        self._durable: dict[str, bytes] = {}
        self._pending: dict[str, list[tuple[int, bytes | None]]] = {}
        self._synced: dict[tuple[str, str], tuple[int, bytes]] = {}  # by process and file, while it syncs

    def take(self, event: Event) -> None:
        process, what, name, data, where = event
        pending = self._pending.setdefault(name, [])
        if name == "stdout":
            self.kept += data.decode().split()
        elif what in {"fsync", "fdatasync"}:
            self._synced[process, name] = len(pending), self._after(name, 1.0)
        elif what == "end":
            # Writes before its start are durable now; another process's sync may have ended meanwhile.
            count, after = self._synced.pop((process, name))
            if count:
                self._durable[name] = after
            del pending[:count]
            for key, (other, _) in list(self._synced.items()):
                if key[1] == name:
                    self._synced[key] = max(0, other - count), self._synced[key][1]
        else:
            self._durable.setdefault(name, b"")
            pending.append((where, data if what == "pwrite64" else None))

    def _after(self, name: str, share: float) -> bytes:
        """The file with that share of the pending blocks, chosen at random."""
        made = bytearray(self._durable.get(name, b""))
        for where, data in self._pending.get(name, []):
            if data is None:
                if self._rnd.random() < share:
                    made[:] = made[:where].ljust(where, b"\0")
                continue
            for at in range(0, len(data), BLOCK):
                if self._rnd.random() < share:
                    made.extend(bytes(max(0, where + at - len(made))))
                    made[where + at : where + at + BLOCK] = data[at : at + BLOCK]
        return bytes(made)

    def missing_after_cut(self, folder: Path, why: str) -> list[str]:
        """The acknowledged names that a store does not find after a cut."""

        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("reed.db", "reed.db-wal"):
            (folder / name).write_bytes(self._after(name, self._rnd.choice([0.0, 0.5, 0.9, self._rnd.random()])))
        store = inline_store(folder / "reed.db")
        found: dict[str, bytes] = {}
        for name in self.kept:
            with contextlib.suppress(NotFound):
                store.get(name, lambda record: found.update({record.semantic_name: bytes(record.content)}), fail)
        store.close()
        assert passes_integrity_check(folder / "reed.db"), why
        return [name for name in self.kept if not found.get(name, b"").startswith(b'{"title": "%s ' % name.encode())]


def fail(error: CallError) -> None:
    raise error
