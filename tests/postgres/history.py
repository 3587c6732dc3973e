"""Histories of concurrent operations on snippets through several cores, and what a store promises of them.

    with Workload(cores, seed=1) as workload:      clients write, read and delete the same few snippets
        workload.wait_for(500)                     until so many more operations have ended; faults go here
    check(workload.history, …)                     raises AssertionError with what is wrong (checker.py)

An operation has a time at which it began and one at which its answer came, and one of these outcomes:

    ok, conflict, not_found    what the core answered
    unknown                    no answer: it may take effect at any later time, or never
    refused                    "nothing was written" (503, 507): left out of the history; if it did write, that shows

A name is used for a few hundred operations, then the next, so that each part of a history is short enough to check.
What is promised, and so checked:

    through one core    linearizable for each snippet: the writes of all cores, and reads of the core that writes it
    other cores         a read gives what was current at some time since `STALE` before it began, and after the
                        connection's own last write
    one connection      versions of a snippet never go back, and a deleted snippet never returns

The first two are decided by porcupine (porcupine/main.go), whose model is the snippet of one name; a read that may be
old begins earlier there.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reed.client import Client
from reed.client.connection import NoAnswer
from reed.errors import CallError, Conflict, CoreNotRunning, NotFound
from tests.postgres.writers import OUTCOME_UNKNOWN, REFUSALS

TIMEOUT = 15.0  # seconds until a client gives up; a core's own deadline is 10
WEIGHTS = {"get": 50, "update": 18, "update_if": 14, "create": 12, "delete": 6}


@dataclass(frozen=True)
class Operation:
    """`a` and `b`: fields that a write sets, or that a read saw; None: not touched, not there."""

    key: str
    operation: str  # create, get, update, delete
    outcome: str
    begin: int  # monotonic nanoseconds
    end: int
    client: int = 0
    core: int = 0
    connection: int = 0  # counts the connections of all clients
    if_version: int = 0
    a: int | None = None
    b: int | None = None
    id: str = ""
    version: int = 0
    error: str = ""


class _Worker:
    """A client on a thread of its own."""

    def __init__(self, workload: Workload, number: int, core: int, socket_path: Path) -> None:
        self._workload = workload
        self._number = number
        self._core = core
        self._socket_path = socket_path
        self._random = random.Random(f"{workload.seed}/{number}")
        self._versions: dict[str, int] = {}  # last seen, by name
        self._client: Client | None = None
        self._connection = 0
        self.thread = threading.Thread(target=self._run, name=f"client {number}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self._workload.is_over.is_set():
            if self._client is None and not self._connect():
                self._workload.is_over.wait(0.05)  # the core is away: once more
                continue
            self._workload.add(self._one())
        if self._client is not None:
            self._client.close()

    def _connect(self) -> bool:
        try:
            self._client = Client(self._socket_path, timeout=TIMEOUT)
        except (CoreNotRunning, NoAnswer, OSError):
            return False
        self._connection = self._workload.next_number()
        return True

    def _one(self) -> Operation:
        assert self._client is not None
        client, chance = self._client, self._random
        key = self._workload.key(self._core, chance)
        kind = chance.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
        if not self._workload.may_write(key, self._core):
            kind = "get"
        sets = {name: self._workload.next_number() for name in chance.choice([("a",), ("b",), ("a", "b")])}
        if_version = self._versions.get(key, 1) if kind == "update_if" else 0
        operation = Operation(
            key,
            kind.removesuffix("_if"),
            "unknown",
            time.monotonic_ns(),
            0,
            self._number,
            self._core,
            self._connection,
            if_version,
            **(sets if kind not in {"get", "delete"} else {}),
        )
        result: dict[str, Any]
        try:
            if kind == "get":
                record = client.snippet_get(key)
                self._versions[key] = record.version
                result = {"id": str(record.id), "version": record.version, **json.loads(record.content)}
            elif kind == "create":
                result = {"id": client.snippet_create("h", key, sets)}
            elif kind == "delete":
                result = {"id": client.snippet_delete(key)}
            else:
                result = {"id": client.snippet_update(key, sets, if_version)}
            result["outcome"] = "ok"
        except NotFound as error:
            result = {"outcome": "not_found", "error": str(error)}
        except Conflict as error:
            result = {"outcome": "conflict", "error": str(error)}
        except CallError as error:
            outcome = "refused" if error.status in REFUSALS else "failed"
            outcome = "unknown" if error.error_code == OUTCOME_UNKNOWN else outcome
            result = {"outcome": outcome, "error": f"{error.status} {error.error_code} {error}"}
        except (NoAnswer, CoreNotRunning, OSError) as error:
            result = {"outcome": "unknown", "error": str(error)}
            with contextlib.suppress(OSError):
                client.close()
            self._client = None
        return replace(operation, **result, end=time.monotonic_ns())


class Workload:
    """Clients at work on every core. See the module."""

    def __init__(
        self,
        cores: Sequence[Path],
        *,
        seed: int = 0,
        clients: int = 3,
        keys: int = 4,
        per_key: int = 150,
        owners: bool = False,
    ) -> None:
        """`cores`: their sockets. `clients`: for each core. `owners`: only one core writes a name."""
        self.history: list[Operation] = []
        self.seed = seed
        self.is_over = threading.Event()
        self._cores = len(cores)
        self._keys = keys
        self._per_epoch = keys * per_key
        self._owners = owners
        self._number = 0
        self._lock = threading.Condition()
        with Client(cores[0]) as client:
            client.registry_define("h", b"{}")
        self._workers = [
            _Worker(self, number, number % len(cores), cores[number % len(cores)])
            for number in range(clients * len(cores))
        ]

    def __enter__(self) -> Workload:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait_for(self, operations: int, timeout: float = 120.0) -> None:
        """Until so many more have ended."""
        with self._lock:
            wanted = len(self.history) + operations
            ended = self._lock.wait_for(lambda: len(self.history) >= wanted, timeout)
        assert ended, f"{operations} operations did not end within {timeout:g} s: {summary(self.history[-50:])}"

    def wait_for_each(self, wanted: Callable[[Operation], bool], timeout: float = 60.0) -> float:
        """Until each client has ended a wanted operation that it began from now on; gives the seconds it took."""
        start = time.monotonic_ns()
        clients = {worker._number for worker in self._workers}

        def missing() -> set[int]:
            recent = (each for each in reversed(self.history[-100_000:]) if each.begin >= start and wanted(each))
            return clients - {each.client for each in recent}

        with self._lock:
            assert self._lock.wait_for(lambda: not missing(), timeout), (
                f"clients {missing()} got nothing for {timeout:g} s: {summary(self.history[-200:])}"
            )
        return (time.monotonic_ns() - start) / 1e9

    def end(self) -> None:
        self.is_over.set()
        for worker in self._workers:
            worker.thread.join(TIMEOUT + 10)
            assert not worker.thread.is_alive(), f"{worker.thread.name} hangs"

    # For its workers.

    def add(self, operation: Operation) -> None:
        with self._lock:
            self.history.append(operation)
            self._lock.notify_all()

    def next_number(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def key(self, core: int, chance: random.Random) -> str:
        return f"h/{len(self.history) // self._per_epoch}/{chance.randrange(self._keys)}"

    def may_write(self, key: str, core: int) -> bool:
        return not self._owners or owner(key, self._cores) == core


def owner(key: str, cores: int) -> int:
    """The core that writes this name, where only one does."""
    return int(key.rpartition("/")[2]) % cores


def summary(history: Sequence[Operation]) -> str:
    counts = Counter(f"{each.operation} {each.outcome}" for each in history)
    errors = Counter(each.error for each in history if each.outcome in {"failed", "refused", "unknown"})
    return f"{dict(counts)} {dict(errors.most_common(5))}"
