"""Checkpoints: the policy and the process (reed.store.sqlite.wal)."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reed.loop.loop import Loop
from reed.store.sqlite.checkpointer import COPY_ALL, PROGRESS, Progress

FRAME = 4096 + 24


def checkpointers() -> list[int]:
    """The pids of this process's checkpointers."""
    found = []
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has ended
            if b"checkpointer.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def log_size(driver) -> int:
    return Path(driver.store.stats()["path"] + "-wal").stat().st_size


def frames_in_log(driver) -> int:
    # Read by another process: closing a descriptor of the file drops this process's SQLite locks on it.
    command = ["head", "-c", "20", driver.store.stats()["path"] + "-shm"]
    header = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return int.from_bytes(header[16:20], sys.byteorder)


class Busy:
    """A store in a loop that writes a snippet in each turn, with long reads in some."""

    def __init__(self, open_store) -> None:
        self.bugs: list[BaseException] = []
        self.loop = Loop(on_exception=self.bugs.append)
        self.driver = open_store(loop=self.loop)
        self.store = self.driver.store
        self.driver.define("page", {"schema": {"type": "object"}, "searchable": {"title": 1}})
        self.driver.define("note", {})

    def write_until(self, enough, *, works: bool = True) -> None:
        for number in range(30_000):
            if not number % 25 and enough():
                return
            if works and not number % 10:
                self.driver.start("page", "note", "", 120)
            self.driver.start("create", "note", "", {"text": "words " * 500})
            self.store.commit()
            if works:
                self.store.work(time.monotonic())  # one step
            self.loop.turn(0)
            assert not self.bugs
        raise AssertionError("not within 30,000 commits")

    def wait_until(self, enough) -> None:
        deadline = time.monotonic() + 20
        while not enough():
            assert time.monotonic() < deadline
            self.store.work(time.monotonic() + 0.002)
            self.store.commit()
            self.loop.turn(0)

    @property
    def process_is_of_use(self) -> bool:
        return self.store._checkpoints._has_answered


@pytest.fixture
def busy(open_store, monkeypatch):
    """The policy takes its commits for frequent ones, however slow the disk is."""
    monkeypatch.setattr("reed.store.sqlite.wal._MANY_SECONDS", 1000.0)
    return Busy(open_store)


def test_writes_without_jobs_need_no_process(busy):
    for _ in range(300):
        busy.driver.create("note", "", {"text": "words " * 500})
    assert checkpointers() == []
    assert log_size(busy.driver) < 600 * FRAME


def test_writes_during_jobs_start_one_process_and_the_log_stays_short(busy):
    busy.write_until(lambda: len(checkpointers()) == 1)
    sizes: list[int] = []

    def has_restarted_twice() -> bool:
        sizes.append(frames_in_log(busy))
        return sum(after < before for before, after in itertools.pairwise(sizes)) == 2

    busy.write_until(has_restarted_twice)
    assert len(checkpointers()) == 1
    count = busy.store.stats()["snippets"]
    path = busy.store.stats()["path"]
    busy.store.close()
    assert checkpointers() == []
    assert not Path(path + "-wal").exists(), "all is in the file"
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM snippets").fetchone() == (count,)


def test_a_killed_checkpointer_is_replaced(busy):
    busy.write_until(lambda: busy.process_is_of_use)
    (first,) = checkpointers()
    os.kill(first, signal.SIGKILL)
    busy.write_until(lambda: checkpointers() not in ([], [first]))
    assert not Path(f"/proc/{first}").exists(), "no zombie"
    assert busy.driver.search("nothing", "", 0, 0).total == 0


def test_a_checkpointer_that_does_not_answer_is_replaced(busy, monkeypatch):
    monkeypatch.setattr("reed.store.sqlite.wal._MAX_UNANSWERED", 200)
    busy.write_until(lambda: busy.process_is_of_use)
    (first,) = checkpointers()
    os.kill(first, signal.SIGSTOP)
    busy.write_until(lambda: checkpointers() not in ([], [first]))


def test_a_checkpointer_that_cannot_run_is_not_started_again(busy, monkeypatch):
    monkeypatch.setattr(checkpointer, "__file__", "/nonexistent.py")
    busy.write_until(lambda: busy.store._checkpoints._loop is None)
    rounds = iter(range(20))
    busy.write_until(lambda: next(rounds, None) is None)
    assert checkpointers() == []


def test_jobs_and_the_index_wait_while_the_log_is_too_long(busy, monkeypatch):
    monkeypatch.setattr("reed.store.sqlite.wal._BEHIND_FRAMES", 4000)
    for _ in range(300):
        busy.driver.create("page", "", {"title": "one"})
    first = busy.driver.start("page", "page", "", 300)
    while not busy.store._jobs.has_snapshots:
        busy.store.work(time.monotonic())
    busy.write_until(lambda: busy.store._checkpoints.is_behind, works=False)
    assert not first.is_there, "its snapshot keeps the log from being restarted"
    second = busy.driver.start("page", "page", "", 300)
    found = busy.driver.start("search", "one", "", 10, 0)
    busy.wait_until(lambda: first.is_there and second.is_there and found.is_there)
    assert len(first.value.records) == len(second.value.records) == found.value.total == 300
    busy.driver.create("note", "", {})
    assert frames_in_log(busy) < 4000, "the log was restarted"


def test_an_idle_checkpointer_truncates_the_log_and_ends(driver, tmp_path):
    for _ in range(50):
        driver.create("note", "", {"text": "words " * 500})
    path = driver.store.stats()["path"]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, "-I", "-S", checkpointer.__file__, path, "0.2"]
        process = subprocess.Popen(command, stdin=theirs.fileno())
        ours.send(COPY_ALL)
        assert Progress(*PROGRESS.unpack(ours.recv(100))) == (frames_in_log(driver), 0)
        assert process.wait(20) == 0
    assert log_size(driver) == 0
    driver.create("note", "", {})
    assert driver.store.stats()["snippets"] == 51
