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
# pwrite64(fd<path>, "data", length, where), ftruncate(fd<path>, where), fdatasync(fd<path>)
CALL = re.compile(r'(\w+)\((\d+)<([^>]*)>(?:, "([^"]*)", \d+)?(?:, (\d+))?\) += \d+')


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
def test_a_power_cut_at_any_moment_keeps_every_acknowledged_write(tmp_path, times, row) -> None:
    """The writes of a store are recorded, and replayed up to a cut.

    What a file's last fsync came after is on the disk. Of what was written to it since, each block is
    there or not, in any combination. Then the next core opens the files. Some cuts are within a checkpoint.
    """
    line = row("a power cut, at any write or fsync", "acknowledged writes are there, integrity_check ok")
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    calls = record(tmp_path, TURNS, seed)
    disk = Disk(rnd)
    moments = set(rnd.sample(range(len(calls)), min(len(calls), times(100, 5000))))
    lost = 0
    for number, call in enumerate(calls):
        disk.take(*call)
        if number in moments and disk.kept:
            lost += len(disk.missing_after_cut(tmp_path / "cut", f"seed {seed}, call {number}"))
            line.injected()
    line.lost = str(lost)
    assert not lost, f"seed {seed}"


def record(folder: Path, turns: int, seed: int) -> list[tuple[str, str, bytes, int]]:
    """Writes, truncations and fsyncs in their order: what, file, data, where."""
    trace = folder / "trace"
    asked = "trace=write,pwrite64,ftruncate,fsync,fdatasync"
    command = [sys.executable, "-c", WRITER, str(folder / "reed.db"), str(turns), str(seed)]
    strace = ["strace", "-y", "-xx", "-s", "100000", "-e", asked, "-o", str(trace)]
    done = subprocess.run([*strace, *command], check=False, capture_output=True)
    if done.returncode and b"ptrace" in done.stderr:
        pytest.skip("power cuts: strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = []
    for text in trace.read_text().splitlines():
        found = CALL.match(text)
        if found is None:
            continue
        what, fd, path, data, where = found.groups()
        name = "stdout" if fd == "1" else os.path.basename(bytes.fromhex(path.replace("\\x", "")).decode())
        calls.append((what, name, bytes.fromhex((data or "").replace("\\x", "")), int(where or 0)))
    assert sum(what == "fdatasync" and name == "reed.db" for what, name, *_ in calls) > 1, "no checkpoint"
    return calls


class Disk:
    """Files as they are on the disk, and what was written since their last fsync."""

    def __init__(self, rnd: random.Random) -> None:
        self.kept: list[str] = []  # names that were acknowledged
        self._rnd = rnd
        self._durable: dict[str, bytes] = {}
        self._pending: dict[str, list[tuple[int, bytes | None]]] = {}

    def take(self, what: str, name: str, data: bytes, where: int) -> None:
        if name == "stdout":
            self.kept += data.decode().split()
        elif what in {"fsync", "fdatasync"}:
            self._durable[name] = self._after(name, 1.0)
            self._pending[name] = []
        else:
            self._durable.setdefault(name, b"")
            self._pending.setdefault(name, []).append((where, data if what == "pwrite64" else None))

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
