"""Clients that only create snippets, and what became of each: nothing acknowledged is lost, nothing is there twice.

with Writers([core.socket_path, …]) as writers:
    writers.wait_for(100)        until so many more creates were acknowledged; faults go between such lines
    writers.wait_for_each()      until every client had one acknowledged that it began from now on
writers.verify(client)           compares with what the store has

acked      is there, once
refused    the answer said that nothing was written (503, 507): is not there
unknown    no answer, or one that says so: is there once, or not
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reed.client import Client
from reed.client.connection import NoAnswer
from reed.errors import CallError, CoreNotRunning
from tests.postgres.cluster import wait_until

TIMEOUT = 20.0  # seconds until a client gives up; a core's own deadline is 10
TYPE = "written"
_NUMBERS = itertools.count(1)
REFUSALS = frozenset({503, 507})  # statuses of answers that say: nothing was written
OUTCOME_UNKNOWN = 40007  # ERR_OUTCOME_UNKNOWN


def _texts(client: Client) -> list[str]:
    """Of all creates; nothing while the database cannot be reached."""
    try:
        return [json.loads(record.content)["text"] for record in client.snippets(TYPE, 1000)]
    except CallError as error:
        if error.status not in {503, 504}:
            raise
        return []


class Writers:
    """See the module."""

    def __init__(self, cores: Sequence[Path], *, clients: int = 2, timeout: float = TIMEOUT) -> None:
        """`cores`: their sockets. `clients`: for each core."""
        self.acked: dict[str, str] = {}  # text of the content: id
        self.refused: dict[str, CallError] = {}
        self.unknown: dict[str, str] = {}  # text: why
        self.failed: dict[str, CallError] = {}
        self.longest = 0.0  # seconds, of an acknowledged create
        self._timeout = timeout
        self._name = next(_NUMBERS)
        self._over = threading.Event()
        self._change = threading.Condition()
        self._last: dict[int, float] = {}  # by client: when its newest acknowledged create began
        with Client(cores[0]) as client:
            client.registry_define(TYPE, b"{}")
        self._threads = [
            threading.Thread(target=self._run, args=(number, path), name=f"writer {number} on {path}", daemon=True)
            for number, path in enumerate(path for path in cores for _ in range(clients))
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(self._timeout + 10)
            assert not thread.is_alive(), f"{thread.name} hangs"

    def wait_for(self, acked: int, timeout: float = 60.0) -> None:
        with self._change:
            wanted = len(self.acked) + acked
            done = self._change.wait_for(lambda: len(self.acked) >= wanted, timeout)
        assert done, f"not {acked} writes within {timeout:g} s: {self}"

    def wait_for_each(self, timeout: float = 60.0) -> float:
        """Gives the seconds it took."""
        start = time.monotonic()
        clients = range(len(self._threads))
        with self._change:
            done = self._change.wait_for(lambda: all(self._last.get(each, 0) >= start for each in clients), timeout)
        late = [self._threads[each].name for each in clients if self._last.get(each, 0) < start]
        assert done, f"no write of {late} was acknowledged within {timeout:g} s: {self}"
        return time.monotonic() - start

    def wait_for_refused(self, count: int = 1, timeout: float = 60.0) -> CallError:
        """Until so many more were refused; gives the last."""
        with self._change:
            wanted = len(self.refused) + count
            assert self._change.wait_for(lambda: len(self.refused) >= wanted, timeout), f"nothing was refused: {self}"
            return list(self.refused.values())[-1]

    def wait_for_unknown(self, timeout: float = 60.0) -> None:
        """Until the outcome of one is."""
        with self._change:
            assert self._change.wait_for(lambda: self.unknown, timeout), f"all outcomes are known: {self}"

    def verify(self, client: Client, *others: Writers) -> str:
        """Gives the counts in words. `others` wrote to the same store, and are verified too."""
        for each in others:
            each.verify(client)
        assert not self.failed, f"{len(self.failed)} errors, the first: {next(iter(self.failed.values()))}"
        there = Counter(
            text for text in wait_until(lambda: _texts(client), "a list") if text.startswith(f"{self._name}/")
        )
        lost = self.acked.keys() - there.keys()
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged writes are lost: {sorted(lost)[:5]}"
        twice = [text for text, count in there.items() if count > 1]
        assert not twice, f"{len(twice)} writes are there twice: {sorted(twice)[:5]}"
        wrong = self.refused.keys() & there.keys()
        assert not wrong, f"refused and written: {[(text, str(self.refused[text])) for text in sorted(wrong)[:5]]}"
        strange = there.keys() - self.acked.keys() - self.unknown.keys()
        assert not strange, f"nobody wrote {sorted(strange)[:5]}"
        return str(self)

    def __str__(self) -> str:
        reasons = Counter([str(error) for error in self.refused.values()] + [*self.unknown.values()])
        counts = f"{len(self.acked)} acknowledged, {len(self.refused)} refused, {len(self.unknown)} unknown"
        return f"{counts}, longest {self.longest:.1f} s {dict(reasons.most_common(3)) or ''}"

    def _run(self, number: int, path: Path) -> None:
        client: Client | None = None
        count = 0
        while not self._over.is_set():
            try:
                client = client or Client(path, timeout=self._timeout)
            except (CoreNotRunning, NoAnswer, OSError):
                self._over.wait(0.05)  # the core is away: once more
                continue
            count += 1
            text = f"{self._name}/{number}/{count}"
            begin = time.monotonic()
            try:
                snippet_id = client.snippet_create(TYPE, "", {"text": text})
            except CallError as error:
                with self._change:
                    if error.error_code == OUTCOME_UNKNOWN:
                        self.unknown[text] = str(error)
                    else:
                        (self.refused if error.status in REFUSALS else self.failed)[text] = error
                    self._change.notify_all()
                continue
            except (NoAnswer, CoreNotRunning, OSError) as error:
                with self._change:
                    self.unknown[text] = str(error)
                    self._change.notify_all()
                with contextlib.suppress(OSError):
                    client.close()
                client = None
                continue
            with self._change:
                self.acked[text] = snippet_id
                self._last[number] = begin
                self.longest = max(self.longest, time.monotonic() - begin)
                self._change.notify_all()
        if client is not None:
            client.close()
