"""The disk: full at each write, and a power cut after each."""

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

AS_ROOT = os.geteuid() == 0
KB = 1024
TURNS = 90  # enough for checkpoints to fall among them
BLOCK = 512  # bytes that a disk writes whole or not at all
# Writes turns of a few snippets into a store, and says on stdout what was acknowledged. strace records what it does.
WRITER = """
import json, os, random, sys, time
from reed.store.sqlite import SqliteStore

rnd = random.Random(int(sys.argv[3]))
store = SqliteStore(sys.argv[1])
fail = lambda error: sys.exit(str(error))
store.define("page", b'{"searchable":{"title":1}}', lambda new: None, fail)
store.commit()
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
# The same beside long reads, for which a process of its own copies the log into the file, and the log begins anew.
BUSY_WRITER = (
    WRITER.replace("rnd =", """
import reed.store.sqlite.wal as checkpoints
from reed.loop.loop import Loop

checkpoints._MANY_SECONDS, checkpoints._MANY_COMMITS, checkpoints._LONG_FRAMES = 1000.0, 5, 150
rnd =""", 1)
    .replace("SqliteStore(sys.argv[1])", "SqliteStore(sys.argv[1], loop=(loop := Loop(on_exception=print)))")
    .replace("    store.work(time.monotonic() + 0.002)", """
    if turn % 8 == 0:
        store.page("page", "", 300, lambda page: None, fail)
    store.work(time.monotonic())
    loop.turn(0)""")
)  # fmt: skip
# PID pwrite64(fd<path>, "data", length, where …), ftruncate(fd<path>, where …), fdatasync(fd<path> …); and its end
CALL = re.compile(r'(\d+) +(\w+)\((\d+)<([^>]*)>(?:, "([^"]*)", \d+)?(?:, (\d+))?(\) += \d+| <unfinished)')
END = re.compile(r"(\d+) +<\.\.\. f\w+sync resumed>\) += 0")


@pytest.fixture
def small_disk(ground):
    """A tmpfs of 32 MB for the data folder."""
    if not AS_ROOT:
        pytest.skip("full disks: only root can mount a small tmpfs")
    folder = ground.site.data_dir
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], check=False).returncode:
        pytest.skip("full disks: mounting a tmpfs is not allowed here")
    yield folder
    if ground.site.process is not None and ground.site.process.poll() is None:
        assert ground.site.stop() == 0
    with_files = is_sound(folder / "content.db")
    subprocess.run(["umount", folder], check=True)
    assert with_files


def is_sound(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


def test_a_disk_that_fills_at_any_write_refuses_with_507_and_loses_nothing(ground, small_disk, times) -> None:
    """The room that is left shrinks from turn to turn, so that another write meets the end each time."""
    client = ground.start()
    ballast = small_disk / "ballast"
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    kept: dict[str, bytes] = {}
    with ground.fault("a full disk, at each write", "507, reads go on, writes again when there is room") as fault:
        for turn in range(times(5, 12)):  # after some twenty the content itself, and its index, fill the disk
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
            for name in list(kept)[:-5]:  # make room for the next turn
                client.snippet_delete(name)
                del kept[name]
        for name, content in kept.items():
            assert bytes(client.snippet_get(name).content) == content, f"seed {seed}"
        wait_for_room(ground, client)


def fill(ballast: Path, left: int) -> None:
    """Take all of the disk but `left` bytes."""
    with ballast.open("wb") as file:
        status = os.statvfs(ballast)
        room = status.f_bavail * status.f_frsize - left
        while room > 0:
            try:
                os.posix_fallocate(file.fileno(), 0, room)
                return
            except OSError:  # the companion took some meanwhile
                room -= 16 * KB


def wait_for_room(ground, client: Client) -> None:
    ground.until(lambda: created(client))


def created(client: Client) -> bool:
    try:
        client.snippet_create("page", "", b"{}")
    except CallError:
        return False
    return True


@pytest.mark.skipif(shutil.which("strace") is None, reason="power cuts: the writes are recorded by strace")
@pytest.mark.parametrize("busy", [False, True], ids=["alone", "beside long reads"])
def test_a_power_cut_at_any_moment_keeps_every_acknowledged_write(tmp_path, times, row, busy) -> None:
    """The writes of a store are recorded, and replayed up to a cut.

    What a file's last fsync came after is on the disk. Of what was written to it since, each block is
    there or not, in any combination. Then the next core opens the files. Some cuts are within a checkpoint.
    """
    name = "a power cut, beside long reads" if busy else "a power cut, at any write or fsync"
    line = row(name, "acknowledged writes are there, integrity_check ok")
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    calls = record(tmp_path, BUSY_WRITER if busy else WRITER, 2 * TURNS if busy else TURNS, seed)
    processes = {process for process, what, name, *_ in calls if what == "fdatasync" and name == "reed.db"}
    assert len(processes) == (2 if busy else 1), "who copies the log"
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
    """What a process did: a write or a truncation where it began; a sync where it began, and its "end"."""

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
        pytest.skip("power cuts: strace may not trace here")
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
    """Files as they are on the disk, and what was written since their last fsync."""

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
            # What was written before it began is on the disk now; another's sync may have ended meanwhile.
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
        """The file with so much of what is pending."""
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
        """Open what a cut leaves as the next core does; what was acknowledged, and is not there."""
        from reed.store.sqlite import SqliteStore

        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("reed.db", "reed.db-wal"):
            (folder / name).write_bytes(self._after(name, self._rnd.choice([0.0, 0.5, 0.9, self._rnd.random()])))
        store = SqliteStore(folder / "reed.db")
        found: dict[str, bytes] = {}
        for name in self.kept:
            with contextlib.suppress(NotFound):
                store.get(name, lambda record: found.update({record.semantic_name: bytes(record.content)}), fail)
        store.close()
        assert is_sound(folder / "reed.db"), why
        return [name for name in self.kept if not found.get(name, b"").startswith(b'{"title": "%s ' % name.encode())]


def fail(error: CallError) -> None:
    raise error
