"""A store in a temporary folder, and a `Driver` that plays the core: it calls, runs turns and waits for the reply."""

from __future__ import annotations

import json
import marshal
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reed.errors import CallError
from reed.store.sqlite.store import HANDLERS, INDEXER_HANDLERS, SqliteStore
from reed.store.workers import Deadline, InlineWorkers, Origin, Release

PAGE_TYPE = {
    "description": "A page of a site",
    "schema": {
        "type": "object",
        "properties": {
            "title": {"type": "string", "minLength": 1},
            "keywords": {"type": "array", "items": {"type": "string"}},
            "body": {"type": "string"},
        },
        "required": ["title"],
    },
    "searchable": {"title": 10, "description": 5, "keywords": 4, "body": 1},
}


class LateWorkers:
    """Workers that answer in later turns, in any order but for the jobs of one connection: one job in each turn."""

    def __init__(self, seed: int, handlers: Mapping[str, str]) -> None:
        self._random = random.Random(seed)
        self._inline = InlineWorkers(handlers)
        self._jobs: list[tuple[Origin, Callable[[], None]]] = []
        self._holds: list[Callable[[Release], None]] = []

    def submit(self, kind: str, arguments: Any, done: Any, failed: Any, *, origin: Origin, deadline: Deadline) -> None:
        def job() -> None:
            values = marshal.loads(marshal.dumps(arguments))  # as a process of its own would get them
            self._inline.submit(kind, values, done, failed, origin=origin, deadline=deadline)

        self._jobs.append((origin, job))

    def hold(self, callback: Callable[[Release], None]) -> None:
        self._holds.append(callback)

    def turn(self) -> bool:
        """True while something is left."""
        first: dict[Origin, int] = {}
        for number, (origin, _) in enumerate(self._jobs):
            first.setdefault(origin, number)
        if first:
            _, job = self._jobs.pop(self._random.choice(list(first.values())))
            job()
        elif self._holds:
            self._holds.pop(0)(lambda: None)
        return bool(self._jobs or self._holds)


class Driver:
    """`driver.create("page", "", {...})` returns the result or raises the error, after as many turns as needed.

    `start` only makes the call and returns its `Answer`. With `due`, to which the store's `on_due` appends, the driver
    runs a turn only when the store has asked for it, as the loop does.
    """

    def __init__(self, store: SqliteStore, due: list[bool] | None = None, workers: Sequence[LateWorkers] = ()) -> None:
        self.store = store
        self._workers = workers
        self._due = due
        self._works = False

    def start(self, operation: str, *args: Any) -> Answer:
        answer = Answer()
        values = [json.dumps(arg).encode() if isinstance(arg, dict) else arg for arg in args]
        try:
            getattr(self.store, operation)(*values, answer.values.append, answer.errors.append)
        except CallError as error:
            answer.errors.append(error)
        return answer

    def turn(self) -> bool:
        is_working = sum(workers.turn() for workers in self._workers) > 0
        if not self._workers and self._due is not None and not self._due and not self._works:
            return False
        if self._due is not None:
            self._due.clear()
        self.store.work(time.monotonic() + 0.004)
        self.store.commit()
        self._works = self.store.has_work
        return is_working or self._works or bool(self._due)

    def settle(self) -> None:
        """Run turns until there is no work."""
        deadline = time.monotonic() + 20
        while self.turn():
            assert time.monotonic() < deadline

    def call(self, operation: str, *args: Any) -> Any:
        answer = self.start(operation, *args)
        deadline = time.monotonic() + 20
        while not answer.is_there:
            assert time.monotonic() < deadline, f"{operation} got no answer"
            self.turn()
        return answer.value

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("_"):
            raise AttributeError(operation)
        return lambda *args: self.call(operation, *args)


class Answer:
    def __init__(self) -> None:
        self.values: list[Any] = []
        self.errors: list[CallError] = []

    @property
    def is_there(self) -> bool:
        assert len(self.values) + len(self.errors) <= 1, "answered twice"
        return bool(self.values or self.errors)

    @property
    def value(self) -> Any:
        assert self.is_there
        if self.errors:
            raise self.errors[0]
        return self.values[0]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Opens a store, by default the same file each time; closed at the end of the test."""
    opened: list[SqliteStore] = []

    def open_it(path: Path | None = None, *, late: int | None = None, **options: Any) -> Driver:
        """`late`: workers that answer later, in an order that follows from this number."""
        due = [True]  # the loop always runs a first turn
        workers = [] if late is None else [LateWorkers(late, HANDLERS), LateWorkers(late, INDEXER_HANDLERS)]
        options |= dict(zip(("workers", "indexer"), workers, strict=False))
        store = SqliteStore(path or tmp_path / "reed.db", on_due=lambda: due.append(True), **options)
        opened.append(store)
        return Driver(store, due, workers)

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def driver(open_store: Callable[..., Driver]) -> Driver:
    """An empty store with a searchable type `page` and a type `note` without a schema."""
    driver = open_store()
    driver.define("page", PAGE_TYPE)
    driver.define("note", {})
    return driver


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "reed-test", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small disk to fill: mounting needs root ({made.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def run_until_killed() -> Callable[[str, Path, int, int], list[bytes]]:
    """`run(code, path, seed, size)` runs a program until it has printed so many bytes, kills it, and returns its lines;
    the last, which may be incomplete, is left out."""

    def run(code: str, path: Path, seed: int, size: int) -> list[bytes]:
        with subprocess.Popen([sys.executable, "-c", code, path, str(seed)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            output = b""
            try:
                while len(output) < size:
                    assert select.select([process.stdout], [], [], 20)[0], "no output for 20 s"
                    data = os.read(process.stdout.fileno(), 65536)
                    assert data, "the program ended by itself"
                    output += data
            finally:
                process.kill()
            return (output + process.stdout.read()).split(b"\n")[:-1]

    return run


@pytest.fixture(scope="session")
def pages() -> list[bytes]:
    """The contents of 942 real pages."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "pages.jsonl"
    path = Path(os.environ.get("REED_PAGES", beside))
    if not path.exists():
        pytest.skip(f"no real pages at {path}: name them in REED_PAGES")
    return path.read_bytes().splitlines()
