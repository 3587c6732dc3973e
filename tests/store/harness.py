"""A `Driver` plays the core: it calls a store, runs turns and waits for the answers."""

from __future__ import annotations

import json
import marshal
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from reed.errors import CallError
from reed.store.base import Store
from reed.store.workers import Deadline, Origin, Release, Workers
from tests.inline_store import InlineWorkers

TIMEOUT = 30.0  # seconds


class Options(NamedTuple):
    """What a test may ask of a store."""

    clock: Callable[[], int] = time.time_ns
    cache_bytes: int = 1024 * 1024
    max_events: int = 10_000
    max_changes: int = 10_000
    workers: Workers | None = None  # None: LateWorkers, which tests can stop


class Running(Protocol):
    """An open store, with the part of a loop that it needs."""

    store: Store
    workers: Sequence[LateWorkers]

    def turn(self) -> bool:
        """Run one turn; wait a moment for an answer if there is nothing else to do. False: nothing is left to do."""

    def close(self) -> None: ...


class Factory(NamedTuple):
    open: Callable[[Path, Options], Running]  # the store of this folder; made if it is not there
    unavailable: Callable[[], str] = lambda: ""  # why it cannot be tested here


class LateWorkers:
    """Workers that answer in later turns, in any order but for the jobs of one connection: one job in each turn. Every
    third time that somebody asks, the turn is over budget."""

    def __init__(self, seed: int, handlers: Mapping[str, str]) -> None:
        self.is_stopped = False
        self._random = random.Random(seed)
        self._inline = InlineWorkers(handlers)
        self._jobs: list[tuple[Origin, Callable[[], None]]] = []
        self._holds: list[Callable[[Release], None]] = []
        self._soon: list[Callable[[], None]] = []

    def submit(self, kind: str, arguments: Any, done: Any, failed: Any, *, origin: Origin, deadline: Deadline) -> None:
        def job() -> None:
            values = marshal.loads(marshal.dumps(arguments))  # as a process of its own would get them
            self._inline.submit(kind, values, done, failed, origin=origin, deadline=deadline)

        self._jobs.append((origin, job))

    def hold(self, callback: Callable[[Release], None]) -> None:
        self._holds.append(callback)

    def over_budget(self) -> bool:
        return self._random.random() < 1 / 3

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    @property
    def is_busy(self) -> bool:
        return bool(self._soon) or (bool(self._jobs or self._holds) and not self.is_stopped)

    def turn(self) -> None:
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()
        if self.is_stopped:
            return
        first: dict[Origin, int] = {}
        for number, (origin, _) in enumerate(self._jobs):
            first.setdefault(origin, number)
        if first:
            _, job = self._jobs.pop(self._random.choice(list(first.values())))
            job()
        elif self._holds:
            self._holds.pop(0)(lambda: None)


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

    @property
    def error(self) -> CallError:
        assert self.is_there
        assert self.errors, f"no error but {self.values}"
        return self.errors[0]


class Driver:
    """`driver.create("page", "", {...})` returns the result or raises the error, after as many turns as needed.
    `start` only makes the call and returns its `Answer`."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.store = running.store
        self._unanswered: list[Answer] = []
        self._is_closed = False

    def start(self, operation: str, *args: Any, **options: Any) -> Answer:
        answer = Answer()
        values = [json.dumps(arg).encode() if isinstance(arg, dict) else arg for arg in args]
        try:
            getattr(self.store, operation)(*values, answer.values.append, answer.errors.append, **options)
        except CallError as error:
            answer.errors.append(error)
        self._unanswered.append(answer)
        return answer

    def call(self, operation: str, *args: Any, **options: Any) -> Any:
        answer = self.start(operation, *args, **options)
        self.run_until(lambda: answer.is_there, operation)
        self._unanswered.remove(answer)
        return answer.value

    def turn(self) -> bool:
        return self.running.turn()

    def run_until(self, condition: Callable[[], bool], what: str = "it") -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen"
            self.turn()

    def settle(self) -> None:
        """Run turns until everything is answered and nothing is left to do."""
        deadline = time.monotonic() + TIMEOUT
        while self.turn() or any(not answer.is_there for answer in self._unanswered):
            assert time.monotonic() < deadline, "the store never comes to rest"
        self._unanswered.clear()

    def stop_workers(self, is_stopped: bool = True) -> None:
        """Jobs of workers are not begun."""
        for workers in self.running.workers:
            workers.is_stopped = is_stopped

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.running.close()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("_"):
            raise AttributeError(operation)
        return lambda *args, **options: self.call(operation, *args, **options)
