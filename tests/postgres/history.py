"""Histories of concurrent operations on snippets through several cores, and what a store promises of them.

    with Workload(cores, seed=1) as workload:      clients write, read and delete the same few snippets
        workload.wait_for(500)                     until so many more operations have ended; faults go here
    check(workload.history, cores=…)               raises AssertionError with what is wrong

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
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from reed.client import Client
from reed.client.connection import NoAnswer
from reed.errors import CallError, Conflict, CoreNotRunning, NotFound
from tests.postgres.writers import OUTCOME_UNKNOWN, REFUSALS

STALE = 1.0  # seconds
TIMEOUT = 15.0  # seconds until a client gives up; a core's own deadline is 10
FOLDER = Path(__file__).parent / "porcupine"
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
        sets = {name: self._workload.next_number() for name in ("a", "b") if chance.random() < 0.6}
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


@dataclass
class Report:
    operations: int = 0
    parts: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    longest: float = 0.0  # seconds, of operations that were answered


def check(history: Sequence[Operation], build: Callable[[], Path], drawings: Path, *, owners: int = 0) -> Report:
    """`owners`: the number of cores, of which only one writes a name, and reads it as it is; 0: every core writes, and
    every read may be old. `build` gives the checker; drawings of what is wrong go to `drawings`."""
    failed = [each for each in history if each.outcome == "failed"]
    assert not failed, f"{len(failed)} errors, the first: {failed[0]}"
    check_connections(history)
    known = [each for each in history if each.outcome != "refused" and (each.operation, each.outcome) != READ_UNKNOWN]
    exact = [each for each in known if owners and (each.operation != "get" or each.core == owner(each.key, owners))]
    if exact:
        _run_checker(exact, build(), drawings)
    parts = _run_checker(may_be_old(known), build(), drawings)
    counts = Counter(each.outcome for each in history)
    longest = max((each.end - each.begin for each in history if each.outcome != "unknown"), default=0) / 1e9
    return Report(len(history), parts, dict(counts), longest)


READ_UNKNOWN = ("get", "unknown")


def may_be_old(history: Sequence[Operation]) -> list[Operation]:
    """The same with reads that begin STALE earlier, but not before the connection's last write of that name ended."""
    last_writes: dict[tuple[int, str], int] = {}
    found = []
    for each in sorted(history, key=lambda each: each.begin):
        if each.operation == "get":
            earliest = last_writes.get((each.connection, each.key), 0)
            found.append(replace(each, begin=max(each.begin - int(STALE * 1e9), earliest)))
            continue
        if each.outcome == "ok":
            last_writes[each.connection, each.key] = each.end + 1  # after it: intervals are closed
        found.append(each)
    return found


def check_connections(history: Sequence[Operation]) -> None:
    """Within one connection no version of a snippet goes back, and no snippet that was gone comes again."""
    seen: dict[tuple[int, str], list[Operation]] = {}
    gone: dict[tuple[int, str], set[str]] = {}
    for each in sorted(history, key=lambda each: each.begin):
        where = (each.connection, each.key)
        before = seen.setdefault(where, [])
        buried = gone.setdefault(where, set())
        if each.outcome == "not_found" or (each.operation, each.outcome) == ("delete", "ok"):
            buried.update(one.id for one in before)
            buried.update({each.id} - {""})
            before.clear()
        elif each.outcome == "ok":
            assert each.id not in buried, f"it was gone before on this connection: {each}"
            if before and before[-1].id != each.id:
                buried.update(one.id for one in before)
                before.clear()
            newest = before[-1].version if before else 0
            version = {"create": 1, "update": newest + 1}.get(each.operation, each.version)
            assert version >= newest, f"version {newest} was seen before on this connection: {each}"
            before[:] = [replace(each, version=version)]


def _run_checker(history: Sequence[Operation], program: Path, drawings: Path) -> int:
    drawings.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(asdict(each)) + "\n" for each in history)
    done = subprocess.run(
        [program, drawings], input=lines, capture_output=True, text=True, check=False, timeout=60 + len(history) / 100
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["operations"] == len(history)
    wrong = report["illegal"]
    if wrong:
        steps = sorted((each for each in history if each.key == wrong[0]), key=lambda each: each.begin)
        (drawings / "illegal.jsonl").write_text("".join(json.dumps(asdict(each)) + "\n" for each in steps))
    assert not wrong, f"not linearizable: {wrong}; drawn in {drawings}"
    assert not report["undecided"], f"took too long to decide: {report['undecided']}"
    return int(report["parts"])


def build_checker(folder: Path) -> Path:
    """Builds porcupine/ once; skips the test where that cannot be done."""
    program = folder / "check-history"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not here: no history is checked by porcupine (Debian: apt-get install golang-go)")
    loaded = subprocess.run([go, "mod", "download"], cwd=FOLDER, capture_output=True, text=True, check=False)
    if loaded.returncode:
        pytest.skip(f"porcupine cannot be loaded, so no history is checked: {loaded.stderr.strip()[-300:]}")
    built = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", program, "."], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return program
