"""A store in a folder of its own, and a `Driver` that plays the core: it calls, turns, and waits for the answer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reed.errors import CallError
from reed.store.sqlite import SqliteStore

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


class Driver:
    """`driver.create("page", "", {...})` gives the answer or raises the error, after as many turns as it takes.

    `start` only makes the call: its answer is in `Answer` once `turn` has been called. Where `due` is given the driver
    commits and works only when the store has asked for it (`on_due` adds to it), as the loop does.
    """

    def __init__(self, store: SqliteStore, due: list[bool] | None = None) -> None:
        self.store = store
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
        if self._due is not None and not self._due and not self._works:
            return False
        if self._due is not None:
            self._due.clear()
        self.store.work(time.monotonic() + 0.004)
        self.store.commit()
        self._works = self.store.has_work
        return self._works or bool(self._due)

    def settle(self) -> None:
        """Turn until nothing is left to do."""
        deadline = time.monotonic() + 20
        while self.turn():
            assert time.monotonic() < deadline

    def call(self, operation: str, *args: Any) -> Any:
        answer = self.start(operation, *args)
        deadline = time.monotonic() + 20
        while not answer.is_there:
            assert time.monotonic() < deadline, f"{operation} was never answered"
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
    """Opens a store (by default the same file each time) and closes it in the end."""
    opened: list[SqliteStore] = []

    def open_it(path: Path | None = None, **options: Any) -> Driver:
        due = [True]  # the loop's first turn looks by itself
        store = SqliteStore(path or tmp_path / "reed.db", on_due=lambda: due.append(True), **options)
        opened.append(store)
        return Driver(store, due)

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def driver(open_store: Callable[..., Driver]) -> Driver:
    """An empty store with a type `page`, searchable, and a type `note` that takes anything."""
    driver = open_store()
    driver.define("page", PAGE_TYPE)
    driver.define("note", {})
    return driver


@pytest.fixture(scope="session")
def pages() -> list[bytes]:
    """The contents of 942 real pages."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "pages.jsonl"
    path = Path(os.environ.get("REED_PAGES", beside))
    if not path.exists():
        pytest.skip(f"no real pages at {path}: name them in REED_PAGES")
    return path.read_bytes().splitlines()
