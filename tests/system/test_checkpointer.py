"""The checkpointer: a process that runs during heavy writes with long reads, and ends with its core."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.client import Client, NoAnswer, Request
from reed.errors import ReedError
from reed.wire.codes import Command
from reed.wire.snippets import SnippetCreate

NOTE = {"text": "some words " * 300}


@contextlib.contextmanager
def load(core) -> Iterator[None]:
    """Constant writes and broad searches, until the core ends."""
    over = threading.Event()

    def run(work) -> None:
        with contextlib.suppress(ReedError, NoAnswer, OSError), Client(core.socket_path) as client:
            while not over.is_set():
                work(client)

    with Client(core.socket_path) as client:
        client.registry_define("page", {"schema": {"type": "object"}, "searchable": {"text": 1}})
        client.registry_define("note", {})
        create = Request(Command.SNIPPET_CREATE, SnippetCreate("page", "", b'{"text":"word"}').pack())
        for _ in client.pipelined(create for _ in range(10_000)):
            pass
    works = [lambda client: client.snippet_create("note", "", NOTE), lambda client: client.search("word")]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def children(pid: int) -> dict[int, str]:
    """Command lines of a process's children by pid; empty for a zombie."""
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError):  # it is gone
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def checkpointers(pid: int) -> list[int]:
    return [child for child, command in children(pid).items() if "checkpointer.py" in command]


def wait_until(enough, what: str) -> None:
    deadline = time.monotonic() + 30
    while not enough():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.mark.parametrize("way", ["kill", "restart", "stop"])
def test_it_ends_with_its_core(core, way) -> None:
    pid = core.process.pid
    with load(core):
        wait_until(lambda: checkpointers(pid), "no checkpointer came")
        (found,) = checkpointers(pid)
        if way == "kill":
            core.kill()
        elif way == "restart":
            assert core.reed("restart").returncode == 0
            wait_until(lambda: "" not in children(pid).values(), "a zombie stays")
        else:
            assert core.stop() == 0
        wait_until(lambda: not Path(f"/proc/{found}").exists() or found not in checkpointers(pid), "it stays")
    if way == "restart":
        core.no_tracebacks()


def test_a_killed_checkpointer_is_replaced(core) -> None:
    pid = core.process.pid
    with load(core), Client(core.socket_path) as client:
        wait_until(lambda: checkpointers(pid), "no checkpointer came")
        (first,) = checkpointers(pid)
        many = client.stats()["store"]["snippets"] + 500  # it has answered by then
        wait_until(lambda: client.stats()["store"]["snippets"] > many, "no writes")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: checkpointers(pid) not in ([], [first]), "no successor")
        before = client.stats()["store"]["snippets"]
        wait_until(lambda: client.stats()["store"]["snippets"] > before, "writes go on")
        wait_until(lambda: "" not in children(pid).values(), "a zombie stays")
    core.no_tracebacks()
